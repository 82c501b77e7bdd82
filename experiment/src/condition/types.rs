//! What a condition is.

use std::path::PathBuf;

use crate::results::Metric;

/// A condition under which a run counts as failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As the user wrote it.
    pub text: String,
    /// What is judged.
    pub test: Test,
    /// The points that it is about; empty: all.
    pub scope: Vec<Scope>,
}

/// What is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A metric against a limit, in the metric's own unit.
    Limit {
        /// The metric.
        of: Quantity,
        /// Whether it is met above the limit; else below.
        above: bool,
        /// Whether it is met at the limit, too.
        inclusive: bool,
        /// The limit.
        limit: f64,
    },
    /// Worse, or better, than earlier results.
    Baseline {
        /// The metric; none: throughput in a closed loop, mean latency in an open one.
        metric: Option<Metric>,
        /// Whether it is met by better results; else by worse ones.
        better: bool,
        /// The folder of the earlier results.
        folder: PathBuf,
        /// By more than this fraction.
        by: f64,
    },
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A metric with its interval.
    Metric(Metric),
    /// The number of requests that failed.
    Errors,
    /// Their share of all requests, 0 to 1.
    ErrorShare,
}

/// Points that a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// Rows in each request.
    Batch(u32),
    /// Of a closed loop.
    Concurrency(usize),
    /// Of an open loop, in thousandths of a request per second.
    Rate(u64),
    /// The name of a configuration.
    Configuration(String),
}
