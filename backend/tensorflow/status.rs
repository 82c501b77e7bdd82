//! `TF_Status`: what a call of the C API reports, as a `Result`.

use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;

use tensorflow_c_sys::{TF_Code, TF_Status};

use super::library::api;
use crate::triton::Error;

/// Where the C API writes how a call went.
pub struct Status(NonNull<TF_Status>);

impl Status {
    /// A status that says nothing yet.
    pub fn new() -> Self {
        // SAFETY: takes nothing; the new status is ours until `drop`.
        let raw = unsafe { api().TF_NewStatus() };
        Self(NonNull::new(raw).expect("memory for a status"))
    }

    /// For the call.
    pub fn raw(&mut self) -> *mut TF_Status {
        self.0.as_ptr()
    }

    /// How the call went.
    ///
    /// # Errors
    /// It failed.
    pub fn check(self) -> Result<(), Failure> {
        // SAFETY: the status is ours.
        let code = unsafe { api().TF_GetCode(self.0.as_ptr()) };
        if code == TF_Code::TF_OK {
            return Ok(());
        }
        // SAFETY: the message is a C string that belongs to the status and is copied while that lives.
        let message = unsafe { CStr::from_ptr(api().TF_Message(self.0.as_ptr())) };
        Err(Failure { code, message: message.to_string_lossy().into_owned() })
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: the status is ours, and nothing uses it any more.
        unsafe { api().TF_DeleteStatus(self.0.as_ptr()) }
    }
}

/// Calls `call` with a status.
///
/// # Errors
/// What the status says.
pub fn checked<T>(call: impl FnOnce(*mut TF_Status) -> T) -> Result<T, Failure> {
    let mut status = Status::new();
    let result = call(status.raw());
    status.check().map(|()| result)
}

/// TensorFlow refused or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, one of `absl::StatusCode`.
    pub code: TF_Code,
    /// TensorFlow's own words.
    pub message: String,
}

impl Failure {
    /// As an error of this backend: `what` went wrong, and why.
    pub fn during(&self, what: impl fmt::Display) -> Error {
        Error::internal(format!("{what}: {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.code {
            TF_Code::TF_CANCELLED => "CANCELLED",
            TF_Code::TF_UNKNOWN => "UNKNOWN",
            TF_Code::TF_INVALID_ARGUMENT => "INVALID_ARGUMENT",
            TF_Code::TF_DEADLINE_EXCEEDED => "DEADLINE_EXCEEDED",
            TF_Code::TF_NOT_FOUND => "NOT_FOUND",
            TF_Code::TF_ALREADY_EXISTS => "ALREADY_EXISTS",
            TF_Code::TF_PERMISSION_DENIED => "PERMISSION_DENIED",
            TF_Code::TF_UNAUTHENTICATED => "UNAUTHENTICATED",
            TF_Code::TF_RESOURCE_EXHAUSTED => "RESOURCE_EXHAUSTED",
            TF_Code::TF_FAILED_PRECONDITION => "FAILED_PRECONDITION",
            TF_Code::TF_ABORTED => "ABORTED",
            TF_Code::TF_OUT_OF_RANGE => "OUT_OF_RANGE",
            TF_Code::TF_UNIMPLEMENTED => "UNIMPLEMENTED",
            TF_Code::TF_INTERNAL => "INTERNAL",
            TF_Code::TF_UNAVAILABLE => "UNAVAILABLE",
            TF_Code::TF_DATA_LOSS => "DATA_LOSS",
            TF_Code(code) => return write!(f, "status {code}: {}", self.message),
        };
        write!(f, "{code}: {}", self.message)
    }
}
