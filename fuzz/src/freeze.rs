//! The files of freezing that need no session.

#[path = "../../backend/tensorflow/freeze/model.rs"]
pub mod model;
#[path = "../../backend/tensorflow/freeze/optimised.rs"]
pub mod optimised;
#[path = "../../backend/tensorflow/freeze/partitions.rs"]
pub mod partitions;
#[path = "../../backend/tensorflow/freeze/rewrite.rs"]
pub mod rewrite;
#[path = "../../backend/tensorflow/freeze/values.rs"]
pub mod values;
#[path = "../../backend/tensorflow/freeze/weights.rs"]
pub mod weights;
