//! `RunOptions` and `RunMetadata`: what a run is asked for and what it tells (`config.proto`).

use prost::Message;

use super::graph::GraphDef;

#[derive(Clone, PartialEq, Message)]
pub struct RunOptions {
    #[prost(int64, tag = "2")]
    pub timeout_in_ms: i64,
    /// -1 runs the operations in the calling thread.
    #[prost(int32, tag = "3")]
    pub inter_op_thread_pool: i32,
    #[prost(bool, tag = "5")]
    pub output_partition_graphs: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunMetadata {
    /// The graphs that ran, one for each device.
    #[prost(message, repeated, tag = "3")]
    pub partition_graphs: Vec<GraphDef>,
}
