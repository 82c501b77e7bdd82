//! Which headers are bound: this crate's own, or NVIDIA's where `TRITON_INCLUDE_DIR` names them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Headers {
    /// This crate's include folder.
    pub own_dir: PathBuf,
    /// The files in it.
    pub own_files: Vec<PathBuf>,
    /// NVIDIA's include folder, the one that holds `triton/core/tritonbackend.h`.
    pub nvidia_dir: Option<PathBuf>,
}

const NVIDIA_HEADERS: [&str; 2] = ["triton/core/tritonbackend.h", "triton/core/tritonserver.h"];

pub fn find() -> Result<Headers, String> {
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set; run this through cargo")?;
    let own_dir = Path::new(&manifest_dir).join("include");
    println!("cargo::rerun-if-changed={}", own_dir.display());
    println!("cargo::rerun-if-env-changed=TRITON_INCLUDE_DIR");

    let own_files = list(&own_dir)?;
    let nvidia_dir = match env::var_os("TRITON_INCLUDE_DIR").filter(|dir| !dir.is_empty()) {
        None => None,
        Some(dir) => Some(checked(Path::new(&dir))?),
    };
    Ok(Headers { own_dir, own_files, nvidia_dir })
}

/// The headers in a folder, in an order that does not change from run to run.
fn list(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "h"))
        .collect();
    files.sort();
    Ok(files)
}

fn checked(dir: &Path) -> Result<PathBuf, String> {
    for header in NVIDIA_HEADERS {
        let path = dir.join(header);
        if !path.is_file() {
            return Err(format!(
                "TRITON_INCLUDE_DIR is {}, but there is no file {header} in it.\n\
                 Set it to the `include` folder of triton-inference-server/core, as an absolute path, \
                 or unset it to use the headers that come with triton-sys.",
                dir.display()
            ));
        }
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // clang is run in another folder than the shell that set the variable.
    dir.canonicalize().map_err(|e| format!("TRITON_INCLUDE_DIR {}: {e}", dir.display()))
}
