//! Versions of the API, and the table of its functions.

use std::fmt;

use crate::bindings::{
    TRITONBACKEND_API_VERSION_MAJOR, TRITONBACKEND_API_VERSION_MINOR, TRITONSERVER_API_VERSION_MAJOR,
    TRITONSERVER_API_VERSION_MINOR,
};

/// The version of an API. Additions raise the minor number, incompatible changes the major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Equal for compatible versions.
    pub major: u32,
    /// Comparable within a major version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version of the backend API (`TRITONBACKEND_*`) that the headers describe.
///
/// [`Api::version`](crate::Api::version) is the version of the running server.
pub const API_VERSION: Version =
    Version { major: TRITONBACKEND_API_VERSION_MAJOR, minor: TRITONBACKEND_API_VERSION_MINOR };

/// The version of the server API (`TRITONSERVER_*`) that the headers describe.
pub const SERVER_API_VERSION: Version =
    Version { major: TRITONSERVER_API_VERSION_MAJOR, minor: TRITONSERVER_API_VERSION_MINOR };

/// One of the two APIs, which have separate versions.
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
    /// The API that `since` refers to.
    pub api: ApiKind,
    /// The API version of the first release with this function. Triton does not raise the version for each function, so
    /// a server of exactly this version may lack it: use [`Api::has`](crate::Api::has).
    pub since: Version,
}

impl Function {
    /// Whether every server has it: [`Api::from_process`](crate::Api::from_process) fails without it.
    pub const fn is_required(&self) -> bool {
        self.since.major == 1 && self.since.minor == 0
    }
}

#[cfg(not(feature = "bindgen"))]
include!("functions.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/functions.rs"));
