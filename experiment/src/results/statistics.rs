//! Growth of the server's own statistics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
