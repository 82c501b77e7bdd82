//! A C++ file that compiles only if two sets of headers agree, and the differences that a compiler cannot see.
//!
//! - Functions: both sides declare the same `extern "C"` functions over the same types (NVIDIA's; the include guard of our
//!   types is defined). C++ rejects a second declaration with other parameters or another result.
//! - Values: our types are included inside a namespace, and each value is compared with NVIDIA's of the same name.
//! - Names that only one side has: from the text, in `Check::new`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use triton_sys::{ApiKind, ENTRY_POINTS, FUNCTIONS};

use crate::text::HeaderText;

pub struct Check {
    /// The C++ file.
    pub source: String,
    /// Disagreements found in the text.
    pub faults: Vec<String>,
    /// Differences that are no disagreement.
    pub notes: Vec<String>,
}

/// The value that has changed: the first name was 3 until the second name took that value.
const RENUMBERED: (&str, &str) = ("TRITONSERVER_PARAMETER_BYTES", "TRITONSERVER_PARAMETER_DOUBLE");

impl Check {
    pub fn new(ours: &HeaderText, theirs: &HeaderText) -> Check {
        let mut check = Check { source: String::new(), faults: Vec::new(), notes: Vec::new() };
        check.compare_functions(ours, theirs);
        check.begin_source();
        for api in ["TRITONBACKEND", "TRITONSERVER"] {
            check.compare_version(api, ours.version(api), theirs.version(api));
        }
        for (name, enumerators) in &ours.enums {
            check.compare_enum(name, enumerators, ours, theirs);
        }
        // Last, because from here on the declarations are ours too.
        check.source.push_str("#include \"triton_api.h\"\n");
        check
    }

    fn compare_functions(&mut self, ours: &HeaderText, theirs: &HeaderText) {
        for function in FUNCTIONS.iter().chain(ENTRY_POINTS) {
            if theirs.functions.contains(function.name) {
                continue;
            }
            let api = match function.api {
                ApiKind::Backend => "TRITONBACKEND",
                ApiKind::Server => "TRITONSERVER",
            };
            let since = (function.since.major, function.since.minor);
            let line = format!(
                "{} (since {}) is not in NVIDIA's headers ({api} {:?})",
                function.name,
                function.since,
                theirs.version(api)
            );
            // Triton does not raise the version with each function, so headers of exactly the version that a function is
            // marked with may be older than the function.
            if since < theirs.version(api) {
                self.faults.push(format!("{line}: its name or its mark is wrong"));
            } else {
                self.notes.push(line);
            }
        }
        // We declare the whole backend API, but only a part of the server API.
        let new = theirs.functions.iter().filter(|name| name.starts_with("TRITONBACKEND_"));
        for name in new.filter(|name| !ours.functions.contains(*name)) {
            self.faults.push(format!("NVIDIA's headers declare {name}: declare it too, with its mark"));
        }
    }

    fn begin_source(&mut self) {
        self.source.push_str("#include <triton/core/tritonbackend.h>\n");
        // Macros have no namespace: keep NVIDIA's versions under other names, then let our headers define theirs.
        for api in ["TRITONBACKEND", "TRITONSERVER"] {
            for part in ["MAJOR", "MINOR"] {
                let name = format!("{api}_API_VERSION_{part}");
                let _ = writeln!(self.source, "constexpr int nvidia_{name} = {name};\n#undef {name}");
            }
        }
        self.source.push_str("namespace ours {\n#include \"triton_types.h\"\n}\n");
    }

    fn compare_version(&mut self, api: &str, ours: (u32, u32), theirs: (u32, u32)) {
        // Older headers of the same major version have a part of the same API: no disagreement.
        let minor = if theirs < ours {
            self.notes.push(format!("NVIDIA's headers are older: {api} API {theirs:?}, ours {ours:?}"));
            "<"
        } else {
            "=="
        };
        for (part, relation) in [("MAJOR", "=="), ("MINOR", minor)] {
            let name = format!("{api}_API_VERSION_{part}");
            let _ = writeln!(self.source, "static_assert(nvidia_{name} {relation} {name}, \"{name}\");");
        }
    }

    fn compare_enum(&mut self, name: &str, enumerators: &[String], ours: &HeaderText, theirs: &HeaderText) {
        let api = "TRITONSERVER";
        let older = theirs.version(api) < ours.version(api);
        let Some(their_enumerators) = theirs.enums.get(name) else {
            self.faults.push(format!("NVIDIA's headers have no enumeration {name}"));
            return;
        };
        for enumerator in their_enumerators.iter().filter(|enumerator| !enumerators.contains(enumerator)) {
            self.faults.push(format!("NVIDIA's {name} has {enumerator}: add it"));
        }
        let _ = writeln!(self.source, "static_assert(sizeof(ours::{name}) == sizeof(::{name}), \"{name}\");");
        for enumerator in enumerators {
            if !their_enumerators.contains(enumerator) {
                let line = format!("NVIDIA's {name} has no {enumerator}");
                if older { self.notes.push(line) } else { self.faults.push(line) }
            } else if enumerator == RENUMBERED.0 && !their_enumerators.iter().any(|e| e == RENUMBERED.1) {
                self.notes.push(format!(
                    "{enumerator} is not compared: it had another number before {} came",
                    RENUMBERED.1
                ));
            } else {
                let _ = writeln!(
                    self.source,
                    "static_assert(static_cast<long>(ours::{enumerator}) == static_cast<long>(::{enumerator}), \"{enumerator}\");"
                );
            }
        }
    }
}

/// Makes a folder like NVIDIA's from our own headers, to test the check without NVIDIA's. All text goes into one file,
/// without our include guards.
pub fn stand_in_for_nvidia(own_dir: &Path, dir: &Path) -> PathBuf {
    let core = dir.join("triton/core");
    fs::create_dir_all(&core).expect("a folder for the stand-in");
    let mut text = String::from("#pragma once\n");
    for name in ["objects", "types", "server", "request", "model", "entry_points"] {
        let header = fs::read_to_string(own_dir.join(format!("triton_{name}.h"))).expect("our header");
        let keep = |line: &&str| {
            !line.contains("TRITON_SYS_")
                && !line.starts_with("#include \"")
                && !line.starts_with("TRITON_SINCE_")
                && !line.starts_with("TRITON_ENTRY_POINT(")
                && !line.contains("#define TRITON_SINCE")
                && !line.contains("#define TRITON_ENTRY")
        };
        for line in header.lines().filter(keep) {
            text.push_str(line);
            text.push('\n');
        }
    }
    fs::write(core.join("tritonbackend.h"), text).expect("the stand-in");
    fs::write(core.join("tritonserver.h"), "#pragma once\n").expect("the stand-in");
    dir.to_owned()
}
