//! Backend, model, instance, and the messages in which their configurations are.

// The names are the server's.
#![allow(non_snake_case)]

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use triton_sys::{
    TRITONBACKEND_ArtifactType, TRITONBACKEND_Backend, TRITONBACKEND_BackendAttribute, TRITONBACKEND_Model,
    TRITONBACKEND_ModelInstance, TRITONBACKEND_Request, TRITONSERVER_Error, TRITONSERVER_Message,
};

use crate::call::{self, Given, Outcome, call, give_up, make, write};
use crate::request::Request;
use crate::{faults, objects, violations};

/// The backend as the server knows it.
pub struct Backend {
    pub name: CString,
    pub folder: CString,
    /// A message of the server's, which it deletes itself.
    pub config: usize,
    pub state: AtomicPtr<c_void>,
}

/// A version of a model.
pub struct Model {
    pub backend: usize,
    pub name: CString,
    pub folder: CString,
    pub config: Mutex<String>,
    /// Whether the backend may complete the configuration.
    pub may_complete: bool,
    pub state: AtomicPtr<c_void>,
}

/// An instance of it.
pub struct ModelInstance {
    pub model: usize,
    pub state: AtomicPtr<c_void>,
    /// Requests that were reported, less the executions that were.
    pub reported: AtomicUsize,
}

/// What a backend says of itself; there while it is asked.
pub struct Attribute;

/// JSON.
pub struct Message {
    pub text: CString,
    /// Whether the backend has to delete it.
    pub is_backends: bool,
}

/// The error where a handle is none: the violation is noted already.
const NONE: &str = "no such object";

fn get<T: Send + Sync + 'static>(handle: *const impl Sized, function: &str) -> Result<Arc<T>, String> {
    objects::get(handle, function).ok_or_else(|| NONE.into())
}

/// Writes a text that lives as long as its owner.
///
/// # Safety
/// As for [`write`].
unsafe fn give_text(to: *mut *const c_char, text: &CString, given: Given, function: &str) -> Outcome {
    let text = if given == Given::Null { ptr::null() } else { text.as_ptr() };
    // SAFETY: as the caller promises.
    unsafe { write(to, text, function) };
    Ok(())
}

/// Writes a handle.
///
/// # Safety
/// As for [`write`].
unsafe fn give_handle<H>(to: *mut *mut H, handle: usize, given: Given, function: &str) -> Outcome {
    let handle = if given == Given::Null { ptr::null_mut() } else { objects::as_pointer(handle) };
    // SAFETY: as the caller promises.
    unsafe { write(to, handle, function) };
    Ok(())
}

macro_rules! versions {
    ($($name:ident: $major:literal, $minor:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(major: *mut u32, minor: *mut u32) -> *mut TRITONSERVER_Error {
            call(stringify!($name), |_| {
                // SAFETY: the backend passes its variables.
                unsafe {
                    write(major, $major, stringify!($name));
                    write(minor, $minor, stringify!($name));
                }
                Ok(())
            })
        }
    )*};
}

versions! {
    TRITONBACKEND_ApiVersion: 1, 19;
    TRITONSERVER_ApiVersion: 1, 34;
}

macro_rules! states {
    ($($object:ident, $raw:ty, $set:ident, $get:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(of: *mut $raw, state: *mut c_void) -> *mut TRITONSERVER_Error {
            call(stringify!($set), |_| {
                get::<$object>(of, stringify!($set))?.state.store(state, Ordering::Release);
                Ok(())
            })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(of: *mut $raw, state: *mut *mut c_void) -> *mut TRITONSERVER_Error {
            call(stringify!($get), |given| {
                let kept = get::<$object>(of, stringify!($get))?.state.load(Ordering::Acquire);
                let kept = if given == Given::Null { ptr::null_mut() } else { kept };
                // SAFETY: the backend passes its variable.
                unsafe { write(state, kept, stringify!($get)) };
                Ok(())
            })
        }
    )*};
}

states! {
    Backend, TRITONBACKEND_Backend, TRITONBACKEND_BackendSetState, TRITONBACKEND_BackendState;
    Model, TRITONBACKEND_Model, TRITONBACKEND_ModelSetState, TRITONBACKEND_ModelState;
    ModelInstance, TRITONBACKEND_ModelInstance, TRITONBACKEND_ModelInstanceSetState, TRITONBACKEND_ModelInstanceState;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_BackendName(
    backend: *mut TRITONBACKEND_Backend,
    name: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_BackendName";
    // SAFETY: the backend passes its variable.
    call(NAME, |given| unsafe { give_text(name, &get::<Backend>(backend, NAME)?.name, given, NAME) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_BackendArtifacts(
    backend: *mut TRITONBACKEND_Backend,
    kind: *mut TRITONBACKEND_ArtifactType,
    location: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_BackendArtifacts";
    // SAFETY: the backend passes its variables.
    call(NAME, |given| unsafe {
        write(kind, TRITONBACKEND_ArtifactType::TRITONBACKEND_ARTIFACT_FILESYSTEM, NAME);
        give_text(location, &get::<Backend>(backend, NAME)?.folder, given, NAME)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_BackendConfig(
    backend: *mut TRITONBACKEND_Backend,
    message: *mut *mut TRITONSERVER_Message,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_BackendConfig";
    // SAFETY: the backend passes its variable.
    call(NAME, |given| unsafe { give_handle(message, get::<Backend>(backend, NAME)?.config, given, NAME) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(
    attributes: *mut TRITONBACKEND_BackendAttribute,
    _enabled: bool,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading";
    call(NAME, |_| get::<Attribute>(attributes, NAME).map(drop))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelBackend(
    model: *mut TRITONBACKEND_Model,
    backend: *mut *mut TRITONBACKEND_Backend,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelBackend";
    // SAFETY: the backend passes its variable.
    call(NAME, |given| unsafe { give_handle(backend, get::<Model>(model, NAME)?.backend, given, NAME) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelName(
    model: *mut TRITONBACKEND_Model,
    name: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelName";
    // SAFETY: the backend passes its variable.
    call(NAME, |given| unsafe { give_text(name, &get::<Model>(model, NAME)?.name, given, NAME) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelVersion(
    model: *mut TRITONBACKEND_Model,
    version: *mut u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelVersion";
    call(NAME, |_| {
        get::<Model>(model, NAME)?;
        // SAFETY: the backend passes its variable.
        unsafe { write(version, 1, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelRepository(
    model: *mut TRITONBACKEND_Model,
    kind: *mut TRITONBACKEND_ArtifactType,
    location: *mut *const c_char,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelRepository";
    // SAFETY: the backend passes its variables.
    call(NAME, |given| unsafe {
        write(kind, TRITONBACKEND_ArtifactType::TRITONBACKEND_ARTIFACT_FILESYSTEM, NAME);
        give_text(location, &get::<Model>(model, NAME)?.folder, given, NAME)
    })
}

fn message(text: String) -> Arc<Message> {
    let text = CString::new(text).expect("JSON has no NUL");
    Arc::new(Message { text, is_backends: true })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelConfig(
    model: *mut TRITONBACKEND_Model,
    version: u32,
    config: *mut *mut TRITONSERVER_Message,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelConfig";
    let new = || {
        let model = get::<Model>(model, NAME)?;
        if version != 1 {
            return Err(format!("there is no version {version} of the configuration"));
        }
        Ok(message(model.config.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    };
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, config, new) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelSetConfig(
    model: *mut TRITONBACKEND_Model,
    version: u32,
    config: *mut TRITONSERVER_Message,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelSetConfig";
    call(NAME, |_| {
        let (model, message) = (get::<Model>(model, NAME)?, get::<Message>(config, NAME)?);
        if version != 1 {
            return Err(format!("there is no version {version} of the configuration"));
        }
        *model.config.lock().unwrap_or_else(PoisonError::into_inner) =
            message.text.to_string_lossy().into_owned();
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelAutoCompleteConfig(
    model: *mut TRITONBACKEND_Model,
    allowed: *mut bool,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelAutoCompleteConfig";
    call(NAME, |_| {
        let may_complete = get::<Model>(model, NAME)?.may_complete;
        // SAFETY: the backend passes its variable.
        unsafe { write(allowed, may_complete, NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceModel(
    instance: *mut TRITONBACKEND_ModelInstance,
    model: *mut *mut TRITONBACKEND_Model,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelInstanceModel";
    // SAFETY: the backend passes its variable.
    call(NAME, |given| unsafe {
        give_handle(model, get::<ModelInstance>(instance, NAME)?.model, given, NAME)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceReportStatistics(
    instance: *mut TRITONBACKEND_ModelInstance,
    request: *mut TRITONBACKEND_Request,
    success: bool,
    exec_start: u64,
    compute_start: u64,
    compute_end: u64,
    exec_end: u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelInstanceReportStatistics";
    let fault = faults::due(NAME);
    if let Some(instance) = objects::get::<ModelInstance>(instance, NAME) {
        instance.reported.fetch_add(1, Ordering::Relaxed);
    }
    // A report that fails counts as well: it was made.
    if let Some(request) = objects::get::<Request>(request, NAME) {
        let record = &request.record;
        record.reports.fetch_add(1, Ordering::Relaxed);
        if ![exec_start, compute_start, compute_end, exec_end].is_sorted() {
            violations::add(format!("request {}: reported with times that go back", record.number));
        }
        if success && record.answers().is_empty() {
            violations::add(format!(
                "request {}: reported as a success before it was answered",
                record.number
            ));
        }
    }
    if fault.is_some() { call::error(&format!("planted in {NAME}")) } else { ptr::null_mut() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceReportBatchStatistics(
    instance: *mut TRITONBACKEND_ModelInstance,
    _rows: u64,
    exec_start: u64,
    compute_start: u64,
    compute_end: u64,
    exec_end: u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_ModelInstanceReportBatchStatistics";
    call(NAME, |_| {
        if ![exec_start, compute_start, compute_end, exec_end].is_sorted() {
            violations::add("an execution was reported with times that go back".into());
        }
        // Who finds the execution in the statistics looks for its requests there. Each has one of this instance at least; two
        // workers may report theirs at once.
        let reported = &get::<ModelInstance>(instance, NAME)?.reported;
        let one_less = |count: usize| count.checked_sub(1);
        if reported.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            violations::add("an execution was reported before its requests".into());
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MessageNewFromSerializedJson(
    to: *mut *mut TRITONSERVER_Message,
    base: *const c_char,
    size: usize,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MessageNewFromSerializedJson";
    let new = || {
        // SAFETY: the backend passes a text of that length, which lives during the call.
        let text = unsafe { std::slice::from_raw_parts(base.cast::<u8>(), size) };
        Ok(message(String::from_utf8(text.to_vec()).map_err(|e| e.to_string())?))
    };
    // SAFETY: the backend passes its variable.
    unsafe { make(NAME, to, new) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MessageSerializeToJson(
    message: *mut TRITONSERVER_Message,
    base: *mut *const c_char,
    size: *mut usize,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MessageSerializeToJson";
    call(NAME, |given| {
        let message = get::<Message>(message, NAME)?;
        // SAFETY: the backend passes its variables; the text lives as long as the message.
        unsafe {
            write(size, message.text.as_bytes().len(), NAME);
            give_text(base, &message.text, given, NAME)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONSERVER_MessageDelete(
    message: *mut TRITONSERVER_Message,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONSERVER_MessageDelete";
    give_up(NAME, |_| {
        let message = objects::remove::<Message>(message, NAME);
        if message.is_some_and(|message| !message.is_backends) {
            violations::add(format!("{NAME} was called for a message of the server's"));
        }
    })
}
