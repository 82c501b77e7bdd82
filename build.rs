//! Stamps the package that is built (the backend, or the measuring tool) with its version and commit. It warns where something is missing, never fails.

use std::env;
use std::process::Command;

/// Names the commit where git cannot be asked, or says more than git would: `make dist` sets it.
const COMMIT: &str = "TENSORFLOW_LATENCY_COMMIT";

fn main() {
    // Each commit and checkout writes there. A file that is missing would mean a new build each time. Git
    // knows the place: in a second work tree it is not below this folder.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| std::path::Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let version = env!("CARGO_PKG_VERSION");
    let named = env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    let stamp = match named.or_else(|| git(&["rev-parse", "--short=12", "HEAD"])) {
        Some(commit) => format!("{version} ({commit})"),
        None => {
            println!(
                "cargo:warning=git tells no commit here: the version stamp goes without it ({COMMIT} sets one)"
            );
            version.to_string()
        }
    };
    println!("cargo:rustc-env=TENSORFLOW_LATENCY_VERSION={stamp}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
