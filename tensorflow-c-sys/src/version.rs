//! Versions of TensorFlow, and the table of functions.

use std::fmt;

/// A version of TensorFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes with the ABI of what was there before.
    pub major: u32,
    /// Grows with each release.
    pub minor: u32,
}

impl Version {
    /// Reads a text such as "2.20.0" or "2.21.0-dev20250101". `None` if it does not begin with two numbers.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Version { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The oldest TensorFlow that [`Api::open`](crate::Api::open) accepts.
pub const OLDEST: Version = Version { major: 2, minor: 4 };

/// The newest TensorFlow whose headers these bindings have been compared with. A newer one of the same major version is
/// accepted too.
pub const NEWEST_CHECKED: Version = Version { major: 2, minor: 21 };

/// A function of TensorFlow's C API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its symbol, such as `TF_SessionRun`.
    pub name: &'static str,
    /// The first TensorFlow release with the function, 2.4 for everything that is older.
    pub since: Version,
    /// Whether the function comes from TensorFlow's `c_api_experimental.h`, which builds of TensorFlow may leave out.
    pub experimental: bool,
}

impl Function {
    /// Whether every TensorFlow has it: [`Api::open`](crate::Api::open) fails without it.
    pub const fn is_required(&self) -> bool {
        !self.experimental && self.since.major == OLDEST.major && self.since.minor <= OLDEST.minor
    }
}

#[cfg(not(feature = "bindgen"))]
include!("functions.rs");
#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/functions.rs"));
