//! Everything but the load: metadata, statistics, configurations, a server of its own.

pub mod configuration;
mod control;
mod listener;
mod pbtxt;
mod process;
mod statistics;

pub use control::{Control, ModelMetadata, ServerMetadata, TensorMetadata};
pub use process::{ServerOptions, ServerProcess};
pub use statistics::ModelStatistics;
