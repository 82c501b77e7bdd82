//! Servers that several tests use, each test with models of its own, and the turn-taking of heavy tests.

use std::ops::Deref;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::server::{Options, Server, show_log_if_failing};

/// A server that lives as long as the test process; when the test that holds this fails, the log is shown.
pub struct Shared(&'static Server);

impl Deref for Shared {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        show_log_if_failing(self.0);
    }
}

/// The server for tests that neither end nor overload it. A test loads models under names of its own, so
/// their statistics are its own as well. The guard process stops the server when the test process ends.
pub fn shared_server() -> Shared {
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Options::new()));
    Shared(&SERVER)
}

/// Another one, for tests in which requests have to come at their time. The server's front end answers nobody on the
/// connections of a thread that loads a model, and connections that are kept open often share a thread: on
/// [`shared_server`], requests arrived only when another test's Inception-v3 was loaded, seconds later. No large model is
/// loaded here.
pub fn prompt_server() -> Shared {
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Options::new()));
    Shared(&SERVER)
}

/// Waits for the turn of a test that keeps every core busy: two of them at once would only be slow.
pub fn heavy_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed test has nothing here that could be left half done.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
