//! Raw bindings of the Triton Inference Server backend API.
//!
//! A Triton backend is a shared library that the server opens and that calls back into the server. This
//! crate declares what such a library calls (`TRITONBACKEND_*` and the part of `TRITONSERVER_*` that a
//! backend needs) and the types of what it exports. The in-process server API is left out.
//!
//! **Nothing is linked.** [`Api::from_process`] looks the functions up in the running server, so one
//! binary serves every Triton of the same major version: what API 1.0 (Triton 2.7.0, 21.02) had must be
//! there, what came later is used where the server has it. [`FUNCTIONS`] tells since when each exists.
//!
//! # Example
//!
//! A backend that runs nothing: it answers each request with an error.
//!
//! ```no_run
//! use std::ffi::CString;
//! use std::ptr;
//! use std::sync::OnceLock;
//!
//! use triton_sys::*;
//!
//! static API: OnceLock<Api> = OnceLock::new();
//!
//! /// # Safety
//! /// The server calls it, once, after it has opened the library.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn TRITONBACKEND_Initialize(_: *mut TRITONBACKEND_Backend) -> *mut TRITONSERVER_Error {
//!     // SAFETY: the server that called this function stays loaded as long as this library.
//!     match unsafe { Api::from_process() } {
//!         Ok(api) => {
//!             eprintln!("backend API of the server: {}", api.version());
//!             API.get_or_init(|| api);
//!             ptr::null_mut()
//!         }
//!         // A null pointer would mean success: without a way to say why, end the process.
//!         // SAFETY: as above.
//!         Err(error) => match unsafe { error.to_server() } {
//!             Some(error) => error.as_ptr(),
//!             None => panic!("{error}"),
//!         },
//!     }
//! }
//!
//! /// # Safety
//! /// The server calls it with `count` requests, which are its own when an error is returned.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceExecute(
//!     _: *mut TRITONBACKEND_ModelInstance,
//!     requests: *mut *mut TRITONBACKEND_Request,
//!     count: u32,
//! ) -> *mut TRITONSERVER_Error {
//!     let Some(api) = API.get() else { std::process::abort() };
//!     let mut cancelled = false;
//!     // A function of API 1.16: there or not, depending on the server.
//!     if let Ok(is_cancelled) = &api.TRITONBACKEND_RequestIsCancelled {
//!         for at in 0..count as usize {
//!             // SAFETY: the server guarantees `count` live requests until this function returns.
//!             let error = unsafe { is_cancelled(*requests.add(at), &mut cancelled) };
//!             if !error.is_null() {
//!                 // SAFETY: the server gave the error to us.
//!                 unsafe { api.TRITONSERVER_ErrorDelete(error) };
//!             }
//!         }
//!     }
//!     let message = CString::new("this backend runs nothing").unwrap();
//!     // SAFETY: the message lives until the call returns, and the server copies it.
//!     unsafe { api.TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNSUPPORTED, message.as_ptr()) }
//! }
//!
//! // The compiler checks that what is exported has the type the server expects.
//! const _: TRITONBACKEND_InitializeFn = Some(TRITONBACKEND_Initialize);
//! const _: TRITONBACKEND_ModelInstanceExecuteFn = Some(TRITONBACKEND_ModelInstanceExecute);
//! ```
//!
//! # Three ways to call
//!
//! - `api.TRITONBACKEND_Name(...)`, the method: for functions of API 1.0, which are always there. For a
//!   later function that the server lacks **the method panics**.
//! - `if let Ok(name) = &api.TRITONBACKEND_Name`, the field: for later functions. The name is checked by
//!   the compiler; the error says what the dynamic linker said.
//! - [`Api::has`]: for decisions and messages that have the name as text.
//!
//! A panic must not leave an `extern "C"` function (Rust aborts the whole server then); catch it at each
//! entry point.
//!
//! # Numbers of the server
//!
//! Enumerations are newtypes around an integer, with the known values as associated constants. A value
//! that this crate does not know is carried through unchanged. One number changed its meaning between
//! releases; see [`TRITONSERVER_ParameterType`].
//!
//! # Headers
//!
//! The bindings are made by bindgen when the crate is built, from headers that come with the crate. Set
//! `TRITON_INCLUDE_DIR` to the `include` folder of `triton-inference-server/core` to use NVIDIA's types and
//! numbers instead; the build then fails where they and this crate's declarations disagree. See the README
//! for what the build needs.

#[cfg(not(unix))]
compile_error!("triton-sys looks functions up with dlopen and dlsym, which only Unix systems have");

mod load;
mod version;

/// What bindgen made. Names, and the words about them, are those of the headers.
mod bindings {
    #![allow(
        missing_docs,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unsafe_op_in_unsafe_fn,
        clippy::all,
        clippy::undocumented_unsafe_blocks,
        rustdoc::all
    )]

    #[cfg(not(feature = "bindgen"))]
    include!("bindings.rs");
    #[cfg(feature = "bindgen")]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
pub use load::{Api, LoadError};
pub use version::{API_VERSION, ApiKind, ENTRY_POINTS, FUNCTIONS, Function, SERVER_API_VERSION, Version};
