//! Error objects made at load, for when the server makes none later.
//!
//! A null pointer in place of an error means success, to the server and to clients: a refused request would be answered as
//! if it had succeeded, a model that cannot be loaded would count as loaded. So an error is told in the general words of a
//! spare one where its own words cannot be told; these are in the log.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use triton_sys::{TRITONSERVER_Error, TRITONSERVER_Error_Code};

use super::api::api;

/// What a spare error says.
const TEXT: &CStr =
    c"the backend failed, and the server made no error with the reason; its log has the reason";

/// How many errors may be given away before one is made again.
const TO_GIVE: usize = 4;

/// A C error of the backend's.
struct Spare(NonNull<TRITONSERVER_Error>);

// SAFETY: the server's errors are plain memory, which any thread may read, and which nobody changes.
unsafe impl Send for Spare {}

#[derive(Default)]
struct Spares {
    /// For calls that only read it, over and over.
    to_lend: Option<Spare>,
    /// For the server to keep.
    to_give: Vec<Spare>,
    /// The backends that the server runs with this library.
    backends: usize,
}

static SPARES: Mutex<Spares> = Mutex::new(Spares { to_lend: None, to_give: Vec::new(), backends: 0 });

fn lock() -> MutexGuard<'static, Spares> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spares() -> MutexGuard<'static, Spares> {
    let mut spares = lock();
    spares.to_lend = spares.to_lend.take().or_else(new);
    while spares.to_give.len() < TO_GIVE {
        let Some(spare) = new() else { break };
        spares.to_give.push(spare);
    }
    spares
}

fn new() -> Option<Spare> {
    let code = TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INTERNAL;
    // SAFETY: the server copies the text during the call; any thread may call.
    NonNull::new(unsafe { api().TRITONSERVER_ErrorNew(code, TEXT.as_ptr()) }).map(Spare)
}

/// A backend begins: makes them, as far as the server does.
pub(super) fn make() {
    spares().backends += 1;
}

/// A backend has ended, and makes no further call. With the last one they are deleted.
pub(super) fn delete() {
    let mut spares = lock();
    spares.backends = spares.backends.saturating_sub(1);
    if spares.backends > 0 {
        return;
    }
    let left = spares.to_lend.take().into_iter().chain(std::mem::take(&mut spares.to_give));
    let left: Vec<Spare> = left.collect();
    drop(spares);
    for spare in left {
        // SAFETY: it was made in `new` and not given away, and no call reads it: those of all backends have returned.
        unsafe { api().TRITONSERVER_ErrorDelete(spare.0.as_ptr()) };
    }
}

/// One that stays the backend's, for a call that reads it; null if the server has never made one.
pub(super) fn lent() -> *mut TRITONSERVER_Error {
    spares().to_lend.as_ref().map_or(ptr::null_mut(), |spare| spare.0.as_ptr())
}

/// One for the server, which deletes it; null if the server has made too few.
pub(super) fn given() -> *mut TRITONSERVER_Error {
    spares().to_give.pop().map_or(ptr::null_mut(), |spare| spare.0.as_ptr())
}
