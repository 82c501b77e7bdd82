//! What the backend gives the server to keep: the state of a backend, a model or an instance, by its handle.
//!
//! The server keeps a pointer for each handle and gives it back on request. That request can fail, and where it does in
//! a Finalize, threads, metrics and memory would be left behind. So the backend notes itself what it has given to whom, and
//! asks the server only where that is quicker, in Execute.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use triton_sys::TRITONSERVER_Error;

use super::error::{Error, Result, check};

/// A state that the server keeps: a box of the type.
struct State {
    kind: TypeId,
    address: usize,
    /// Whether the server has said that it does not keep it. It may have the pointer all the same, and use it if it does
    /// not know that the Initialize has failed; so the state stays until the Finalize, which comes also then.
    is_refused: bool,
}

/// The states by the addresses of their handles. A handle is the server's until its Finalize returns, so no two have the
/// same address.
static STATES: Mutex<BTreeMap<usize, State>> = Mutex::new(BTreeMap::new());

fn states() -> MutexGuard<'static, BTreeMap<usize, State>> {
    STATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the server a state to keep for `handle`; `set` tells it the pointer. On an error nobody is lent the state, and it
/// stays where it is until it is taken back.
pub(super) fn hand_out<H, T: Send + Sync + 'static>(
    handle: *mut H,
    state: T,
    set: impl FnOnce(*mut c_void) -> *mut TRITONSERVER_Error,
) -> Result<()> {
    let state = Box::into_raw(Box::new(state));
    let set = check(set(state.cast()));
    let kept =
        State { kind: TypeId::of::<T>(), address: state.expose_provenance(), is_refused: set.is_err() };
    states().insert(handle.addr(), kept);
    set
}

/// Lends the state of `handle`.
///
/// # Errors
/// There is none, because its Initialize failed or was never called.
///
/// # Safety
/// The state is not taken back during `'a`.
pub(super) unsafe fn borrow<'a, H, T: Send + Sync + 'static>(handle: *mut H) -> Result<&'a T> {
    let state = find::<T>(states().get(&handle.addr()).filter(|state| !state.is_refused));
    // SAFETY: what is noted is a box of this type that only `take_back` frees, which the caller excludes; it is shared
    // among threads as `T: Sync` allows.
    state.map(|state| unsafe { &*state }).ok_or_else(|| {
        Error::internal(format!(
            "the server uses a handle for which no {} was made: its Initialize failed, or was not called",
            type_name::<T>()
        ))
    })
}

/// As [`borrow`], also where the server has refused the state.
///
/// # Safety
/// As for [`borrow`].
pub(super) unsafe fn borrow_last<'a, H, T: Send + Sync + 'static>(handle: *mut H) -> Option<&'a T> {
    let state = find::<T>(states().get(&handle.addr()));
    // SAFETY: as in `borrow`.
    state.map(|state| unsafe { &*state })
}

/// Takes the state of `handle` back. There is none if its Initialize failed before it was made.
///
/// # Safety
/// Nothing that [`borrow`] lent of it, or the server's pointer, is used any more.
pub(super) unsafe fn take_back<H, T: Send + Sync + 'static>(handle: *mut H) -> Option<Box<T>> {
    let state = find::<T>(states().remove(&handle.addr()).as_ref())?;
    // SAFETY: it was made by `Box::into_raw` in `hand_out` and is not noted any more, so it is taken back once.
    Some(unsafe { Box::from_raw(state) })
}

fn find<T: 'static>(state: Option<&State>) -> Option<*mut T> {
    let state = state.filter(|state| state.kind == TypeId::of::<T>())?;
    Some(std::ptr::with_exposed_provenance_mut(state.address))
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::Arc;

    use super::*;

    /// A handle of a test's own.
    fn handle() -> (Box<u64>, *mut u64) {
        let mut memory = Box::new(0);
        let handle = ptr::from_mut(&mut *memory);
        (memory, handle)
    }

    #[test]
    fn a_state_is_lent_and_taken_back_once_without_asking_the_server() {
        let (_memory, handle) = handle();
        let state = Arc::new(5);
        hand_out(handle, Arc::clone(&state), |pointer| {
            assert!(!pointer.is_null());
            ptr::null_mut()
        })
        .unwrap();
        // SAFETY: it is taken back below.
        assert_eq!(unsafe { borrow::<_, Arc<i32>>(handle) }.map(|state| **state), Ok(5));
        // SAFETY: nothing is borrowed.
        assert!(unsafe { take_back::<_, Arc<i32>>(handle) }.is_some());
        assert_eq!(Arc::strong_count(&state), 1, "it was dropped");
        // SAFETY: as above.
        assert!(unsafe { take_back::<_, Arc<i32>>(handle) }.is_none());
        // SAFETY: there is nothing to lend.
        let error = unsafe { borrow::<_, Arc<i32>>(handle) }.unwrap_err();
        assert!(error.message.contains("its Initialize failed"), "{error}");
    }

    #[test]
    fn a_state_that_the_server_refuses_is_lent_to_nobody_and_stays_until_it_is_taken_back() {
        let (_memory, handle) = handle();
        let state = Arc::new(5);
        hand_out(handle, Arc::clone(&state), |_| ptr::null_mut()).unwrap();
        // As after an error, which only a server can make.
        states().get_mut(&handle.addr()).expect("it was noted").is_refused = true;
        // SAFETY: it is taken back below.
        assert!(unsafe { borrow::<_, Arc<i32>>(handle) }.is_err());
        // SAFETY: as above.
        assert!(unsafe { borrow_last::<_, Arc<i32>>(handle) }.is_some());
        // SAFETY: nothing is borrowed.
        assert!(unsafe { take_back::<_, Arc<i32>>(handle) }.is_some());
        assert_eq!(Arc::strong_count(&state), 1, "it was dropped");
    }

    #[test]
    fn a_handle_without_a_state_or_with_another_s_is_none() {
        let (_memory, handle) = handle();
        // SAFETY: there is nothing to lend.
        assert!(unsafe { borrow::<_, u8>(handle) }.is_err());
        // SAFETY: there is nothing to take.
        assert!(unsafe { take_back::<_, u8>(handle) }.is_none());
        hand_out(handle, 1_u8, |_| ptr::null_mut()).unwrap();
        // SAFETY: it is not taken back.
        assert!(unsafe { borrow::<_, i8>(handle) }.is_err(), "it is of another type");
        // SAFETY: nothing is borrowed.
        assert!(unsafe { take_back::<_, u8>(handle) }.is_some());
    }
}
