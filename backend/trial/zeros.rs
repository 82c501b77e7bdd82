//! Inputs for runs at load, before there is a request.

use crate::few::Dims;
use crate::model::Model;
use crate::tensorflow::{Tensor, byte_size};
use crate::triton::{Error, Result};

/// A tensor of zeros for each of the model's inputs (or of empty strings), with so many rows and of at most `most_bytes` each.
///
/// # Errors
/// The configuration leaves a dimension open, or an input would be larger; or the model has ragged batches, of which zeros are
/// none: the lengths would not be those of what they belong to.
pub fn zeros(model: &Model, rows: usize, most_bytes: usize) -> Result<Vec<Tensor>> {
    if model.ragged.is_some() {
        return Err(Error::unsupported(
            "requests of different shapes share its batches, and how their shapes differ is not known",
        ));
    }
    model
        .inputs
        .iter()
        .map(|spec| {
            if spec.dims.contains(&-1) {
                return Err(Error::unsupported(format!("input '{}' has a dimension of any size", spec.name)));
            }
            let dims: Dims<i64> =
                model.batching.then_some(rows as i64).into_iter().chain(spec.dims.iter().copied()).collect();
            let bytes = byte_size(spec.datatype, &dims);
            if bytes.is_none_or(|bytes| bytes > most_bytes) {
                let size = bytes.map_or_else(|| "more than there is".into(), mebibytes);
                return Err(Error::unsupported(format!(
                    "input '{}' takes {size} with a batch size of {rows}, and no more than {} are made just to try",
                    spec.name,
                    mebibytes(most_bytes)
                )));
            }
            Tensor::zeroed(spec.datatype, &dims)
        })
        .collect()
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
