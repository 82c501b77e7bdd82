//! Opens a TensorFlow library and looks up its C API.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::bindings::Symbols;
use crate::version::{FUNCTIONS, Function, OLDEST, Version};

/// The functions of one TensorFlow library.
///
/// It dereferences to [`Symbols`], which has each function as a field (a `Result`: the function, or the dynamic linker's
/// error) and as a method, which panics if the function is missing.
///
/// It is `Send` and `Sync`: keep one in a `static` and call it from any thread. The functions' own documentation says
/// which objects are thread-safe.
pub struct Api {
    symbols: Symbols,
    path: PathBuf,
    version: Version,
    version_text: String,
    /// Parallel to [`FUNCTIONS`].
    present: Vec<bool>,
}

impl Api {
    /// Opens the library at `path` and looks up all [`FUNCTIONS`] in it and in the libraries that it depends on.
    ///
    /// The library is `libtensorflow_cc.so.2` of a TensorFlow package, or `libtensorflow.so.2` of TensorFlow's C library.
    /// A relative path starts at the working directory; no search path is used. The library is opened with
    /// `RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE` and the given `extra_flags`: 0, or `libc::RTLD_DEEPBIND` to make the library
    /// prefer its own symbols over those of the process. It is never closed.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is not a TensorFlow library, has a version older than [`OLDEST`] or another major
    /// version, or lacks a required function. A missing optional function is no error.
    ///
    /// # Safety
    ///
    /// Opening a library runs its initializers. The library must be safe to load into this process, and what it exports
    /// under TensorFlow's names must be TensorFlow's.
    pub unsafe fn open(path: impl AsRef<Path>, extra_flags: c_int) -> Result<Api, LoadError> {
        let path = path.as_ref();
        // Absolute: dlopen searches its own folders for a name without a slash.
        let path = std::path::absolute(path)
            .map_err(|e| LoadError::CannotOpen { path: path.to_owned(), reason: e.to_string() })?;
        let cannot_open = |reason| LoadError::CannotOpen { path: path.clone(), reason };
        if let Err(error) = std::fs::metadata(&path) {
            return Err(cannot_open(error.to_string()));
        }
        let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE | extra_flags;
        // SAFETY: the caller promises that the library's initializers may run here.
        let library =
            unsafe { Library::open(Some(&path), flags) }.map_err(|e| cannot_open(reason(&e, &path)))?;
        if !has_symbol(&library, FIRST) {
            return Err(LoadError::NotTensorFlow { path });
        }
        let present: Vec<bool> =
            FUNCTIONS.iter().map(|function| has_symbol(&library, function.name)).collect();
        // SAFETY: by the caller's promise these names are TensorFlow's; the declarations are TensorFlow's too. No symbol
        // is required here, so a missing one is no error.
        let symbols =
            unsafe { Symbols::from_library(library) }.map_err(|e| cannot_open(reason(&e, &path)))?;

        // First the version: in an unsuitable release much may be missing, and the version then explains it.
        // SAFETY: TensorFlow's function, which returns a static string.
        let version_text = text(unsafe { symbols.TF_Version() });
        let version = match Version::parse(&version_text) {
            Some(version) if version.major == OLDEST.major && version >= OLDEST => version,
            _ => return Err(LoadError::WrongVersion { path, found: version_text }),
        };
        let missing: Vec<&'static str> = FUNCTIONS
            .iter()
            .zip(&present)
            .filter(|(function, present)| function.is_required() && !**present)
            .map(|(function, _)| function.name)
            .collect();
        if !missing.is_empty() {
            return Err(LoadError::Incomplete { path, version: version_text, missing });
        }
        Ok(Api { symbols, path, version, version_text, present })
    }

    /// The absolute path of the library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the library.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The version as the library gives it, such as "2.20.0".
    pub fn version_text(&self) -> &str {
        &self.version_text
    }

    /// Whether the library has the function of this name; false for a name that is not in [`FUNCTIONS`].
    ///
    /// If the name is known at compile time, prefer the field, which the compiler checks:
    /// `api.TF_SetShape.is_ok()`.
    pub fn has(&self, name: &str) -> bool {
        FUNCTIONS.binary_search_by_key(&name, |function| function.name).is_ok_and(|at| self.present[at])
    }

    /// The functions that these bindings know and the library lacks, sorted by name.
    pub fn missing(&self) -> impl Iterator<Item = &'static Function> {
        FUNCTIONS.iter().zip(&self.present).filter(|(_, present)| !**present).map(|(function, _)| function)
    }
}

impl Deref for Api {
    type Target = Symbols;

    fn deref(&self) -> &Symbols {
        &self.symbols
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("path", &self.path)
            .field("version", &self.version_text)
            .field("missing", &self.missing().map(|function| function.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

// Users keep one Api in a static.
const _: fn() = || {
    fn usable_from_every_thread<T: Send + Sync + 'static>() {}
    usable_from_every_thread::<Api>();
    usable_from_every_thread::<LoadError>();
};

/// A library with this function is taken for TensorFlow.
const FIRST: &str = "TF_Version";

fn has_symbol(library: &Library, name: &str) -> bool {
    // SAFETY: the symbol is not used, so its type does not matter.
    unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_ok_and(|symbol| !symbol.into_raw().is_null())
}

/// The dynamic linker's message, without the path that it usually begins with.
fn reason(error: &libloading::Error, path: &Path) -> String {
    use std::error::Error;
    let message = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    match message.strip_prefix(&format!("{}: ", path.display())) {
        Some(rest) => rest.to_owned(),
        None => message,
    }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the callers pass a C string that TensorFlow keeps alive.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn counted(functions: usize) -> String {
    format!("{functions} function{}", if functions == 1 { "" } else { "s" })
}

/// Why a library cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The file does not exist, or the dynamic linker refuses it.
    CannotOpen {
        /// The library's path.
        path: PathBuf,
        /// The message of the operating system or the dynamic linker.
        reason: String,
    },
    /// The library does not have TensorFlow's C API.
    NotTensorFlow {
        /// The library's path.
        path: PathBuf,
    },
    /// The library is of a TensorFlow older than [`OLDEST`] or of another major version.
    WrongVersion {
        /// The library's path.
        path: PathBuf,
        /// The version as the library gives it.
        found: String,
    },
    /// Required functions are missing.
    Incomplete {
        /// The library's path.
        path: PathBuf,
        /// The version as the library gives it.
        version: String,
        /// The names of the functions, sorted.
        missing: Vec<&'static str>,
    },
}

impl LoadError {
    /// The path of the library.
    pub fn path(&self) -> &Path {
        match self {
            LoadError::CannotOpen { path, .. }
            | LoadError::NotTensorFlow { path }
            | LoadError::WrongVersion { path, .. }
            | LoadError::Incomplete { path, .. } => path,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            LoadError::CannotOpen { reason, .. } => write!(
                f,
                "cannot open the TensorFlow library {path}: {reason}. Expected libtensorflow_cc.so.2 or \
                 libtensorflow.so.2 of TensorFlow {OLDEST} or newer, for this machine's architecture"
            ),
            LoadError::NotTensorFlow { .. } => write!(
                f,
                "{path} is not a TensorFlow library: it does not export {FIRST}. Expected libtensorflow_cc.so.2 or \
                 libtensorflow.so.2"
            ),
            LoadError::WrongVersion { found, .. } => write!(
                f,
                "{path} is TensorFlow {found:?}; expected TensorFlow {OLDEST} or a later {}.x",
                OLDEST.major
            ),
            LoadError::Incomplete { version, missing, .. } => write!(
                f,
                "{path} is TensorFlow {version}, but lacks {} of the C API that every TensorFlow since \
                 {OLDEST} has: {}. Use a complete build, such as that of TensorFlow's Python package (2.12 or newer)",
                counted(missing.len()),
                missing.join(", ")
            ),
        }
    }
}

impl std::error::Error for LoadError {}
