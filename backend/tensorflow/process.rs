//! What affects the whole process: environment variables, and memory given back to the system.

use std::ffi::OsStr;

/// Gives memory that was freed and is kept for later back to the system: after a model is loaded, several times its
/// size.
pub fn release_free_memory() {
    // SAFETY: glibc's, which any thread may call at any time; it touches no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Sets an environment variable for the rest of the process. Nothing is touched where it already has the value.
pub fn set_variable(name: &str, value: &OsStr) {
    if std::env::var_os(name).is_some_and(|old| old == value) {
        return;
    }
    // SAFETY: changing the environment is sound only while no other thread reads it through C, which the server
    // guarantees to nobody. What bounds the risk: this runs at most once in the life of the library and only where
    // the operator set fpmath-mode, on the thread on which the server loads the backend and before its TensorFlow has
    // threads; and glibc keeps the strings that it replaces, so a reader finds an old value or a new one. Only the
    // array of them may move, where variables have been added before.
    unsafe { std::env::set_var(name, value) };
}
