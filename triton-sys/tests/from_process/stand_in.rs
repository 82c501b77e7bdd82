//! A shared library that stands in for a Triton server: it exports the API's names, and implements the few functions that
//! `Api::from_process` calls.

use std::fmt::Write;
use std::path::PathBuf;

use triton_sys::FUNCTIONS;

use crate::compiler::shared_library;

/// What the stand-in exports and returns.
pub struct StandIn {
    /// The name of its folder, different for each case.
    pub name: &'static str,
    /// The version of the backend API.
    pub backend: (u32, u32),
    /// The version of the server API.
    pub server: (u32, u32),
    /// Whether it has only the functions of API 1.0.
    pub only_required: bool,
    /// Functions that it lacks.
    pub without: &'static [&'static str],
    /// Whether it returns an error instead of its version.
    pub error: bool,
}

/// The functions that `from_process` calls. Errors are null or the address of `an_error`.
const BEHIND: &str = r#"
static int an_error;
int TRITONSERVER_ErrorCode(void *error) { return error == &an_error ? 4 : 0; }
const char *TRITONSERVER_ErrorMessage(void *error) { return error == &an_error ? "stand-in says no" : 0; }
void TRITONSERVER_ErrorDelete(void *error) { (void)error; }
void *TRITONSERVER_ErrorNew(int code, const char *message) { (void)code; (void)message; return &an_error; }
"#;

impl StandIn {
    pub fn new(name: &'static str) -> StandIn {
        StandIn { name, backend: (1, 19), server: (1, 34), only_required: true, without: &[], error: false }
    }

    /// Compiles it; returns the library's path.
    pub fn build(&self) -> PathBuf {
        shared_library(self.name, "libtritonserver.so", &self.source())
    }

    fn source(&self) -> String {
        let mut text = BEHIND.to_owned();
        let error = if self.error { "&an_error" } else { "0" };
        for (name, (major, minor)) in
            [("TRITONBACKEND_ApiVersion", self.backend), ("TRITONSERVER_ApiVersion", self.server)]
        {
            if self.without.contains(&name) {
                continue;
            }
            let _ = writeln!(
                text,
                "void *{name}(unsigned *major, unsigned *minor) {{ *major = {major}; *minor = {minor}; return {error}; }}"
            );
        }
        let chosen = FUNCTIONS.iter().filter(|function| !self.only_required || function.is_required());
        for function in chosen.filter(|function| !self.without.contains(&function.name)) {
            if !text.contains(&format!("{}(", function.name)) {
                let _ = writeln!(text, "void *{}(void) {{ return 0; }}", function.name);
            }
        }
        text
    }
}
