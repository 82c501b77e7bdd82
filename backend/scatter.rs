//! The batched outputs become each request's own: its rows of the outputs that it asked for.

use std::borrow::Cow;
use std::ops::Range;

use crate::few::{Dims, Few};
use crate::model::{Model, Selection, TensorSpec};
use crate::tensorflow::Output;
use crate::timing::Measure;
use crate::triton::request::Request;
use crate::triton::response::Response;
use crate::triton::{Error, Result};

/// What a request wants to have in its response.
///
/// # Errors
/// An output that the model does not have; the server refuses those before.
pub fn wanted<'m>(model: &'m Model, request: &Request) -> Result<Cow<'m, Selection>> {
    let count = request.output_count()?;
    if count as usize == model.declared.len() {
        // As many different ones as there are, so all: most requests name none, and get them all.
        return Ok(Cow::Borrowed(&model.declared));
    }
    let mut wanted = Selection::default();
    for index in 0..count {
        let name = request.output_name(index)?;
        let named = |spec: &Option<TensorSpec>| spec.as_ref().is_some_and(|spec| spec.name == name);
        if let Some(index) = model.outputs.iter().position(named) {
            wanted.outputs.push(index);
        } else if let Some(measure) = Measure::from_name(name) {
            wanted.measures.push(measure);
        } else {
            let known: Vec<_> = model.outputs.iter().flatten().map(|spec| spec.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "model '{}' has no output '{name}'; it has: {}",
                model.name,
                known.join(", ")
            )));
        }
    }
    Ok(Cow::Owned(wanted))
}

/// The outputs to compute for a batch, each once. When nobody asks for an output of the model, only for
/// times, all of them are computed: a time has to be the time of an inference.
pub fn to_compute<'w>(model: &Model, wanted: impl Iterator<Item = &'w Selection>) -> Few<usize> {
    let mut outputs: Few<usize> = wanted.flat_map(|wanted| wanted.outputs.iter().copied()).collect();
    if outputs.is_empty() {
        return model.declared.outputs.iter().copied().collect();
    }
    outputs.sort_unstable();
    outputs.dedup();
    outputs
}

/// What the session computed, and for which of its outputs.
pub struct Computed<'a> {
    /// As [`to_compute`] chose them.
    pub outputs: &'a [usize],
    /// The tensor of each.
    pub tensors: Few<Output<'a>>,
    /// Rows in the batch.
    pub rows: usize,
}

/// Holds what the session computed against the configuration.
///
/// # Errors
/// A shape that the configuration does not allow, or that has not a row for each row of the input.
pub fn check(model: &Model, computed: &Computed<'_>) -> Result<()> {
    for (&index, tensor) in computed.outputs.iter().zip(&computed.tensors) {
        let Some(spec) = &model.outputs[index] else { continue };
        let rows = model.batching.then_some(computed.rows as i64);
        let expected: Dims<i64> = rows.into_iter().chain(spec.dims.iter().copied()).collect();
        let found = tensor.dims();
        let fits = |(&expected, &dim): (&i64, &i64)| expected == -1 || expected == dim;
        if found.len() != expected.len() || !expected.iter().zip(found).all(fits) {
            return Err(Error::internal(format!(
                "output '{}': expected shape {expected:?} by its configuration, but TensorFlow returned \
                 {found:?}",
                spec.name
            )));
        }
    }
    Ok(())
}

/// Writes the outputs that a request asked for into its response: its own `rows` of each.
///
/// # Errors
/// The server or the client has no room for one of them.
pub fn write(
    model: &Model,
    computed: &Computed<'_>,
    wanted: &Selection,
    rows: &Range<usize>,
    response: &Response,
) -> Result<()> {
    for (index, tensor) in computed.outputs.iter().zip(&computed.tensors) {
        let Some(spec) = model.outputs[*index].as_ref().filter(|_| wanted.outputs.contains(index)) else {
            continue;
        };
        let mut shape = Dims::from_slice(tensor.dims());
        let inner = if model.batching { &tensor.dims()[1..] } else { tensor.dims() };
        let row = inner.iter().product::<i64>() as usize * spec.datatype.byte_size();
        let bytes = if model.batching {
            shape[0] = rows.len() as i64;
            &tensor.bytes()[rows.start * row..rows.end * row]
        } else {
            tensor.bytes()
        };
        let buffer = response
            .output(&spec.c_name, spec.datatype.raw(), &shape, bytes.len())
            .map_err(|e| e.context(format!("model '{}', output '{}'", model.name, spec.name)))?;
        buffer.copy_from(bytes);
    }
    Ok(())
}
