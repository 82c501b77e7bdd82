//! Libraries of custom operations, which become TensorFlow's own for the life of the process.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::library::{self, api};
use super::status::checked;
use crate::triton::{Error, Result};

/// Adds the operations of a library to TensorFlow's. Once is enough, and more often does no harm: TensorFlow remembers the file.
///
/// # Errors
/// It cannot be loaded, or defines an operation that is there already.
pub fn load(file: &Path) -> Result<()> {
    let failed = |reason: String| {
        Error::internal(format!(
            "the op library {} cannot be loaded: {reason}. Is it built for TensorFlow {}, which this server has?",
            file.display(),
            library::version()
        ))
    };
    let path =
        CString::new(file.as_os_str().as_bytes()).map_err(|_| failed("its name has a NUL byte".into()))?;
    // SAFETY: the path is a C string that lives during the call; loading may take place on any thread, TensorFlow has a lock
    // of its own for it. It runs the library's initialisers: the path is the choice of who wrote the model's configuration,
    // as trusted as whoever installs backends (docs/configuration.md says so). The handle that is returned is kept by
    // nobody: `TF_DeleteLibraryHandle` would free the list of operations but never the library, and it would have to outlive
    // all graphs, so the few bytes of it stay with the library itself.
    let loaded = checked(|status| unsafe { api().TF_LoadLibrary(path.as_ptr(), status) });
    loaded.map(drop).map_err(|failure| failed(failure.to_string()))
}
