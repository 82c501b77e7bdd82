//! Holds a model's configuration against the signature of its SavedModel, or against its graph.

use std::ffi::CString;

use super::disagreements::{self, Side};
use super::measure::{Measure, check_declaration};
use super::optional;
use super::padding;
use super::ragged::{self, Ragged};
use super::spec::{Selection, TensorSpec, describe, unservable};
use super::subsets::Subsets;
use crate::buckets::Buckets;
use crate::config::{Batching, ModelConfig, TensorConfig};
use crate::tensorflow::{Endpoint, Session};
use crate::triton::{DataType, Error, Result};

/// One version of a model, shared by all its instances.
#[derive(Debug)]
pub struct Model {
    /// Its name, for messages.
    pub name: String,
    /// Whether tensors have a batch dimension (`max_batch_size` above 0).
    pub batching: bool,
    /// Whether the inputs that a request has may set it apart from others.
    pub sets_apart: bool,
    /// Whether requests of different shapes share a batch (see [`Self::ragged`]), or may leave inputs out. Beside what is read for
    /// each batch.
    pub is_mixed: bool,
    /// The most rows that a batch may have; 1 without a batch dimension.
    pub max_batch_size: usize,
    /// The sizes that batches are filled up to.
    pub buckets: Buckets,
    /// In the order of the session's inputs; those that the backend makes ([`Ragged::inputs`]) are not among them.
    pub inputs: Vec<TensorSpec>,
    /// In the order of the session's outputs; nothing for those that the configuration leaves out.
    pub outputs: Vec<Option<TensorSpec>>,
    /// Where requests of different shapes share a batch, what that takes.
    pub ragged: Option<Box<Ragged>>,
    /// Every output that the configuration declares.
    pub declared: Selection,
    /// Those that are computed without the others.
    pub subsets: Subsets,
    /// The latency values that go into the response's parameters.
    pub latency_parameters: &'static [Measure],
    /// The SavedModel's session.
    pub session: Session,
}

impl Model {
    /// The model that `config` and the signature of `session` describe; `on_gpu`: part of it is computed on one.
    ///
    /// # Errors
    /// They disagree, or ask for what this backend does not support.
    pub fn new(name: String, config: &ModelConfig, mut session: Session, on_gpu: bool) -> Result<Self> {
        let batching = config.max_batch_size > 0;
        let of = session.endpoints_of;
        ragged::check_batching(config)?;
        optional::check(config)?;
        let of_requests = ragged::of_requests(config, (of, &session.inputs))?;
        let side = Side { model: &name, of, batching };
        let inputs = inputs(&config.inputs, &config.controls, (side, &of_requests))?;
        let adaptive = config.batching != Batching::Triton;
        let available = Measure::available(adaptive);
        let (outputs, measures) = outputs(&config.outputs, (side, &session.outputs), available)?;
        let graph_has_none = session.outputs.is_empty() && !session.has_signature();
        if outputs.iter().all(Option::is_none) && !graph_has_none {
            let known: Vec<_> = session.outputs.iter().map(named).collect();
            return Err(Error::invalid(format!(
                "config.pbtxt declares no output of the model, so there is nothing to run; the {of} has: {}",
                known.join(", ")
            )));
        }
        let ragged = Ragged::new(config, (of, &session.inputs), &inputs, &outputs)?;
        let may_lack = inputs.iter().any(|input| input.default.is_some());
        optional::leave_to_graph(&mut session, &inputs)?;
        let declared: Vec<usize> = (0..outputs.len()).filter(|&index| outputs[index].is_some()).collect();
        let buckets = padding::choose(&name, config, &session, &declared, on_gpu)?;
        if config.response_cache && (!measures.is_empty() || config.latency_parameters) {
            log::warn!(
                "model '{name}': a response from the server's response cache repeats the times of the request that \
                 filled it"
            );
        }
        Ok(Self {
            name,
            batching,
            sets_apart: inputs.iter().any(TensorSpec::sets_apart),
            is_mixed: ragged.is_some() || may_lack,
            max_batch_size: config.max_batch_size.max(1) as usize,
            inputs,
            declared: Selection { outputs: declared, measures },
            subsets: Subsets::default(),
            outputs,
            ragged,
            latency_parameters: if config.latency_parameters {
                Measure::unasked(adaptive, !buckets.is_empty())
            } else {
                &[]
            },
            buckets,
            session,
        })
    }
}

/// Every input of the signature has to be declared, and no other. The last ones declared are `controls`.
fn inputs(
    declared: &[TensorConfig],
    controls: &[TensorConfig],
    (side, signature): (Side<'_>, &[Endpoint]),
) -> Result<Vec<TensorSpec>> {
    for tensor in declared.iter().chain(controls) {
        if find(signature, &tensor.name).is_none() {
            let is_control = controls.iter().any(|control| control.name == tensor.name);
            return Err(if is_control {
                disagreements::unknown_control(&tensor.name, side, signature)
            } else {
                disagreements::unknown("input", &tensor.name, side, signature)
            });
        }
    }
    let earlier = |index: usize| &declared[..index];
    let is_twice = |(index, tensor): &(usize, &TensorConfig)| {
        earlier(*index).iter().any(|earlier| earlier.name == tensor.name)
    };
    if let Some((_, twice)) = declared.iter().enumerate().find(is_twice) {
        let count = declared.len() + controls.len();
        return Err(disagreements::declared_twice(count, &twice.name, side, signature.len()));
    }
    // Declaring such an input would not help, so these come first, and all at once.
    let reasons: Vec<_> = signature
        .iter()
        .filter_map(|endpoint| {
            let reason = unservable(endpoint)?;
            Some(format!("input '{}' of the model cannot be served: {reason}", endpoint.name))
        })
        .collect();
    if !reasons.is_empty() {
        return Err(Error::unsupported(reasons.join("; ")));
    }
    let named =
        |tensors: &[TensorConfig], name: &str| tensors.iter().find(|tensor| tensor.name == name).cloned();
    signature
        .iter()
        .map(|endpoint| {
            if let Some(control) = named(controls, &endpoint.name) {
                let spec = agree("input", &control, (side, endpoint))
                    .map_err(|error| disagreements::of_control(&control.name, side.model, error))?;
                return Ok(TensorSpec { is_control: true, ..spec });
            }
            let tensor = named(declared, &endpoint.name).ok_or_else(|| {
                disagreements::missing(declared.len() + controls.len(), endpoint, side, signature.len())
            })?;
            agree("input", &tensor, (side, endpoint))
        })
        .collect()
}

/// Every declared output is one of the signature's or a latency output; the signature may have more.
/// Returns the first with the specification of each, and the declared ones of the second.
fn outputs(
    declared: &[TensorConfig],
    (side, signature): (Side<'_>, &[Endpoint]),
    available: &[Measure],
) -> Result<(Vec<Option<TensorSpec>>, Vec<Measure>)> {
    let mut specs: Vec<Option<TensorSpec>> = signature.iter().map(|_| None).collect();
    let mut measures = Vec::new();
    for tensor in declared {
        let name = &tensor.name;
        match (Measure::from_name(name), find(signature, name)) {
            (Some(measure), None) if !available.contains(&measure) => {
                return Err(Error::invalid(format!(
                    "output '{name}' needs a queue that the backend holds itself, because a backend does not see \
                     Triton's: set the parameter batching: adaptive, or remove the output and take the queue times \
                     from the server's statistics"
                )));
            }
            (Some(measure), None) => {
                check_declaration(name, &tensor.data_type, &tensor.dims)?;
                measures.push(measure);
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(format!(
                    "the model's own output '{name}' has the name of a latency output: export the \
                     model with another name for it"
                )));
            }
            (None, Some(index)) => {
                specs[index] = Some(agree("output", tensor, (side, &signature[index]))?);
            }
            (None, None) => return Err(disagreements::unknown("output", name, side, signature)),
        }
    }
    Ok((specs, measures))
}

fn find(signature: &[Endpoint], name: &str) -> Option<usize> {
    signature.iter().position(|endpoint| endpoint.name == name)
}

fn named(endpoint: &Endpoint) -> String {
    format!("'{}' ({})", endpoint.name, describe(endpoint))
}

/// Holds a declared tensor against the signature's of the same name.
fn agree(kind: &str, tensor: &TensorConfig, (side, endpoint): (Side<'_>, &Endpoint)) -> Result<TensorSpec> {
    let name = &tensor.name;
    let batching = side.batching;
    if let Some(reason) = unservable(endpoint) {
        return Err(Error::unsupported(format!("{kind} '{name}' of the model cannot be served: {reason}")));
    }
    let datatype =
        endpoint.datatype.filter(|datatype| DataType::from_config(&tensor.data_type) == Some(*datatype));
    let Some(datatype) = datatype else {
        return Err(disagreements::other_type(kind, tensor, side, endpoint));
    };
    if tensor.is_ragged && kind == "input" {
        ragged::check_shape(side.model, endpoint)?;
    }
    let is_scalar = !batching && endpoint.dims.as_ref().is_some_and(Vec::is_empty) && tensor.dims == [1];
    if let Some(dims) = endpoint.dims.as_ref().filter(|_| !is_scalar && !tensor.is_ragged) {
        let expected = match (batching, dims.split_first()) {
            (false, _) => dims.as_slice(),
            (true, Some((-1, rest))) => rest,
            (true, _) => return Err(disagreements::no_batch_dimension(kind, tensor, side, endpoint, dims)),
        };
        let fits = |(&model, &config): (&i64, &i64)| model == -1 || model == config;
        if expected.len() != tensor.dims.len() || !expected.iter().zip(&tensor.dims).all(fits) {
            let batch = if batching { " (the batch dimension is left out)" } else { "" };
            let expected = if expected.is_empty() && !batching {
                "dims [1], which stand for a scalar".into()
            } else {
                format!("dims {expected:?}{batch}")
            };
            return Err(disagreements::other_dims(kind, tensor, side, endpoint, expected));
        }
    }
    Ok(TensorSpec {
        name: name.clone(),
        c_name: CString::new(name.as_str()).unwrap_or_default(),
        datatype,
        dims: if is_scalar { Vec::new() } else { tensor.dims.clone() },
        is_scalar,
        is_control: false,
        is_ragged: tensor.is_ragged,
        default: if tensor.is_optional { Some(optional::default(tensor, (side, endpoint))?) } else { None },
    })
}
