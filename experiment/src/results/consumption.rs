//! What was used in a stretch of time: energy, power, CPU time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How energy was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PowerSource {
    /// "nvml", "rapl", "metrics", "cpu-time" or "none".
    pub name: String,
    /// What is counted and how, in a sentence or two for the report: devices, counter or sampled power,
    /// interval, limits.
    pub description: String,
    /// The devices or domains that are added up.
    pub devices: Vec<String>,
    /// Whether it yields joules. "cpu-time" and "none" do not.
    pub has_energy: bool,
    /// Seconds between two readings.
    pub interval_s: f64,
}

/// What was used in a stretch of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Consumption {
    /// The stretch's length.
    pub seconds: f64,
    /// Energy, by the power source.
    pub energy_j: Option<f64>,
    /// Energy over time.
    pub average_power_w: Option<f64>,
    /// Why the energy of this stretch is absent although the power source yields energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_missing: Option<String>,
    /// User and system CPU time of the server's process and its children, when it runs on this machine.
    pub server_cpu_s: Option<f64>,
    /// CPU time of this tool.
    pub client_cpu_s: f64,
    /// What the devices told about themselves.
    pub device: Option<DeviceState>,
}

/// What the devices told about themselves in a stretch of time. Of several devices: the hottest, the slowest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Reasons for throttled clocks, and the share of samples (0 to 1) that showed each. Being idle is none.
    pub throttle_reasons: BTreeMap<String, f64>,
}
