//! Settings that only `search` has.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::plan::{Arrivals, Search};

/// Settings that only `search` has; in a plan file the table `[search]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct SearchSettings {
    /// Latency target in milliseconds, at the client and from when a request was due.
    #[arg(long, value_name = "MS", help_heading = "Search")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ms: Option<f64>,
    /// Percentage of requests that must meet the target [default: 99].
    #[arg(long, value_name = "P", help_heading = "Search")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// How closely the highest rate is found, as a fraction of it [default: 0.05].
    #[arg(long, value_name = "FRACTION", help_heading = "Search")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// How often a rate is measured, at most, while chance may have decided [default: 3].
    #[arg(long, value_name = "N", help_heading = "Search")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The highest rate to try, in requests per second [default: any].
    #[arg(long, value_name = "R", help_heading = "Search")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
}

impl SearchSettings {
    /// With the defaults.
    ///
    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn into_search(self, arrivals: Arrivals) -> Result<Search> {
        let search = Search {
            target_ms: self.target_ms.context("no latency target: give --target-ms MS")?,
            percentile: self.percentile.unwrap_or(99.0),
            precision: self.precision.unwrap_or(0.05),
            attempts: self.attempts.unwrap_or(3),
            arrivals,
            max_rate: self.max_rate,
        };
        search.check()?;
        Ok(search)
    }
}
