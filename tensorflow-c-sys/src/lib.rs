//! Raw bindings of TensorFlow's C API, looked up in a library that is opened at run time.
//!
//! The bindings cover what a program needs to run models: SavedModels, graphs, sessions, tensors, devices, custom
//! operations. Building graphs operation by operation, eager execution and kernels are left out.
//!
//! **Nothing is linked.** [`Api::open`] opens the library at a path and looks up the functions there, so one binary works
//! with every TensorFlow from 2.4 on. What 2.4 has is required; a later function is used if the library has it.
//! [`FUNCTIONS`] has the release that each function came with.
//!
//! # Example
//!
//! ```no_run
//! use tensorflow_c_sys::*;
//!
//! # fn main() -> Result<(), LoadError> {
//! // SAFETY: TensorFlow may be loaded into this process.
//! let api = unsafe { Api::open("/opt/tensorflow/libtensorflow_cc.so.2", 0) }?;
//! println!("TensorFlow {}", api.version_text());
//!
//! // A function of TensorFlow 2.4, which is always there.
//! // SAFETY: the status is deleted once and not used afterwards.
//! unsafe {
//!     let status = api.TF_NewStatus();
//!     assert_eq!(api.TF_GetCode(status), TF_Code::TF_OK);
//!     api.TF_DeleteStatus(status);
//! }
//!
//! // A later function, which may be missing. The compiler checks the name.
//! if let Ok(alignment) = &api.TF_TensorDefaultAlignment {
//!     // SAFETY: the function has no requirements.
//!     println!("tensors are aligned to {} bytes", unsafe { alignment() });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Three ways to call
//!
//! - `api.TF_Name(...)`, the method: for required functions. One load, one branch that is never taken, one indirect call.
//!   **It panics** if the library lacks the function.
//! - `if let Ok(name) = &api.TF_Name`, the field: for later and experimental functions. The error is the dynamic
//!   linker's.
//! - [`Api::has`]: for a name that is known at run time only.
//!
//! # Enumerations
//!
//! Enumerations are newtypes around an integer, with the known values as associated constants. A value that these
//! bindings do not know is carried through unchanged.
//!
//! # Strings
//!
//! The elements of a `TF_STRING` tensor are [`TF_TString`]. TensorFlow exports functions for them since 2.5; for 2.4 use
//! the structure. Its layout is the same in every release, except that a view has an owner since 2.21: see
//! [`TF_TString_View`].
//!
//! # The feature `bindgen`
//!
//! The committed bindings are used by default, and nothing but Rust is needed to build. The feature `bindgen` generates
//! them anew from the headers in `include/`, which needs libclang. A test compares the two.

#[cfg(not(unix))]
compile_error!("tensorflow-c-sys uses dlopen and dlsym, which only Unix systems have");

mod bindings;
mod load;
mod version;

pub use bindings::*;
pub use load::{Api, LoadError};
pub use version::{FUNCTIONS, Function, NEWEST_CHECKED, OLDEST, Version};
