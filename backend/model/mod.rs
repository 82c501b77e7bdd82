//! A loaded model: its session, and what its configuration and its SavedModel's signature agree on.
//!
//! [`mod@autocomplete`] fills in what the configuration leaves out, [`agreed`] holds it against the signature, [`disagreements`]
//! has the words for where it does not fit, [`spec`] and [`measure`] are what they agree on: tensors of the SavedModel, and
//! values about the request itself. [`padding`] decides whether batches are filled up to a few sizes, [`subsets`] which outputs
//! are computed together, [`ragged`] is for
//! batches of requests that differ in shape, and [`optional`] for inputs that a request may leave out.

mod agreed;
mod autocomplete;
mod disagreements;
mod measure;
mod optional;
mod padding;
mod ragged;
mod spec;
mod subsets;

pub use agreed::Model;
pub use autocomplete::{Signature, autocomplete};
pub use measure::{BatchSize, Measure, Shared};
pub use ragged::BatchInput;
pub use spec::{Selection, TensorSpec};
