//! The text that somebody gave a named setting, and what it can be read as.

use std::str::FromStr;

use crate::triton::{Error, Result};

/// A setting by its name, with the text that it was given.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Where it was set, for messages.
    pub place: &'static str,
    /// Its name.
    pub name: &'a str,
    /// The text.
    pub value: &'a str,
}

impl Setting<'_> {
    /// # Errors
    /// It is neither of `true`, `1`, `yes`, `on` nor of `false`, `0`, `no`, `off`.
    pub fn boolean(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// # Errors
    /// It is neither `auto` nor a boolean.
    pub fn auto_or_boolean(&self) -> Result<Option<bool>> {
        if self.value.eq_ignore_ascii_case("auto") {
            return Ok(None);
        }
        self.boolean().map(Some).map_err(|_| self.wrong("auto, true or false"))
    }

    /// # Errors
    /// It is not a whole number that TensorFlow, which reads it as a signed one, can take.
    pub fn thread_count(&self) -> Result<u32> {
        self.count().map_err(|_| self.wrong("a whole number, 0 (TensorFlow's own choice) or more"))
    }

    /// # Errors
    /// It is not a whole number from 0 to 2^31-1.
    pub fn count(&self) -> Result<u32> {
        let count = i32::from_str(self.value).ok().and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| self.wrong("a whole number, 0 or more"))
    }

    /// # Errors
    /// It is not a number above 0 and below `limit`; `expected` says so in words.
    pub fn number_below(&self, limit: f64, expected: &str) -> Result<f64> {
        let number = f64::from_str(self.value).ok().filter(|&number| number > 0.0 && number < limit);
        number.ok_or_else(|| self.wrong(expected))
    }

    /// The error for a value that is not as `expected`.
    pub fn wrong(&self, expected: &str) -> Error {
        let Self { place, name, value } = self;
        Error::invalid(format!("'{name}' in {place}: expected {expected}, found '{value}'"))
    }
}
