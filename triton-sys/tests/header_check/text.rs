//! The names in a set of headers, read as text: a compiler cannot list what only one side has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The names in a set of headers.
#[derive(Clone)]
pub struct HeaderText {
    /// The declared functions of the API.
    pub functions: BTreeSet<String>,
    /// The enumerators of each enumeration.
    pub enums: BTreeMap<String, Vec<String>>,
    /// The macros with a number as value, such as the versions.
    pub numbers: BTreeMap<String, u32>,
}

impl HeaderText {
    /// Reads our headers (in `dir`) or NVIDIA's (in `dir/triton/core`).
    pub fn read(dir: &Path) -> HeaderText {
        let core = dir.join("triton/core");
        let files: Vec<_> = if core.is_dir() {
            ["tritonserver.h", "tritonbackend.h"].iter().map(|name| core.join(name)).collect()
        } else {
            fs::read_dir(dir).expect("the headers").map(|entry| entry.expect("a header").path()).collect()
        };
        let mut code = String::new();
        let mut numbers = BTreeMap::new();
        for file in files {
            let text =
                fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
            for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
                match line.trim_start().strip_prefix("#define ") {
                    Some(define) => {
                        if let Some((name, value)) = define.trim().split_once(' ') {
                            numbers.extend(value.trim().parse().map(|value| (name.to_owned(), value)));
                        }
                    }
                    None => {
                        code.push_str(line);
                        code.push('\n');
                    }
                }
            }
        }
        HeaderText { functions: functions(&code), enums: enums(&code), numbers }
    }

    /// The version of an API, such as `TRITONBACKEND`.
    pub fn version(&self, api: &str) -> (u32, u32) {
        let number = |part: &str| {
            let name = format!("{api}_API_VERSION_{part}");
            *self.numbers.get(&name).unwrap_or_else(|| panic!("the headers do not define {name}"))
        };
        (number("MAJOR"), number("MINOR"))
    }
}

/// Every name of the API before an opening parenthesis.
fn functions(code: &str) -> BTreeSet<String> {
    code.match_indices('(')
        .map(|(at, _)| {
            let before = code[..at].trim_end();
            &before[before.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1)..]
        })
        .filter(|name| name.starts_with("TRITONBACKEND_") || name.starts_with("TRITONSERVER_"))
        .map(str::to_owned)
        .collect()
}

/// Every `typedef enum tag { ... } name;`.
fn enums(code: &str) -> BTreeMap<String, Vec<String>> {
    code.split("typedef enum ")
        .skip(1)
        .filter_map(|text| {
            let (body, rest) = text.split_once('{')?.1.split_once('}')?;
            let name = rest.split_once(';')?.0.trim();
            let enumerators = body.split(',').filter_map(|part| part.split_whitespace().next());
            Some((name.to_owned(), enumerators.map(str::to_owned).collect()))
        })
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
