//! Everything but the load: metadata, statistics, configurations, and a server that the tool starts.
//!
//! All calls block. They are for use before, between and after loads.

mod address;
pub mod configuration;
mod control;
mod energy;
mod listener;
mod metadata;
pub mod pbtxt;
mod repository;
mod started;
mod statistics;

pub use control::Control;
pub use energy::energy_devices;
pub use metadata::{ModelMetadata, ServerMetadata, TensorMetadata};
pub use started::{ServerOptions, StartedServer};
pub use statistics::ModelStatistics;
