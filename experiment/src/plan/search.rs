//! What `search` has besides the load, which it finds.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::key::Arrivals;

/// A latency target, and how closely the highest rate that keeps it is to be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The latency target.
    pub target_ms: f64,
    /// Percentage of requests that must meet the target.
    pub percentile: f64,
    /// The search ends when the lowest rate that misses the target is above the highest that meets it by no more than this
    /// fraction.
    pub precision: f64,
    /// How often a rate is measured, at most, while chance may have decided.
    pub attempts: u32,
    /// The arrival process.
    pub arrivals: Arrivals,
    /// The highest rate to try, in requests per second; none: any.
    pub max_rate: Option<f64>,
}

impl Search {
    /// The target in nanoseconds.
    pub fn target_ns(&self) -> u64 {
        (self.target_ms * 1e6) as u64
    }

    /// The share of requests that may be late, 0 to 1.
    pub fn allowed_share(&self) -> f64 {
        (100.0 - self.percentile) / 100.0
    }

    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn check(&self) -> Result<()> {
        let Self { target_ms, percentile, precision, attempts, max_rate, .. } = self;
        ensure!((0.001..=1e9).contains(target_ms), "--target-ms: expected 0.001 to 1e9, found {target_ms}");
        ensure!(
            (1.0..100.0).contains(percentile),
            "--percentile: expected 1 to below 100, found {percentile}"
        );
        ensure!(
            (0.001..=1.0).contains(precision),
            "--precision: expected 0.1% to 100%, found {}%",
            precision * 100.0
        );
        ensure!((1..=100).contains(attempts), "--attempts: expected 1 to 100, found {attempts}");
        if let Some(rate) = max_rate {
            ensure!(
                (0.001..=1e6).contains(rate),
                "--max-rate: expected 0.001 to 1000000 requests per second, found {rate}"
            );
        }
        Ok(())
    }
}
