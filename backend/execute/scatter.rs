//! The batched outputs become each request's own: its rows of the outputs that it asked for.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::batch_outputs::{self, Part};
use crate::few::Dims;
use crate::model::{BatchSize, Measure, Model, Selection, TensorSpec};
use crate::tensorflow::{Output, Tensor};
use crate::triton::request::Request;
use crate::triton::response::{Response, strings_size};
use crate::triton::{DataType, Error, Result};

/// What a request has of a batch.
pub struct Share {
    /// Its rows.
    pub rows: Range<usize>,
    /// The outputs that it gets of them.
    pub wanted: Wanted,
}

/// What a request wants to have in its response.
pub enum Wanted {
    /// Every output that the model declares, as nearly always.
    All,
    /// These.
    Some(Box<Selection>),
}

impl Wanted {
    /// What `request` wants.
    ///
    /// # Errors
    /// An output that the model does not have; the server refuses those before.
    #[inline(always)]
    pub fn by(request: &Request, model: &Model) -> Result<Self> {
        let count = request.output_count()?;
        if count as usize == model.declared.len() {
            // No name comes twice, so these are all of them. Most requests name none, and get them all.
            return Ok(Self::All);
        }
        named(request, count, model).map(|selection| Self::Some(Box::new(selection)))
    }

    /// Whether an output of the SavedModel is one of those that the model declares and the request wants.
    fn includes(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(selection) => selection.outputs.contains(&index),
        }
    }

    /// Latency outputs.
    pub fn measures<'s>(&'s self, model: &'s Model) -> &'s [Measure] {
        match self {
            Self::All => &model.declared.measures,
            Self::Some(selection) => &selection.measures,
        }
    }
}

/// The outputs that a request names.
#[cold]
#[inline(never)]
fn named(request: &Request, count: u32, model: &Model) -> Result<Selection> {
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
    Ok(wanted)
}

/// The outputs to compute for a batch, each once and in order: those that any of its requests asks for, and others where too many
/// subsets were asked for before. If nobody asks for an output of the model, only for times, all of them are computed: a time has
/// to be the time of an inference.
pub fn to_compute<'m>(model: &'m Model, shares: &[Share]) -> Cow<'m, [usize]> {
    let all = Cow::Borrowed(&model.declared.outputs[..]);
    if shares.iter().any(|share| matches!(share.wanted, Wanted::All)) {
        return all;
    }
    let outputs = named_by_any(shares);
    if outputs.is_empty() { all } else { Cow::Owned(model.subsets.to_compute(outputs, &all)) }
}

#[cold]
#[inline(never)]
fn named_by_any(shares: &[Share]) -> Vec<usize> {
    let mut outputs = Vec::new();
    for share in shares {
        if let Wanted::Some(selection) = &share.wanted {
            outputs.extend_from_slice(&selection.outputs);
        }
    }
    outputs.sort_unstable();
    outputs.dedup();
    outputs
}

/// Whether some of these want other outputs of the model than others.
#[cold]
#[inline(never)]
pub fn want_different(shares: &[Share]) -> bool {
    let named = |share: &Share| match &share.wanted {
        Wanted::All => None,
        Wanted::Some(selection) => Some(selection.outputs.iter().copied().collect::<BTreeSet<usize>>()),
    };
    let first = shares.first().and_then(named);
    shares.iter().any(|share| named(share) != first)
}

/// What the session computed, and for which of its outputs.
pub struct Computed<'a> {
    /// As [`to_compute`] chose them.
    pub outputs: &'a [usize],
    /// The tensor of each.
    pub tensors: &'a [Output<'a>],
    /// Rows in the batch; each tensor has the padded ones.
    pub size: BatchSize,
}

/// Holds what the session computed against the configuration.
///
/// # Errors
/// A shape that the configuration does not allow, or that has not a row for each row of the input, the copies included. That of a
/// ragged output may be any.
pub fn check(model: &Model, computed: &Computed<'_>) -> Result<()> {
    for (&index, tensor) in computed.outputs.iter().zip(computed.tensors) {
        let Some(spec) = &model.outputs[index] else { continue };
        let found = tensor.dims();
        let skip = usize::from(model.batching);
        let fits = |(&expected, &dim): (&i64, &i64)| expected == -1 || expected == dim;
        if (found.len() != spec.dims.len() + skip
            || (model.batching && found[0] != computed.size.padded as i64)
            || !spec.dims.iter().zip(&found[skip..]).all(fits))
            && !spec.is_ragged
        {
            return Err(other_shape(model, spec, computed.size, found));
        }
    }
    Ok(())
}

#[cold]
#[inline(never)]
fn other_shape(model: &Model, spec: &TensorSpec, size: BatchSize, found: &[i64]) -> Error {
    let rows = model.batching.then_some(size.padded as i64);
    let expected: Dims<i64> = rows.into_iter().chain(spec.dims.iter().copied()).collect();
    let advice = if model.batching && found.first() != rows.as_ref() {
        ". With a batch dimension every output needs one row for each row of the input; if the number of rows depends on \
         the data, set max_batch_size: 0 in config.pbtxt and give all tensors their whole shape there"
    } else {
        ""
    };
    let padded = if size.is_padded() {
        format!(" for a batch of {} rows that was filled up to the bucket of {}", size.executed, size.padded)
    } else {
        String::new()
    };
    Error::internal(format!(
        "output '{}': expected shape {expected:?} by its configuration{padded}, but TensorFlow returned {found:?}{advice}",
        spec.name
    ))
}

/// Writes the outputs that a request asked for into its response: its own rows of each, or its own `parts` of those that are
/// ragged.
///
/// # Errors
/// The server or the client has no room for one of them, or only where it cannot be copied to.
pub fn write(
    model: &Model,
    computed: &Computed<'_>,
    share: &Share,
    parts: &[Part],
    response: &Response,
) -> Result<()> {
    let Share { rows, wanted } = share;
    let is_whole = !model.batching || rows.len() == computed.size.padded;
    for (&index, tensor) in computed.outputs.iter().zip(computed.tensors) {
        let Some(spec) = model.outputs[index].as_ref().filter(|_| wanted.includes(index)) else { continue };
        if spec.is_ragged {
            let written = batch_outputs::write(spec, tensor, index, parts, response);
            written.map_err(|error| at_output(model, spec, error))?;
            continue;
        }
        if spec.datatype == DataType::Bytes {
            let rows = if is_whole { None } else { Some((rows, computed.size.padded)) };
            write_strings(spec, tensor, rows, response).map_err(|error| at_output(model, spec, error))?;
            continue;
        }
        let (dims, bytes) = (spec.told(tensor.dims()), tensor.bytes());
        let part = if is_whole {
            response
                .output(&spec.c_name, spec.datatype.raw(), dims, bytes.len())
                .map(|buffer| (buffer, bytes))
        } else {
            let mut shape = Dims::from_slice(dims);
            shape[0] = rows.len() as i64;
            let row = bytes.len() / computed.size.padded;
            let own = &bytes[rows.start * row..rows.end * row];
            response.output(&spec.c_name, spec.datatype.raw(), &shape, own.len()).map(|buffer| (buffer, own))
        };
        let written = part.and_then(|(buffer, own)| buffer.copy_from(own));
        written.map_err(|error| at_output(model, spec, error))?;
    }
    Ok(())
}

/// Writes an output of strings: all of `tensor`, or these rows out of so many.
#[cold]
#[inline(never)]
fn write_strings(
    spec: &TensorSpec,
    tensor: &Tensor,
    rows: Option<(&Range<usize>, usize)>,
    response: &Response,
) -> Result<()> {
    let all = tensor.strings();
    let mut shape = Dims::from_slice(spec.told(tensor.dims()));
    let mut own = 0..all.len();
    if let Some((rows, padded)) = rows {
        let row = all.len() / padded;
        own = rows.start * row..rows.end * row;
        shape[0] = rows.len() as i64;
    }
    let strings = || all.clone().skip(own.start).take(own.len());
    let size = strings_size(strings());
    response.output(&spec.c_name, spec.datatype.raw(), &shape, size)?.copy_strings(strings())
}

#[cold]
#[inline(never)]
fn at_output(model: &Model, spec: &TensorSpec, error: Error) -> Error {
    error.context(format!("model '{}', output '{}'", model.name, spec.name))
}
