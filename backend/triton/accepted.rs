//! Requests that the backend has taken over from the server, until they are released.

use std::cell::OnceCell;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use triton_sys::{
    TRITONBACKEND_ModelInstance, TRITONBACKEND_Request, TRITONBACKEND_Response,
    TRITONSERVER_RequestReleaseFlag,
};

use super::api::{api, frequent};
use super::error::{Result, check, not_null};

/// How often a call is made without which the server would wait for the request for ever: for a response, and for the
/// release.
pub(super) const ATTEMPTS: usize = 3;

/// How many requests of an instance the server does not have back yet.
#[derive(Default)]
pub(super) struct Unreleased {
    count: Mutex<usize>,
    none: Condvar,
}

impl Unreleased {
    fn add(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn remove(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            self.none.notify_all();
        }
    }

    /// Waits until there are none.
    pub(super) fn wait_for_none(&self) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.none.wait_while(count, |count| *count > 0));
    }
}

/// Releases a request when dropped. Shared by whoever still reads the request's memory.
pub(super) struct Release {
    /// Null for one that was given back without a release.
    raw: *mut TRITONBACKEND_Request,
    unreleased: Arc<Unreleased>,
}

// SAFETY: the server lets any thread release a request, and `drop` is the only thing that uses the pointer.
unsafe impl Send for Release {}
// SAFETY: as above; a shared reference gives access to nothing.
unsafe impl Sync for Release {}

impl Release {
    /// For a call that reads of it.
    pub(super) fn raw(&self) -> *mut TRITONBACKEND_Request {
        self.raw
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let flags = TRITONSERVER_RequestReleaseFlag::TRITONSERVER_REQUEST_RELEASE_ALL.0;
        if !self.raw.is_null() {
            // With an error the request is not released, and stays ours.
            for left in (0..ATTEMPTS).rev() {
                // SAFETY: the request is ours until the call that succeeds, which gives it back and is the last one. The
                // owner of the request and those it lends memory to share one `Release`.
                match check(unsafe { api().TRITONBACKEND_RequestRelease(self.raw, flags) }) {
                    Ok(()) => break,
                    Err(error) if left > 0 => {
                        log::debug!("the server takes no request back, asked again: {error}")
                    }
                    Err(error) => {
                        log::error!("the server did not take a request back in {ATTEMPTS} attempts: {error}");
                    }
                }
            }
        }
        self.unreleased.remove();
    }
}

/// A request of the server's that is not released yet; dropping it does so, once nothing reads its memory.
pub(super) struct Accepted {
    /// Null for one that was given back without a release.
    raw: *mut TRITONBACKEND_Request,
    instance: *mut TRITONBACKEND_ModelInstance,
    arrival: u64,
    unreleased: Arc<Unreleased>,
    /// Set when something of the request is lent for the first time.
    shared: OnceCell<Arc<Release>>,
}

// SAFETY: the server lets a request be used and released from any thread, one at a time; `Accepted` is neither Clone
// nor Sync, and whoever holds it is the only one to call the server with it.
unsafe impl Send for Accepted {}

impl Accepted {
    /// # Safety
    /// `raw` was handed to Execute for `instance`, and nothing else owns it from now on. The server keeps
    /// it valid until it is released, and the instance until its Finalize returns, which has to wait until
    /// `unreleased` counts none.
    pub(super) unsafe fn new(
        raw: *mut TRITONBACKEND_Request,
        instance: *mut TRITONBACKEND_ModelInstance,
        arrival: u64,
        unreleased: &Arc<Unreleased>,
    ) -> Self {
        unreleased.add();
        let unreleased = Arc::clone(unreleased);
        Self { raw, instance, arrival, unreleased, shared: OnceCell::new() }
    }

    /// For a call that uses it.
    pub(super) fn raw(&self) -> *mut TRITONBACKEND_Request {
        self.raw
    }

    /// The instance it was handed to, which lives until it is released.
    pub(super) fn instance(&self) -> *mut TRITONBACKEND_ModelInstance {
        self.instance
    }

    /// When Execute was handed it (`CLOCK_MONOTONIC`, ns).
    pub(super) fn arrival(&self) -> u64 {
        self.arrival
    }

    /// A new response to the request, which the caller has to send or delete.
    pub(super) fn new_response(&self) -> Result<*mut TRITONBACKEND_Response> {
        let mut response = ptr::null_mut();
        // SAFETY: the request is ours (see `new`); the result is written to our variable.
        check(unsafe { (frequent().TRITONBACKEND_ResponseNew)(&mut response, self.raw) })?;
        not_null(response, "response").map(NonNull::as_ptr)
    }

    /// What keeps the request unreleased for as long as somebody reads its memory.
    pub(super) fn share(&self) -> Arc<Release> {
        Arc::clone(self.shared.get_or_init(|| Arc::new(self.release())))
    }

    /// Whether nobody else reads its memory.
    pub(super) fn is_unshared(&self) -> bool {
        self.shared.get().is_none_or(|shared| Arc::strong_count(shared) == 1)
    }

    /// Leaves it with the server, unreleased: Execute returns an error for it. Whoever still reads its memory keeps it
    /// from that, so [`Self::is_unshared`] comes first.
    pub(super) fn give_back(mut self) {
        if let Some(release) = self.shared.get_mut().and_then(Arc::get_mut) {
            release.raw = ptr::null_mut();
        }
        self.raw = ptr::null_mut();
    }

    fn release(&self) -> Release {
        Release { raw: self.raw, unreleased: Arc::clone(&self.unreleased) }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        match self.shared.take() {
            Some(shared) => drop(shared),
            None => drop(self.release()),
        }
    }
}
