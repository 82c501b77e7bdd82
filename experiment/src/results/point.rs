//! One point, measured.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consumption::Consumption;
use super::energy::ResponseEnergy;
use super::estimate::Estimates;
use super::latency::Latency;
use super::statistics::Statistics;
use crate::plan::PointKey;

/// One point of the plan, measured.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The point of the plan.
    pub key: PointKey,
    /// Its position in the order of measurement, from 0.
    pub visit: usize,
    /// Start time of its load, warm-up included, RFC 3339 in UTC.
    pub started: String,
    /// Whether the last three windows agreed. Absent for a trace, which is replayed once.
    pub settled: Option<bool>,
    /// The windows in order, including those before the measured part.
    pub windows: Vec<WindowSummary>,
    /// With `--max-throughput`: the concurrencies tried, including the one of this point.
    pub search: Vec<SearchStep>,
    /// Concurrent requests, in a closed loop.
    pub concurrency: Option<usize>,

    /// Length of the measured part (the last three windows, or the whole trace).
    pub seconds: f64,
    /// Requests answered, without errors.
    pub requests: u64,
    /// Requests answered, times batch size.
    pub inferences: u64,
    /// Over the measured part.
    pub requests_per_s: f64,
    /// Over the measured part.
    pub inferences_per_s: f64,
    /// Requests that failed, by kind.
    pub errors: Vec<ErrorCount>,
    /// In an open loop: requests that were due, and how late they were sent.
    pub pacing: Option<Pacing>,

    /// Measured by the client: from the start of sending (closed loop) or the scheduled time (open loop) to the last byte
    /// of the response.
    pub client_latency: Option<Latency>,
    /// Source of the server's times: "outputs", "parameters", or absent.
    pub server_times_from: Option<String>,
    /// Server-side times of the requests, from their responses: `compute_latency_ns` and so on.
    pub server_times: BTreeMap<String, Latency>,
    /// Requests by the size of the batch in which they ran (`executed_batch_size` in the responses).
    pub executed_batch_sizes: BTreeMap<u64, u64>,
    /// The server's own statistics.
    pub statistics: Option<Statistics>,

    /// Over the measured part.
    pub consumption: Consumption,
    /// Of `batching`: comparison of the requests with the latency target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adherence: Option<Adherence>,

    /// Without a meter: absent.
    pub inferences_per_j: Option<f64>,
    /// Without a meter: absent.
    pub j_per_inference: Option<f64>,
    /// The error of `inferences_per_j`, in the same unit; relative to it, as large as that of `j_per_inference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferences_per_j_error: Option<f64>,
    /// The error of `j_per_inference`: from the edges of the measured part, and from the spread over its windows (95 %).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub j_per_inference_error_j: Option<f64>,
    /// The energy that the responses told. Absent if they told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_energy: Option<ResponseEnergy>,
    /// CPU seconds of the server for each inference. Not a measure of energy.
    pub cpu_s_per_inference: Option<f64>,

    /// The metrics with 95 % confidence intervals over the windows of the measured part.
    #[serde(default, skip_serializing_if = "Estimates::is_empty")]
    pub estimates: Estimates,
    /// Comparison of the answers with those expected. Absent if none were expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,

    /// What a reader has to know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// A part of the load, from one response to another.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WindowSummary {
    /// Length.
    pub seconds: f64,
    /// Requests answered, without errors.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Over the window.
    pub inferences_per_s: f64,
    /// Client latency; absent if every request failed.
    pub latency_mean_ns: Option<f64>,
    /// Client latency; absent if every request failed.
    pub latency_p50_ns: Option<u64>,
    /// When it began, since the start of the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
    /// The complete distribution of client latency, as in [`Latency`]. Of the windows of the measured part only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_histogram: Option<String>,
    /// As in [`Consumption`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu_s: Option<f64>,
    /// As in [`Consumption`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    /// As in [`Consumption`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_error_j: Option<f64>,
    /// The sum over the responses that told their energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_energy_j: Option<f64>,
    /// Whether it belongs to the measured part.
    pub measured: bool,
}

/// A concurrency that the search for the maximum throughput tried.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SearchStep {
    /// Concurrent requests.
    pub concurrency: usize,
    /// Its throughput.
    pub inferences_per_s: f64,
    /// Client latency.
    pub latency_p50_ns: Option<u64>,
    /// As in [`Point`].
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Errors of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorCount {
    /// For example "HTTP 503", "connection refused", "timeout".
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first message of this kind.
    pub first_message: String,
}

/// Answers that were compared with what was expected: those to all requests of the load, warm-up included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answers {
    /// Answers, without errors.
    pub compared: u64,
    /// Those that differ by more than the plan allows.
    pub wrong: u64,
    /// Output, place, and both values, of the first wrong answer.
    pub first_difference: Option<String>,
}

/// How well an open loop kept its schedule.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pacing {
    /// Requests that were due in the measured part.
    pub scheduled: u64,
    /// Of these, per second.
    pub scheduled_per_s: f64,
    /// Sent later than the plan allows.
    pub late: u64,
    /// The longest delay between due and sent.
    pub max_delay_ns: u64,
    /// The median of that delay: the error of the tool's own timing, and the wait for a free connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_p50_ns: Option<u64>,
    /// Its 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_p99_ns: Option<u64>,
    /// Due but not sent before the point ended.
    pub unsent: u64,
}

/// Comparison of the requests of a trace with the latency target. `requests/VISIT.csv` has each request: when it was due,
/// its latency (ns), and whether it was answered, refused or failed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Adherence {
    /// The target.
    pub target_ns: u64,
    /// Requests answered, without errors.
    pub answered: u64,
    /// Of these, later than the target.
    pub over_target: u64,
    /// Requests refused because the queue was full (HTTP 503).
    pub refused: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Latency of refusals, from when the request was due.
    pub refusal_latency: Option<Latency>,
    /// The longest burst of late responses or failures, from when the first was due to when the last was due. A burst ends
    /// when all responses are on time for a second. Zero for a single late response, absent without any.
    pub longest_burst_s: Option<f64>,
    /// For each step of the trace's rate, in order: seconds until the last late response before the next step. Zero if
    /// there was none; absent if responses were still late within a second before that step or the end.
    pub settled_after_s: Vec<Option<f64>>,
}

impl Adherence {
    /// The fraction of requests without a response within the target, of those that were not refused; 0 to 1.
    pub fn late_share(&self) -> Option<f64> {
        let taken = self.answered + self.failed;
        (taken > 0).then(|| (self.over_target + self.failed) as f64 / taken as f64)
    }
}

impl Point {
    /// Inferences by the size of the batch in which they ran: from the server's statistics, or from the responses.
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

    /// Inferences per batch.
    pub fn mean_executed_batch_size(&self) -> Option<f64> {
        let by_size = self.inferences_by_executed_size();
        let batches: f64 =
            by_size.iter().filter(|(size, _)| **size > 0).map(|(size, n)| *n as f64 / *size as f64).sum();
        (batches > 0.0).then(|| by_size.values().sum::<u64>() as f64 / batches)
    }
}
