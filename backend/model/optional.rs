//! Inputs that a request may leave out (`optional: true`), because the model has a default for them.

use super::disagreements::Side;
use super::spec::{TensorSpec, describe};
use crate::config::{ModelConfig, TensorConfig};
use crate::tensorflow::{Endpoint, InputDefault, Session};
use crate::triton::{Error, Result};

/// So many inputs, at most, may have defaults that the graph computes: TensorFlow keeps a graph of its own for each set of
/// inputs that it is fed.
const MOST_COMPUTED: usize = 4;

/// Refuses what has no meaning.
///
/// # Errors
/// An input is optional, and requests of different shapes share a batch.
pub fn check(config: &ModelConfig) -> Result<()> {
    match config.inputs.iter().find(|input| input.is_optional) {
        Some(input) if config.is_ragged() => Err(Error::unsupported(format!(
            "config.pbtxt asks for 'optional' of input '{}' and for 'allow_ragged_batch', which this backend does not support \
             together: remove one of them",
            input.name
        ))),
        _ => Ok(()),
    }
}

/// What `tensor` is where a request leaves it out. In a batch a default of one row stands for every row.
///
/// # Errors
/// The model has no default for it, or one of another shape.
pub fn default(tensor: &TensorConfig, (side, endpoint): (Side<'_>, &Endpoint)) -> Result<InputDefault> {
    let TensorConfig { name, .. } = tensor;
    let Some(default) = &endpoint.default else {
        return Err(Error::unsupported(format!(
            "config.pbtxt asks for 'optional' of input '{name}', and the {} has no default for it ({}): remove it, or export the \
             model with a placeholder_with_default, or with a default for the argument of the function that is the signature",
            side.of,
            describe(endpoint)
        )));
    };
    if let InputDefault::Constant { dims, .. } = default {
        let rows = side.batching.then_some(&1);
        // A scalar has no dimensions, whatever stands for it in the configuration.
        let declared = if endpoint.dims.as_ref().is_some_and(Vec::is_empty) { &[][..] } else { &tensor.dims };
        let expected: Vec<i64> = rows.into_iter().chain(declared).copied().collect();
        let fits = |(&expected, &dim): (&i64, &i64)| expected == -1 || expected == dim;
        if dims.len() != expected.len() || !expected.iter().zip(dims).all(fits) {
            let one_row = if side.batching { ", one row that stands for every row of a batch" } else { "" };
            return Err(Error::invalid(format!(
                "config.pbtxt asks for 'optional' of input '{name}': expected a default of shape {expected:?}{one_row}, but that of \
                 the model has shape {dims:?}. Remove 'optional', or export the model with another default"
            )));
        }
    }
    Ok(default.clone())
}

/// Tells the session which inputs are left to its graph where no request of a batch has them.
///
/// # Errors
/// There are too many.
pub fn leave_to_graph(session: &mut Session, inputs: &[TensorSpec]) -> Result<()> {
    let computed: Vec<usize> =
        (0..inputs.len()).filter(|&index| inputs[index].default == Some(InputDefault::Computed)).collect();
    if computed.len() > MOST_COMPUTED {
        let names: Vec<&str> = computed.iter().map(|&index| inputs[index].name.as_str()).collect();
        return Err(Error::unsupported(format!(
            "expected at most {MOST_COMPUTED} inputs with 'optional' whose default the graph computes in each run, found {}: {}. \
             Remove 'optional' from some, or export the model with defaults that do not depend on other inputs",
            names.len(),
            names.join(", ")
        )));
    }
    if computed.is_empty() { Ok(()) } else { session.leave_to_graph(&computed) }
}
