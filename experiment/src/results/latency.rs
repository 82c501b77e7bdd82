//! Summary of a distribution of times.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::times::Times;

/// A distribution of times. No upper bound, three significant digits; `max` and `mean` are exact.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Number of values.
    pub count: u64,
    /// Exact mean.
    pub mean_ns: f64,
    /// Exact minimum.
    pub min_ns: u64,
    /// Percentile.
    pub p50_ns: u64,
    /// Percentile.
    pub p90_ns: u64,
    /// Percentile.
    pub p95_ns: u64,
    /// Percentile.
    pub p99_ns: u64,
    /// Percentile.
    pub p99_9_ns: u64,
    /// Exact maximum.
    pub max_ns: u64,
    /// The complete distribution: an HdrHistogram in the V2 compressed format, base64.
    pub histogram: String,
}

impl Latency {
    /// The summary of a distribution; none if it is empty.
    pub fn of(times: &Times) -> Option<Self> {
        let histogram = &times.histogram;
        // A percentile is the upper end of its bucket, which may lie above the exact maximum.
        let percentile = |quantile| histogram.value_at_quantile(quantile).min(times.max_ns);
        Some(Self {
            count: times.count(),
            mean_ns: times.mean()?,
            min_ns: times.min_ns,
            p50_ns: percentile(0.5),
            p90_ns: percentile(0.9),
            p95_ns: percentile(0.95),
            p99_ns: percentile(0.99),
            p99_9_ns: percentile(0.999),
            max_ns: times.max_ns,
            histogram: times.encode(),
        })
    }
}
