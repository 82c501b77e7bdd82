//! A loaded model: its session, and what its configuration and its SavedModel's signature agree on.
//!
//! [`mod@autocomplete`] fills in what the configuration leaves out, [`agreed`] holds it against the signature, [`spec`] and
//! [`measure`] are what they agree on: tensors of the SavedModel, and values about the request itself. [`padding`] decides
//! whether batches are filled up to a few sizes.

mod agreed;
mod autocomplete;
mod measure;
mod padding;
mod spec;

pub use agreed::Model;
pub use autocomplete::autocomplete;
pub use measure::{BatchSize, Measure};
pub use spec::{Selection, TensorSpec};
