//! Locks and sleeping: the standard library's, or loom's, which tries all orders of what threads do.

#[cfg(not(all(loom, test)))]
pub use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(all(loom, test))]
pub use loom::sync::{Condvar, Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, whoever panicked before: what a panic leaves is answered and cleared by the worker whose it was.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until there is a signal or, if that is some, until a time in ns; it is `now`.
pub fn sleep<'a, T>(
    signal: &Condvar,
    guard: MutexGuard<'a, T>,
    now: u64,
    until: Option<u64>,
) -> MutexGuard<'a, T> {
    match until {
        // loom knows no time: its tests let it pass, and signal that.
        #[cfg(not(all(loom, test)))]
        Some(until) => {
            let time = std::time::Duration::from_nanos(until.saturating_sub(now));
            signal.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
        }
        _ => {
            let _ = now;
            signal.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }
    }
}
