//! Growth of the server's statistics.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Growth of the server's statistics of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// Over the measured part, read a moment after its edges: it differs from the client's count by the requests in flight
    /// and those that arrived in these moments.
    pub measured: StatisticsGrowth,
    /// Batches that ran in the measured part, by size; empty if the server does not report them.
    pub executions_by_batch_size: BTreeMap<u64, u64>,
    /// Whether the statistics contain all requests of the point, warm-up included, with the times that their responses
    /// carried. Absent if there is nothing to compare.
    pub agrees: Option<bool>,
    /// What was compared, and the result, in words.
    pub agreement: String,
}

/// Sums over requests, as `GET v2/models/NAME/stats` counts them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatisticsGrowth {
    /// Requests answered.
    pub success_count: u64,
    /// Requests failed.
    pub fail_count: u64,
    /// Requests answered from the server's response cache.
    #[serde(default)]
    pub cache_hit_count: u64,
    /// Inferences.
    pub inference_count: u64,
    /// Batches run.
    pub execution_count: u64,
    /// From arrival to the end of the response.
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
