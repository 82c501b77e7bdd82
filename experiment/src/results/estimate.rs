//! The metrics of a point, each with its confidence interval.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::Load;

/// A metric of a point that has a confidence interval. Its name in `results.json` ends with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Throughput.
    InferencesPerS,
    /// Client latency.
    LatencyMeanNs,
    /// Client latency.
    LatencyP50Ns,
    /// Client latency.
    LatencyP90Ns,
    /// Client latency.
    LatencyP95Ns,
    /// Client latency.
    LatencyP99Ns,
    /// Client latency.
    #[serde(rename = "latency_p99_9_ns")]
    LatencyP999Ns,
    /// Average power.
    AveragePowerW,
    /// Energy of an inference.
    JPerInference,
    /// Efficiency.
    InferencesPerJ,
    /// CPU time of the server for an inference. Not a measure of energy.
    CpuSPerInference,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 11] = [
        Self::InferencesPerS,
        Self::LatencyMeanNs,
        Self::LatencyP50Ns,
        Self::LatencyP90Ns,
        Self::LatencyP95Ns,
        Self::LatencyP99Ns,
        Self::LatencyP999Ns,
        Self::AveragePowerW,
        Self::JPerInference,
        Self::InferencesPerJ,
        Self::CpuSPerInference,
    ];

    /// Its name in `results.json` and `results.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InferencesPerS => "inferences_per_s",
            Self::LatencyMeanNs => "latency_mean_ns",
            Self::LatencyP50Ns => "latency_p50_ns",
            Self::LatencyP90Ns => "latency_p90_ns",
            Self::LatencyP95Ns => "latency_p95_ns",
            Self::LatencyP99Ns => "latency_p99_ns",
            Self::LatencyP999Ns => "latency_p99_9_ns",
            Self::AveragePowerW => "average_power_w",
            Self::JPerInference => "j_per_inference",
            Self::InferencesPerJ => "inferences_per_j",
            Self::CpuSPerInference => "cpu_s_per_inference",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::InferencesPerS => "throughput",
            Self::LatencyMeanNs => "mean latency",
            Self::LatencyP50Ns => "p50",
            Self::LatencyP90Ns => "p90",
            Self::LatencyP95Ns => "p95",
            Self::LatencyP99Ns => "p99",
            Self::LatencyP999Ns => "p99.9",
            Self::AveragePowerW => "power",
            Self::JPerInference => "energy per inference",
            Self::InferencesPerJ => "inferences per joule",
            Self::CpuSPerInference => "CPU time per inference",
        }
    }

    /// Of a latency percentile: the fraction of requests that took no longer, 0 to 1.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::LatencyP50Ns => Some(0.5),
            Self::LatencyP90Ns => Some(0.9),
            Self::LatencyP95Ns => Some(0.95),
            Self::LatencyP99Ns => Some(0.99),
            Self::LatencyP999Ns => Some(0.999),
            _ => None,
        }
    }

    /// Whether it is a time of requests as the client sees them.
    pub fn is_latency(self) -> bool {
        self == Self::LatencyMeanNs || self.quantile().is_some()
    }

    /// Whether it needs a meter.
    pub fn is_energy(self) -> bool {
        matches!(self, Self::AveragePowerW | Self::JPerInference | Self::InferencesPerJ)
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::InferencesPerS | Self::InferencesPerJ)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// A metric with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The value, as measured.
    pub value: f64,
    /// The lower end of the interval; absent if the measurement does not tell it (one window, too few requests).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end; absent together with the lower one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Estimate {
    /// Without an interval.
    pub fn bare(value: f64) -> Self {
        Self { value, low: None, high: None }
    }

    /// Both ends of the interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// Metrics by name. One that was not measured is absent.
pub type Estimates = BTreeMap<Metric, Estimate>;

/// A point of the plan with all its repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The name of the model's configuration; empty in a sweep.
    pub configuration: String,
    /// Rows in each request.
    pub batch: u32,
    /// The load.
    pub load: Load,
    /// Repeats with at least one response.
    pub visits: usize,
    /// The metrics: means over the repeats. With one repeat the intervals are over its windows; with several, over the
    /// repeats.
    pub estimates: Estimates,
}
