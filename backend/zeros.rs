//! Inputs for the runs at load, when no request is there.

use crate::model::Model;
use crate::tensorflow::{Tensor, byte_size};
use crate::triton::{Error, Result};

/// A tensor of zeros for each of the model's inputs, with so many rows and of at most `most_bytes` each.
///
/// # Errors
/// The configuration leaves a dimension open, or an input would be larger.
pub fn zeros(model: &Model, rows: usize, most_bytes: u64) -> Result<Vec<Tensor>> {
    model
        .inputs
        .iter()
        .map(|spec| {
            let batch = model.batching.then_some(rows as i64);
            let dims: Vec<i64> = batch.into_iter().chain(spec.dims.iter().copied()).collect();
            if dims.contains(&-1) {
                return Err(Error::unsupported(format!("input '{}' has a dimension of any size", spec.name)));
            }
            if byte_size(spec.datatype, &dims).is_none_or(|bytes| bytes as u64 > most_bytes) {
                return Err(Error::unsupported(format!("input '{}' is large", spec.name)));
            }
            Tensor::zeroed(spec.datatype, &dims)
        })
        .collect()
}
