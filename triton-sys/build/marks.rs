//! Reads the functions of the API, and the release each came with, from the marks in the headers.
//!
//! A mark such as `TF_SINCE(2, 4)` stands before each declaration.

use std::fs;
use std::path::PathBuf;

pub struct Function {
    pub name: String,
    /// The mark's name.
    pub mark: &'static str,
    pub since: (u32, u32),
}

/// Every function of the headers, sorted by name. A function of the API is a name with one of the `prefixes`.
pub fn read(
    files: &[PathBuf],
    marks: &'static [&'static str],
    prefixes: &[&str],
) -> Result<Vec<Function>, String> {
    let mut functions = Vec::new();
    for file in files {
        let in_file = |e: String| format!("{}: {e}", file.display());
        let text = fs::read_to_string(file).map_err(|e| in_file(e.to_string()))?;
        read_file(&declarations(&text), marks, prefixes, &mut functions).map_err(in_file)?;
    }
    functions.sort_by(|a: &Function, b| a.name.cmp(&b.name));
    if let Some(pair) = functions.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(format!("the headers declare {} twice", pair[0].name));
    }
    Ok(functions)
}

/// The text without comments (the headers have `//` comments only) and without preprocessor lines, which define the
/// marks.
fn declarations(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Visits each name before an opening parenthesis: a mark, then its function.
fn read_file(
    code: &str,
    marks: &'static [&'static str],
    prefixes: &[&str],
    functions: &mut Vec<Function>,
) -> Result<(), String> {
    let mut pending: Option<(&'static str, (u32, u32))> = None;
    for (at, _) in code.match_indices('(') {
        let name = last_word(&code[..at]);
        if let Some(mark) = marks.iter().find(|mark| **mark == name) {
            let arguments = code[at + 1..].split(')').next().unwrap_or_default();
            let since = version(arguments)
                .ok_or(format!("expected {name}(major, minor), found {name}({arguments})"))?;
            if pending.replace((mark, since)).is_some() {
                return Err(format!("{name}({arguments}): expected a declaration after the mark before it"));
            }
        } else if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            let (mark, since) = pending
                .take()
                .ok_or(format!("{name} has no mark; put one before it, such as {}(1, 0)", marks[0]))?;
            functions.push(Function { name: name.to_owned(), mark, since });
        }
    }
    match pending {
        None => Ok(()),
        Some((mark, _)) => Err(format!("expected a declaration after the last {mark}")),
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
