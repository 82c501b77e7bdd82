//! The C compiler, and the folders it works in.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fresh folder of this test program's.
pub fn work_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("library").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the last run's folder goes");
    }
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Compiles `source` to `file` in `folder`.
///
/// # Panics
///
/// When the compiler is not there or refuses it.
pub fn compile(folder: &Path, file: &str, source: &str, arguments: &[&str]) -> PathBuf {
    let (source_file, result) = (folder.join(format!("{file}.c")), folder.join(file));
    fs::write(&source_file, source).expect("the target folder can be written");
    let output = Command::new("cc")
        .current_dir(folder)
        .arg("-o")
        .args([&result, &source_file])
        .args(arguments)
        .output()
        .expect("there is a C compiler, `cc`");
    assert!(output.status.success(), "{file}: {}\n{source}", String::from_utf8_lossy(&output.stderr));
    result
}

/// What a variable of the environment names.
pub fn named(variable: &str) -> PathBuf {
    let help = "`make check-dist` sets everything up and runs these tests";
    let path = env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; {help}"));
    assert!(Path::new(&path).exists(), "{variable} is {path:?}, which is not there; {help}");
    path.into()
}
