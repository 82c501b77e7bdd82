//! Finds libclang and the C compiler's headers, which bindgen needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The settings that both crates share. `dir` is the crate's `include` folder.
pub fn builder(dir: &Path) -> Result<bindgen::Builder, String> {
    find_libclang()?;
    // bindgen reads this variable too.
    println!("cargo::rerun-if-env-changed=BINDGEN_EXTRA_CLANG_ARGS");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut builder = bindgen::Builder::default()
        .clang_arg(format!("-I{}", dir.display()))
        // The library may return values that these headers do not list, so never a Rust enum.
        .default_enum_style(bindgen::EnumVariation::NewType { is_bitfield: false, is_global: false })
        .dynamic_library_name("Symbols")
        .dynamic_link_require_all(false)
        .layout_tests(false)
        .parse_callbacks(Box::new(Comments))
        .formatter(bindgen::Formatter::Prettyplease);
    if let Some(dir) = compiler_headers() {
        // Last: a complete clang has its own, which must win over those of another compiler.
        builder = builder.clang_args(["-idirafter", &dir]);
    }
    Ok(builder)
}

/// The headers document enumerators with `///<` behind them: libclang gives a comment before one enumerator to the next
/// ones too, if they have none.
#[derive(Debug)]
struct Comments;

impl bindgen::callbacks::ParseCallbacks for Comments {
    fn process_comment(&self, comment: &str) -> Option<String> {
        let lines: Vec<&str> = comment.lines().map(|line| line.strip_prefix('<').unwrap_or(line)).collect();
        Some(lines.join("\n"))
    }
}

/// The generated text. `missing` is the panic message of the generated methods for a function that the library lacks;
/// the dynamic linker's message, which names the function, follows it.
pub fn generate(builder: bindgen::Builder, missing: &str) -> Result<String, String> {
    const BINDGEN_PANIC: &str = "\"Expected function, got error.\"";
    let text = builder.generate().map_err(|e| format!("bindgen cannot read the headers: {e}"))?.to_string();
    if !text.contains(BINDGEN_PANIC) {
        return Err(format!("bindgen no longer generates {BINDGEN_PANIC}; adapt build/clang.rs"));
    }
    Ok(text.replace(BINDGEN_PANIC, &format!("{missing:?}")))
}

/// The headers in a folder, sorted.
pub fn headers(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "h"))
        .collect();
    files.sort();
    Ok(files)
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Loads libclang as bindgen will, so that a missing one ends in one message instead of a panic.
fn find_libclang() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    clang_sys::load().map_err(|reason| {
        format!(
            "the feature `bindgen` of {} needs libclang 9 or newer, and none was found.\n\
             Build without the feature to use the committed bindings. To install libclang without root: \
             `pip install libclang`, then set LIBCLANG_PATH to the absolute path of SITE-PACKAGES/clang/native. \
             Or install your system's package (Debian: libclang-dev).\n\
             LIBCLANG_PATH is {}. Tried: {}",
            env::var("CARGO_PKG_NAME").unwrap_or_default(),
            env::var("LIBCLANG_PATH").map_or_else(|_| "not set".to_owned(), |path| format!("{path:?}")),
            reason.replace('\n', " "),
        )
    })
}

/// The folder of the C compiler's own headers (stddef.h, stdbool.h), which the libclang of PyPI lacks.
fn compiler_headers() -> Option<String> {
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next()?).args(words).arg("-print-file-name=include").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    // A compiler without such a folder prints the bare word.
    (output.status.success() && Path::new(&dir).is_absolute()).then_some(dir)
}
