//! Requests and their inputs.

// The names are the server's.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use triton_sys::{
    TRITONBACKEND_Input, TRITONBACKEND_Request, TRITONSERVER_DataType, TRITONSERVER_Error,
    TRITONSERVER_MemoryType, TRITONSERVER_RequestReleaseFlag,
};

use crate::call::{self, Given, call, write};
use crate::cuda::NOWHERE;
use crate::memory::Memory;
use crate::request::{Input, Request};
use crate::{faults, objects, violations};

fn request(handle: *mut TRITONBACKEND_Request, function: &str) -> Result<Arc<Request>, String> {
    objects::get(handle, function).ok_or_else(|| "no such request".into())
}

fn input(handle: *mut TRITONBACKEND_Input, function: &str) -> Result<Arc<Input>, String> {
    objects::get(handle, function).ok_or_else(|| "no such input".into())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestId(
    handle: *mut TRITONBACKEND_Request,
    id: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestId";
    call(NAME, |given| {
        let request = request(handle, NAME)?;
        let text = if given == Given::Null { ptr::null() } else { request.id.as_ptr() };
        // SAFETY: the backend passes its variable.
        unsafe { write(id, text, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_InferenceRequestTimeoutMicroseconds(
    handle: *mut TRITONBACKEND_Request,
    timeout: *mut u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_InferenceRequestTimeoutMicroseconds";
    call(NAME, |_| {
        let timeout_us = request(handle, NAME)?.record.asked.timeout_us;
        // SAFETY: the backend passes its variable.
        unsafe { write(timeout, timeout_us, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestIsCancelled(
    handle: *mut TRITONBACKEND_Request,
    cancelled: *mut bool,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestIsCancelled";
    call(NAME, |_| {
        let is_cancelled = request(handle, NAME)?.record.asked.is_cancelled;
        // SAFETY: the backend passes its variable.
        unsafe { write(cancelled, is_cancelled, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestInput(
    handle: *mut TRITONBACKEND_Request,
    name: *const c_char,
    input: *mut *mut TRITONBACKEND_Input,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestInput";
    call(NAME, |given| {
        let request = request(handle, NAME)?;
        // SAFETY: the backend passes a text that lives during the call.
        let name = unsafe { call::text(name, NAME) };
        let found = request.inputs.iter().find(|(input, _)| input.name.to_bytes() == name.as_bytes());
        let (_, handle) = found.ok_or_else(|| format!("there is no input '{name}'"))?;
        let found = if given == Given::Null { ptr::null_mut() } else { objects::as_pointer(*handle) };
        // SAFETY: the backend passes its variable.
        unsafe { write(input, found, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_InputProperties(
    handle: *mut TRITONBACKEND_Input,
    name: *mut *const c_char,
    datatype: *mut TRITONSERVER_DataType,
    shape: *mut *const i64,
    rank: *mut u32,
    byte_size: *mut u64,
    buffer_count: *mut u32,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_InputProperties";
    call(NAME, |given| {
        let input = input(handle, NAME)?;
        let is_whole = given != Given::Null;
        let size: usize = input.buffers.iter().map(|buffer| buffer.len()).sum();
        // SAFETY: the backend passes its variables, or null for what it does not want. Name and shape live as long as the
        // request.
        unsafe {
            if let Some(name) = name.as_mut() {
                *name = if is_whole { input.name.as_ptr() } else { ptr::null() };
            }
            if let Some(datatype) = datatype.as_mut() {
                *datatype = input.datatype;
            }
            if let Some(shape) = shape.as_mut() {
                *shape = if is_whole { input.shape.as_ptr() } else { ptr::null() };
            }
            if let Some(rank) = rank.as_mut() {
                *rank = input.shape.len() as u32;
            }
            if let Some(byte_size) = byte_size.as_mut() {
                *byte_size = size as u64;
            }
            if let Some(count) = buffer_count.as_mut() {
                *count = input.buffers.len() as u32;
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_InputBuffer(
    handle: *mut TRITONBACKEND_Input,
    index: u32,
    base: *mut *const c_void,
    size: *mut u64,
    kind: *mut TRITONSERVER_MemoryType,
    device: *mut i64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_InputBuffer";
    call(NAME, |given| {
        let input = input(handle, NAME)?;
        let buffer = input.buffers.get(index as usize).ok_or_else(|| {
            violations::add(format!("{NAME} was called for buffer {index} of {}", input.buffers.len()));
            "there is no such buffer"
        })?;
        // SAFETY: the backend passes its variables; the buffer lives as long as the request.
        unsafe { give_memory(buffer, given, base.cast(), kind, device, NAME) };
        // SAFETY: as above.
        unsafe { write(size, buffer.len() as u64, NAME) };
        Ok(())
    })
}

/// Writes where memory is.
///
/// # Safety
/// As for [`write`].
pub unsafe fn give_memory(
    memory: &Memory,
    given: Given,
    base: *mut *mut c_void,
    kind: *mut TRITONSERVER_MemoryType,
    device: *mut i64,
    function: &str,
) {
    let (mut address, mut kind_of_it, gpu) = memory.place();
    match given {
        Given::Whole => {}
        Given::Null => address = ptr::null_mut(),
        Given::Gpu => {
            address = ptr::without_provenance_mut(NOWHERE);
            kind_of_it = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU;
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        write(base, address.cast(), function);
        write(kind, kind_of_it, function);
        write(device, gpu, function);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestOutputCount(
    handle: *mut TRITONBACKEND_Request,
    count: *mut u32,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestOutputCount";
    call(NAME, |_| {
        let found = request(handle, NAME)?.outputs.len() as u32;
        // SAFETY: the backend passes its variable.
        unsafe { write(count, found, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestOutputName(
    handle: *mut TRITONBACKEND_Request,
    index: u32,
    name: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestOutputName";
    call(NAME, |given| {
        let request = request(handle, NAME)?;
        let found = request.outputs.get(index as usize).ok_or("there is no such output")?;
        let found = if given == Given::Null { ptr::null() } else { found.as_ptr() };
        // SAFETY: the backend passes its variable; the name lives as long as the request.
        unsafe { write(name, found, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_RequestRelease(
    handle: *mut TRITONBACKEND_Request,
    flags: u32,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_RequestRelease";
    if flags != TRITONSERVER_RequestReleaseFlag::TRITONSERVER_REQUEST_RELEASE_ALL.0 {
        violations::add(format!("{NAME} was called with the flags {flags}"));
    }
    if faults::due(NAME).is_some() {
        objects::get::<Request>(handle, NAME);
        return call::error(&format!("planted in {NAME}"));
    }
    if let Some(request) = objects::remove::<Request>(handle, NAME) {
        request.release();
    }
    ptr::null_mut()
}
