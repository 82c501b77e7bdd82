//! A request of the server's: answered exactly once and released exactly once.
//!
//! Ownership says which of the two is still to do. A [`Request`] is not answered yet: [`Request::fail`] answers it
//! with an error, [`Request::respond`] moves it into a [`Response`](super::response::Response), which is consumed when it
//! is sent. What is left is an [`Answered`]; dropping it reports the request to the statistics and releases it. Dropping
//! a `Request` or a `Response` answers with an error first.

use std::cell::OnceCell;
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use triton_sys::{
    TRITONBACKEND_Input, TRITONBACKEND_ModelInstance, TRITONBACKEND_Request, TRITONBACKEND_Response,
    TRITONSERVER_DataType, TRITONSERVER_MemoryType, TRITONSERVER_RequestReleaseFlag,
    TRITONSERVER_ResponseCompleteFlag,
};

use super::api::{api, frequent};
use super::error::{Error, Result, check};
use super::statistics::{Stamps, report_execution, report_request};
use super::{clock, panics};

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
struct Release {
    raw: *mut TRITONBACKEND_Request,
    unreleased: Arc<Unreleased>,
}

// SAFETY: the server lets any thread release a request, and `drop` is the only thing that uses the pointer.
unsafe impl Send for Release {}
// SAFETY: as above; a shared reference gives access to nothing.
unsafe impl Sync for Release {}

impl Drop for Release {
    fn drop(&mut self) {
        let flags = TRITONSERVER_RequestReleaseFlag::TRITONSERVER_REQUEST_RELEASE_ALL.0;
        // SAFETY: the request is ours until this call, which gives it back. It comes once: the owner of the request
        // and those it lends memory to share one `Release`.
        if let Err(error) = check(unsafe { api().TRITONBACKEND_RequestRelease(self.raw, flags) }) {
            log::error!("the server did not take a request back: {error}");
        }
        self.unreleased.remove();
    }
}

/// A request of the server's that is not released yet; dropping it does so, once nothing reads its memory.
pub(super) struct Accepted {
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
    /// When Execute was handed it (`CLOCK_MONOTONIC`, ns).
    pub(super) fn arrival(&self) -> u64 {
        self.arrival
    }

    /// A new response to the request, which the caller has to send or delete.
    pub(super) fn new_response(&self) -> Result<*mut TRITONBACKEND_Response> {
        let mut response = ptr::null_mut();
        // SAFETY: the request is ours (see `Request::new`); the result is written to our variable.
        check(unsafe { (frequent().TRITONBACKEND_ResponseNew)(&mut response, self.raw) })?;
        Ok(response)
    }

    /// Keeps the request from being released.
    fn share(&self) -> Arc<Release> {
        Arc::clone(self.shared.get_or_init(|| Arc::new(self.release())))
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

/// A request that this backend has accepted and not answered yet.
///
/// Dropping it answers with an error, which quotes the panic if one is the reason.
pub struct Request(Option<Accepted>);

impl Request {
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
        Self(Some(Accepted { raw, instance, arrival, unreleased, shared: OnceCell::new() }))
    }

    fn accepted(&self) -> &Accepted {
        self.0.as_ref().expect("only methods that consume the request take it out")
    }

    fn raw(&self) -> *mut TRITONBACKEND_Request {
        self.accepted().raw
    }

    /// Takes over what is to be answered.
    pub(super) fn into_accepted(mut self) -> Accepted {
        self.0.take().expect("only methods that consume the request take it out")
    }

    /// The reverse of [`Self::into_accepted`].
    pub(super) fn from_accepted(accepted: Accepted) -> Self {
        Self(Some(accepted))
    }

    /// When Execute was handed it (`CLOCK_MONOTONIC`, ns).
    pub fn arrival(&self) -> u64 {
        self.accepted().arrival
    }

    /// Whether the client has cancelled it. Servers before 23.10 do not tell.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: the request is ours, and so not released.
        unsafe { is_cancelled(self.raw()) }
    }

    /// What tells whether the client has cancelled it, beside whoever answers it. The server has the request back only when
    /// this is gone, too.
    pub fn probe(&self) -> Probe {
        Probe(self.accepted().share())
    }

    /// The timeout that the client set, in nanoseconds. Servers before 23.12 do not tell.
    pub fn timeout(&self) -> Option<u64> {
        let mut timeout_us = 0;
        if let Ok(timeout) = &api().TRITONBACKEND_InferenceRequestTimeoutMicroseconds {
            // SAFETY: the request is ours; the number is written to our variable.
            if let Err(error) = check(unsafe { timeout(self.raw(), &mut timeout_us) }) {
                log::debug!("the server does not tell a request's timeout: {error}");
            }
        }
        (timeout_us > 0).then(|| timeout_us.saturating_mul(1000))
    }

    /// The id that the client gave; empty when it gave none.
    pub fn id(&self) -> Result<&str> {
        let mut id = ptr::null();
        // SAFETY: the request is ours (see `new`), and its strings live until it is released.
        unsafe {
            check(api().TRITONBACKEND_RequestId(self.raw(), &mut id))?;
            text(id)
        }
    }

    /// One of its inputs.
    ///
    /// # Errors
    /// The request has no input of this name.
    pub fn input(&self, name: &CStr) -> Result<Input<'_>> {
        let mut raw = ptr::null_mut();
        let mut datatype = TRITONSERVER_DataType::TRITONSERVER_TYPE_INVALID;
        let (mut shape, mut rank) = (ptr::null(), 0);
        let mut buffer_count = 0;
        // SAFETY: the request is ours; the input and its shape belong to it and live until it is
        // released. The other results are written to our variables.
        unsafe {
            check((frequent().TRITONBACKEND_RequestInput)(self.raw(), name.as_ptr(), &mut raw))?;
            check((frequent().TRITONBACKEND_InputProperties)(
                raw,
                ptr::null_mut(),
                &mut datatype,
                &mut shape,
                &mut rank,
                ptr::null_mut(),
                &mut buffer_count,
            ))?;
            let shape = if rank == 0 { &[][..] } else { std::slice::from_raw_parts(shape, rank as usize) };
            Ok(Input { raw, datatype, shape, buffer_count, request: self })
        }
    }

    /// How many outputs the client wants: those it named, or else all of the model's.
    pub fn output_count(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: the request is ours; the number is written to our variable.
        check(unsafe { (frequent().TRITONBACKEND_RequestOutputCount)(self.raw(), &mut count) })?;
        Ok(count)
    }

    /// The name of one of these outputs; no two are the same.
    pub fn output_name(&self, index: u32) -> Result<&str> {
        let mut name = ptr::null();
        // SAFETY: the request is ours, and its strings live until it is released.
        unsafe {
            check(api().TRITONBACKEND_RequestOutputName(self.raw(), index, &mut name))?;
            text(name)
        }
    }

    /// Answers with an error.
    pub fn fail(self, error: Error) -> Answered {
        fail(self.into_accepted(), error)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(accepted) = self.0.take() {
            fail(
                accepted,
                Error::internal(match panics::message() {
                    Some(panic) => format!("the backend panicked, please report this: {panic}"),
                    None => "the backend dropped the request without an answer, please report this".into(),
                }),
            );
        }
    }
}

fn fail(accepted: Accepted, error: Error) -> Answered {
    log::debug!("a request failed: {error}");
    if let Err(failure) = accepted.new_response().and_then(|response| send(response, Some(error))) {
        log::error!("an error response could not be sent: {failure}");
    }
    Answered { accepted, stamps: None }
}

/// Sends a response, the only one to its request, with an error in place of its outputs if there is one.
pub(super) fn send(response: *mut TRITONBACKEND_Response, error: Option<Error>) -> Result<()> {
    let error = error.map_or(ptr::null_mut(), Error::into_raw);
    let flags = TRITONSERVER_ResponseCompleteFlag::TRITONSERVER_RESPONSE_COMPLETE_FINAL.0;
    // SAFETY: the response is ours (from `Accepted::new_response`, and the callers send it once). The server takes it
    // even when it fails to deliver it. The error stays ours and is deleted once, after the call that reads it.
    unsafe {
        let sent = check(api().TRITONBACKEND_ResponseSend(response, flags, error));
        if !error.is_null() {
            api().TRITONSERVER_ErrorDelete(error);
        }
        sent
    }
}

/// A request whose answer has left. Dropping it reports it to the statistics and releases it.
pub struct Answered {
    accepted: Accepted,
    /// None for one that failed.
    stamps: Option<Stamps>,
}

impl Answered {
    /// A request whose response with these stamps was sent.
    pub(super) fn with_success(accepted: Accepted, stamps: Stamps) -> Self {
        Self { accepted, stamps: Some(stamps) }
    }

    /// The stamps, if it was answered with a success.
    pub fn stamps(&self) -> Option<&Stamps> {
        self.stamps.as_ref()
    }

    /// Reports the execution that this request was part of, of so many rows, to the statistics of the instance that
    /// the server handed it to.
    pub fn report_execution(&self, rows: usize, stamps: &Stamps) {
        // SAFETY: the instance lives until its last request is released (see `Request::new`), and this one is not.
        unsafe { report_execution(self.accepted.instance, rows as u64, stamps) }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let Accepted { raw, instance, arrival, .. } = self.accepted;
        let success = self.stamps.is_some();
        let stamps = self.stamps.unwrap_or_else(|| Stamps::of_failure(arrival, clock::now_ns()));
        // SAFETY: the request is released afterwards, when the field is dropped, and the instance lives until then.
        unsafe { report_request(instance, raw, success, &stamps) }
    }
}

/// One input of a request.
pub struct Input<'r> {
    raw: *mut TRITONBACKEND_Input,
    /// The type of its elements.
    pub datatype: TRITONSERVER_DataType,
    /// Its shape, with the batch dimension where the model has one.
    pub shape: &'r [i64],
    buffer_count: u32,
    request: &'r Request,
}

impl<'r> Input<'r> {
    /// The first piece of its data.
    ///
    /// # Errors
    /// It is not in system memory.
    pub fn first_buffer(&self) -> Result<InputBuffer<'r>> {
        if self.buffer_count == 0 {
            return Ok(InputBuffer { base: ptr::null(), size: 0, request: self.request });
        }
        self.buffer(0)
    }

    /// The pieces that follow, in order, where the server holds it in several.
    ///
    /// # Errors
    /// A piece is not in system memory.
    pub fn further_buffers(&self) -> Result<Vec<InputBuffer<'r>>> {
        if self.buffer_count <= 1 { Ok(Vec::new()) } else { self.all_further_buffers() }
    }

    #[cold]
    #[inline(never)]
    fn all_further_buffers(&self) -> Result<Vec<InputBuffer<'r>>> {
        (1..self.buffer_count).map(|index| self.buffer(index)).collect()
    }

    fn buffer(&self, index: u32) -> Result<InputBuffer<'r>> {
        let mut base = ptr::null();
        let mut size = 0;
        let mut memory = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU;
        let mut device = 0;
        // SAFETY: the input belongs to a request that outlives `self`; the results are written to our
        // variables.
        check(unsafe {
            (frequent().TRITONBACKEND_InputBuffer)(
                self.raw,
                index,
                &mut base,
                &mut size,
                &mut memory,
                &mut device,
            )
        })?;
        if memory == TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU {
            return Err(in_gpu(device));
        }
        Ok(InputBuffer { base: base.cast(), size: size as usize, request: self.request })
    }
}

#[cold]
#[inline(never)]
fn in_gpu(device: i64) -> Error {
    Error::unsupported(format!(
        "is in the memory of GPU {device}; this backend takes system memory, so send the data itself or use system shared \
         memory"
    ))
}

/// A piece of an input's data. It is copied out or lent, and never seen as a slice: with shared memory it belongs to
/// the client, who may write to it at any time.
pub struct InputBuffer<'r> {
    base: *const u8,
    size: usize,
    request: &'r Request,
}

impl InputBuffer<'_> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Where it is in memory.
    pub fn as_ptr(&self) -> *const u8 {
        self.base
    }

    /// Copies all of it.
    ///
    /// # Panics
    /// When `target` is not exactly as long.
    pub fn copy_to(&self, target: &mut [MaybeUninit<u8>]) {
        assert_eq!(target.len(), self.size, "an input buffer is copied whole");
        if self.size > 0 {
            // SAFETY: the server guarantees `size` bytes at `base` until the request is released, which outlives
            // `self`; `target` is our own memory, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(self.base, target.as_mut_ptr().cast(), self.size) }
        }
    }

    /// Lends its memory beyond the life of the request: the server has the request back only when the loan is over,
    /// too.
    pub fn lend(&self) -> LentBuffer {
        LentBuffer { base: self.base, size: self.size, _release: self.request.accepted().share() }
    }
}

/// Memory of a request that stays readable until this is dropped, on any thread.
pub struct LentBuffer {
    base: *const u8,
    size: usize,
    _release: Arc<Release>,
}

// SAFETY: the memory is only read through it, which any thread may do until the request is released, and `_release`
// keeps that from happening.
unsafe impl Send for LentBuffer {}

impl LentBuffer {
    /// Where it is in memory.
    pub fn as_ptr(&self) -> *const u8 {
        self.base
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.size
    }
}

/// Tells whether the client has cancelled a request, which is not released while this exists.
pub struct Probe(Arc<Release>);

impl Probe {
    /// Whether the server tells at all: since 23.10.
    pub fn knows_cancelled() -> bool {
        api().TRITONBACKEND_RequestIsCancelled.is_ok()
    }

    /// Whether the client has cancelled it.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: `Release` is dropped after this, so that the request is still ours. The server reads a flag that its front
        // ends set from threads of their own: that another thread answers the request meanwhile does not matter.
        unsafe { is_cancelled(self.0.raw) }
    }
}

/// # Safety
/// The request is not released before this returns.
unsafe fn is_cancelled(request: *mut TRITONBACKEND_Request) -> bool {
    let mut cancelled = false;
    if let Ok(is_cancelled) = &api().TRITONBACKEND_RequestIsCancelled {
        // SAFETY: the caller vouches for the request; the answer is written to our variable.
        if let Err(error) = check(unsafe { is_cancelled(request, &mut cancelled) }) {
            log::debug!("the server does not say whether a request was cancelled: {error}");
        }
    }
    cancelled
}

/// # Safety
/// `raw` is null or a NUL-terminated string that lives for `'a`.
unsafe fn text<'a>(raw: *const c_char) -> Result<&'a str> {
    if raw.is_null() {
        return Ok("");
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(raw) }
        .to_str()
        .map_err(|_| Error::invalid("a name in the request is not valid UTF-8"))
}
