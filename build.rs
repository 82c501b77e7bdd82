//! Stamps the library with its version and commit. It warns where something is missing, never fails.

use std::process::Command;

const COMMITS: &str = ".git/logs/HEAD";

fn main() {
    // Each commit and checkout writes there. A file that is missing would mean a new build each time.
    if std::path::Path::new(COMMITS).exists() {
        println!("cargo:rerun-if-changed={COMMITS}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let stamp = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => {
            println!("cargo:warning=git tells no commit here: the version stamp goes without it");
            version.to_string()
        }
    };
    println!("cargo:rustc-env=TENSORFLOW_LATENCY_VERSION={stamp}");
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
