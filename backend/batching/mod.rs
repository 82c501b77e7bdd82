//! Adaptive batching: the backend holds the requests itself and chooses the batches, continuously.
//!
//! A request's way: [`worker`] describes it and hands it to the [`queue`], and the server's thread returns; a worker's thread,
//! one for each instance, is given batches by the queue and executes them. Only a quick execution of a request that comes
//! [`alone`] runs in the server's thread.
//!
//! What is decided, and when, is up to the [`scheduler`], which is pure: the time is passed in. It keeps the [`mod@line`] of those
//! who wait and asks the [`policy`], which goes by the [`service_times`] of each kind of request ([`services`]), calibrated
//! at load and learnt from each execution, by the rate of [`arrivals`], by whether they follow answers ([`company`]), by how
//! late threads wake up ([`wakeups`]) and how many answers were late ([`lateness`]). [`queue`] is a lock and sleeping threads
//! around it, [`model_queue`] what joins it to the server; [`gauges`] publishes what is seen. [`advice`] is what the operator
//! is told at load of a target that is hard to keep.

mod advice;
mod alone;
mod arrivals;
mod company;
mod gauges;
mod lateness;
mod line;
mod model_queue;
mod policy;
mod queue;
mod scheduler;
mod service_times;
mod services;
mod sizes;
mod spread;
mod sync;
mod wakeups;
mod worker;

#[cfg(test)]
mod tests;

pub use gauges::Families;
pub use model_queue::{Loading, ModelQueue};
pub use service_times::ServiceTimes;
pub use worker::Worker;
