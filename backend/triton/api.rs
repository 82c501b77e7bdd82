//! The server's functions, looked up once in the process that opened this library.

use once_cell::sync::OnceCell;
use triton_sys::{Api, LoadError};

static API: OnceCell<Api> = OnceCell::new();

/// Looks the API up in the running server. Only the first successful call does so.
pub(super) fn load_api() -> std::result::Result<&'static Api, LoadError> {
    // SAFETY: the process that calls an entry point of a backend is a Triton server. Its functions have the
    // signatures of the API version that `from_process` checks, and they stay loaded for as long as this library,
    // which the server unloads first.
    API.get_or_try_init(|| unsafe { Api::from_process() })
}

/// Whether [`load_api`] has succeeded.
pub(super) fn is_loaded() -> bool {
    API.get().is_some()
}

/// The server's functions. `TRITONBACKEND_Initialize` loads them before the server calls any other entry point.
pub(super) fn api() -> &'static Api {
    API.get().expect("the server calls TRITONBACKEND_Initialize before anything else")
}
