//! The energy that the responses told, beside the meter's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The energy that the responses of the measured part told. Each tells its share of what the device drew above idle while
/// its batch ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResponseEnergy {
    /// Responses that told it.
    pub responses: u64,
    /// The sum over these responses.
    pub energy_j: f64,
    /// By how much the sum may differ from what the device drew above idle for executions: requests in flight at the edges,
    /// and corrections of up to 5 % for earlier executions.
    pub energy_error_j: f64,
    /// The fraction of the sum that was measured when the responses left, 0 to 1. The rest was estimated from earlier
    /// executions. Absent if the responses do not say.
    pub measured_share: Option<f64>,
    /// The sum over the inferences of these responses.
    pub j_per_inference: f64,
    /// From the error of the sum and the spread over the windows (95 %).
    pub j_per_inference_error_j: f64,
    /// The comparison with the meter.
    pub comparison: Option<EnergyComparison>,
}

/// The meter's energy above idle in the measured part, held against the sum over the responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnergyComparison {
    /// The meter's energy less the idle power, with the model loaded, times the time.
    pub above_idle_j: Option<f64>,
    /// From the edges of the measured part, and the error of the idle power.
    pub above_idle_error_j: Option<f64>,
    /// `above_idle_j` less the sum over the responses.
    pub difference_j: Option<f64>,
    /// The errors of both together.
    pub error_j: Option<f64>,
    /// Whether the difference is within `error_j`. Absent if there is nothing to compare.
    pub agrees: Option<bool>,
    /// What was compared, and the result; or why nothing was.
    pub explanation: String,
}
