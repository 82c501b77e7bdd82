//! Errors and the log.

// The names are the server's.
#![allow(non_snake_case)]

use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::sync::Arc;

use triton_sys::{TRITONSERVER_Error, TRITONSERVER_Error_Code, TRITONSERVER_LogLevel};

use crate::call::{self, ErrorObject, makes_no_errors};
use crate::{faults, objects};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ErrorNew(
    code: TRITONSERVER_Error_Code,
    text: *const c_char,
) -> *mut TRITONSERVER_Error {
    if faults::due("TRITONSERVER_ErrorNew").is_some() || makes_no_errors() {
        return ptr::null_mut();
    }
    // SAFETY: the backend passes a text that lives during the call.
    let text = unsafe { call::text(text, "TRITONSERVER_ErrorNew") };
    let text = CString::new(text).expect("a C string has no NUL");
    objects::as_pointer(objects::add(Arc::new(ErrorObject { code, text })))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ErrorCode(error: *mut TRITONSERVER_Error) -> TRITONSERVER_Error_Code {
    faults::due("TRITONSERVER_ErrorCode");
    let error = objects::get::<ErrorObject>(error, "TRITONSERVER_ErrorCode");
    error.map_or(TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNKNOWN, |error| error.code)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ErrorMessage(error: *mut TRITONSERVER_Error) -> *const c_char {
    let fault = faults::due("TRITONSERVER_ErrorMessage");
    let error = objects::get::<ErrorObject>(error, "TRITONSERVER_ErrorMessage");
    // The text lives as long as the error, which the backend has until it deletes it.
    error.filter(|_| fault.is_none()).map_or(ptr::null(), |error| error.text.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_ErrorDelete(error: *mut TRITONSERVER_Error) {
    faults::due("TRITONSERVER_ErrorDelete");
    objects::remove::<ErrorObject>(error, "TRITONSERVER_ErrorDelete");
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_LogIsEnabled(_level: TRITONSERVER_LogLevel) -> bool {
    faults::due("TRITONSERVER_LogIsEnabled");
    true
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_LogMessage(
    level: TRITONSERVER_LogLevel,
    file: *const c_char,
    line: c_int,
    text: *const c_char,
) -> *mut TRITONSERVER_Error {
    call::call("TRITONSERVER_LogMessage", |_| {
        // SAFETY: the backend passes texts that live during the call.
        let (file, text) = unsafe {
            (call::text(file, "TRITONSERVER_LogMessage"), call::text(text, "TRITONSERVER_LogMessage"))
        };
        if std::env::var_os("TL_HOST_LOG").is_some() {
            eprintln!("{} {file}:{line}: {text}", level.0);
        }
        Ok(())
    })
}
