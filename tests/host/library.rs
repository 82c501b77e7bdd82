//! The backend under test, and its entry points as the server calls them.

use std::env;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use triton_sys::{
    TRITONBACKEND_Backend, TRITONBACKEND_BackendAttribute, TRITONBACKEND_Model, TRITONBACKEND_ModelInstance,
    TRITONBACKEND_Request, TRITONSERVER_Error,
};

use crate::call::ErrorObject;
use crate::{objects, violations};

/// The library, opened as a server opens it, for the life of the process.
static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let path = named("TL_BACKEND");
    // SAFETY: the backend runs nothing when it is opened.
    unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
});

/// What a variable of the environment names.
pub fn named(variable: &str) -> PathBuf {
    let help = "`make test` sets everything up and runs these tests";
    let path = env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; {help}"));
    let path = PathBuf::from(path);
    assert!(path.exists(), "{variable} is {}, which is not there; {help}", path.display());
    path
}

/// An error that an entry point returned, which is the server's from then on.
fn result(error: *mut TRITONSERVER_Error, entry: &str) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    match objects::remove::<ErrorObject>(error, &format!("the result of {entry}")) {
        Some(error) => Err(error.text.to_string_lossy().into_owned()),
        None => Err("no error object".into()),
    }
}

macro_rules! entry_points {
    ($($(#[$doc:meta])* $name:ident: $symbol:literal, $raw:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(handle: usize) -> Result<(), String> {
            // SAFETY: the entry point has this type, and takes a handle that it looks into with the server's functions only.
            let error = unsafe {
                let entry = LIBRARY
                    .get::<unsafe extern "C" fn(*mut $raw) -> *mut TRITONSERVER_Error>($symbol.as_bytes())
                    .expect("an entry point of the library");
                entry(objects::as_pointer(handle))
            };
            result(error, $symbol)
        }
    )*};
}

entry_points! {
    /// The library was opened.
    initialize: "TRITONBACKEND_Initialize", TRITONBACKEND_Backend;
    /// A model is loaded.
    model_initialize: "TRITONBACKEND_ModelInitialize", TRITONBACKEND_Model;
    /// An instance of it is made.
    instance_initialize: "TRITONBACKEND_ModelInstanceInitialize", TRITONBACKEND_ModelInstance;
    /// Whether it is ready.
    instance_ready: "TRITONBACKEND_ModelInstanceReady", TRITONBACKEND_ModelInstance;
    /// An instance goes.
    instance_finalize: "TRITONBACKEND_ModelInstanceFinalize", TRITONBACKEND_ModelInstance;
    /// A model goes.
    model_finalize: "TRITONBACKEND_ModelFinalize", TRITONBACKEND_Model;
    /// The library is to be closed.
    finalize: "TRITONBACKEND_Finalize", TRITONBACKEND_Backend;
}

/// What the backend is able to do.
pub fn attributes(backend: usize, attributes: usize) -> Result<(), String> {
    type Entry = unsafe extern "C" fn(
        *mut TRITONBACKEND_Backend,
        *mut TRITONBACKEND_BackendAttribute,
    ) -> *mut TRITONSERVER_Error;
    // SAFETY: as above.
    let error = unsafe {
        let entry = LIBRARY
            .get::<Entry>(b"TRITONBACKEND_GetBackendAttribute")
            .expect("an entry point of the library");
        entry(objects::as_pointer(backend), objects::as_pointer(attributes))
    };
    result(error, "TRITONBACKEND_GetBackendAttribute")
}

/// Hands requests over. After an error they are still the server's.
pub fn execute(instance: usize, requests: &[usize]) -> Result<(), String> {
    type Entry = unsafe extern "C" fn(
        *mut TRITONBACKEND_ModelInstance,
        *mut *mut TRITONBACKEND_Request,
        u32,
    ) -> *mut TRITONSERVER_Error;
    let mut raw: Vec<*mut TRITONBACKEND_Request> =
        requests.iter().map(|&handle| objects::as_pointer(handle)).collect();
    // SAFETY: as above; the list lives during the call only, as a server's does.
    let error = unsafe {
        let entry = LIBRARY
            .get::<Entry>(b"TRITONBACKEND_ModelInstanceExecute")
            .expect("an entry point of the library");
        entry(objects::as_pointer(instance), raw.as_mut_ptr(), raw.len() as u32)
    };
    result(error, "TRITONBACKEND_ModelInstanceExecute")
}

/// The threads of the backend's own that there are.
pub fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| ["batches", "batch timeouts", "energy", "metrics"].contains(&name.trim_end())).count()
}

/// Notes a violation if the backend has threads. A thread is joined a moment before Linux takes it off its list.
pub fn no_thread_is_left() {
    const MOMENT: Duration = Duration::from_secs(1);
    let since = Instant::now();
    let mut left = threads();
    while left > 0 && since.elapsed() < MOMENT {
        thread::sleep(Duration::from_millis(1));
        left = threads();
    }
    if left > 0 {
        violations::add(format!("{left} threads of the backend's are left"));
    }
}
