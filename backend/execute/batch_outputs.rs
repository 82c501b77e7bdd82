//! The outputs that have the parts of a batch's requests one after the other (`batch_output`).

use std::ops::Range;

use crate::few::Dims;
use crate::model::{Model, TensorSpec};
use crate::tensorflow::{Output, Tensor};
use crate::triton::request::Request;
use crate::triton::response::{Response, strings_size};
use crate::triton::{DataType, Error, Result};

/// What a request has of such an output.
#[derive(Debug, PartialEq)]
pub struct Part {
    /// The output, as an index into the session's outputs.
    index: usize,
    /// Its shape.
    shape: Dims<i64>,
    /// Which of the tensor's elements it is.
    elements: Range<usize>,
}

/// The parts of all requests of a batch.
#[derive(Debug, Default)]
pub struct Parts {
    /// How many each request has.
    each: usize,
    /// Those of a request one after the other.
    all: Vec<Part>,
}

impl Parts {
    /// The parts of the outputs `computed` of `model` that each of `requests` has, where there are such outputs.
    ///
    /// # Errors
    /// An output has more elements than its parts together, or fewer.
    pub fn of_batch(
        model: &Model,
        computed: (&[usize], &[Output<'_>]),
        requests: &[Request],
    ) -> Result<Self> {
        if model.ragged.is_some() { Self::divide(model, computed, requests) } else { Ok(Self::default()) }
    }

    #[cold]
    #[inline(never)]
    fn divide(
        model: &Model,
        (outputs, tensors): (&[usize], &[Output<'_>]),
        requests: &[Request],
    ) -> Result<Self> {
        let batch_outputs = model.ragged.as_ref().map_or(&[][..], |ragged| &ragged.outputs);
        let mut of_outputs = Vec::new();
        for (index, tensor) in outputs.iter().zip(tensors) {
            let batch_output = batch_outputs.iter().find(|(output, _)| output == index);
            let (Some((_, source)), Some(spec)) = (batch_output, &model.outputs[*index]) else { continue };
            let source = &model.inputs[*source];
            let shapes =
                requests.iter().map(|request| request.input(&source.c_name).map(|input| input.shape));
            let shapes: Vec<&[i64]> = shapes.collect::<Result<_>>()?;
            let divided = divide(&spec.dims, &shapes, tensor.dims());
            of_outputs.push((index, divided.map_err(|error| at_output(spec, source, error))?.into_iter()));
        }
        let mut all = Vec::with_capacity(requests.len() * of_outputs.len());
        for _ in requests {
            for (index, parts) in &mut of_outputs {
                let (shape, elements) = parts.next().expect("a part for each request");
                all.push(Part { index: **index, shape, elements });
            }
        }
        Ok(Self { each: of_outputs.len(), all })
    }

    /// Those of the request that has this place in the batch.
    pub fn of_request(&self, place: usize) -> &[Part] {
        // Nearly always there are none of anybody.
        self.all.get(place * self.each..(place + 1) * self.each).unwrap_or_default()
    }
}

/// The shape of a part, and which elements it is.
type Piece = (Dims<i64>, Range<usize>);

/// The shape of each request's part, and which of the elements of a tensor of the shape `found` it has: `declared` is the shape
/// without the batch dimension, `shapes` are those of the source.
fn divide(declared: &[i64], shapes: &[&[i64]], found: &[i64]) -> std::result::Result<Vec<Piece>, String> {
    let all = count(found).unwrap_or(usize::MAX);
    let mut start = 0_usize;
    let mut parts = Vec::with_capacity(shapes.len());
    for &source in shapes {
        let open = std::iter::once(-1).chain(declared.iter().copied()).enumerate();
        // The load has seen to it that the source has the dimension.
        let dim = |(index, dim): (usize, i64)| {
            if dim == -1 { source.get(index).copied().unwrap_or(0) } else { dim }
        };
        let shape: Dims<i64> = open.map(dim).collect();
        let end = count(&shape).and_then(|count| start.checked_add(count));
        let end = end.ok_or_else(|| format!("a part of shape {shape:?} is larger than any tensor"))?;
        parts.push((shape, start..end));
        start = end;
    }
    if start == all {
        return Ok(parts);
    }
    let (first, others) = parts.split_at(parts.len().min(MOST_SHAPES));
    let shapes: Vec<String> = first.iter().map(|(shape, _)| format!("{:?}", &shape[..])).collect();
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    Err(format!(
        "expected {start} elements for requests whose parts have the shapes {}{others}, but TensorFlow returned {found:?}, \
         which is {all}",
        shapes.join(", ")
    ))
}

/// A message names no more shapes than these.
const MOST_SHAPES: usize = 8;

/// The elements of a shape.
fn count(shape: &[i64]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
}

fn at_output(spec: &TensorSpec, source: &TensorSpec, what: String) -> Error {
    Error::internal(format!(
        "output '{}': {what}. By batch_output in config.pbtxt it has one part for each request, whose open dimensions are \
         those of the input '{}': correct its dims, or the model",
        spec.name, source.name
    ))
}

/// Writes a request's part of the output `index` into its response.
///
/// # Errors
/// The server or the client has no room for it, or only where it cannot be copied to.
#[cold]
#[inline(never)]
pub fn write(
    spec: &TensorSpec,
    tensor: &Tensor,
    index: usize,
    parts: &[Part],
    response: &Response,
) -> Result<()> {
    let part = parts.iter().find(|part| part.index == index);
    let part = part.ok_or_else(|| Error::internal("the request has no part of it, please report this"))?;
    let Part { shape, elements, .. } = part;
    let output = |size| response.output(&spec.c_name, spec.datatype.raw(), shape, size);
    if spec.datatype == DataType::Bytes {
        let strings = || tensor.strings().skip(elements.start).take(elements.len());
        return output(strings_size(strings()))?.copy_strings(strings());
    }
    let size = spec.datatype.byte_size();
    let own = &tensor.bytes()[elements.start * size..elements.end * size];
    output(own.len())?.copy_from(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(declared: &[i64], shapes: &[&[i64]], found: &[i64]) -> Vec<(Vec<i64>, Range<usize>)> {
        let parts = divide(declared, shapes, found).unwrap();
        parts.into_iter().map(|(shape, elements)| (shape.to_vec(), elements)).collect()
    }

    #[test]
    fn each_request_has_the_next_elements_in_its_own_shape() {
        let expected = [(vec![1, 3], 0..3), (vec![2, 2], 3..7), (vec![1, 0], 7..7), (vec![1, 1], 7..8)];
        assert_eq!(parts(&[-1], &[&[1, 3], &[2, 2], &[1, 0], &[1, 1]], &[8]), expected);
        // Whatever shape the model gives them.
        assert_eq!(parts(&[-1], &[&[1, 3], &[2, 2], &[1, 0], &[1, 1]], &[2, 4]), expected);
        let pairs = [(vec![1, 2, 2], 0..4), (vec![2, 1, 2], 4..8)];
        assert_eq!(parts(&[-1, 2], &[&[1, 2], &[2, 1]], &[4, 2]), pairs);
        assert_eq!(parts(&[5], &[&[1, 2], &[2, 1]], &[15]), [(vec![1, 5], 0..5), (vec![2, 5], 5..15)]);
        assert_eq!(parts(&[], &[&[1, 2], &[2, 1]], &[3]), [(vec![1], 0..1), (vec![2], 1..3)]);
    }

    #[test]
    fn parts_that_are_not_the_tensor_are_told_with_their_shapes() {
        for (found, told) in
            [(&[3_i64][..], "[3], which is 3"), (&[2, 4], "[2, 4], which is 8"), (&[], "[], which is 1")]
        {
            let error = divide(&[-1], &[&[1, 3], &[2, 2]], found).unwrap_err();
            let expected = format!(
                "expected 7 elements for requests whose parts have the shapes [1, 3], [2, 2], but TensorFlow returned {told}"
            );
            assert_eq!(error, expected);
        }
        let many = [&[1_i64, 1][..]; 20];
        assert!(divide(&[-1], &many, &[1]).unwrap_err().contains("[1, 1] and 12 more"));
    }

    #[test]
    fn no_sum_overflows() {
        let huge = [1, i64::MAX];
        assert!(divide(&[-1, 3], &[&huge, &huge], &[8]).unwrap_err().contains("larger than any tensor"));
        assert!(divide(&[-1], &[&huge, &huge, &huge], &[8]).unwrap_err().contains("larger than any tensor"));
        assert!(divide(&[-1, 0], &[&huge, &huge], &[0]).is_ok());
    }
}
