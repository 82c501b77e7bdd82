//! Versions of the API, and the table of its functions.

use std::fmt;

use crate::bindings::{
    TRITONBACKEND_API_VERSION_MAJOR, TRITONBACKEND_API_VERSION_MINOR, TRITONSERVER_API_VERSION_MAJOR,
    TRITONSERVER_API_VERSION_MINOR,
};

/// The version of an API. The minor number grows when something is added, the major number when
/// something that was there changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Equal for all versions that understand one another.
    pub major: u32,
    /// Compares only within one major version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version of the backend API (`TRITONBACKEND_*`) that the bound headers describe.
///
/// It says nothing about the running server; [`Api::version`](crate::Api::version) does.
pub const API_VERSION: Version =
    Version { major: TRITONBACKEND_API_VERSION_MAJOR, minor: TRITONBACKEND_API_VERSION_MINOR };

/// The version of the server API (`TRITONSERVER_*`) that the bound headers describe.
pub const SERVER_API_VERSION: Version =
    Version { major: TRITONSERVER_API_VERSION_MAJOR, minor: TRITONSERVER_API_VERSION_MINOR };

/// One of the two APIs, each with a version of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiKind {
    /// `TRITONBACKEND_*`.
    Backend,
    /// `TRITONSERVER_*`.
    Server,
}

impl fmt::Display for ApiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ApiKind::Backend => "backend API",
            ApiKind::Server => "server API",
        })
    }
}

/// A function of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its symbol, such as `TRITONBACKEND_RequestId`.
    pub name: &'static str,
    /// The API whose version `since` is.
    pub api: ApiKind,
    /// The version that the first release with this function told. Triton does not raise the version for
    /// each function, so a server of exactly this version may lack it: ask [`Api::has`](crate::Api::has).
    pub since: Version,
}

impl Function {
    /// Whether every server has it: [`Api::from_process`](crate::Api::from_process) fails otherwise.
    pub const fn is_required(&self) -> bool {
        self.since.major == 1 && self.since.minor == 0
    }
}

#[cfg(not(feature = "bindgen"))]
include!("functions.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/functions.rs"));
