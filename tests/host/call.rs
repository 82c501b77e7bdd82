//! One call of the backend's: with the fault that is due, or with its effect.

use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use triton_sys::{TRITONSERVER_Error, TRITONSERVER_Error_Code};

use crate::faults::{Kind, due};
use crate::{cuda, objects, violations};

/// An error object.
pub struct ErrorObject {
    pub code: TRITONSERVER_Error_Code,
    pub text: CString,
}

/// How a call ends that no fault was planned for; an error says what the backend asked for that there is not.
pub type Outcome = Result<(), String>;

/// What a call is to give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// What it is for.
    Whole,
    /// Null in its place.
    Null,
    /// Memory of a GPU.
    Gpu,
}

/// Whether `TRITONSERVER_ErrorNew` makes nothing.
static NO_ERRORS: AtomicBool = AtomicBool::new(false);

/// Lets `TRITONSERVER_ErrorNew` return null from now on, or make errors again.
pub fn make_no_errors(no: bool) {
    NO_ERRORS.store(no, Ordering::Relaxed);
}

/// Whether `TRITONSERVER_ErrorNew` returns null.
pub fn makes_no_errors() -> bool {
    NO_ERRORS.load(Ordering::Relaxed)
}

/// An error of the server's own, which the backend has to delete.
pub fn error(text: &str) -> *mut TRITONSERVER_Error {
    let code = TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INTERNAL;
    let text = CString::new(text).expect("no NUL in the host's texts");
    objects::as_pointer(objects::add(Arc::new(ErrorObject { code, text })))
}

fn planted(function: &str) -> *mut TRITONSERVER_Error {
    error(&format!("planted in {function}"))
}

/// Does what a function does whose result the caller looks at only after success.
pub fn call(function: &str, effect: impl FnOnce(Given) -> Outcome) -> *mut TRITONSERVER_Error {
    cuda::nothing_is_current(function);
    let outcome = match due(function) {
        Some(Kind::Error) => return planted(function),
        Some(Kind::Late) => {
            drop(effect(Given::Whole));
            return planted(function);
        }
        Some(Kind::Null) => effect(Given::Null),
        Some(Kind::Gpu) => effect(Given::Gpu),
        None => effect(Given::Whole),
    };
    outcome.map_or_else(|text| error(&text), |()| std::ptr::null_mut())
}

/// Does what a function does that gives something up: whatever it returns, the caller has it no more. `effect` is told
/// whether the function does what else it is for.
pub fn give_up(function: &str, effect: impl FnOnce(bool)) -> *mut TRITONSERVER_Error {
    cuda::nothing_is_current(function);
    let kind = due(function);
    effect(kind != Some(Kind::Error));
    if kind.is_some() { planted(function) } else { std::ptr::null_mut() }
}

/// Makes an object and writes its handle to `to`. Of one that is made together with an error only the handle is there.
///
/// # Safety
/// As for [`write`].
pub unsafe fn make<T: Send + Sync + 'static, H>(
    function: &str,
    to: *mut *mut H,
    new: impl FnOnce() -> Result<Arc<T>, String>,
) -> *mut TRITONSERVER_Error {
    let kind = due(function);
    match kind {
        Some(Kind::Error) => return planted(function),
        Some(Kind::Null) => {
            // SAFETY: as the caller promises.
            unsafe { write(to, std::ptr::null_mut(), function) };
            return std::ptr::null_mut();
        }
        _ => {}
    }
    let object = match new() {
        Ok(object) => object,
        Err(text) => return error(&text),
    };
    let handle = objects::add(object);
    // SAFETY: as the caller promises.
    unsafe { write(to, objects::as_pointer(handle), function) };
    if kind == Some(Kind::Late) {
        objects::remove::<T>(objects::as_pointer::<H>(handle), function);
        return planted(function);
    }
    std::ptr::null_mut()
}

/// Writes a result.
///
/// # Safety
/// `to` is null, which is a violation, or the backend's variable for the result.
pub unsafe fn write<T>(to: *mut T, value: T, function: &str) {
    if to.is_null() {
        violations::add(format!("{function} was called without a place for its result"));
    } else {
        // SAFETY: as the caller promises.
        unsafe { to.write(value) }
    }
}

/// A text of the backend's.
///
/// # Safety
/// `text` is null, which is a violation, or a C string that lives during the call.
pub unsafe fn text(text: *const c_char, function: &str) -> String {
    if text.is_null() {
        violations::add(format!("{function} was called without a text"));
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
