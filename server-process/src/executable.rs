//! The server's executable, and the options that it has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Every release has this option, so a text without it is not the help of a Triton server.
const KNOWN_TO_ALL: &str = "--model-repository";

/// A `tritonserver` executable, or a wrapper of one.
#[derive(Clone, Debug)]
pub struct Executable {
    path: PathBuf,
    help: String,
}

impl Executable {
    /// Runs `PATH --help`, since the options differ between releases and an unknown one ends the server.
    ///
    /// # Errors
    ///
    /// There is no such file, it cannot be run, or its help is not that of a Triton server.
    pub fn ask(path: &Path) -> Result<Self> {
        ensure!(
            path.is_file(),
            "there is no Triton server at '{}'; name the executable 'tritonserver'",
            path.display()
        );
        // The server works in a folder of its own.
        let path = std::path::absolute(path)?;
        let output = Command::new(&path)
            .arg("--help")
            .output()
            .with_context(|| format!("'{}' cannot be run", path.display()))?;
        // The stream it writes to, and its exit code, differ between releases.
        let help = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let help = help.concat();
        ensure!(
            help.contains(KNOWN_TO_ALL),
            "'{} --help' does not list the options of a Triton server ({}): {}",
            path.display(),
            output.status,
            help.trim()
        );
        Ok(Self { path, help })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this release has an option, such as `--http-address`.
    pub fn has_option(&self, option: &str) -> bool {
        self.help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == option)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tritonserver");
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, file)
    }

    #[test]
    fn options_are_whole_words_of_the_help() {
        let (_folder, file) =
            script("echo '  --model-repository <string>\n  --http-address-family <string>' >&2; exit 1");
        let executable = Executable::ask(&file).unwrap();
        assert!(executable.has_option("--model-repository"));
        assert!(!executable.has_option("--http-address") && !executable.has_option("--model"));
    }

    #[test]
    fn another_program_is_refused_with_its_output() {
        let (folder, file) = script("echo 'libb64.so.0d: cannot open shared object file' >&2; exit 127");
        let error = Executable::ask(&file).unwrap_err().to_string();
        assert!(error.contains("127") && error.contains("libb64.so.0d"), "{error}");
        let error = Executable::ask(&folder.path().join("nothing")).unwrap_err().to_string();
        assert!(error.contains("no Triton server at"), "{error}");
    }
}
