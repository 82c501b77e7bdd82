//! Events of a load.

use super::response::ServerValuesFrom;
use crate::record::Window;
use crate::samples::Sample;

/// An event of a load.
#[derive(Debug)]
pub enum Event {
    /// The warm-up is over and the first window has begun.
    Opened,
    /// A window is over.
    Window(Box<Window>),
    /// The load is over; nothing follows.
    Ended(Box<Totals>),
}

/// The totals of a load.
#[derive(Debug)]
pub struct Totals {
    /// All requests since the start, warm-up included.
    pub all: Window,
    /// The last window, which was not full.
    pub rest: Option<Window>,
    /// The single requests, if the rule keeps them, in order of completion.
    pub each: Vec<Sample>,
    /// Start time, on [`now_ns`](crate::clock::now_ns)'s clock.
    pub start_ns: u64,
    /// Requests that were due but not sent (open loop).
    pub unsent: u64,
    /// Where the responses carried the server's values, if they did.
    pub server_values_from: Option<ServerValuesFrom>,
}
