//! What `batching` has besides the configurations: a latency target and traces of arrivals.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::trace::Trace;

/// What `batching` has besides the configurations, with every default filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batching {
    /// The latency target.
    pub target_ms: f64,
    /// Percentage of requests that must meet the target.
    pub percentile: f64,
    /// Rows in each request of the closed loop that measures the capacity.
    pub capacity_batch: u32,
    /// Name of the configuration that chooses its batch sizes itself, if it is measured.
    pub adaptive: Option<String>,
    /// The arrivals.
    pub traces: Vec<Trace>,
}

impl Batching {
    /// The target in nanoseconds.
    pub fn target_ns(&self) -> u64 {
        (self.target_ms * 1e6) as u64
    }

    /// The share of requests that may be late, 0 to 1.
    pub fn allowed_share(&self) -> f64 {
        (100.0 - self.percentile) / 100.0
    }

    /// The trace of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn trace(&self, name: &str) -> Result<&Trace> {
        let found = self.traces.iter().find(|trace| trace.name == name);
        found.with_context(|| format!("the plan has no trace '{name}'"))
    }

    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn check(&self) -> Result<()> {
        let Self { target_ms, percentile, capacity_batch, traces, .. } = self;
        ensure!((0.001..=1e9).contains(target_ms), "--target-ms: expected 0.001 to 1e9, found {target_ms}");
        ensure!(
            (1.0..100.0).contains(percentile),
            "--percentile: expected 1 to below 100, found {percentile}"
        );
        ensure!(*capacity_batch > 0, "--capacity-batch: expected at least 1, found 0");
        if traces.is_empty() {
            bail!("no traces: the plan needs a table [[batching.trace]] for each trace");
        }
        traces.iter().try_for_each(Trace::check)
    }
}
