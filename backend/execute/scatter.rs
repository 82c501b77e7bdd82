//! The batched outputs become each request's own: its rows of the outputs that it asked for.

use std::borrow::Cow;
use std::ops::Range;

use crate::few::{Dims, Few};
use crate::model::{Measure, Model, Selection, TensorSpec};
use crate::tensorflow::Output;
use crate::triton::request::Request;
use crate::triton::response::Response;
use crate::triton::{Error, Result};

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
    pub fn by(request: &Request, model: &Model) -> Result<Self> {
        let count = request.output_count()?;
        if count as usize == model.declared.len() {
            // No name comes twice, so these are all of them. Most requests name none, and get them all.
            return Ok(Self::All);
        }
        named(request, count, model).map(|selection| Self::Some(Box::new(selection)))
    }

    /// Outputs of the SavedModel, as indices into [`Model::outputs`].
    pub fn outputs<'s>(&'s self, model: &'s Model) -> &'s [usize] {
        match self {
            Self::All => &model.declared.outputs,
            Self::Some(selection) => &selection.outputs,
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

/// The outputs to compute for a batch, each once and in order. If nobody asks for an output of the model, only for
/// times, all of them are computed: a time has to be the time of an inference.
pub fn to_compute<'m, 'w>(
    model: &'m Model,
    wanted: impl Iterator<Item = &'w Wanted> + Clone,
) -> Cow<'m, [usize]> {
    let all = &model.declared.outputs;
    if wanted.clone().any(|wanted| matches!(wanted, Wanted::All)) {
        return Cow::Borrowed(all);
    }
    let mut outputs: Vec<usize> = wanted.flat_map(|wanted| wanted.outputs(model).iter().copied()).collect();
    if outputs.is_empty() {
        return Cow::Borrowed(all);
    }
    outputs.sort_unstable();
    outputs.dedup();
    Cow::Owned(outputs)
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
        let found = tensor.dims();
        let skip = usize::from(model.batching);
        let fits = |(&expected, &dim): (&i64, &i64)| expected == -1 || expected == dim;
        if found.len() != spec.dims.len() + skip
            || (model.batching && found[0] != computed.rows as i64)
            || !spec.dims.iter().zip(&found[skip..]).all(fits)
        {
            return Err(other_shape(model, spec, computed.rows, found));
        }
    }
    Ok(())
}

#[cold]
#[inline(never)]
fn other_shape(model: &Model, spec: &TensorSpec, rows: usize, found: &[i64]) -> Error {
    let rows = model.batching.then_some(rows as i64);
    let expected: Dims<i64> = rows.into_iter().chain(spec.dims.iter().copied()).collect();
    let advice = if model.batching && found.first() != rows.as_ref() {
        ". With a batch dimension every output needs one row for each row of the input; if the number of rows depends on \
         the data, set max_batch_size: 0 in config.pbtxt and give all tensors their whole shape there"
    } else {
        ""
    };
    Error::internal(format!(
        "output '{}': expected shape {expected:?} by its configuration, but TensorFlow returned {found:?}{advice}",
        spec.name
    ))
}

/// Writes the outputs that a request asked for into its response: its own `rows` of each.
///
/// # Errors
/// The server or the client has no room for one of them.
pub fn write(
    model: &Model,
    computed: &Computed<'_>,
    wanted: &Wanted,
    rows: &Range<usize>,
    response: &Response,
) -> Result<()> {
    for (index, tensor) in computed.outputs.iter().zip(&computed.tensors) {
        let Some(spec) = model.outputs[*index].as_ref().filter(|_| wanted.outputs(model).contains(index))
        else {
            continue;
        };
        let mut shape = Dims::from_slice(tensor.dims());
        let inner = if model.batching { &tensor.dims()[1..] } else { tensor.dims() };
        let row = inner.iter().product::<i64>() as usize * spec.datatype.byte_size();
        let bytes = if model.batching {
            shape[0] = rows.len() as i64;
            rows.start * row..rows.end * row
        } else {
            0..row
        };
        let buffer = response
            .output(&spec.c_name, spec.datatype.raw(), &shape, bytes.len())
            .map_err(|e| e.context(format!("model '{}', output '{}'", model.name, spec.name)))?;
        buffer.copy_from(&tensor.bytes()[bytes]);
    }
    Ok(())
}
