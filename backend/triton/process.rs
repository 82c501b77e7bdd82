//! What touches the whole process: opening a shared library, giving memory back, setting environment variables.

use std::ffi::{OsStr, OsString, c_void};
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Opens a shared library for the life of the process, its symbols kept private (RTLD_LOCAL).
///
/// With `own_symbols_first` it finds its own symbols before those that the program shows to all
/// (RTLD_DEEPBIND).
///
/// # Errors
/// The dynamic linker's own text: which file or symbol is missing; or the library has no `function`, by
/// which it is known.
pub fn open_library(path: &Path, own_symbols_first: bool, function: &str) -> Result<(), String> {
    let deep = if own_symbols_first { libc::RTLD_DEEPBIND } else { 0 };
    // SAFETY: runs the library's initialisers. The path is the operator's choice (option, environment
    // or a system folder), as trusted as the server's own backends; it is never closed, so nothing of
    // it can dangle.
    let library =
        unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | deep) }.map_err(|e| e.to_string())?;
    // SAFETY: the symbol is looked up and not used, so its type does not matter.
    let known = unsafe { library.get::<*const c_void>(function.as_bytes()) }.is_ok();
    std::mem::forget(library);
    if known { Ok(()) } else { Err(format!("it is another library, without the function {function}")) }
}

/// Whether the program, or a library that it links, shows a symbol of this name to all libraries.
pub fn is_shown_to_all(symbol: &str) -> bool {
    // SAFETY: the symbol is looked up and not used, so its type does not matter.
    unsafe { Library::this().get::<*const c_void>(symbol.as_bytes()) }.is_ok()
}

/// Gives the system back what has been freed and is kept for later: after a model is loaded, several times its
/// size.
pub fn release_free_memory() {
    // SAFETY: glibc's, which any thread may call at any time; it touches no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Sets an environment variable for all that comes. Where it has the value already nothing is touched.
pub fn set_variable(name: &str, value: &OsStr) {
    if std::env::var_os(name).is_some_and(|old| old == value) {
        return;
    }
    // SAFETY: changing the environment is sound only while no other thread reads it through C, and that the
    // server promises to nobody. What bounds the risk: this runs a few times in the life of the library, in
    // the thread with which the server loads the backend and before its TensorFlow has threads; and glibc
    // keeps the strings that it replaces, so a reader finds an old value or a new one. Only the array of them
    // may move, where variables have been added before.
    unsafe { std::env::set_var(name, value) };
}

/// Runs `body` with an environment variable set, and puts the old value back.
pub fn with_variable<T>(name: &str, value: &OsStr, body: impl FnOnce() -> T) -> T {
    struct Restore<'a>(&'a str, Option<OsString>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            match self.1.take() {
                Some(old) => set_variable(self.0, &old),
                // SAFETY: as in `set_variable`, on the same thread, after the body's end.
                None => unsafe { std::env::remove_var(self.0) },
            }
        }
    }
    let _restore = Restore(name, std::env::var_os(name));
    set_variable(name, value);
    body()
}
