//! Responses and their outputs.

// The names are the server's.
#![allow(non_snake_case)]

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use triton_sys::{
    TRITONBACKEND_Output, TRITONBACKEND_Request, TRITONBACKEND_Response, TRITONSERVER_DataType,
    TRITONSERVER_Error, TRITONSERVER_MemoryType, TRITONSERVER_ResponseCompleteFlag,
};

use super::requests::give_memory;
use crate::call::{self, ErrorObject, call, give_up, make};
use crate::memory::Memory;
use crate::request::{Answer, Record, Request};
use crate::{objects, violations};

/// A response that is not sent.
pub struct Response {
    record: Arc<Record>,
    outputs: Mutex<Vec<(Arc<Output>, usize)>>,
    parameters: Mutex<BTreeMap<String, i64>>,
}

/// An output of it.
pub struct Output {
    name: String,
    datatype: TRITONSERVER_DataType,
    shape: Vec<i64>,
    /// Where its client wants it, if not in system memory.
    gpu: Option<i64>,
    memory: Mutex<Option<Memory>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Response {
    /// What is wrong with it as the answer of a success.
    fn faults(&self) -> Vec<String> {
        let outputs = lock(&self.outputs);
        let mut faults = Vec::new();
        for wanted in &self.record.asked.outputs {
            let Some((output, _)) = outputs.iter().find(|(output, _)| output.name == *wanted) else {
                faults.push(format!("has no output '{wanted}'"));
                continue;
            };
            let (datatype, shape, content) = self.record.expected(wanted).expect("an output of the model");
            if (output.datatype, &output.shape) != (datatype, &shape) {
                faults.push(format!("has '{wanted}' with another type or shape, {:?}", output.shape));
            }
            let memory = lock(&output.memory);
            // SAFETY: the backend has sent the response and writes no more; AddressSanitizer would see it.
            match memory.as_ref().map(|memory| unsafe { memory.bytes() }) {
                None => faults.push(format!("has '{wanted}' without memory")),
                Some(bytes) if bytes.chunks(4).any(Memory::is_unset) => {
                    faults.push(format!("has '{wanted}' not wholly written"));
                }
                Some(bytes) if content.is_some_and(|content| content != bytes) => {
                    faults.push(format!("has a wrong '{wanted}'"));
                }
                Some(_) => {}
            }
        }
        if outputs.len() != self.record.asked.outputs.len() {
            faults.push(format!("has {} outputs", outputs.len()));
        }
        let parameters = lock(&self.parameters);
        if parameters.len() != self.record.asked.parameters || parameters.values().any(|&value| value < 0) {
            faults.push(format!("has the parameters {parameters:?}"));
        }
        faults
    }

    /// From now on nothing of it may be used.
    fn end(&self) {
        for (_, handle) in lock(&self.outputs).drain(..) {
            objects::remove::<Output>(objects::as_pointer::<u8>(handle), "the end of a response");
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ResponseNew(
    response: *mut *mut TRITONBACKEND_Response,
    request: *mut TRITONBACKEND_Request,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ResponseNew";
    let new = || {
        let request = objects::get::<Request>(request, NAME).ok_or("no such request")?;
        Ok(Arc::new(Response {
            record: Arc::clone(&request.record),
            outputs: Mutex::default(),
            parameters: Mutex::default(),
        }))
    };
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, response, new) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ResponseDelete(
    response: *mut TRITONBACKEND_Response,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ResponseDelete";
    give_up(NAME, |_| {
        if let Some(response) = objects::remove::<Response>(response, NAME) {
            response.end();
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ResponseSetIntParameter(
    response: *mut TRITONBACKEND_Response,
    name: *const c_char,
    value: i64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ResponseSetIntParameter";
    call(NAME, |_| {
        let response = objects::get::<Response>(response, NAME).ok_or("no such response")?;
        // SAFETY: the backend passes a text that lives during the call.
        let name = unsafe { call::text(name, NAME) };
        lock(&response.parameters).insert(name, value);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ResponseOutput(
    response: *mut TRITONBACKEND_Response,
    output: *mut *mut TRITONBACKEND_Output,
    name: *const c_char,
    datatype: TRITONSERVER_DataType,
    shape: *const i64,
    rank: u32,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ResponseOutput";
    let mut of = None;
    let new = || {
        let response = objects::get::<Response>(response, NAME).ok_or("no such response")?;
        let gpu = response.record.asked.outputs_on;
        of = Some(response);
        // SAFETY: the backend passes a text and a shape of that rank, which live during the call.
        let (name, shape) =
            unsafe { (call::text(name, NAME), std::slice::from_raw_parts(shape, rank as usize).to_vec()) };
        Ok(Arc::new(Output { name, datatype, shape, gpu, memory: Mutex::default() }))
    };
    // SAFETY: the backend passes its variable.
    let error = unsafe { make(NAME, output, new) };
    if let Some(response) = of.filter(|_| error.is_null()) {
        // SAFETY: it was written in `make`, in this thread.
        let handle = unsafe { *output };
        let output = objects::get::<Output>(handle, NAME).expect("it was made above");
        lock(&response.outputs).push((output, handle.addr()));
    }
    error
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_OutputBuffer(
    output: *mut TRITONBACKEND_Output,
    base: *mut *mut c_void,
    size: u64,
    kind: *mut TRITONSERVER_MemoryType,
    device: *mut i64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_OutputBuffer";
    call(NAME, |given| {
        let output = objects::get::<Output>(output, NAME).ok_or("no such output")?;
        // SAFETY: the backend passes its variable.
        let wanted = unsafe { kind.as_ref() };
        if wanted != Some(&TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU) {
            violations::add(format!("{NAME} was called for memory of the kind {wanted:?}"));
        }
        let memory = Memory::unset(size as usize).on(output.gpu);
        // SAFETY: the backend passes its variables; the memory lives until the response ends.
        unsafe { give_memory(&memory, given, base, kind, device, NAME) };
        *lock(&output.memory) = Some(memory);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ResponseSend(
    response: *mut TRITONBACKEND_Response,
    flags: u32,
    error: *mut TRITONSERVER_Error,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ResponseSend";
    if flags != TRITONSERVER_ResponseCompleteFlag::TRITONSERVER_RESPONSE_COMPLETE_FINAL.0 {
        violations::add(format!("{NAME} was called with the flags {flags}"));
    }
    give_up(NAME, |delivers| {
        let Some(response) = objects::remove::<Response>(response, NAME) else { return };
        let record = &response.record;
        if record.is_released() {
            violations::add(format!("request {}: answered after its release", record.number));
        }
        let text = (!error.is_null()).then(|| {
            // The error stays the backend's.
            let error = objects::get::<ErrorObject>(error, NAME);
            error.map_or_else(String::new, |error| error.text.to_string_lossy().into_owned())
        });
        let faults = if text.is_none() { response.faults() } else { Vec::new() };
        for fault in faults {
            violations::add(format!("request {}: its response, a success, {fault}", record.number));
        }
        record.answered(match text {
            _ if !delivers => Answer::Undelivered,
            Some(text) => Answer::Error(text),
            None => Answer::Well,
        });
        response.end();
    })
}
