//! A panic never crosses into C, and its message reaches the one who waits for an answer.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use super::error::{Error, Result};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes this library's panics go to the server's log, with their place. The hook is the library's
/// own: a Rust library with its own standard library sees no one else's panics.
pub(super) fn install() {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic.location().map_or_else(|| "unknown place".into(), ToString::to_string);
        let message = format!("{text} (at {place})");
        log::error!("panic: {message}");
        LAST.set(Some(message));
    }));
}

/// What the panic that this thread is unwinding from said; nothing when it is not unwinding.
pub(super) fn message() -> Option<String> {
    std::thread::panicking().then(|| LAST.with_borrow(Clone::clone)).flatten()
}

/// Runs the body of an entry point or of a thread; a panic becomes an error.
pub fn guard<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic leaves behind is dropped with the model or the requests it belongs to.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let message = LAST.take().unwrap_or_else(|| "no message".into());
        Err(Error::internal(format!("the backend panicked, please report this: {message}")))
    })
}
