//! A stand-in for TensorFlow's library: it loads and runs one model, `mixed` of the tests, and nothing else.
//!
//! For ThreadSanitizer, which has to see all code of a process: it knows nothing of the locks of a library that is built
//! without it. As in TensorFlow, an execution is on another thread, and inputs may be used for a moment after the run.

// The functions are TensorFlow's, with its names; `tensorflow-c-sys` documents them.
#![allow(clippy::missing_safety_doc, missing_docs, non_snake_case)]

mod model;
mod session;
mod tensor;
mod unplayed;

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use tensorflow_c_sys::{Symbols, TF_Buffer, TF_Code, TF_Status};

use model::*;
use session::*;
use tensor::*;

macro_rules! exported {
    ($($name:ident,)*) => {
        /// Never called: the compiler holds each function against its declaration in the header.
        #[allow(dead_code)]
        fn as_declared(symbols: &mut Symbols) {
            $(symbols.$name = Ok($name);)*
        }
    };
}

exported! {
    TF_AllocateTensor, TF_CloseSession, TF_DeleteBuffer, TF_DeleteGraph, TF_DeleteSession, TF_DeleteSessionOptions,
    TF_DeleteStatus, TF_DeleteTensor, TF_Dim, TF_GetCode, TF_GraphGetFunctions, TF_GraphGetOpDef, TF_GraphNextOperation,
    TF_GraphNumFunctions, TF_GraphOperationByName, TF_LoadSessionFromSavedModel, TF_Message, TF_NewBuffer,
    TF_NewBufferFromString, TF_NewGraph, TF_NewSessionOptions, TF_NewStatus, TF_NewTensor, TF_NumDims,
    TF_OperationGetControlInputs, TF_OperationInput, TF_OperationName, TF_OperationNumControlInputs,
    TF_OperationNumInputs, TF_OperationNumOutputs, TF_OperationOpType, TF_OperationOutputType, TF_SessionRun,
    TF_SetConfig, TF_TensorByteSize, TF_TensorData, TF_TensorMaybeMove, TF_TensorType, TF_Version,
}

/// How a call went.
struct Status {
    code: TF_Code,
    message: CString,
}

/// Notes in a status that a call failed.
///
/// # Safety
/// The status is the caller's and lives.
unsafe fn fail(status: *mut TF_Status, message: &str) {
    // SAFETY: as the caller promises; it was made by `TF_NewStatus`.
    let status = unsafe { &mut *status.cast::<Status>() };
    status.code = TF_Code::TF_INTERNAL;
    status.message = CString::new(message).expect("no NUL");
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_Version() -> *const c_char {
    c"2.20.0".as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_NewStatus() -> *mut TF_Status {
    Box::into_raw(Box::new(Status { code: TF_Code::TF_OK, message: CString::default() })).cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteStatus(status: *mut TF_Status) {
    // SAFETY: the caller gives up what `TF_NewStatus` has made.
    drop(unsafe { Box::from_raw(status.cast::<Status>()) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_GetCode(status: *const TF_Status) -> TF_Code {
    // SAFETY: the status lives.
    unsafe { (*status.cast::<Status>()).code }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_Message(status: *const TF_Status) -> *const c_char {
    // SAFETY: the status lives.
    unsafe { (*status.cast::<Status>()).message.as_ptr() }
}

unsafe extern "C" fn free_bytes(data: *mut c_void, length: usize) {
    // SAFETY: it was made by `set`, of that length.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data.cast::<u8>(), length)) });
}

/// Puts bytes into a buffer that is empty.
///
/// # Safety
/// The buffer is the caller's and lives.
unsafe fn set(buffer: *mut TF_Buffer, bytes: &[u8]) {
    let copy: Box<[u8]> = bytes.into();
    let length = copy.len();
    let data = Box::into_raw(copy).cast::<c_void>();
    // SAFETY: as the caller promises.
    unsafe { *buffer = TF_Buffer { data, length, data_deallocator: Some(free_bytes) } };
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_NewBuffer() -> *mut TF_Buffer {
    Box::into_raw(Box::new(TF_Buffer { data: ptr::null(), length: 0, data_deallocator: None }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_NewBufferFromString(data: *const c_void, length: usize) -> *mut TF_Buffer {
    let buffer = TF_NewBuffer();
    let bytes = if length == 0 {
        &[][..]
    } else {
        // SAFETY: the caller passes so many bytes.
        unsafe { std::slice::from_raw_parts(data.cast(), length) }
    };
    // SAFETY: it was made above.
    unsafe { set(buffer, bytes) };
    buffer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteBuffer(buffer: *mut TF_Buffer) {
    // SAFETY: the caller gives up what `TF_NewBuffer` has made.
    let buffer = unsafe { Box::from_raw(buffer) };
    if let Some(free) = buffer.data_deallocator {
        // SAFETY: the buffer owns its bytes.
        unsafe { free(buffer.data.cast_mut(), buffer.length) };
    }
}
