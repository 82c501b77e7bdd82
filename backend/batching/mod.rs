//! Adaptive batching: the backend holds the requests itself and chooses the batches, continuously.
//!
//! A request's way: [`worker`] hands it to the [`queue`] and the server's thread returns; a worker's thread, one for each
//! instance, asks the [`policy`] whether to run what waits now or to look again later, and executes the batch.
//! Only a quick execution of a request that comes [`alone`] runs in the server's thread.
//! The policy is a pure function of the [`service_times`], calibrated at load and learnt from each execution, and
//! of the rate of [`arrivals`]. [`gauges`] publishes both.

mod alone;
mod arrivals;
mod gauges;
mod policy;
mod queue;
mod service_times;
mod spread;
mod worker;

#[cfg(test)]
mod tests;

pub use gauges::{Families, sizes};
pub use queue::Queue;
pub use service_times::ServiceTimes;
pub use worker::Worker;
