//! The requests' input buffers become one batched tensor for each input of the model.

use std::ops::Range;

use crate::datatype::DataType;
use crate::few::{Dims, Few};
use crate::model::{Model, TensorSpec};
use crate::tensorflow::{Blank, Tensor, byte_size};
use crate::triton::request::{Input, InputBuffer, Request};
use crate::triton::{Error, Result};

/// The inputs of a batch.
pub struct Gathered {
    /// One tensor for each input of the model, the requests' rows one after the other.
    pub tensors: Few<Tensor>,
    /// For each request its rows, or why it cannot be part of the batch.
    pub rows: Few<Result<Range<usize>>>,
    /// The rows of all of them.
    pub total_rows: usize,
}

/// One input of one request, checked.
struct Part<'r> {
    shape: &'r [i64],
    buffers: Few<InputBuffer<'r>>,
    elements: usize,
}

/// Gathers the inputs. A request that does not fit gets an error, and the others their batch.
pub fn gather(model: &Model, requests: &[Request]) -> Gathered {
    let mut parts: Few<Result<Few<Part<'_>>>> =
        requests.iter().map(|request| check_inputs(model, request)).collect();
    equal_shapes(model, &mut parts);

    let mut total = 0;
    let mut rows: Few<Result<Range<usize>>> = parts
        .iter_mut()
        .map(|parts| {
            let end = match parts {
                Ok(inputs) => append(model, inputs, total),
                Err(error) => Err(error.clone()),
            };
            let end = end.inspect_err(|error| *parts = Err(error.clone()))?;
            let start = std::mem::replace(&mut total, end);
            Ok(start..end)
        })
        .collect();
    let good: Few<Few<Part<'_>>> = parts.into_iter().flatten().collect();
    let tensors: Result<Few<Tensor>> = match good.first() {
        Some(first) => (0..model.inputs.len())
            .map(|index| {
                let datatype = model.inputs[index].datatype;
                let shape = batch_shape(model, first[index].shape, total);
                fill(model.pool.take(datatype, &shape)?, good.iter().map(|parts| &parts[index]))
            })
            .collect(),
        None => Ok(Few::new()),
    };
    let tensors = tensors.unwrap_or_else(|error| {
        rows.iter_mut().filter(|rows| rows.is_ok()).for_each(|rows| *rows = Err(error.clone()));
        Few::new()
    });
    Gathered { tensors, rows, total_rows: total }
}

/// The batch's rows once a request's are put behind the `total` there are; [`check_inputs`] has seen to it
/// that all of its inputs have the same number.
///
/// # Errors
/// A tensor of the batch would be larger than a tensor can be.
fn append(model: &Model, parts: &[Part<'_>], total: usize) -> Result<usize> {
    if !model.batching {
        return Ok(total + 1);
    }
    let rows = parts.first().map_or(1, |part| part.shape[0] as usize);
    for (spec, part) in model.inputs.iter().zip(parts) {
        let shape = std::iter::once((total + rows) as i64).chain(part.shape[1..].iter().copied());
        if !is_possible(spec.datatype, shape) {
            return Err(
                too_large(part.shape).context(format!("model '{}', input '{}'", model.name, spec.name))
            );
        }
    }
    Ok(total + rows)
}

/// Whether TensorFlow can have a tensor of this shape.
fn is_possible(datatype: DataType, shape: impl IntoIterator<Item = i64>) -> bool {
    let shape: Dims<i64> = shape.into_iter().collect();
    byte_size(datatype, &shape).is_some()
}

fn too_large(shape: &[i64]) -> Error {
    Error::invalid(format!("expected a tensor of less than 2^63 bytes, found shape {shape:?}"))
}

fn batch_shape(model: &Model, shape: &[i64], total: usize) -> Dims<i64> {
    let mut shape = Dims::from_slice(shape);
    if model.batching {
        shape[0] = total as i64;
    }
    shape
}

fn fill<'p, 'r: 'p>(mut tensor: Blank, parts: impl Iterator<Item = &'p Part<'r>>) -> Result<Tensor> {
    for part in parts {
        part.buffers.iter().for_each(|buffer| tensor.append(buffer));
    }
    tensor.finish()
}

fn check_inputs<'r>(model: &Model, request: &'r Request) -> Result<Few<Part<'r>>> {
    let mut rows = None;
    model
        .inputs
        .iter()
        .map(|spec| {
            let part = check_input(model, spec, request)
                .map_err(|e| e.context(format!("model '{}', input '{}'", model.name, spec.name)))?;
            if model.batching && *rows.get_or_insert(part.shape[0]) != part.shape[0] {
                return Err(Error::invalid(format!(
                    "model '{}', input '{}': expected the same batch size as in the other inputs ({}), \
                     found {}",
                    model.name,
                    spec.name,
                    rows.unwrap_or(0),
                    part.shape[0]
                )));
            }
            Ok(part)
        })
        .collect()
}

fn check_input<'r>(model: &Model, spec: &TensorSpec, request: &'r Request) -> Result<Part<'r>> {
    let input = request.input(&spec.c_name)?;
    if input.datatype != spec.datatype.raw() {
        let found = DataType::from_raw(input.datatype).map_or("another type", DataType::name);
        return Err(Error::invalid(format!("expected {}, found {found}", spec.datatype)));
    }
    let dims = if model.batching { input.shape.get(1..) } else { Some(input.shape) };
    let fits = |(&spec, &dim): (&i64, &i64)| spec == -1 || spec == dim;
    let shape_fits =
        dims.is_some_and(|dims| dims.len() == spec.dims.len() && spec.dims.iter().zip(dims).all(fits));
    if !shape_fits || input.shape.iter().any(|&dim| dim < 0) {
        // Of a request of zero rows the server passes on the other dimensions only.
        let zero_rows = model.batching && input.shape.len() == spec.dims.len();
        let batch = if model.batching { " behind the batch dimension" } else { "" };
        let hint = if zero_rows { ", without one: is it a request of zero rows?" } else { "" };
        return Err(Error::invalid(format!(
            "expected shape {:?}{batch}, found {:?}{hint}",
            spec.dims, input.shape
        )));
    }
    if !is_possible(spec.datatype, input.shape.iter().copied()) {
        return Err(too_large(input.shape));
    }
    let part = part(&input)?;
    let expected = part.elements * spec.datatype.byte_size();
    let found: usize = part.buffers.iter().map(InputBuffer::len).sum();
    if found != expected {
        return Err(Error::invalid(format!(
            "expected {expected} bytes for {} {:?}, found {found}",
            spec.datatype, input.shape
        )));
    }
    Ok(part)
}

/// The shape has passed [`is_possible`].
fn part<'r>(input: &Input<'r>) -> Result<Part<'r>> {
    let elements = input.shape.iter().product::<i64>() as usize;
    Ok(Part { shape: input.shape, buffers: input.buffers()?, elements })
}

/// The server batches only requests of equal shapes; one that differs all the same gets an error.
fn equal_shapes(model: &Model, parts: &mut [Result<Few<Part<'_>>>]) {
    let skip = usize::from(model.batching);
    let Some(position) = parts.iter().position(Result::is_ok) else { return };
    let (first, others) = parts[position..].split_at_mut(1);
    let Ok(first) = &first[0] else { return };
    for request in others {
        let Ok(inputs) = request else { continue };
        let differs = |(part, first): (&Part<'_>, &Part<'_>)| part.shape[skip..] != first.shape[skip..];
        if let Some(index) = inputs.iter().zip(first).position(differs) {
            *request = Err(Error::invalid(format!(
                "model '{}', input '{}': expected shape {:?} behind the batch dimension, as in the other \
                 requests of the batch, found {:?}",
                model.name,
                model.inputs[index].name,
                &first[index].shape[skip..],
                inputs[index].shape
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shapes_that_tensorflow_can_multiply_are_possible() {
        assert!(is_possible(DataType::Fp32, [16, 299, 299, 3]));
        assert!(is_possible(DataType::UInt8, [1, 0, i64::MAX]));
        assert!(!is_possible(DataType::Fp32, [1, i64::MAX]));
        assert!(!is_possible(DataType::Fp64, [1, (1 << 61) + 1]), "8 bytes, when it wraps");
        assert!(!is_possible(DataType::UInt8, [1, 1 << 62, 2, 0]), "a 0 comes too late");
    }
}
