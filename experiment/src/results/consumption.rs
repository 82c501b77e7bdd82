//! Consumption in a period: energy, power, CPU time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How energy was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PowerSource {
    /// "nvml", "rapl", "metrics", "cpu-time" or "none".
    pub name: String,
    /// What is measured and how, in a sentence or two for the report: devices, counter or sampled power, interval,
    /// limits.
    pub description: String,
    /// The devices or domains that are summed.
    pub devices: Vec<String>,
    /// Whether it measures energy. "cpu-time" and "none" do not.
    pub has_energy: bool,
    /// Seconds between two readings, as planned.
    pub interval_s: f64,
    /// What readings have shown of each device: its tick, what a reading costs, where its energy is from. One line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learnt: Vec<String>,
}

/// Consumption in a period.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Consumption {
    /// Length of the period.
    pub seconds: f64,
    /// Energy, from the power source.
    pub energy_j: Option<f64>,
    /// Energy over time.
    pub average_power_w: Option<f64>,
    /// The error of the average power: that of the edges (`energy_error_j`) and of the spread (`average_power_spread_w`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_power_error_w: Option<f64>,
    /// Half the 95 % confidence interval of the power over the windows of the period. Absent if there was one window only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_power_spread_w: Option<f64>,
    /// Why energy is absent although the power source measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_missing: Option<String>,
    /// By how much the energy may be off because the period begins and ends between ticks of the meters. What a meter itself
    /// is wrong by comes on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_error_j: Option<f64>,
    /// What a reader of the energy has to know, such as a counter that is no longer believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub energy_notices: Vec<String>,
    /// User and system CPU time of the server's process and its children, if it runs on this machine.
    pub server_cpu_s: Option<f64>,
    /// CPU time of this tool.
    pub client_cpu_s: f64,
    /// The state of the devices.
    pub device: Option<DeviceState>,
}

/// The state of the devices in a period. With several devices: the highest temperature, the lowest clocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeviceState {
    /// Mean of the samples.
    pub temperature_mean_c: Option<f64>,
    /// The highest sample.
    pub temperature_max_c: Option<f64>,
    /// Mean clock of the cores (NVML: SM clock).
    pub clock_mean_mhz: Option<f64>,
    /// The lowest sample.
    pub clock_min_mhz: Option<f64>,
    /// Mean clock of the memory.
    pub memory_clock_mean_mhz: Option<f64>,
    /// Reasons for throttled clocks, with the fraction of samples (0 to 1) that showed each. Idling is not a reason.
    pub throttle_reasons: BTreeMap<String, f64>,
}
