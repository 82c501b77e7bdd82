//! What a run leaves: the contents of `results.json`.
//!
//! Units are in the names: `_ns` nanoseconds, `_j` joules, `_w` watts. A value that was not measured is
//! absent (`null`), never zero and never an estimate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Load, Plan};
use crate::record::Times;

/// The version of this format. A reader refuses a higher one; a change that an older reader would
/// misunderstand raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA_VERSION`] of the tool that wrote it.
    pub schema_version: u32,
    /// What wrote it, for instance "triton-experiment 0.1.0 (8f86a9a)".
    pub tool: String,
    /// The command line, with all arguments.
    pub command: Vec<String>,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// Whether every point of the plan was measured.
    pub complete: bool,
    /// Everything that was asked for, by flags, plan file or default.
    pub plan: Plan,
    /// The machine that the tool ran on.
    pub host: Host,
    /// The server.
    pub server: Server,
    /// The model.
    pub model: Model,
    /// In a comparison: the model's configuration before the first change, which is brought back at the end.
    pub original_configuration: Option<Value>,
    /// The configurations of the model, as the server reported them while they were in force.
    pub configurations: BTreeMap<String, Value>,
    /// How energy was measured.
    pub power: PowerSource,
    /// What the server's machine uses with the model loaded and no requests.
    pub idle: Option<Consumption>,
    /// Of `batching`: what its traces have their rates from. Its inferences per second are 100 per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Point>,
    /// In the order in which they were measured.
    pub points: Vec<Point>,
}

/// The machine that the tool ran on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Kernel name and release.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// RAM in bytes.
    pub memory_bytes: u64,
}

/// The server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Server {
    /// `http://HOST:PORT`.
    pub url: String,
    /// By its own account, for instance "triton".
    pub name: String,
    /// By its own account.
    pub version: String,
    /// Protocol extensions it offers.
    pub extensions: Vec<String>,
    /// The command line, when the tool started it.
    pub command: Option<Vec<String>>,
}

/// The model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The version that requests went to, or empty: the server's choice.
    pub version: String,
    /// As the server's metadata says: platform, versions, inputs, outputs.
    pub metadata: Value,
}

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

/// One point of the plan, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Which point of the plan.
    pub key: PointKey,
    /// Its place in the order of visits, from 0.
    pub visit: usize,
    /// When its load began, warm-up included, RFC 3339 in UTC.
    pub started: String,
    /// Whether the last three windows agreed. A trace is replayed once, and not asked to settle.
    pub settled: Option<bool>,
    /// The windows in order, those before the measured part included.
    pub windows: Vec<WindowSummary>,
    /// With `--max-throughput`: the concurrencies tried, this point's own among them.
    pub search: Vec<SearchStep>,
    /// Requests in flight together, in a closed loop.
    pub concurrency: Option<usize>,

    /// Length of the measured part (the last three windows, or the whole trace).
    pub seconds: f64,
    /// Requests answered, without errors.
    pub requests: u64,
    /// Requests answered times batch size.
    pub inferences: u64,
    /// Over the measured part.
    pub requests_per_s: f64,
    /// Over the measured part.
    pub inferences_per_s: f64,
    /// Requests that failed, by kind.
    pub errors: Vec<ErrorCount>,
    /// Of an open loop: what was due and what was late.
    pub pacing: Option<Pacing>,

    /// As the client saw it: from the start of sending (closed loop) or the scheduled time (open loop) to the
    /// last byte of the response.
    pub client_latency: Option<Latency>,
    /// Where the server's times came from: "outputs", "parameters", or absent.
    pub server_times_from: Option<String>,
    /// Server-side times of each request, out of its response: `compute_latency_ns` and so on.
    pub server_times: BTreeMap<String, Latency>,
    /// Requests by the size of the batch that ran them (`executed_batch_size` in the responses).
    pub executed_batch_sizes: BTreeMap<u64, u64>,
    /// The server's own statistics.
    pub statistics: Option<Statistics>,

    /// Over the measured part.
    pub consumption: Consumption,
    /// Of `batching`: how the requests fared against the latency target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adherence: Option<Adherence>,

    /// Without a meter: absent.
    pub inferences_per_j: Option<f64>,
    /// Without a meter: absent.
    pub j_per_inference: Option<f64>,
    /// CPU seconds of the server for each inference. No measure of energy.
    pub cpu_s_per_inference: Option<f64>,

    /// What a reader has to know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// What tells one point from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PointKey {
    /// The name of the model's configuration; empty in a sweep.
    pub configuration: String,
    /// Images (rows) in each request; 1 for a model without a batch dimension.
    pub batch: u32,
    /// The load.
    pub load: Load,
    /// From 0.
    pub repeat: u32,
}

/// A stretch of the load from one response to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowSummary {
    /// Length.
    pub seconds: f64,
    /// Requests answered, without errors.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Over the window.
    pub inferences_per_s: f64,
    /// Client latency; absent when every request failed.
    pub latency_mean_ns: Option<f64>,
    /// Client latency; absent when every request failed.
    pub latency_p50_ns: Option<u64>,
    /// Whether it belongs to the measured part.
    pub measured: bool,
}

/// One concurrency that the search for the highest throughput tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchStep {
    /// Requests in flight together.
    pub concurrency: usize,
    /// What came of it.
    pub inferences_per_s: f64,
    /// Client latency.
    pub latency_p50_ns: Option<u64>,
    /// As in [`Point`].
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Errors of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// For instance "HTTP 503", "connection refused", "timeout".
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first message of this kind, in the words of who reported it.
    pub first_message: String,
}

/// What an open loop could not hold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pacing {
    /// Requests that were due in the measured part.
    pub scheduled: u64,
    /// Of these, per second.
    pub scheduled_per_s: f64,
    /// Sent later than they were due by more than the allowance of the plan.
    pub late: u64,
    /// The longest delay between due and sent.
    pub max_delay_ns: u64,
    /// Due, and never sent before the point ended.
    pub unsent: u64,
}

/// How the requests of a trace fared against the latency target. Each of them stands in `requests/VISIT.csv`: when it
/// was due, its latency (ns), and whether it was answered, refused or failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Adherence {
    /// The target.
    pub target_ns: u64,
    /// Requests answered, without errors.
    pub answered: u64,
    /// Of these, later than the target.
    pub over_target: u64,
    /// Requests that the server took no more of (HTTP 503).
    pub refused: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// How long a refusal took, from when the request was due.
    pub refusal_latency: Option<Latency>,
    /// The longest time from one late answer, or failure, to the last that followed without a second in between in
    /// which all were in time, by when they were due. Zero when it was a single one, absent without any.
    pub longest_burst_s: Option<f64>,
    /// For each step of the trace's rate, in order: seconds until the last late answer before the next step. Zero
    /// when there was none; absent when they had not ceased a second before that step or the end.
    pub settled_after_s: Vec<Option<f64>>,
}

impl Adherence {
    /// The share of requests that had no answer within the target, of those that were not refused; 0 to 1.
    pub fn late_share(&self) -> Option<f64> {
        let taken = self.answered + self.failed;
        (taken > 0).then(|| (self.over_target + self.failed) as f64 / taken as f64)
    }
}

/// A distribution of times. No upper bound, three significant digits; `max` and `mean` are exact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Values in it.
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
    /// The whole distribution: an HdrHistogram in the V2 compressed format, base64.
    pub histogram: String,
}

/// Growth of the server's statistics of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Over the measured part, read a moment after its edges: it differs from the client's count by what was in
    /// flight and what came in these moments.
    pub measured: StatisticsGrowth,
    /// Batches that ran in the measured part, by size; absent where the server does not tell.
    pub executions_by_batch_size: BTreeMap<u64, u64>,
    /// Whether all requests of the point, warm-up included, stand in the statistics with the very times that
    /// their responses carried. Absent when there is nothing to compare.
    pub agrees: Option<bool>,
    /// What was compared and what came of it, in words.
    pub agreement: String,
}

/// Sums over requests, as `GET v2/models/NAME/stats` counts them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatisticsGrowth {
    /// Requests answered.
    pub success_count: u64,
    /// Requests failed.
    pub fail_count: u64,
    /// Requests answered out of the server's response cache.
    #[serde(default)]
    pub cache_hit_count: u64,
    /// Inferences.
    pub inference_count: u64,
    /// Batches run.
    pub execution_count: u64,
    /// From arrival to the response's end.
    pub success_ns: u64,
    /// Waiting for a batch.
    pub queue_ns: u64,
    /// Gathering inputs.
    pub compute_input_ns: u64,
    /// Running the model.
    pub compute_infer_ns: u64,
    /// Writing outputs.
    pub compute_output_ns: u64,
}

impl Point {
    /// Inferences by the size of the batch that ran them: from the server's statistics, else from the responses.
    pub fn inferences_by_executed_size(&self) -> BTreeMap<u64, u64> {
        let statistics = self.statistics.as_ref().map(|statistics| &statistics.executions_by_batch_size);
        match statistics.filter(|batches| !batches.is_empty()) {
            Some(batches) => batches.iter().map(|(size, batches)| (*size, size * batches)).collect(),
            None => {
                let batch = u64::from(self.key.batch);
                self.executed_batch_sizes.iter().map(|(size, requests)| (*size, requests * batch)).collect()
            }
        }
    }

    /// Inferences for each batch that ran.
    pub fn mean_executed_batch_size(&self) -> Option<f64> {
        let by_size = self.inferences_by_executed_size();
        let batches: f64 =
            by_size.iter().filter(|(size, _)| **size > 0).map(|(size, n)| *n as f64 / *size as f64).sum();
        (batches > 0.0).then(|| by_size.values().sum::<u64>() as f64 / batches)
    }
}

impl Latency {
    /// The figures of a distribution; none of an empty one.
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

#[cfg(test)]
mod tests {
    use crate::report::fixtures::sweep_with_energy;

    #[test]
    fn sizes_count_inferences_not_batches() {
        let mut point = sweep_with_energy().points.remove(0);
        point.key.batch = 2;
        point.statistics = None;
        point.executed_batch_sizes = [(2, 10), (8, 20)].into();
        assert_eq!(point.inferences_by_executed_size(), [(2, 20), (8, 40)].into());
        assert_eq!(point.mean_executed_batch_size(), Some(60.0 / 15.0));
        point.statistics = Some(Default::default());
        assert_eq!(point.mean_executed_batch_size(), Some(4.0));
        point.statistics.as_mut().unwrap().executions_by_batch_size = [(1, 30), (10, 3)].into();
        assert_eq!(point.inferences_by_executed_size(), [(1, 30), (10, 30)].into());
        assert_eq!(point.mean_executed_batch_size(), Some(60.0 / 33.0));
    }
}
