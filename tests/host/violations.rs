//! What the backend did that it must not do.

use std::sync::{Mutex, PoisonError};

static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes one.
pub fn add(what: String) {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// Those since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *FOUND.lock().unwrap_or_else(PoisonError::into_inner))
}
