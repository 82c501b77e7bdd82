//! Finds TensorFlow's shared library and opens it, once for the process and privately.
//!
//! The places, in order: the backend option `tensorflow-dir`, the environment's `TENSORFLOW_DIR`, the
//! folder of this backend's own library, `LD_LIBRARY_PATH`, the folders where Triton's containers have
//! kept theirs, the system's. The first that has the library wins. A place that the operator named
//! with the option has to have it.

use std::env;
use std::path::{Path, PathBuf};

use once_cell::sync::OnceCell;

use crate::session;
use crate::triton::clock::now_ns;
use crate::triton::process::{is_shown_to_all, open_library, with_variable};
use crate::triton::{Code, Error, Result};

/// TensorFlow's library goes by several names: the C library's own, then the Python wheel's and the
/// containers'.
const FILE_NAMES: [&str; 4] =
    ["libtensorflow.so", "libtensorflow.so.2", "libtensorflow_cc.so.2", "libtensorflow_cc.so"];

const CONTAINER_FOLDERS: [&str; 2] =
    ["/opt/tritonserver/backends/tensorflow2", "/opt/tritonserver/backends/tensorflow"];

const SYSTEM_FOLDERS: [&str; 4] =
    ["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];

/// Where the `tensorflow` crate looks for the file of the first of [`FILE_NAMES`].
const CRATE_VARIABLE: &str = "TENSORFLOW_DIR";

/// `re2::RE2::~RE2()`. Some servers (2.28.0 for one) show their own RE2 to all libraries; TensorFlow, built
/// with another version of it, would call theirs and crash when it restores variables. There it has to look
/// for its own symbols first. Elsewhere not: that way it would also miss an allocator that the operator has
/// preloaded for the whole process.
const RE2_DESTRUCTOR: &str = "_ZN3re23RE2D1Ev";

/// A function of TensorFlow's C API that this backend cannot do without.
const C_API: &str = "TF_LoadSessionFromSavedModel";

/// A folder to look in, and who named it.
struct Place {
    source: &'static str,
    folder: PathBuf,
}

/// Finds and opens TensorFlow for the backend of this name. Later calls return what the first successful one opened.
///
/// # Errors
/// No place has the library (the message lists what was tried and what to do), or it cannot be opened.
pub fn open(backend: &str, option: Option<&Path>, own_folder: &Path) -> Result<&'static Path> {
    static OPENED: OnceCell<PathBuf> = OnceCell::new();
    OPENED
        .get_or_try_init(|| {
            let (source, file) = find(backend, &places(option, own_folder))?;
            load(&file)?;
            log::info!("TensorFlow {}: {} (from {source})", session::version(), file.display());
            Ok(file)
        })
        .map(PathBuf::as_path)
}

fn places(option: Option<&Path>, own_folder: &Path) -> Vec<Place> {
    if let Some(folder) = option {
        return vec![Place { source: "the backend option tensorflow-dir", folder: folder.into() }];
    }
    let paths = |source, variable: &str| -> Vec<Place> {
        let value = env::var_os(variable).unwrap_or_default();
        let folders = env::split_paths(&value).filter(|folder| !folder.as_os_str().is_empty());
        folders.map(|folder| Place { source, folder }).collect()
    };
    let fixed = |source, folders: &[&str]| -> Vec<Place> {
        folders.iter().map(|folder| Place { source, folder: folder.into() }).collect()
    };
    [
        paths("the environment's TENSORFLOW_DIR", CRATE_VARIABLE),
        vec![Place { source: "the backend's own folder", folder: own_folder.into() }],
        paths("LD_LIBRARY_PATH", "LD_LIBRARY_PATH"),
        fixed("Triton's TensorFlow backend", &CONTAINER_FOLDERS),
        fixed("the system's libraries", &SYSTEM_FOLDERS),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn find(backend: &str, places: &[Place]) -> Result<(&'static str, PathBuf)> {
    places
        .iter()
        .flat_map(|place| FILE_NAMES.map(|name| (place.source, place.folder.join(name))))
        .find(|(_, file)| file.is_file())
        .ok_or_else(|| {
            let tried: Vec<_> =
                places.iter().map(|place| format!("{} ({})", place.folder.display(), place.source)).collect();
            Error::new(
                Code::NotFound,
                format!(
                    "no TensorFlow library: looked for {} in {}. Install TensorFlow (`pip install \
                     tensorflow-cpu` has the library in its folder 'tensorflow') and start the server \
                     with --backend-config={backend},tensorflow-dir=FOLDER or with \
                     TENSORFLOW_DIR=FOLDER in its environment",
                    FILE_NAMES.join(", "),
                    tried.join(", ")
                ),
            )
        })
}

/// Opens the library for the `tensorflow` crate.
///
/// The crate looks only for a file called `libtensorflow.so`, in a folder that the environment names.
/// So the real file is opened first, which loads what it needs from beside it, and then the crate is
/// shown a link of that name: the linker knows the file again by its inode and opens nothing new.
fn load(file: &Path) -> Result<()> {
    let failed = |reason: String| {
        let advice = "Is it complete, and built for this machine and its C library?";
        Error::internal(format!(
            "TensorFlow's library {} cannot be opened: {reason}. {advice}",
            file.display()
        ))
    };
    let real = file.canonicalize().map_err(|e| failed(e.to_string()))?;
    let own_symbols_first = is_shown_to_all(RE2_DESTRUCTOR);
    open_library(&real, own_symbols_first, C_API).map_err(failed)?;
    let link = Link::new(&real).map_err(|e| failed(format!("no link to it can be made: {e}")))?;
    with_variable(CRATE_VARIABLE, link.0.as_os_str(), session::link_library).map_err(failed)
}

/// A temporary folder with the link; it is gone when the crate has opened the library.
struct Link(PathBuf);

impl Link {
    fn new(target: &Path) -> std::io::Result<Self> {
        let unique = format!("tensorflow-latency-{}-{}", std::process::id(), now_ns());
        let link = Self(env::temp_dir().join(unique));
        std::fs::create_dir(&link.0)?;
        std::os::unix::fs::symlink(target, link.0.join(FILE_NAMES[0]))?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!("{} could not be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_wins_and_a_named_one_has_to_have_it() {
        let root = env::temp_dir().join(format!("tensorflow-latency-test-{}", std::process::id()));
        let (empty, wheel) = (root.join("empty"), root.join("wheel"));
        std::fs::create_dir_all(&empty).unwrap();
        std::fs::create_dir_all(&wheel).unwrap();
        std::fs::write(wheel.join("libtensorflow_cc.so.2"), "").unwrap();

        let place = |folder: &Path| Place { source: "a test", folder: folder.into() };
        let (_, found) = find("named", &[place(&empty), place(&wheel)]).unwrap();
        assert_eq!(found, wheel.join("libtensorflow_cc.so.2"));

        let error = find("named", &places(Some(&empty), &wheel)).unwrap_err().message;
        assert!(error.contains(empty.to_str().unwrap()), "{error}");
        assert!(error.contains("pip install tensorflow-cpu"), "{error}");
        assert!(error.contains("--backend-config=named,tensorflow-dir="), "{error}");
        assert!(!error.contains(wheel.to_str().unwrap()), "{error}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
