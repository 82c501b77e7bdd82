//! The shape of the code, read from its sources: who imports whom, where unsafe code lies, how long files are.
//!
//! - No two files of a crate import each other, straight or through others.
//! - A room of the backend imports only from the rooms below it: see [`rooms::FLOORS`].
//! - Nothing imports a test file.
//! - `unsafe` lies in the crates of raw bindings, in the two safe layers over them and in the server of the tests, and
//!   nowhere else.
//! - No source file is longer than [`MOST_LINES`].
//!
//! `tree` reads a crate's modules, `resolve` follows a path to the file that answers for its last name, `imports`
//! collects the paths of a file, `circles` and `rooms` judge what was found, `planted` shows that each fault is seen.

mod circles;
mod imports;
mod planted;
mod resolve;
mod rooms;
mod tree;

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use circles::Imports;
use tree::Sources;

/// The most lines of a source file, tests not counted: more is more than one concern.
const MOST_LINES: usize = 600;

/// Where unsafe code may lie: the crates of raw bindings (`*-sys`), the layers over them, and what plays the other side
/// of the two APIs in tests.
const UNSAFE_ROOMS: [&str; 3] = ["backend/triton", "backend/tensorflow", "tests/host"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates of the repository: the roots of each, the library first, by the names that other roots of the same
/// package use for them.
fn packages() -> Vec<Vec<(String, PathBuf)>> {
    let mut packages = vec![vec![("triton_tensorflow_latency".to_owned(), PathBuf::from("backend/lib.rs"))]];
    for entry in std::fs::read_dir(repository()).expect("the repository can be read") {
        let folder = entry.expect("the repository can be read").path();
        let Ok(manifest) = std::fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let folder = folder.strip_prefix(repository()).expect("a folder of the repository").to_path_buf();
        let roots = [(library_name(&manifest), "src/lib.rs"), ("main".to_owned(), "src/main.rs")];
        let roots = roots.map(|(name, file)| (name, folder.join(file)));
        packages.push(roots.into_iter().filter(|(_, file)| repository().join(file).is_file()).collect());
    }
    packages
}

/// The name by which a package's library is used: the first `name` of the section `lib`, or else of `package`.
fn library_name(manifest: &str) -> String {
    let name_in = |section: &str| {
        let lines = manifest.lines().skip_while(|line| line.trim() != section).skip(1);
        let mut lines = lines.take_while(|line| !line.starts_with('['));
        lines.find_map(|line| Some(line.strip_prefix("name = ")?.trim_matches('"').replace('-', "_")))
    };
    name_in("[lib]").or_else(|| name_in("[package]")).expect("a package has a name")
}

fn imports_of(roots: &[(String, PathBuf)]) -> Imports {
    imports::read(&Sources::Folder(repository()), roots)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut faults = Vec::new();
    for roots in packages() {
        let imports = imports_of(&roots);
        assert!(imports.files().len() > 1 || roots.is_empty(), "{roots:?}: no file imports another");
        faults.extend(circles::circles(&imports));
    }
    assert!(faults.is_empty(), "{} circles:\n\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn nothing_imports_a_test_file() {
    let faults: Vec<String> =
        packages().iter().flat_map(|roots| circles::imports_of_tests(&imports_of(roots))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_room_of_the_backend_imports_only_from_the_rooms_below_it() {
    let faults = rooms::against_floors(&imports_of(&packages()[0]), &rooms::FLOORS);
    assert!(faults.is_empty(), "{} imports do not go down:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn unsafe_code_lies_in_the_bindings_and_the_layers_over_them_only() {
    let is_room = |file: &Path| {
        let first = file.components().next().expect("a file").as_os_str().to_string_lossy();
        first.ends_with("-sys") || UNSAFE_ROOMS.iter().any(|room| file.starts_with(room))
    };
    let others: Vec<PathBuf> = rust_files().into_iter().filter(|file| !is_room(file)).collect();
    assert!(!others.is_empty());
    let faults: Vec<PathBuf> = others.into_iter().filter(|file| has_unsafe_code(&text_of(file))).collect();
    assert!(faults.is_empty(), "unsafe code outside of {UNSAFE_ROOMS:?} and the -sys crates: {faults:?}");
}

#[test]
fn no_source_file_is_too_long() {
    // Bindgen's file is for the compiler.
    let written = |file: &PathBuf| file.file_name() != Some("generated.rs".as_ref());
    let sources = |file: &PathBuf| file.starts_with("backend") || file.iter().nth(1) == Some("src".as_ref());
    let long = rust_files().into_iter().filter(sources).filter(written).filter_map(|file| {
        let lines = text_of(&file).lines().count();
        (lines > MOST_LINES).then(|| format!("{}: {lines} lines", file.display()))
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines: {}", long.join(", "));
}

/// The Rust files that people wrote, from the repository's root.
fn rust_files() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the repository can be read") {
            let path = entry.expect("the repository can be read").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            // Hidden folders hold what git and Python keep; links lead to what is read elsewhere.
            if name.starts_with('.') || name == "target" || name == "dist" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(repository()).expect("within it").to_path_buf());
            }
        }
    }
    let mut files = Vec::new();
    walk(repository(), &mut files);
    files
}

fn text_of(file: &Path) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the word `unsafe` stands in the code: not in comments, not in texts.
fn has_unsafe_code(text: &str) -> bool {
    fn has(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => word == "unsafe",
            TokenTree::Group(group) => has(group.stream()),
            _ => false,
        })
    }
    has(text.parse().expect("a Rust file"))
}
