//! Runs the C and C++ compiler for the tests. The other bindings crate of this workspace has a link to this file.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A source file and where its headers are.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub text: &'a str,
    /// Such as `c11` or `c++11`.
    pub standard: &'a str,
    /// Folders of headers.
    pub include: &'a [&'a Path],
    /// Folders of headers in which warnings do not count.
    pub system: &'a [&'a Path],
}

impl Source<'_> {
    /// Compiles without output. The error is what the compiler prints.
    pub fn check(&self, dir: &Path) -> Result<(), String> {
        let output = self.run(dir, &["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]);
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The text after the preprocessor, with lines such as `# 1 "file.h"` where the file changes.
    pub fn preprocess(&self, dir: &Path) -> String {
        let output = self.run(dir, &["-E"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, dir: &Path, arguments: &[&str]) -> Output {
        let cpp = self.standard.starts_with("c++");
        let file = dir.join(if cpp { "source.cc" } else { "source.c" });
        fs::write(&file, self.text).expect("cannot write the source file");
        let mut command = compiler(cpp).to_command();
        command.arg(format!("-std={}", self.standard)).args(arguments);
        for dir in self.include {
            command.arg("-I").arg(dir);
        }
        for dir in self.system {
            command.arg("-isystem").arg(dir);
        }
        command.arg(&file).output().expect("cannot run the compiler")
    }
}

/// Compiles C code to a shared library in a folder of its own, `name/file`, and returns its path.
pub fn shared_library(name: &str, file: &str, code: &str) -> PathBuf {
    let dir = work_dir(&format!("stand_in/{name}"));
    let source = dir.join("stand_in.c");
    fs::write(&source, code).expect("cannot write the source file");
    let library = dir.join(file);
    let output = compiler(false)
        .to_command()
        .args(["-shared", "-fPIC", &format!("-Wl,-soname,{file}"), "-o"])
        .arg(&library)
        .arg(&source)
        .output()
        .expect("cannot run the C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// An empty folder for one test.
pub fn work_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_PKG_NAME")).join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("cannot remove the folder of the last run");
    }
    fs::create_dir_all(&dir).expect("cannot create a folder for the test");
    dir
}

fn compiler(cpp: bool) -> cc::Tool {
    cc::Build::new()
        .cpp(cpp)
        .target(env!("BINDINGS_TARGET"))
        .host(env!("BINDINGS_TARGET"))
        .opt_level(0)
        .cargo_metadata(false)
        .get_compiler()
}
