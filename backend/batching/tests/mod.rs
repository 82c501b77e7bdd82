//! What holds for the scheduler: what it promises ([`promises`]), over any history ([`properties`]), against fixed settings
//! ([`tables`]), where batches are filled up ([`mod@buckets`]) and where their energy is known ([`mod@energy`]), in simulated time
//! ([`simulation`]). And for the [`policy`] on its own.
//! With `--cfg loom`, `orders` tries all orders of what the threads of the queue do.

mod buckets;
mod energy;
#[cfg(loom)]
mod orders;
mod policy;
mod promises;
mod properties;
pub mod simulation;
mod tables;
