//! NVIDIA's headers, where `TRITON_INCLUDE_DIR` names their folder.

use std::env;
use std::path::{Path, PathBuf};

const HEADERS: [&str; 2] = ["triton/core/tritonbackend.h", "triton/core/tritonserver.h"];

/// The folder that holds `triton/core/tritonbackend.h`; `None` if the variable is not set.
pub fn include_dir() -> Result<Option<PathBuf>, String> {
    println!("cargo::rerun-if-env-changed=TRITON_INCLUDE_DIR");
    let Some(dir) = env::var_os("TRITON_INCLUDE_DIR").filter(|dir| !dir.is_empty()) else { return Ok(None) };
    let dir = Path::new(&dir);
    for header in HEADERS {
        let path = dir.join(header);
        if !path.is_file() {
            return Err(format!(
                "TRITON_INCLUDE_DIR is {}, which has no file {header}.\n\
                 Set it to the absolute path of the `include` folder of triton-inference-server/core, or unset it to \
                 use the headers of this crate.",
                dir.display()
            ));
        }
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // clang runs in another working directory than the shell that set the variable.
    dir.canonicalize().map(Some).map_err(|e| format!("TRITON_INCLUDE_DIR {}: {e}", dir.display()))
}
