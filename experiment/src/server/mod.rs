//! Everything but the load: metadata, statistics, configurations, a server of its own.
//!
//! All of it is blocking, one request at a time, and meant for the moments before, between and after loads.

mod address;
pub mod configuration;
mod control;
mod listener;
mod metadata;
pub mod pbtxt;
mod repository;
mod started;
mod statistics;

pub use control::Control;
pub use metadata::{ModelMetadata, ServerMetadata, TensorMetadata};
pub use started::{ServerOptions, StartedServer};
pub use statistics::ModelStatistics;
