//! Requests that the backend itself holds and groups into batches: adaptive batching.
//!
//! This is its thinking part: no clock, no thread and no server, so that it can be held against a
//! simulation. [`arrivals`] tells how many images come in a second, [`service_times`] how long a batch
//! takes, and [`policy`] decides with both when a free worker runs how many of the requests that wait.

pub mod arrivals;
pub mod policy;
pub mod service_times;
mod spread;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;
