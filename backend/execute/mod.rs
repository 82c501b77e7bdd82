//! The pipeline that a batch of requests goes through, one file for each step.
//!
//! [`pipeline`] has it on one screen: [`gather`] makes one tensor of the requests' buffers for each input, the session
//! runs, [`scatter`] writes each request's rows of the outputs into its response, [`timing`] takes the request's end
//! and attaches its times. [`inline`] says in whose threads the session runs, [`overlap`] lets a batch be gathered while
//! the one before is computed. [`apart`] is for requests that cannot share an execution, [`batch_inputs`] and [`batch_outputs`]
//! for batches of requests that differ in shape, and [`misfits`] has the words for inputs that do not fit.

mod apart;
mod batch_inputs;
mod batch_outputs;
mod gather;
mod inline;
mod misfits;
mod overlap;
mod pipeline;
mod scatter;
mod timing;

pub use inline::InlineRows;
pub use overlap::{Overlap, OverlapRule};
pub use pipeline::{Executed, Executor};
