//! Inputs for the runs at load, when no request is there.

use crate::model::Model;
use crate::session::Tensor;
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
            let batch = model.batching.then_some(rows as u64);
            let dims: Option<Vec<u64>> =
                batch.into_iter().map(Some).chain(spec.dims.iter().map(|&dim| dim.try_into().ok())).collect();
            let dims = dims.ok_or_else(|| {
                Error::unsupported(format!("input '{}' has a dimension of any size", spec.name))
            })?;
            let element = spec.datatype.byte_size() as u64;
            let bytes = dims.iter().try_fold(element, |bytes, &dim| bytes.checked_mul(dim));
            if bytes.is_none_or(|bytes| bytes > most_bytes) {
                return Err(Error::unsupported(format!("input '{}' is large", spec.name)));
            }
            Ok(Tensor::new(spec.datatype, &dims))
        })
        .collect()
}
