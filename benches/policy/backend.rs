//! The backend's own files, which know nothing of a server.

#[path = "../../backend/batching/arrivals.rs"]
pub mod arrivals;
#[path = "../../backend/batching/policy.rs"]
pub mod policy;
#[path = "../../backend/batching/service_times.rs"]
pub mod service_times;
#[path = "../../backend/batching/spread.rs"]
mod spread;
