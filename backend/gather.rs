//! The requests' input buffers become one batched tensor for each input of the model.

use std::ops::Range;

use crate::datatype::DataType;
use crate::model::{Model, TensorSpec};
use crate::session::Tensor;
use crate::triton::request::{Input, InputBuffer, Request};
use crate::triton::{Error, Result};

/// The inputs of a batch.
pub struct Gathered {
    /// One tensor for each input of the model, the requests' rows one after the other.
    pub tensors: Vec<Tensor>,
    /// For each request its rows, or why it cannot be part of the batch.
    pub rows: Vec<Result<Range<usize>>>,
    /// The rows of all of them.
    pub total_rows: usize,
}

/// One input of one request, checked.
struct Part<'r> {
    shape: &'r [i64],
    buffers: Vec<InputBuffer<'r>>,
    elements: usize,
}

/// Gathers the inputs. A request that does not fit gets an error, and the others their batch.
pub fn gather(model: &Model, requests: &[Request]) -> Gathered {
    let mut parts: Vec<Result<Vec<Part<'_>>>> =
        requests.iter().map(|request| check_inputs(model, request)).collect();
    equal_shapes(model, &mut parts);

    let mut total = 0;
    let rows = parts
        .iter()
        .map(|parts| {
            let parts = parts.as_ref().map_err(Clone::clone)?;
            let start = total;
            total += row_count(model, parts);
            Ok(start..total)
        })
        .collect();
    let good: Vec<Vec<Part<'_>>> = parts.into_iter().flatten().collect();
    let tensors = match good.first() {
        Some(first) => (0..model.inputs.len())
            .map(|index| {
                let datatype = model.inputs[index].datatype;
                let shape = batch_shape(model, first[index].shape, total);
                fill(Tensor::new(datatype, &shape), good.iter().map(|parts| &parts[index]))
            })
            .collect(),
        None => Vec::new(),
    };
    Gathered { tensors, rows, total_rows: total }
}

/// Rows of a request; the server sees to it that all its inputs have the same, and
/// [`check_inputs`] that it is so.
fn row_count(model: &Model, parts: &[Part<'_>]) -> usize {
    let first = parts.first().and_then(|part| part.shape.first());
    if model.batching { first.map_or(1, |&rows| rows as usize) } else { 1 }
}

fn batch_shape(model: &Model, shape: &[i64], total: usize) -> Vec<u64> {
    let mut shape: Vec<u64> = shape.iter().map(|&dim| dim as u64).collect();
    if model.batching {
        shape[0] = total as u64;
    }
    shape
}

fn fill<'p, 'r: 'p>(mut tensor: Tensor, parts: impl Iterator<Item = &'p Part<'r>>) -> Tensor {
    let mut start = 0;
    for part in parts {
        tensor.write(start..start + part.elements, |mut bytes| {
            for buffer in &part.buffers {
                let (target, rest) = bytes.split_at_mut(buffer.len());
                buffer.copy_to(target);
                bytes = rest;
            }
        });
        start += part.elements;
    }
    tensor
}

fn check_inputs<'r>(model: &Model, request: &'r Request) -> Result<Vec<Part<'r>>> {
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
        let batch = if model.batching { " behind the batch dimension" } else { "" };
        return Err(Error::invalid(format!(
            "expected shape {:?}{batch}, found {:?}",
            spec.dims, input.shape
        )));
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

fn part<'r>(input: &Input<'r>) -> Result<Part<'r>> {
    let elements = input
        .shape
        .iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim as usize))
        .ok_or_else(|| Error::invalid(format!("the shape {:?} is too large", input.shape)))?;
    Ok(Part { shape: input.shape, buffers: input.buffers()?, elements })
}

/// The server batches only requests of equal shapes; one that differs all the same gets an error.
fn equal_shapes(model: &Model, parts: &mut [Result<Vec<Part<'_>>>]) {
    let skip = usize::from(model.batching);
    let Some(first) = parts.iter().flatten().next() else { return };
    let expected: Vec<Vec<i64>> = first.iter().map(|part| part.shape[skip..].to_vec()).collect();
    for request in parts {
        let Ok(inputs) = request else { continue };
        let differs = inputs.iter().zip(&expected).position(|(part, shape)| part.shape[skip..] != **shape);
        if let Some(index) = differs {
            *request = Err(Error::invalid(format!(
                "model '{}', input '{}': expected shape {:?} behind the batch dimension, as in the other \
                 requests of the batch, found {:?}",
                model.name, model.inputs[index].name, expected[index], inputs[index].shape
            )));
        }
    }
}
