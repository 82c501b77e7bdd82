//! The backend's own files, which know nothing of a server.

#[path = "../../backend/batching/alone.rs"]
mod alone;
#[path = "../../backend/batching/arrivals.rs"]
mod arrivals;
#[path = "../../backend/batching/company.rs"]
mod company;
#[path = "../../backend/batching/lateness.rs"]
mod lateness;
#[path = "../../backend/batching/line.rs"]
mod line;
#[path = "../../backend/batching/policy.rs"]
pub mod policy;
#[path = "../../backend/batching/scheduler.rs"]
pub mod scheduler;
#[path = "../../backend/batching/service_times.rs"]
pub mod service_times;
#[path = "../../backend/batching/services.rs"]
mod services;
#[path = "../../backend/batching/sizes.rs"]
mod sizes;
#[path = "../../backend/batching/spread.rs"]
mod spread;
#[path = "../../backend/batching/wakeups.rs"]
mod wakeups;
