//! What a search has found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result for a configuration and a batch size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The name of the model's configuration; empty without any.
    pub configuration: String,
    /// Rows in each request.
    pub batch: u32,
    /// The highest rate that kept the target, in requests per second; absent if none did.
    pub requests_per_s: Option<f64>,
    /// The lowest rate that missed it; absent if none did.
    pub missed_requests_per_s: Option<f64>,
    /// Inferences per second whose requests were answered within the target, at the highest rate.
    pub goodput_inferences_per_s: Option<f64>,
    /// The share of late requests at that rate, 0 to 1.
    pub late_share: Option<f64>,
    /// Energy of an inference at that rate, if there is a meter.
    pub j_per_inference: Option<f64>,
    /// CPU seconds of the server for an inference at that rate. Not a measure of energy.
    pub cpu_s_per_inference: Option<f64>,
    /// Points that were measured.
    pub points: usize,
}

impl Found {
    /// What an inference costs: energy if there is a meter, otherwise CPU time.
    pub fn cost(&self) -> Option<f64> {
        self.j_per_inference.or(self.cpu_s_per_inference)
    }
}
