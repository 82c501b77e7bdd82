//! `ConfigProto`: what a session is opened with (`config.proto`, `rewriter_config.proto`).

use std::collections::BTreeMap;

use prost::Message;

/// `RewriterConfig.Toggle.ON`.
pub const ON: i32 = 1;
/// `RewriterConfig.Toggle.OFF`.
pub const OFF: i32 = 2;
/// `RewriterConfig.MemOptType.NO_MEM_OPT`.
pub const NO_MEM_OPT: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub struct ConfigProto {
    #[prost(btree_map = "string, int32", tag = "1")]
    pub device_count: BTreeMap<String, i32>,
    #[prost(int32, tag = "2")]
    pub intra_op_parallelism_threads: i32,
    #[prost(int32, tag = "5")]
    pub inter_op_parallelism_threads: i32,
    #[prost(message, optional, tag = "6")]
    pub gpu_options: Option<GpuOptions>,
    #[prost(bool, tag = "7")]
    pub allow_soft_placement: bool,
    #[prost(bool, tag = "9")]
    pub use_per_session_threads: bool,
    #[prost(message, optional, tag = "10")]
    pub graph_options: Option<GraphOptions>,
}

impl ConfigProto {
    /// The options of the graph, to change.
    pub fn graph(&mut self) -> &mut GraphOptions {
        self.graph_options.get_or_insert_default()
    }

    /// Sets what XLA compiles without being asked for it in the graph.
    pub fn jit(&mut self, level: i32) {
        self.graph().optimizer_options.get_or_insert_default().global_jit_level = level;
    }

    /// Whether XLA compiles more than what the graph asks for.
    pub fn has_jit(&self) -> bool {
        self.graph_options.as_ref().is_some_and(|graph| graph.optimizer_options.is_some())
    }

    /// XLA compiles only what the graph asks for. Returns whether it was to compile more.
    pub fn without_jit(&mut self) -> bool {
        self.graph_options.as_mut().and_then(|graph| graph.optimizer_options.take()).is_some()
    }

    /// The options of TensorFlow's optimizer, to change.
    pub fn optimizer(&mut self) -> &mut RewriterConfig {
        self.graph().rewrite_options.get_or_insert_default()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct GpuOptions {
    /// The part of a GPU's memory that is taken at once, and not exceeded; 0 is TensorFlow's default.
    #[prost(double, tag = "1")]
    pub per_process_gpu_memory_fraction: f64,
    /// Memory is taken as it is needed.
    #[prost(bool, tag = "4")]
    pub allow_growth: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct GraphOptions {
    #[prost(message, optional, tag = "3")]
    pub optimizer_options: Option<OptimizerOptions>,
    /// Nodes that a run does not need are not placed on a device.
    #[prost(bool, tag = "6")]
    pub place_pruned_graph: bool,
    #[prost(message, optional, tag = "10")]
    pub rewrite_options: Option<RewriterConfig>,
}

/// `OptimizerOptions.GlobalJitLevel.ON_2`: XLA compiles all that it can.
pub const JIT_ON: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct OptimizerOptions {
    /// 0 is TensorFlow's default, which is off.
    #[prost(int32, tag = "5")]
    pub global_jit_level: i32,
}

/// The optimizer's passes: 0 is TensorFlow's default, [`OFF`] leaves a pass out.
#[derive(Clone, PartialEq, Message)]
pub struct RewriterConfig {
    #[prost(int32, tag = "1")]
    pub layout_optimizer: i32,
    #[prost(int32, tag = "4")]
    pub memory_optimization: i32,
    #[prost(int32, tag = "9")]
    pub loop_optimization: i32,
    #[prost(int32, tag = "13")]
    pub shape_optimization: i32,
    #[prost(int32, tag = "14")]
    pub remapping: i32,
    #[prost(int32, tag = "15")]
    pub scoped_allocator_optimization: i32,
    /// Smaller graphs are not optimised; 0 is TensorFlow's default, -1 no limit.
    #[prost(int32, tag = "17")]
    pub min_graph_nodes: i32,
    #[prost(int32, tag = "18")]
    pub pin_to_host_optimization: i32,
    #[prost(bool, tag = "19")]
    pub disable_meta_optimizer: bool,
    /// 0 is no limit.
    #[prost(int64, tag = "20")]
    pub meta_optimizer_timeout_ms: i64,
    #[prost(int32, tag = "22")]
    pub implementation_selector: i32,
    /// [`ON`] computes FP32 in FP16 on GPUs where that is safe.
    #[prost(int32, tag = "23")]
    pub auto_mixed_precision: i32,
    #[prost(int32, tag = "24")]
    pub common_subgraph_elimination: i32,
    /// [`ON`] computes FP32 in BF16 on CPUs where that is safe.
    #[prost(int32, tag = "31")]
    pub auto_mixed_precision_onednn_bfloat16: i32,
}
