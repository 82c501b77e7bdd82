//! Finds TensorFlow's shared library and opens it, once for the process and privately.
//!
//! The places, in order: the backend option `tensorflow-dir`, the environment's `TENSORFLOW_DIR`, the
//! folder of this backend's own library, `LD_LIBRARY_PATH`, the folders where Triton's containers have
//! kept theirs, the system's. The first that has the library wins. A folder that the operator named
//! with the option must have it.
//!
//! The file is opened by its full path. No environment variable is set, and nothing is written.

use std::env;
use std::ffi::{OsStr, c_void};
use std::path::{Path, PathBuf};

use libloading::os::unix::Library;
use once_cell::sync::OnceCell;
use tensorflow_c_sys::Api;

use crate::triton::{Code, Error, Result};

/// TensorFlow's library goes by several names: the C library's own, then the Python wheel's and the
/// containers'.
const FILE_NAMES: [&str; 4] =
    ["libtensorflow.so", "libtensorflow.so.2", "libtensorflow_cc.so.2", "libtensorflow_cc.so"];

const CONTAINER_FOLDERS: [&str; 2] =
    ["/opt/tritonserver/backends/tensorflow2", "/opt/tritonserver/backends/tensorflow"];

const SYSTEM_FOLDERS: [&str; 4] =
    ["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];

/// `re2::RE2::~RE2()`. Some servers (2.28.0 for one) show their own RE2 to all libraries; TensorFlow, built
/// with another version of it, would call theirs and crash when it restores variables. There it has to look
/// for its own symbols first. Elsewhere not: that way it would also miss an allocator that the operator has
/// preloaded for the whole process.
const RE2_DESTRUCTOR: &str = "_ZN3re23RE2D1Ev";

/// A folder to look in, and who named it.
struct Place {
    source: &'static str,
    folder: PathBuf,
}

/// The library that was opened, for the life of the process.
static OPENED: OnceCell<Api> = OnceCell::new();

/// TensorFlow's functions.
///
/// # Panics
/// TensorFlow is not open: [`open`] comes before everything else.
pub fn api() -> &'static Api {
    OPENED.get().expect("TensorFlow is opened before it is used")
}

/// The version of the TensorFlow that is open, such as `2.20.0`.
pub fn version() -> &'static str {
    api().version_text()
}

/// Finds and opens TensorFlow for the backend of this name. Later calls keep what the first successful one opened.
///
/// # Errors
/// No place has the library (the message lists what was tried and what to do), or it cannot be opened.
pub fn open(backend: &str, option: Option<&Path>, own_folder: &Path) -> Result<()> {
    OPENED
        .get_or_try_init(|| {
            let option = option.map(|folder| named_folder(backend, folder)).transpose()?;
            let (source, file) = find(backend, &places(option.as_deref(), own_folder))?;
            let api = load(&file)?;
            log::info!("TensorFlow {}: {} (from {source})", api.version_text(), file.display());
            Ok(api)
        })
        .map(|_| ())
}

/// The folder that the backend option names.
///
/// # Errors
/// It is empty, as with a shell variable that is not set; that would mean the server's working directory.
fn named_folder(backend: &str, folder: &Path) -> Result<PathBuf> {
    if folder.to_string_lossy().trim().is_empty() {
        return Err(Error::invalid(format!(
            "--backend-config={backend},tensorflow-dir= is empty: expected the folder that has TensorFlow's library. \
             Name the folder, or leave the option out"
        )));
    }
    if folder.is_absolute() {
        return Ok(folder.into());
    }
    let absolute = env::current_dir().map(|here| here.join(folder)).map_err(|e| {
        Error::invalid(format!(
            "--backend-config={backend},tensorflow-dir={} is relative to the server's working directory, which is \
             unknown ({e}): expected a path that begins with /",
            folder.display()
        ))
    })?;
    log::warn!(
        "tensorflow-dir={} is relative to the server's working directory, so it means {}; a path that begins with / \
         does not depend on that",
        folder.display(),
        absolute.display()
    );
    Ok(absolute)
}

fn places(option: Option<&Path>, own_folder: &Path) -> Vec<Place> {
    if let Some(folder) = option {
        return vec![Place { source: "the backend option tensorflow-dir", folder: folder.into() }];
    }
    let paths = |source, variable: &str| -> Vec<Place> {
        let folders = absolute_folders(variable, &env::var_os(variable).unwrap_or_default());
        folders.into_iter().map(|folder| Place { source, folder }).collect()
    };
    let fixed = |source, folders: &[&str]| -> Vec<Place> {
        folders.iter().map(|folder| Place { source, folder: folder.into() }).collect()
    };
    [
        paths("the environment's TENSORFLOW_DIR", "TENSORFLOW_DIR"),
        vec![Place { source: "the backend's own folder", folder: own_folder.into() }],
        paths("LD_LIBRARY_PATH", "LD_LIBRARY_PATH"),
        fixed("Triton's TensorFlow backend", &CONTAINER_FOLDERS),
        fixed("the system's libraries", &SYSTEM_FOLDERS),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The folders that a variable lists. An empty or relative one would mean a place below the server's working
/// directory, where anybody may have put a library, so it is left out.
fn absolute_folders(variable: &str, value: &OsStr) -> Vec<PathBuf> {
    let (absolute, others): (Vec<PathBuf>, Vec<PathBuf>) =
        env::split_paths(value).partition(|folder| folder.is_absolute());
    for folder in others.iter().filter(|folder| !folder.as_os_str().is_empty()) {
        log::warn!(
            "{variable}: '{}' is relative to the server's working directory and is not searched for TensorFlow; \
             write a path that begins with /",
            folder.display()
        );
    }
    absolute
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

fn load(file: &Path) -> Result<Api> {
    // The library finds what it needs beside its real file.
    let real = file.canonicalize().map_err(|e| {
        Error::internal(format!("TensorFlow's library {} cannot be opened: {e}", file.display()))
    })?;
    let flags = if server_shows(RE2_DESTRUCTOR) { libc::RTLD_DEEPBIND } else { 0 };
    // SAFETY: runs the library's initialisers. The path is the operator's choice (option, environment or a system
    // folder), as trusted as the server's own backends. The result is kept for the life of the process, so the
    // library is never closed and nothing of it can dangle.
    unsafe { Api::open(&real, flags) }.map_err(|e| Error::internal(e.to_string()))
}

/// Whether the program, or a library that it links, shows a symbol of this name to all libraries.
fn server_shows(symbol: &str) -> bool {
    // SAFETY: the symbol is looked up and not used, so its type does not matter.
    unsafe { Library::this().get::<*const c_void>(symbol.as_bytes()) }.is_ok()
}

/// Opens the TensorFlow of the tests.
///
/// # Panics
/// `TL_TENSORFLOW_DIR`, which `make test` sets, does not name a folder that has it.
#[cfg(test)]
pub fn open_for_tests() {
    let folder = env::var_os("TL_TENSORFLOW_DIR").expect("TL_TENSORFLOW_DIR names TensorFlow's folder");
    open("test", Some(Path::new(&folder)), Path::new("/nowhere")).expect("TensorFlow can be opened");
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

    #[test]
    fn an_empty_option_is_refused_and_a_relative_one_is_made_absolute() {
        let error = named_folder("named", Path::new("")).unwrap_err();
        assert_eq!(error.code, Code::InvalidArg);
        assert!(error.message.starts_with("--backend-config=named,tensorflow-dir= is empty"), "{error}");
        assert_eq!(named_folder("named", Path::new("/opt/tf")).unwrap(), Path::new("/opt/tf"));
        let here = env::current_dir().unwrap();
        assert_eq!(named_folder("named", Path::new("tf")).unwrap(), here.join("tf"));
    }

    #[test]
    fn a_variable_never_means_the_working_directory() {
        let folders = |value: &str| absolute_folders("LD_LIBRARY_PATH", OsStr::new(value));
        assert!(folders("").is_empty());
        assert_eq!(folders(":/a::/b:"), [Path::new("/a"), Path::new("/b")]);
        assert_eq!(folders(".:lib:/a:./lib"), [Path::new("/a")]);
    }
}
