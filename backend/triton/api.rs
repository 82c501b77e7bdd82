//! The server's functions, looked up once in the process that opened this library.

use std::ffi::{c_char, c_void};

use once_cell::sync::OnceCell;
use triton_sys::{
    Api, LoadError, TRITONBACKEND_Input, TRITONBACKEND_Output, TRITONBACKEND_Request, TRITONBACKEND_Response,
    TRITONSERVER_DataType, TRITONSERVER_Error, TRITONSERVER_MemoryType,
};

static API: OnceCell<Api> = OnceCell::new();
static FREQUENT: OneLine<OnceCell<Frequent>> = OneLine(OnceCell::new());

/// As large as a line of the processor's cache, and in one.
#[repr(align(64))]
struct OneLine<T>(T);

macro_rules! frequent {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The functions that a request needs until its end is taken, under their names. In [`Api`] each is in a cache
        /// line of its own, which TensorFlow's run leaves in none of the near caches; these are all in one.
        #[allow(non_snake_case)]
        pub(super) struct Frequent {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> *mut TRITONSERVER_Error,)*
        }

        impl Frequent {
            fn of(api: &Api) -> Self {
                Self { $($name: *api.$name.as_ref().expect("part of API 1.0, which `from_process` checks"),)* }
            }
        }
    };
}

frequent! {
    TRITONBACKEND_RequestInput(*mut TRITONBACKEND_Request, *const c_char, *mut *mut TRITONBACKEND_Input);
    TRITONBACKEND_InputProperties(
        *mut TRITONBACKEND_Input, *mut *const c_char, *mut TRITONSERVER_DataType, *mut *const i64, *mut u32, *mut u64,
        *mut u32
    );
    TRITONBACKEND_InputBuffer(
        *mut TRITONBACKEND_Input, u32, *mut *const c_void, *mut u64, *mut TRITONSERVER_MemoryType, *mut i64
    );
    TRITONBACKEND_RequestOutputCount(*mut TRITONBACKEND_Request, *mut u32);
    TRITONBACKEND_ResponseNew(*mut *mut TRITONBACKEND_Response, *mut TRITONBACKEND_Request);
    TRITONBACKEND_ResponseOutput(
        *mut TRITONBACKEND_Response, *mut *mut TRITONBACKEND_Output, *const c_char, TRITONSERVER_DataType, *const i64,
        u32
    );
    TRITONBACKEND_OutputBuffer(
        *mut TRITONBACKEND_Output, *mut *mut c_void, u64, *mut TRITONSERVER_MemoryType, *mut i64
    );
}

/// Looks the API up in the running server. Only the first successful call does so.
pub(super) fn load_api() -> std::result::Result<&'static Api, LoadError> {
    // SAFETY: the process that calls an entry point of a backend is a Triton server. Its functions have the
    // signatures of the API version that `from_process` checks, and they stay loaded for as long as this library,
    // which the server unloads first.
    let api = API.get_or_try_init(|| unsafe { Api::from_process() })?;
    FREQUENT.0.get_or_init(|| Frequent::of(api));
    Ok(api)
}

/// Whether [`load_api`] has succeeded.
pub(super) fn is_loaded() -> bool {
    API.get().is_some()
}

/// The server's functions. `TRITONBACKEND_Initialize` loads them before the server calls any other entry point.
pub(super) fn api() -> &'static Api {
    API.get().expect("the server calls TRITONBACKEND_Initialize before anything else")
}

/// As [`api`], those that are needed most.
pub(super) fn frequent() -> &'static Frequent {
    FREQUENT.0.get().expect("the server calls TRITONBACKEND_Initialize before anything else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_in_one_line() {
        assert_eq!(size_of_val(&FREQUENT), 64);
    }
}
