//! The configuration as types: what the server's JSON says about the backend and about a model, with every value that
//! this backend acts on checked.
//!
//! [`json`] has the server's JSON as structs, [`setting`] the text of one parameter,
//! [`parameters`] the list of them.

mod backend;
mod batching;
mod energy;
mod json;
mod model;
mod parameters;
mod ragged;
mod sequences;
mod setting;
mod values;

pub use backend::BackendOptions;
pub use batching::{Adaptive, Batching, Target};
pub use energy::{EnergyScope, MeterPlaces};
pub use model::{MAX_RANK, ModelConfig};
pub use values::{
    BATCH_SIZE_BUCKETS, BatchInputKind, BatchSizeBuckets, Format, Freeze, GpuMemory, InlineExecution,
    MathMode, Optimization, Step, TensorConfig, Threads,
};
