//! Starts a real `tritonserver` for tests, benchmarks and tools.
//!
//! [`ServerProcess::start`] starts it on free ports of 127.0.0.1, in a temporary folder of its own, and waits until it
//! is ready. If it does not get ready, the error shows the end of its log. Dropping the [`ServerProcess`] stops it by
//! its process id: SIGTERM, and SIGKILL if it is still running at twice the exit timeout. It also ends, and its folder
//! is removed, when the process that started it is killed or aborts: a shell script guards it (see `guard.rs`).
//!
//! # Starting the server elsewhere
//!
//! [`Options::executable`] may be a wrapper that starts the server in another place, for example in a container. The
//! wrapper finds the server's folder in the environment variable `SERVER_FOLDER` and its log file in `SERVER_LOG`. It
//! writes the server's process id to `server.pid` in that folder, and ends when the server does, with the same exit
//! code.

#![deny(unsafe_code)]

mod executable;
mod guard;
mod log;
mod options;
mod process;

pub use executable::Executable;
pub use guard::End;
pub use log::error_in;
pub use options::Options;
pub use process::ServerProcess;
