//! A loaded model: its session, and what its configuration and its SavedModel's signature agree on.

use std::ffi::CString;
use std::sync::Arc;

use crate::batching::{self, Queue};
use crate::calling_thread::{self, CallingThreadRows};
use crate::complete::complete;
use crate::config::{BackendOptions, Batching, MathMode, ModelConfig, Step, TensorConfig};
use crate::datatype::DataType;
use crate::tensorflow::{Endpoint, Options, Session, TensorPool};
use crate::timing::{self, Measure};
use crate::triton::model::ModelHandle;
use crate::triton::{Error, Result};

/// An input or output that configuration and signature agree on.
#[derive(Debug)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The name, for the server.
    pub c_name: CString,
    /// The element type.
    pub datatype: DataType,
    /// The shape without the batch dimension; -1 is any size.
    pub dims: Vec<i64>,
}

/// Some of a model's outputs.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Outputs of the SavedModel, as indices into [`Model::outputs`].
    pub outputs: Vec<usize>,
    /// Latency outputs.
    pub measures: Vec<Measure>,
}

impl Selection {
    /// How many outputs these are.
    pub fn len(&self) -> usize {
        self.outputs.len() + self.measures.len()
    }
}

/// One version of a model, shared by all its instances.
#[derive(Debug)]
pub struct Model {
    /// Its name, for messages.
    pub name: String,
    /// Whether tensors have a batch dimension (`max_batch_size` above 0).
    pub batching: bool,
    /// In the order of the session's inputs.
    pub inputs: Vec<TensorSpec>,
    /// In the order of the session's outputs; nothing for those that the configuration leaves out.
    pub outputs: Vec<Option<TensorSpec>>,
    /// Every output that the configuration declares.
    pub declared: Selection,
    /// Which batches run in the calling thread.
    pub calling_thread: CallingThreadRows,
    /// The latency values that go into the response's parameters.
    pub latency_parameters: &'static [Measure],
    /// Where requests wait, if this backend makes the batches.
    pub queue: Option<Arc<Queue>>,
    /// For tests: where to panic for a request with the id "panic".
    pub test_panic: Option<Step>,
    /// The SavedModel's session.
    pub session: Session,
    /// The inputs of earlier batches, for later ones.
    pub pool: TensorPool,
}

impl Model {
    /// Loads the model that the server names.
    ///
    /// # Errors
    /// The configuration asks for what is not there, or the SavedModel cannot be loaded.
    pub fn load(
        handle: ModelHandle<'_>,
        options: &BackendOptions,
        families: Option<&batching::Families>,
    ) -> Result<Self> {
        let (name, version) = (handle.name()?, handle.version()?);
        let load = || -> Result<Self> {
            let mut json = handle.config()?;
            let mut config = ModelConfig::from_json(&json, options)?;
            let folder = handle.folder()?.join(version.to_string()).join(&config.file_name);
            let session = Session::open(
                &folder,
                &Options {
                    model: &name,
                    graph_tag: &config.graph_tag,
                    signature: &config.signature,
                    threads: config.threads,
                    cpu_only: config.cpu_only,
                    bf16: options.math_mode == Some(MathMode::Bf16),
                    freeze: config.freeze,
                },
            )?;
            if handle.may_complete_config()? && complete(&mut json, &config, &session, options) {
                handle.set_config(&json)?;
                config = ModelConfig::from_json(&json, options)?;
            }
            let (setting, max_batch_size) = (config.calling_thread, config.max_batch_size);
            let batching = config.batching;
            let mut model = Self::new(name.clone(), config, session)?;
            model.calling_thread = calling_thread::choose(&model, setting, max_batch_size);
            if let Batching::Adaptive(adaptive) = batching {
                let queue = batching::start(&model, version, adaptive, max_batch_size, families);
                model.queue = Some(Arc::new(queue));
            }
            Ok(model)
        };
        load().map_err(|e| e.context(format!("model '{name}', version {version}")))
    }

    fn new(name: String, config: ModelConfig, session: Session) -> Result<Self> {
        if !config.unknown_parameters.is_empty() {
            let (unknown, known) = (config.unknown_parameters.join(", "), ModelConfig::known_parameters());
            log::warn!("model '{name}': these parameters mean nothing here: {unknown} (known are: {known})");
        }
        let batching = config.max_batch_size > 0;
        let inputs = inputs(&config.inputs, &session.inputs, batching)?;
        let available = Measure::available(config.batching != Batching::Triton);
        let (outputs, measures) = outputs(&config.outputs, &session.outputs, batching, available)?;
        if outputs.iter().all(Option::is_none) {
            let known: Vec<_> = session.outputs.iter().map(named).collect();
            return Err(Error::invalid(format!(
                "config.pbtxt declares no output of the SavedModel, so there is nothing to run; its signature \
                 has: {}",
                known.join(", ")
            )));
        }
        if config.response_cache && (!measures.is_empty() || config.latency_parameters) {
            log::warn!(
                "model '{name}': a response out of the server's response cache repeats the times of the \
                 request that filled it"
            );
        }
        Ok(Self {
            name,
            batching,
            inputs,
            declared: Selection {
                outputs: (0..outputs.len()).filter(|&index| outputs[index].is_some()).collect(),
                measures,
            },
            outputs,
            calling_thread: CallingThreadRows::NONE,
            latency_parameters: if config.latency_parameters { available } else { &[] },
            queue: None,
            test_panic: config.test_panic,
            pool: TensorPool::default(),
            session,
        })
    }
}

/// Every input of the signature has to be declared, and no other.
fn inputs(declared: &[TensorConfig], signature: &[Endpoint], batching: bool) -> Result<Vec<TensorSpec>> {
    if let Some(unknown) = declared.iter().find(|tensor| find(signature, &tensor.name).is_none()) {
        return Err(unknown_name("input", &unknown.name, signature));
    }
    signature
        .iter()
        .map(|endpoint| {
            let tensor = declared.iter().find(|tensor| tensor.name == endpoint.name).ok_or_else(|| {
                Error::invalid(format!(
                    "config.pbtxt has no input '{}', which the SavedModel's signature needs ({})",
                    endpoint.name,
                    describe(endpoint)
                ))
            })?;
            agree("input", tensor, endpoint, batching)
        })
        .collect()
}

/// Every declared output is one of the signature's or a latency output; the signature may have more.
/// Returns the first with the specification of each, and the declared ones of the second.
fn outputs(
    declared: &[TensorConfig],
    signature: &[Endpoint],
    batching: bool,
    available: &[Measure],
) -> Result<(Vec<Option<TensorSpec>>, Vec<Measure>)> {
    let mut specs: Vec<Option<TensorSpec>> = signature.iter().map(|_| None).collect();
    let mut measures = Vec::new();
    for tensor in declared {
        let name = &tensor.name;
        match (Measure::from_name(name), find(signature, name)) {
            (Some(measure), None) if !available.contains(&measure) => {
                return Err(Error::invalid(format!(
                    "output '{name}' needs a queue that the backend holds itself, because Triton's cannot be \
                     seen by a backend: set the parameter batching: adaptive, or remove the output and see \
                     the queue times of the server's statistics"
                )));
            }
            (Some(measure), None) => {
                timing::check_declaration(name, &tensor.data_type, &tensor.dims)?;
                measures.push(measure);
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(format!(
                    "the SavedModel's own output '{name}' has the name of a latency output: export the \
                     model with another name for it"
                )));
            }
            (None, Some(index)) => {
                specs[index] = Some(agree("output", tensor, &signature[index], batching)?);
            }
            (None, None) => return Err(unknown_name("output", name, signature)),
        }
    }
    Ok((specs, measures))
}

fn find(signature: &[Endpoint], name: &str) -> Option<usize> {
    signature.iter().position(|endpoint| endpoint.name == name)
}

fn unknown_name(kind: &str, name: &str, signature: &[Endpoint]) -> Error {
    let known: Vec<_> = signature.iter().map(named).collect();
    Error::invalid(format!(
        "config.pbtxt declares {kind} '{name}', which the SavedModel's signature does not have; it has: {}",
        known.join(", ")
    ))
}

fn named(endpoint: &Endpoint) -> String {
    format!("'{}' ({})", endpoint.name, describe(endpoint))
}

fn describe(endpoint: &Endpoint) -> String {
    let datatype = endpoint.datatype.map_or(endpoint.type_name.as_str(), |datatype| datatype.name());
    match &endpoint.dims {
        Some(dims) => format!("{datatype} {dims:?}"),
        None => format!("{datatype} of any rank"),
    }
}

/// Holds a declared tensor against the signature's of the same name.
fn agree(kind: &str, tensor: &TensorConfig, endpoint: &Endpoint, batching: bool) -> Result<TensorSpec> {
    let name = &tensor.name;
    let disagree = |expected: String, found: String| {
        Error::invalid(format!(
            "{kind} '{name}' of config.pbtxt disagrees with the SavedModel's signature ({}): expected \
             {expected}, found {found}",
            describe(endpoint)
        ))
    };
    let Some(datatype) = endpoint.datatype else {
        return Err(Error::unsupported(format!(
            "{kind} '{name}' of the SavedModel is {}; this backend takes {}",
            endpoint.type_name,
            DataType::ALL.iter().map(|datatype| datatype.name()).collect::<Vec<_>>().join(", ")
        )));
    };
    if DataType::from_config(&tensor.data_type) != Some(datatype) {
        return Err(disagree(format!("data_type TYPE_{datatype}"), tensor.data_type.clone()));
    }
    if let Some(dims) = &endpoint.dims {
        let expected = match (batching, dims.split_first()) {
            (false, _) => dims.as_slice(),
            (true, Some((-1, rest))) => rest,
            (true, _) => {
                return Err(disagree(
                    "max_batch_size: 0, because its first dimension is not a batch of any size".into(),
                    "a max_batch_size above 0".into(),
                ));
            }
        };
        if expected.is_empty() && !batching {
            return Err(Error::unsupported(format!(
                "{kind} '{name}' of the SavedModel is a scalar, which Triton does not take with \
                 max_batch_size: 0: {}",
                if kind == "output" { "leave it out" } else { "export the model with a shape of [1] for it" }
            )));
        }
        let fits = |(&model, &config): (&i64, &i64)| model == -1 || model == config;
        if expected.len() != tensor.dims.len() || !expected.iter().zip(&tensor.dims).all(fits) {
            let batch = if batching { " (the batch dimension is left out)" } else { "" };
            return Err(disagree(format!("dims {expected:?}{batch}"), format!("{:?}", tensor.dims)));
        }
    }
    Ok(TensorSpec {
        name: name.clone(),
        c_name: CString::new(name.as_str()).unwrap_or_default(),
        datatype,
        dims: tensor.dims.clone(),
    })
}
