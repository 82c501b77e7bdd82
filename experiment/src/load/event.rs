//! What a load reports.

use super::response::ServerValuesFrom;
use crate::record::Window;
use crate::samples::Sample;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The warm-up is over and the first window has begun.
    Opened,
    /// A window is over.
    Window(Box<Window>),
    /// The load is over; nothing follows.
    Ended(Box<Totals>),
}

/// Everything of a load.
#[derive(Debug)]
pub struct Totals {
    /// All requests since the start, warm-up included.
    pub all: Window,
    /// The window that was not full at the end.
    pub rest: Option<Window>,
    /// Each request, where the rule keeps them, in the order in which they were done.
    pub each: Vec<Sample>,
    /// When the load began, on [`now_ns`]'s clock.
    pub start_ns: u64,
    /// Requests that were due and never sent (open loop).
    pub unsent: u64,
    /// Where the server's values were, if there were any.
    pub server_values_from: Option<ServerValuesFrom>,
}
