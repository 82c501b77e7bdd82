//! The text that somebody gave a named setting, and what it can be read as.

use std::path::{Component, Path};
use std::str::FromStr;

use crate::triton::{Error, Result};

/// The threads that one of TensorFlow's pools may have: it starts all of them at once, and ends the process if the system
/// has no more (`pid_max` of Linux is 32,768 unless it is set). Machines with more CPUs have as many by default.
const MOST_THREADS: u32 = 1024;

/// How alike a name and what was written for it are at least, from 0 to 1.
const ALIKE: f64 = 0.9;

/// Whether a name leads nowhere but into the folder that it is in.
pub fn is_inside(name: &str) -> bool {
    let leads_out = |part| !matches!(part, Component::Normal(_) | Component::CurDir);
    !name.is_empty() && !name.contains('\0') && !Path::new(name).components().any(leads_out)
}

/// A name that nobody knows, with those that are known: the one that may have been meant, or else all of them.
pub fn nearest(unknown: &str, known: &[&str]) -> String {
    // Other separators and other case are slips, too.
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let alike = |name: &str| strsim::jaro_winkler(&plain(unknown), &plain(name));
    let best = known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match best.filter(|best| alike(best) > ALIKE) {
        Some(best) => format!("'{unknown}' (did you mean '{best}'?)"),
        None => format!("'{unknown}' (known: {})", known.join(", ")),
    }
}

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
    /// It is not a whole number of threads that a pool may have.
    pub fn thread_count(&self) -> Result<u32> {
        let count = self.count().ok().filter(|&count| count <= MOST_THREADS);
        count.ok_or_else(|| {
            self.wrong(&format!("a whole number from 0 (TensorFlow's own choice) to {MOST_THREADS}"))
        })
    }

    /// # Errors
    /// It is not a whole number from 0 to 2^31-1.
    pub fn count(&self) -> Result<u32> {
        let count = i32::from_str(self.value).ok().and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| self.wrong("a whole number, 0 or more"))
    }

    /// Whole numbers of 1 or more, each larger than the one before, with commas between; nothing if it is not that.
    pub fn ascending_counts(&self) -> Option<Vec<u32>> {
        let one = |part| Setting { value: part, ..*self }.count().ok().filter(|&count| count > 0);
        let counts: Vec<u32> = self.value.split(',').map(|part| one(part.trim())).collect::<Option<_>>()?;
        counts.windows(2).all(|pair| pair[0] < pair[1]).then_some(counts)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::Code;

    #[test]
    fn a_name_that_was_mistyped_is_found() {
        let known = ["tensorflow-dir", "gpu-memory-fraction", "TF_NUM_INTRA_THREADS", "TF_NUM_INTER_THREADS"];
        for (unknown, meant) in [
            ("tensorflow_dir", "tensorflow-dir"),
            ("tensorflow-dri", "tensorflow-dir"),
            ("tensorflow", "tensorflow-dir"),
            ("GPU-memory-fractoin", "gpu-memory-fraction"),
            ("TF_NUM_INTRA_THREAD", "TF_NUM_INTRA_THREADS"),
            ("tf-num-inter-threads", "TF_NUM_INTER_THREADS"),
        ] {
            assert_eq!(nearest(unknown, &known), format!("'{unknown}' (did you mean '{meant}'?)"));
        }
        for unknown in ["", "mine", "threads", "fraction"] {
            assert_eq!(
                nearest(unknown, &known[..2]),
                format!("'{unknown}' (known: {}, {})", known[0], known[1])
            );
        }
    }

    #[test]
    fn a_pool_has_threads_up_to_the_bound() {
        let count = |value: &str| Setting { place: "a test", name: "threads", value }.thread_count();
        for (value, expected) in [("0", 0), ("1", 1), ("+4", 4), ("0064", 64), ("1023", 1023), ("1024", 1024)]
        {
            assert_eq!(count(value), Ok(expected));
        }
        let wrong = [
            "1025",
            "100000",
            "1000000",
            "2147483647",
            "2147483648",
            "4294967297",
            "18446744073709551617",
            "-1",
            "-1024",
            "-2147483648",
            "1e3",
            "1024.0",
            "0x10",
            "",
            " 4",
            "many",
        ];
        for value in wrong {
            let error = count(value).unwrap_err();
            let expected = format!(
                "'threads' in a test: expected a whole number from 0 (TensorFlow's own choice) to 1024, found '{value}'"
            );
            assert_eq!((error.code, error.message), (Code::InvalidArg, expected));
        }
    }
}
