//! What holds for the scheduler: what it promises ([`promises`]), over any history ([`properties`]), and against fixed settings
//! ([`tables`]), in simulated time ([`simulation`]). And for the [`policy`] on its own.
//! With `--cfg loom`, `orders` tries all orders of what the threads of the queue do.

#[cfg(loom)]
mod orders;
mod policy;
mod promises;
mod properties;
pub mod simulation;
mod tables;
