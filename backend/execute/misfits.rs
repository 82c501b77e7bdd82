//! What is wrong with an input of a request, in words. Kept out of line: see [`super::gather`].

use crate::model::{Model, TensorSpec};
use crate::tensorflow::STRING_PREFIX;
use crate::triton::{DataType, Error};

#[cold]
#[inline(never)]
pub fn at_input(model: &Model, spec: &TensorSpec, error: Error) -> Error {
    error.context(format!("model '{}', input '{}'", model.name, spec.name))
}

#[cold]
#[inline(never)]
pub fn too_large(shape: &[i64]) -> Error {
    Error::invalid(format!("expected a tensor of less than 2^63 bytes, found shape {shape:?}"))
}

#[cold]
#[inline(never)]
pub fn other_type(spec: &TensorSpec, found: Option<DataType>) -> Error {
    let found = found.map_or("another type", DataType::name);
    Error::invalid(format!("expected {}, found {found}", spec.datatype))
}

#[cold]
#[inline(never)]
pub fn unfit_shape(model: &Model, spec: &TensorSpec, shape: &[i64]) -> Error {
    // Of a request of zero rows the server passes on the other dimensions only.
    let zero_rows = model.batching && shape.len() == spec.dims.len();
    let batch = if model.batching { " after the batch dimension" } else { "" };
    let hint = if zero_rows { ", without one: is it a request of zero rows?" } else { "" };
    Error::invalid(format!("expected shape {:?}{batch}, found {shape:?}{hint}", spec.told(&spec.dims)))
}

#[cold]
#[inline(never)]
pub fn other_size(spec: &TensorSpec, shape: &[i64], expected: usize, found: usize) -> Error {
    let expected = if spec.datatype == DataType::Bytes {
        let count = expected / spec.datatype.byte_size();
        format!("{count} string elements, each with its length of {STRING_PREFIX} bytes in front,")
    } else {
        format!("{expected} bytes")
    };
    Error::invalid(format!("expected {expected} for {} {shape:?}, found {found} bytes", spec.datatype))
}

#[cold]
#[inline(never)]
pub fn other_rows(model: &Model, spec: &TensorSpec, expected: i64, found: i64) -> Error {
    let error = Error::invalid(format!(
        "expected the same batch size as in the other inputs ({expected}), found {found}"
    ));
    at_input(model, spec, error)
}

#[cold]
#[inline(never)]
pub fn other_shape(model: &Model, spec: &TensorSpec, first: &[i64], found: &[i64]) -> Error {
    let error = Error::invalid(format!(
        "expected shape {:?} after the batch dimension, as in the other requests of the batch, found {found:?}",
        first.get(1..).unwrap_or_default()
    ));
    at_input(model, spec, error)
}
