//! Raw bindings of the Triton Inference Server backend API.
//!
//! A Triton backend is a shared library that the server opens and that calls functions of the server. This crate
//! declares the functions that a backend calls (`TRITONBACKEND_*`, and the part of `TRITONSERVER_*` that a backend needs)
//! and the types of those that it exports. The in-process server API is left out.
//!
//! **Nothing is linked.** [`Api::from_process`] looks up the functions in the running server, so one binary works with
//! every Triton of the same major version. The functions of API 1.0 (Triton 2.7.0, 21.02) are required; a later function
//! is used if the server has it. [`FUNCTIONS`] has the API version that each function came with.
//!
//! # Example
//!
//! A backend that answers each request with an error.
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
//! /// The server calls it once, after it has opened the library.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn TRITONBACKEND_Initialize(_: *mut TRITONBACKEND_Backend) -> *mut TRITONSERVER_Error {
//!     // SAFETY: the server that called this function stays loaded as long as this library.
//!     match unsafe { Api::from_process() } {
//!         Ok(api) => {
//!             eprintln!("backend API of the server: {}", api.version());
//!             API.get_or_init(|| api);
//!             ptr::null_mut()
//!         }
//!         // A null pointer would mean success. If the server cannot create an error, end the process.
//!         // SAFETY: as above.
//!         Err(error) => match unsafe { error.to_server() } {
//!             Some(error) => error.as_ptr(),
//!             None => panic!("{error}"),
//!         },
//!     }
//! }
//!
//! /// # Safety
//! /// The server calls it with `count` requests, which it keeps if an error is returned.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceExecute(
//!     _: *mut TRITONBACKEND_ModelInstance,
//!     requests: *mut *mut TRITONBACKEND_Request,
//!     count: u32,
//! ) -> *mut TRITONSERVER_Error {
//!     let Some(api) = API.get() else { std::process::abort() };
//!     let mut cancelled = false;
//!     // A function of API 1.16, which older servers lack.
//!     if let Ok(is_cancelled) = &api.TRITONBACKEND_RequestIsCancelled {
//!         for at in 0..count as usize {
//!             // SAFETY: the server guarantees `count` live requests until this function returns.
//!             let error = unsafe { is_cancelled(*requests.add(at), &mut cancelled) };
//!             if !error.is_null() {
//!                 // SAFETY: the caller owns the error.
//!                 unsafe { api.TRITONSERVER_ErrorDelete(error) };
//!             }
//!         }
//!     }
//!     let message = CString::new("this backend runs nothing").unwrap();
//!     // SAFETY: the server copies the message before the call returns.
//!     unsafe { api.TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNSUPPORTED, message.as_ptr()) }
//! }
//!
//! // The compiler checks that the exported functions have the types that the server expects.
//! const _: TRITONBACKEND_InitializeFn = Some(TRITONBACKEND_Initialize);
//! const _: TRITONBACKEND_ModelInstanceExecuteFn = Some(TRITONBACKEND_ModelInstanceExecute);
//! ```
//!
//! # Three ways to call
//!
//! - `api.TRITONBACKEND_Name(...)`, the method: for functions of API 1.0, which every server has. **It panics** if the
//!   server lacks the function.
//! - `if let Ok(name) = &api.TRITONBACKEND_Name`, the field: for later functions. The compiler checks the name. The error
//!   is the dynamic linker's.
//! - [`Api::has`]: for a name that is known at run time only.
//!
//! A panic must not leave an `extern "C"` function: Rust then aborts the whole server. Catch it in each entry point.
//!
//! # Enumerations
//!
//! Enumerations are newtypes around an integer, with the known values as associated constants. A value that these
//! bindings do not know is carried through unchanged. One value has changed between releases; see
//! [`TRITONSERVER_ParameterType`].
//!
//! # The feature `bindgen`
//!
//! The committed bindings are used by default, and nothing but Rust is needed to build. The feature `bindgen` generates
//! them anew from the headers in `include/`, which needs libclang. If `TRITON_INCLUDE_DIR` names the `include` folder of
//! `triton-inference-server/core`, types and values are then NVIDIA's, and the build fails if they disagree with this
//! crate's declarations.

#[cfg(not(unix))]
compile_error!("triton-backend-sys uses dlopen and dlsym, which only Unix systems have");

mod bindings;
mod load;
mod version;

pub use bindings::*;
pub use load::{Api, LoadError};
pub use version::{API_VERSION, ApiKind, ENTRY_POINTS, FUNCTIONS, Function, SERVER_API_VERSION, Version};
