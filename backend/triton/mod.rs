//! The safe layer over `triton-sys`, which shares the unsafe code with [`crate::tensorflow`].
//!
//! In the order a model lives: [`entry`] is what the server calls, [`model`] what it tells at load,
//! [`request`] and [`response`] what it hands over for each execution, [`metrics`] what it shows to others.
//! [`error`], [`panics`], [`server_log`] and [`clock`] serve them all.

pub mod clock;
pub mod entry;
pub mod error;
pub mod metrics;
pub mod model;
mod panics;
pub mod request;
pub mod response;
mod server_log;

use once_cell::sync::OnceCell;
use triton_sys::{Api, LoadError};

pub use error::{Code, Error, Result};
pub use panics::guard;

static API: OnceCell<Api> = OnceCell::new();

/// Looks the API up in the running server; the first call counts.
fn load_api() -> std::result::Result<&'static Api, LoadError> {
    // SAFETY: the process that calls an entry point of a backend is a Triton server, whose functions
    // have the signatures of the API version that `from_process` checks; they stay loaded for as long
    // as this library, which the server unloads first.
    API.get_or_try_init(|| unsafe { Api::from_process() })
}

/// Whether [`load_api`] has succeeded.
fn is_loaded() -> bool {
    API.get().is_some()
}

/// The server's functions. Every entry point is behind `TRITONBACKEND_Initialize`, which loads them.
fn api() -> &'static Api {
    API.get().expect("the server calls TRITONBACKEND_Initialize before anything else")
}
