//! Whose energy it was: books that balance to the microjoule.
//!
//! A meter's counter moves in ticks of 1 to 100 ms, and a tick is known up to a reading and a sampling period after it
//! happened: when many executions in it have long been answered. So there are two sides:
//!
//! - The **front**, [`front`], is what a request's path touches: plain atomics with numbers that lie ready. What an
//!   execution is told is computed there, from what is measured of it and what is learnt of its class.
//! - The **back**, [`ledger`], is a state machine that one thread owns. It learns what ran, what was told and what the
//!   meter says, books each tick, and makes the numbers of the front. There is no clock, lock, thread or meter in it.
//!
//! Times are ns of `CLOCK_MONOTONIC`, energies are whole microjoules. Only what is learnt is floating point: it says how
//! energy is shared, never how much there is.
//!
//! Around them: [`model`] is what a model does about energy, [`devices`] which meters count, [`metering`] a device and its
//! thread, which is [`sampling`]; [`events`] are what the paths of requests tell it, and [`counters`] the books as metrics.
//!
//! # The books
//!
//! `total = idle + attributed + unattributed`, and `told + pending = attributed + lost`, exactly and at every moment.
//! `lost` is 0 as long as the meter lives: see [`ledger::Books`].
//!
//! # What cannot be known
//!
//! - Within a tick nobody sees who drew what. Classes that overlap in changing proportions are told apart by their
//!   energies over many ticks ([`costs`]). Those that always overlap in the same proportions cannot be: each is then
//!   charged as if it drew what was assumed when it was first seen, the mean power of that tick.
//! - A counter that ticks each ms but is read every 50 ms has, for the ledger, ticks of 50 ms.
//! - What a class costs is a mean. Executions of one class shorter than a tick that differ among themselves are told the
//!   same cost.

mod costs;
mod counters;
mod devices;
mod events;
mod front;
mod idle;
mod ledger;
mod metering;
mod model;
mod records;
mod sampling;

pub use devices::Domain;
pub use model::{Energy, Execution, ModelEnergy, is_asked};

#[cfg(test)]
mod tests;
