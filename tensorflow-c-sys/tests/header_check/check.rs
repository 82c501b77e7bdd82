//! A C++ file that compiles only if two sets of headers agree, and the differences that a compiler cannot see.
//!
//! - Functions: both sides declare the same `extern "C"` functions over the same types (TensorFlow's; the include guard of
//!   our objects is defined). C++ rejects a second declaration with other parameters or another result.
//! - Values and layouts: our types are included inside a namespace and compared with TensorFlow's of the same name.
//! - Names that only one side has, and releases: from the text, in `Check::new`.

use std::fmt::Write;

use tensorflow_c_sys::{FUNCTIONS, Version};

use crate::text::{Enumerator, HeaderText};

pub struct Check {
    /// The C++ file.
    pub source: String,
    /// Disagreements found in the text.
    pub faults: Vec<String>,
}

/// What TensorFlow's side of the comparison includes. c_api.h includes the other headers, except in 2.4 tf_tstring.h.
pub const THEIRS: &str = "#include <tensorflow/c/c_api.h>\n\
    #include <tensorflow/c/c_api_experimental.h>\n\
    #include <tensorflow/c/tf_tstring.h>\n";

/// The field that releases before this one lack; the structure was smaller, the string around it was not.
const ADDED_FIELD: (&str, &str, Version) = ("TF_TString_View", "owner_ref", Version { major: 2, minor: 21 });

/// The structure with a union inside, which the text does not list.
const STRING: &str = "TF_TString";
const STRING_FIELDS: [&str; 5] = ["u.smll", "u.large", "u.offset", "u.view", "u.raw"];

impl Check {
    /// `version` is that of TensorFlow's headers.
    pub fn new(ours: &HeaderText, theirs: &HeaderText, version: Version) -> Check {
        let mut check = Check { source: String::new(), faults: Vec::new() };
        check.compare_functions(theirs, version);
        check.source.push_str("#include <cstddef>\n#include <type_traits>\n");
        check.source.push_str(THEIRS);
        check.source.push_str("#include \"tensorflow_marks.h\"\n#define TENSORFLOW_C_SYS_OBJECTS_H\n");
        check.source.push_str("namespace ours {\n#include \"tensorflow_types.h\"\n}\n");
        for (name, enumerators) in &ours.enums {
            check.compare_enum(name, enumerators, theirs, version);
        }
        for (name, fields) in &ours.structs {
            check.compare_struct(name, fields, theirs, version);
        }
        // What the union holds are structures of the list above.
        check.compare_size(STRING);
        for field in STRING_FIELDS {
            let _ = writeln!(
                check.source,
                "static_assert(offsetof(ours::{STRING}, {field}) == offsetof(::{STRING}, {field}), \"place of {STRING}.{field}\");"
            );
        }
        // Last: these are declarations over TensorFlow's types.
        check.source.push_str("#include \"tensorflow_api.h\"\n");
        check
    }

    fn compare_functions(&mut self, theirs: &HeaderText, version: Version) {
        for function in FUNCTIONS {
            let name = function.name;
            match (theirs.has(name), version >= function.since) {
                (false, true) => self.faults.push(format!(
                    "{name} is marked as since {}, but the headers of TensorFlow {version} lack it: its name or its mark \
                     is wrong",
                    function.since
                )),
                (true, false) => self.faults.push(format!(
                    "{name} is marked as since {}, but the headers of TensorFlow {version} have it: its mark is wrong",
                    function.since
                )),
                (true, true) if theirs.experimental.contains(name) != function.experimental => self.faults.push(format!(
                    "{name}: the mark and the headers disagree on whether it is in c_api_experimental.h"
                )),
                _ => {}
            }
        }
    }

    fn compare_enum(&mut self, name: &str, ours: &[Enumerator], theirs: &HeaderText, version: Version) {
        let Some(theirs) = theirs.enumerators(name) else {
            self.faults.push(format!("the headers of TensorFlow {version} have no enumeration {name}"));
            return;
        };
        for theirs in theirs.iter().filter(|theirs| !ours.iter().any(|ours| ours.name == **theirs)) {
            self.faults.push(format!("TensorFlow's {name} has {theirs}: add it"));
        }
        self.compare_size(name);
        for Enumerator { name: enumerator, since } in ours {
            let expected = since.is_none_or(|(major, minor)| version >= Version { major, minor });
            if theirs.contains(enumerator) != expected {
                let has = if expected { "lacks" } else { "has" };
                self.faults.push(format!(
                    "TensorFlow {version} {has} {enumerator}, which its comment says came with {}",
                    since.map_or("2.4 or earlier".to_owned(), |(major, minor)| format!("{major}.{minor}"))
                ));
            } else if expected {
                let _ = writeln!(
                    self.source,
                    "static_assert(static_cast<long>(ours::{enumerator}) == static_cast<long>(::{enumerator}), \
                     \"{enumerator}\");"
                );
            }
        }
    }

    fn compare_struct(&mut self, name: &str, ours: &[String], theirs: &HeaderText, version: Version) {
        let Some(theirs) = theirs.structs.get(name) else {
            self.faults.push(format!("the headers of TensorFlow {version} have no structure {name}"));
            return;
        };
        let added = |field: &str| (name, field) == (ADDED_FIELD.0, ADDED_FIELD.1) && version < ADDED_FIELD.2;
        for theirs in theirs.iter().filter(|theirs| !ours.contains(theirs)) {
            self.faults.push(format!("TensorFlow's {name} has the field {theirs}: add it"));
        }
        for field in ours {
            if theirs.contains(field) {
                self.compare_field(name, field);
            } else if !added(field) {
                self.faults.push(format!("{name} of TensorFlow {version} has no field {field}"));
            }
        }
        if !ours.iter().any(|field| added(field)) {
            self.compare_size(name);
        }
    }

    fn compare_size(&mut self, name: &str) {
        let _ = writeln!(
            self.source,
            "static_assert(sizeof(ours::{name}) == sizeof(::{name}), \"size of {name}\");"
        );
    }

    fn compare_field(&mut self, name: &str, field: &str) {
        let _ = writeln!(
            self.source,
            "static_assert(offsetof(ours::{name}, {field}) == offsetof(::{name}, {field}), \"place of {name}.{field}\");\n\
             static_assert(sizeof(ours::{name}::{field}) == sizeof(::{name}::{field}), \"size of {name}.{field}\");"
        );
        // An enumeration or structure of ours is another type than TensorFlow's, and compared by itself.
        if (name, field) != (ADDED_FIELD.0, ADDED_FIELD.1) {
            let _ = writeln!(
                self.source,
                "static_assert(std::is_enum<decltype(::{name}::{field})>::value || std::is_class<decltype(::{name}::{field})>::value \
                 || std::is_same<decltype(ours::{name}::{field}), decltype(::{name}::{field})>::value, \"type of {name}.{field}\");"
            );
        }
    }
}
