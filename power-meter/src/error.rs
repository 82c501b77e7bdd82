//! The error of a meter.

use std::fmt;

/// What a meter cannot do, as a message that names the meter, what was expected, what came and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

/// With [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For devices outside of this crate, such as those of tests.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
