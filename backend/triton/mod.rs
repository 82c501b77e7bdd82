//! The safe layer over `triton-sys`.
//!
//! In the order of a model's life: [`entry`] is what the server calls, [`model`] what it says about a model at load,
//! [`request`] and [`response`] what it hands over for each execution, [`metrics`] what the backend publishes.
//! [`cuda`] copies what is in the memory of a
//! GPU. [`error`], [`panics`], [`server_log`] and [`clock`] serve them all. [`states`], [`spare`] and [`unanswered`] are for
//! calls of the server's that fail.

mod accepted;
mod api;
pub mod clock;
mod cuda;
mod datatype;
pub mod entry;
mod error;
pub mod metrics;
pub mod model;
mod panics;
pub mod request;
pub mod response;
mod server_log;
mod spare;
mod states;
mod statistics;
mod unanswered;

pub use datatype::DataType;
pub use error::{Code, Error, Result};
pub use panics::guard;
pub use statistics::Stamps;
