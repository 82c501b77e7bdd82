//! What the paths of requests tell the thread that keeps a device's ledger.

use std::sync::Arc;

use super::front::{Prices, Progress, Told};
use super::ledger::Slot;
use super::records::Class;

/// A version of a model.
#[derive(Debug)]
pub struct Model {
    /// No other model has it in this process.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
}

/// What the paths of requests tell the thread. Times are ns of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub enum Event {
    Opened { class: Class, model: Arc<Model>, prices: Arc<Prices> },
    Retired { class: Class },
    Attached { slot: Slot, progress: Arc<Progress> },
    Started { slot: Slot, class: Class, start_ns: u64, sequence: u64 },
    Ended { slot: Slot, class: Class, start_ns: u64, end_ns: u64, told: Told },
    Failed { slot: Slot, class: Class, start_ns: u64, end_ns: u64 },
}
