//! Requests for which the server makes no response, so that nobody can answer them but the server itself.
//!
//! It does so for all requests of an Execute call that returns an error, and takes them to be unreleased. So such a request
//! is kept until the call ends. If all of the call's requests are kept, they are left with the server together with the
//! error. Once one of them has been answered, or waits in a queue, the call has to return success; then a last attempt is
//! made, and what fails again is released without an answer.

use std::cell::{Cell, RefCell};

use super::accepted::Accepted;
use super::error::Error;

thread_local! {
    /// Whether this thread is in an Execute call.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    /// The requests that were kept in it, with the error that each was to get.
    static KEPT: RefCell<Vec<(Accepted, Error)>> = const { RefCell::new(Vec::new()) };
}

/// An Execute call of this thread, from its beginning to its end.
pub(super) struct Call(());

impl Call {
    /// The call begins.
    pub(super) fn begin() -> Self {
        IN_CALL.set(true);
        Self(())
    }

    /// The call ends; returns what was kept in it.
    pub(super) fn end(self) -> Vec<(Accepted, Error)> {
        IN_CALL.set(false);
        KEPT.take()
    }
}

/// Keeps a request until the call ends. Returns it where no call goes on in this thread, as in a worker's.
pub(super) fn keep(accepted: Accepted, error: Error) -> Option<Accepted> {
    if !IN_CALL.get() {
        return Some(accepted);
    }
    KEPT.with_borrow_mut(|kept| kept.push((accepted, error)));
    None
}
