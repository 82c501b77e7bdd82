//! What autoscalers and alerts go by: metrics of each model, whoever makes its batches.
//!
//! The path of a request only adds to atomics: [`tally`], with the times of requests by size in [`durations`]. One thread for
//! the whole backend, the [`publisher`], looks at them a few times in a second and passes on what has come since: what it costs
//! to tell the server of a metric is on no request's path. It sleeps for good while nothing happens. [`metrics`] are the
//! server's side, [`cost`] is what an inference costs where the server makes the batches.

mod cost;
mod durations;
mod metrics;
mod publisher;
mod tally;

pub use publisher::{Counted, Publisher, Signals};
pub use tally::{About, Reason};
