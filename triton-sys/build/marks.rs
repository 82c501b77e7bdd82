//! Which functions the API has, and since when: read from the marks in this crate's headers.
//!
//! A mark stands before each declaration, such as `TRITON_SINCE_BACKEND(1, 4)`; see
//! `include/triton_objects.h`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// The backend calls it; part of `TRITONBACKEND_*`.
    Backend,
    /// The backend calls it; part of `TRITONSERVER_*`.
    Server,
    /// The server calls it.
    EntryPoint,
}

pub struct Function {
    pub name: String,
    pub kind: Kind,
    pub since: (u32, u32),
}

const MARKS: [(&str, Kind); 3] = [
    ("TRITON_SINCE_BACKEND", Kind::Backend),
    ("TRITON_SINCE_SERVER", Kind::Server),
    ("TRITON_ENTRY_POINT", Kind::EntryPoint),
];

/// Every function of the headers, sorted by name.
pub fn read(files: &[PathBuf]) -> Result<Vec<Function>, String> {
    let mut functions = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        read_file(&without_comments(&text), &mut functions).map_err(|e| format!("{}: {e}", place(file)))?;
    }
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = functions.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(format!("the headers declare {} twice", pair[0].name));
    }
    Ok(functions)
}

fn place(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The headers hold `//` comments only. Preprocessor lines go too: they define the marks.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Goes through the calls-and-declarations, that is each name that stands before an opening bracket:
/// a mark, then the function it is for.
fn read_file(code: &str, functions: &mut Vec<Function>) -> Result<(), String> {
    let mut mark: Option<(Kind, (u32, u32))> = None;
    for (at, _) in code.match_indices('(') {
        let name = last_word(&code[..at]);
        if let Some((_, kind)) = MARKS.iter().find(|(mark, _)| *mark == name) {
            let arguments = code[at + 1..].split(')').next().unwrap_or_default();
            let since =
                version(arguments).ok_or(format!("{name}({arguments}) is not {name}(major, minor)"))?;
            if mark.replace((*kind, since)).is_some() {
                return Err(format!("{name}({arguments}) follows another mark; a declaration was expected"));
            }
        } else if name.starts_with("TRITONBACKEND_") || name.starts_with("TRITONSERVER_") {
            let (kind, since) = mark
                .take()
                .ok_or(format!("{name} has no mark; put TRITON_SINCE_BACKEND(major, minor) before it"))?;
            functions.push(Function { name: name.to_owned(), kind, since });
        }
    }
    match mark {
        None => Ok(()),
        Some(_) => Err("the last mark is not followed by a function".to_owned()),
    }
}

fn last_word(text: &str) -> &str {
    let start = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    &text[start..]
}

fn version(arguments: &str) -> Option<(u32, u32)> {
    let (major, minor) = arguments.split_once(',')?;
    Some((major.trim().parse().ok()?, minor.trim().parse().ok()?))
}

/// The table `FUNCTIONS` and the list `ENTRY_POINTS` as Rust.
pub fn to_rust(functions: &[Function]) -> String {
    let mut table = String::new();
    let mut entry_points = String::new();
    for Function { name, kind, since: (major, minor) } in functions {
        let (list, api) = match kind {
            Kind::Backend => (&mut table, "Backend"),
            Kind::Server => (&mut table, "Server"),
            Kind::EntryPoint => (&mut entry_points, "Backend"),
        };
        let _ = writeln!(
            list,
            "    Function {{ name: {name:?}, api: ApiKind::{api}, since: Version {{ major: {major}, minor: {minor} }} }},"
        );
    }
    format!(
        "/// Every function of the API that a backend can call, sorted by name.\n\
         pub const FUNCTIONS: &[Function] = &[\n{table}];\n\n\
         /// The functions that a backend can define and the server looks up, sorted by name.\n\
         pub const ENTRY_POINTS: &[Function] = &[\n{entry_points}];\n"
    )
}
