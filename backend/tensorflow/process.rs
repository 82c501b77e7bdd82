//! What affects the whole process: environment variables, and memory given back to the system.

use std::ffi::OsStr;
use std::ptr::NonNull;

/// Gives memory that was freed and is kept for later back to the system: after a model is loaded, several times its
/// size.
pub fn release_free_memory() {
    // SAFETY: glibc's, which any thread may call at any time; it touches no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Gives the whole pages among these bytes back to the system. They are zeros afterwards, or what they were where the system
/// keeps them (locked pages).
///
/// # Safety
/// The bytes are memory that the caller may write to, nobody else uses them, and no value in them is needed any more.
pub unsafe fn release_pages(start: NonNull<u8>, len: usize) {
    // SAFETY: asks for a number only.
    let Ok(page @ 1..) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else { return };
    let before = start.as_ptr().align_offset(page);
    let Some(len) = len.checked_sub(before).map(|len| len - len % page).filter(|&len| len > 0) else {
        return;
    };
    // SAFETY: these pages are wholly within the bytes, and the caller lets go of what is in them. A refusal changes nothing.
    unsafe { libc::madvise(start.as_ptr().add(before).cast(), len, libc::MADV_DONTNEED) };
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
