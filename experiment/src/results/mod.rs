//! The results of a run: the contents of `results.json`.
//!
//! Names contain the units: `_ns` nanoseconds, `_j` joules, `_w` watts. A value that was not measured is absent
//! (`null`), never zero and never an estimate.

mod consumption;
mod energy;
mod estimate;
mod found;
mod latency;
mod point;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;
pub use consumption::{Consumption, DeviceState, PowerSource};
pub use energy::{EnergyComparison, ResponseEnergy};
pub use estimate::{Estimate, Estimates, Metric, Summary};
pub use found::Found;
pub use latency::Latency;
pub use point::{Adherence, Answers, ErrorCount, Pacing, Point, SearchStep, WindowSummary};
pub use statistics::{Statistics, StatisticsGrowth};

/// The version of this format. Readers reject a higher one; it is raised by changes that an older reader would
/// misunderstand.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// [`SCHEMA_VERSION`] of the tool that wrote it.
    pub schema_version: u32,
    /// The tool that wrote it, for example "triton-experiment 0.1.0 (8f86a9a)".
    pub tool: String,
    /// The command line, with all arguments.
    pub command: Vec<String>,
    /// Start time of the run, RFC 3339 in UTC.
    pub started: String,
    /// Whether every point of the plan was measured.
    pub complete: bool,
    /// All settings, by flags, plan file or default.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub plan: Plan,
    /// The machine that the tool ran on.
    pub host: Host,
    /// The server.
    pub server: Server,
    /// The model.
    pub model: Model,
    /// In a comparison: the model's configuration before the first change, which is restored at the end.
    pub original_configuration: Option<Value>,
    /// The configurations of the model, as the server reported them.
    pub configurations: BTreeMap<String, Value>,
    /// How energy was measured.
    pub power: PowerSource,
    /// Consumption with the model loaded and no requests.
    pub idle: Option<Consumption>,
    /// Consumption of the running server without the model: before it was loaded, or after it was unloaded for that. Absent
    /// where the tool does not load the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_without_model: Option<Consumption>,
    /// Of `batching`: the measurement of capacity. Its inferences per second are 100 percent for the traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Point>,
    /// Of `search`: what was found for each configuration and batch size. Computed from `points`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Found>,
    /// In order of measurement.
    pub points: Vec<Point>,
    /// The metrics of each point of the plan over its repeats, with 95 % confidence intervals. Computed from `points`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<Summary>,
}

/// The machine that the tool ran on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Kernel name and release.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// Number of processors that this process may use.
    pub cpus: usize,
    /// RAM in bytes.
    pub memory_bytes: u64,
}

/// The server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// `http://HOST:PORT`.
    pub url: String,
    /// As reported by the server, for example "triton".
    pub name: String,
    /// As reported by the server.
    pub version: String,
    /// Its protocol extensions.
    pub extensions: Vec<String>,
    /// Its command line, if the tool started it.
    pub command: Option<Vec<String>>,
}

/// The model.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The version that requests were sent to; empty: the server's choice.
    pub version: String,
    /// The server's metadata: platform, versions, inputs, outputs.
    pub metadata: Value,
}
