//! TensorFlow: the safe layer over `tensorflow-c-sys`. With [`crate::triton`] it is the only room with unsafe code.
//!
//! | file | what it has |
//! |---|---|
//! | [`library`] | finds TensorFlow's library and opens it, once |
//! | [`op_library`] | adds custom operations to it |
//! | [`math_mode`], [`process`] | what applies to the whole process |
//! | [`session`] | a SavedModel that is ready to run: what the rest of the backend uses |
//! | [`saved_model`], [`origin`] | loads a SavedModel, and explains why one cannot be loaded |
//! | [`files`], [`calls`] | what is checked of a SavedModel before TensorFlow opens it |
//! | [`outline`], [`wire`], [`text`] | reads saved_model.pb, as far as that needs |
//! | [`freeze`] | turns variables into constants at load |
//! | [`variables`] | reads variables, and gives their memory back when a session is closed |
//! | [`inspect`] | what the operations of a graph may do besides computing |
//! | [`settings`], [`run_options`] | how a session is opened, and how a run goes |
//! | [`endpoint`], [`defaults`] | the tensors of a signature, and what inputs are that nobody sends |
//! | [`tensor`], [`strings`], [`memory`], [`pool`], [`request_memory`] | values, in TensorFlow's memory or a request's |
//! | [`pinned`], [`copy`] | page-locked memory for GPUs, and who fills it |
//! | [`raw_session`], [`graph`], [`operation`], [`buffer`], [`status`] | one type for each object of the C API |
//! | [`types`], [`proto`] | numbers of element types, protobuf messages |
//!
//! Objects own what they point to and free it once. Graphs, sessions and tensors may be used on any thread. An operation
//! lives as long as its graph, so whatever points to one keeps the graph alive.

mod buffer;
mod calls;
mod copy;
mod defaults;
mod endpoint;
mod files;
mod freeze;
mod graph;
mod graph_def;
mod inspect;
pub mod library;
pub mod math_mode;
mod memory;
pub mod op_library;
mod operation;
mod origin;
mod outline;
mod pinned;
mod pool;
mod process;
mod proto;
mod raw_session;
mod request_memory;
mod run_options;
mod saved_model;
mod separate;
mod session;
mod settings;
mod status;
mod strings;
mod tensor;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod variables;
mod wire;

pub use endpoint::{Endpoint, InputDefault};
pub use graph_def::Named;
pub use inspect::Objection;
pub use memory::ALIGNMENT;
pub use pool::TensorPool;
pub use run_options::RunOptions;
pub use saved_model::Parts;
pub use session::{Fed, File, Options, Output, Session};
pub use strings::{PREFIX as STRING_PREFIX, Strings};
pub use tensor::{Blank, Tensor, byte_size};
