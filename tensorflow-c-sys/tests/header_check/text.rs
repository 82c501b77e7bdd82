//! The names in a set of headers, read as text: a compiler cannot list what only one side has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Names of one set of headers.
#[derive(Clone, Default)]
pub struct HeaderText {
    /// The functions of the stable headers.
    pub stable: BTreeSet<String>,
    /// The functions of `c_api_experimental.h`.
    pub experimental: BTreeSet<String>,
    /// The enumerators of each enumeration.
    pub enums: BTreeMap<String, Vec<Enumerator>>,
    /// The fields of each structure that has no other structure inside.
    pub structs: BTreeMap<String, Vec<String>>,
    /// New name and old name of each `typedef old new;`.
    aliases: BTreeMap<String, String>,
}

/// A value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enumerator {
    pub name: String,
    /// The first TensorFlow with it, where the comment behind it says so.
    pub since: Option<(u32, u32)>,
}

impl HeaderText {
    /// This crate's headers.
    pub fn ours(dir: &Path) -> HeaderText {
        let mut text = HeaderText::default();
        for entry in fs::read_dir(dir).expect("cannot read include/") {
            let path = entry.expect("cannot read include/").path();
            let header = fs::read_to_string(&path).expect("cannot read a header");
            let code: Vec<&str> = header
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                // A comment of its own line; those behind an enumerator are read with it.
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let code = code.join("\n");
            text.enums.extend(enums(&code));
            text.structs.extend(structs(&without_comments(&code)));
            for (mark, function) in marked(&without_comments(&code)) {
                let set = if mark == "TF_SINCE" { &mut text.stable } else { &mut text.experimental };
                set.insert(function);
            }
        }
        text
    }

    /// TensorFlow's headers, after the preprocessor.
    pub fn theirs(preprocessed: &str) -> HeaderText {
        let mut stable = String::new();
        let mut experimental = String::new();
        let mut file = "";
        for line in preprocessed.lines() {
            if line.starts_with('#') {
                file = line.split('"').nth(1).unwrap_or(file);
            } else {
                let part =
                    if file.ends_with("c_api_experimental.h") { &mut experimental } else { &mut stable };
                part.push_str(line);
                part.push('\n');
            }
        }
        HeaderText {
            stable: functions(&stable),
            experimental: functions(&experimental),
            enums: enums(&stable),
            structs: structs(&stable),
            aliases: aliases(&stable),
        }
    }

    /// The names of an enumeration, also where it is an alias of another one (`TF_Code` of `TSL_Code`).
    pub fn enumerators(&self, name: &str) -> Option<Vec<String>> {
        if let Some(enumerators) = self.enums.get(name) {
            return Some(enumerators.iter().map(|enumerator| enumerator.name.clone()).collect());
        }
        let other = self.enums.get(self.aliases.get(name)?)?;
        Some(other.iter().map(|enumerator| enumerator.name.replacen("TSL_", "TF_", 1)).collect())
    }

    pub fn has(&self, function: &str) -> bool {
        self.stable.contains(function) || self.experimental.contains(function)
    }
}

/// Every name with the API's prefix before an opening parenthesis.
fn functions(code: &str) -> BTreeSet<String> {
    names_before(code, '(').filter(|name| name.starts_with("TF_")).map(str::to_owned).collect()
}

/// Every mark with its function.
fn marked(code: &str) -> Vec<(&str, String)> {
    let names: Vec<&str> = names_before(code, '(').filter(|name| name.starts_with("TF_")).collect();
    names
        .windows(2)
        .filter(|pair| pair[0] == "TF_SINCE" || pair[0] == "TF_EXPERIMENTAL_SINCE")
        .map(|pair| (pair[0], pair[1].to_owned()))
        .collect()
}

fn names_before(code: &str, sign: char) -> impl Iterator<Item = &str> {
    code.match_indices(sign).map(|(at, _)| last_word(&code[..at]))
}

fn last_word(text: &str) -> &str {
    let text = text.trim_end();
    &text[text.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1)..]
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every `typedef kind tag { body } name;`, with the name.
fn definitions<'a>(code: &'a str, kind: &'static str) -> impl Iterator<Item = (String, &'a str)> {
    code.split("typedef").skip(1).filter_map(move |text| {
        let (head, rest) = text.split_once('{')?;
        if head.split_whitespace().next() != Some(kind) || head.contains(';') {
            return None;
        }
        let (body, rest) = rest.split_once('}')?;
        let name = rest.split_once(';')?.0.trim();
        Some((name.to_owned(), body))
    })
}

fn enums(code: &str) -> BTreeMap<String, Vec<Enumerator>> {
    definitions(code, "enum").map(|(name, body)| (name, enumerators(body))).collect()
}

fn enumerators(body: &str) -> Vec<Enumerator> {
    let mut found: Vec<Enumerator> = Vec::new();
    for line in body.lines() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        for part in code.split(',') {
            if let Some(name) = part.split(|c: char| !is_word(c)).find(|word| !word.is_empty()) {
                found.push(Enumerator { name: name.to_owned(), since: None });
            }
        }
        if let (Some(last), Some(since)) = (found.last_mut(), since(comment)) {
            last.since = Some(since);
        }
    }
    found
}

/// Reads "Since TensorFlow 2.12.".
fn since(comment: &str) -> Option<(u32, u32)> {
    let version = comment.split_once("Since TensorFlow ")?.1;
    let (major, rest) = version.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn structs(code: &str) -> BTreeMap<String, Vec<String>> {
    definitions(code, "struct")
        .filter(|(name, body)| !name.is_empty() && !body.contains('{'))
        .map(|(name, body)| (name, body.split(';').filter_map(field).collect()))
        .collect()
}

/// The name in a field's declaration: `type name`, `type name[n]` or `type (*name)(...)`.
fn field(declaration: &str) -> Option<String> {
    let declaration = declaration.trim();
    if declaration.is_empty() {
        return None;
    }
    let text = match declaration.split_once("(*") {
        Some((_, rest)) => rest.split_once(')')?.0,
        None => declaration.split('[').next()?,
    };
    Some(last_word(text).to_owned())
}

/// Every `typedef old new;`.
fn aliases(code: &str) -> BTreeMap<String, String> {
    code.split("typedef")
        .skip(1)
        .filter_map(|text| {
            let words: Vec<&str> = text.split_once(';')?.0.split_whitespace().collect();
            match words[..] {
                [old, new] if words.iter().all(|word| word.chars().all(is_word)) => {
                    Some((new.to_owned(), old.to_owned()))
                }
                _ => None,
            }
        })
        .collect()
}
