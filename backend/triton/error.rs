//! The server's errors as a Rust type, in both directions.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::{self, NonNull};

use triton_sys::{TRITONSERVER_Error, TRITONSERVER_Error_Code};

use super::api::api;
use super::spare;

/// The result of everything that can be told to the server as an error.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of error it is; the server turns it into an HTTP or gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The backend or TensorFlow failed (HTTP 500).
    Internal,
    /// A file, library or name does not exist (HTTP 404).
    NotFound,
    /// The request or the configuration is wrong (HTTP 400).
    InvalidArg,
    /// Cannot be answered now (HTTP 503).
    Unavailable,
    /// Valid, but not something this backend does (HTTP 501).
    Unsupported,
    /// The client has taken the request back (HTTP 499).
    Cancelled,
    /// A code of the server's that this list does not name.
    Other(TRITONSERVER_Error_Code),
}

impl Code {
    fn from_raw(raw: TRITONSERVER_Error_Code) -> Self {
        match raw {
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INTERNAL => Self::Internal,
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_NOT_FOUND => Self::NotFound,
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INVALID_ARG => Self::InvalidArg,
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNAVAILABLE => Self::Unavailable,
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNSUPPORTED => Self::Unsupported,
            TRITONSERVER_Error_Code::TRITONSERVER_ERROR_CANCELLED => Self::Cancelled,
            other => Self::Other(other),
        }
    }

    fn into_raw(self) -> TRITONSERVER_Error_Code {
        match self {
            Self::Internal => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INTERNAL,
            Self::NotFound => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_NOT_FOUND,
            Self::InvalidArg => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_INVALID_ARG,
            Self::Unavailable => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNAVAILABLE,
            Self::Unsupported => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNSUPPORTED,
            Self::Cancelled => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_CANCELLED,
            Self::Other(raw) => raw,
        }
    }
}

/// An error with the text that the client, or the one who loads the model, will read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind.
    pub code: Code,
    /// Names the thing, what was expected, what came, and what to do.
    pub message: String,
    /// The message begins with whose error it is.
    is_whole: bool,
}

impl Error {
    /// An error of the given kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_whole: false }
    }

    /// An error that [`Self::context`] leaves as it is: its message begins with words that somebody looks for there.
    pub fn whole(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_whole: true }
    }

    /// The backend or TensorFlow failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The request or the configuration is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArg, message)
    }

    /// Valid, but not something this backend does.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::Unsupported, message)
    }

    /// The same error, its message opened with where it happened.
    pub fn context(self, place: impl fmt::Display) -> Self {
        if self.is_whole { self } else { Self::new(self.code, format!("{place}: {}", self.message)) }
    }

    /// A C error that the receiver has to delete. Null only when the server makes none and has none of the spare ones
    /// left.
    pub(super) fn into_raw(self) -> *mut TRITONSERVER_Error {
        self.to_raw().unwrap_or_else(spare::given)
    }

    /// Shows a C error to a call that only reads it. It is null only when the server has never made one.
    pub(super) fn lend<T>(self, call: impl FnOnce(*mut TRITONSERVER_Error) -> T) -> T {
        let Some(raw) = self.to_raw() else { return call(spare::lent()) };
        let result = call(raw);
        // SAFETY: the error was made above, is still ours, and the call has read it.
        unsafe { api().TRITONSERVER_ErrorDelete(raw) };
        result
    }

    /// A C error; nothing, and a line in the log, when the server makes none.
    fn to_raw(&self) -> Option<*mut TRITONSERVER_Error> {
        let message = c_string(&self.message);
        // Once more, where it was only that moment's memory.
        let made = (0..2).find_map(|_| {
            // SAFETY: the server copies the text during the call; any thread may call.
            let raw = unsafe { api().TRITONSERVER_ErrorNew(self.code.into_raw(), message.as_ptr()) };
            (!raw.is_null()).then_some(raw)
        });
        if made.is_none() {
            log::error!("the server makes no error object; it would say: {self}");
        }
        made
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Text for C: a NUL inside would end it early, so it is shown as a symbol instead.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default()
}

/// Turns what an API function returned into a result, and frees the C error.
#[inline]
pub(super) fn check(raw: *mut TRITONSERVER_Error) -> Result<()> {
    if raw.is_null() { Ok(()) } else { Err(take(raw)) }
}

/// What a call returned that has reported success.
///
/// # Errors
/// It is null. Nothing may be done with that but to look at it.
#[inline]
pub(super) fn not_null<T>(raw: *mut T, what: &str) -> Result<NonNull<T>> {
    NonNull::new(raw).ok_or_else(|| returned_null(what))
}

#[cold]
#[inline(never)]
fn returned_null(what: &str) -> Error {
    Error::internal(format!("the server reported success and returned no {what}"))
}

/// The server's error as ours; it is deleted.
#[cold]
#[inline(never)]
fn take(raw: *mut TRITONSERVER_Error) -> Error {
    // SAFETY: a non-null error is ours from the call that returned it until ErrorDelete below; its
    // message belongs to it and is copied before. Any thread may call these functions.
    unsafe {
        let code = Code::from_raw(api().TRITONSERVER_ErrorCode(raw));
        let message = string(api().TRITONSERVER_ErrorMessage(raw));
        api().TRITONSERVER_ErrorDelete(raw);
        Error::new(code, message)
    }
}

/// A result as an entry point returns it: null for success.
pub(super) fn to_raw(result: Result<()>) -> *mut TRITONSERVER_Error {
    result.err().map_or(ptr::null_mut(), Error::into_raw)
}

/// Copies a C string of the server's; a null pointer reads as empty.
///
/// # Safety
/// `text` is null or points to a NUL-terminated string that lives during the call.
pub(super) unsafe fn string(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
