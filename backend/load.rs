//! Loads a model: configuration, session, trial runs, queue.

use std::sync::Arc;

use crate::batching::{self, Loading, ModelQueue};
use crate::config::{BackendOptions, Batching, Format, ModelConfig, TensorConfig};
use crate::energy::{Domain, ModelEnergy};
use crate::execute::OverlapRule;
use crate::executors::{Executors, Maker, Opens};
use crate::model::{Measure, Model, Signature, autocomplete};
use crate::model_file;
use crate::signals::{About, Publisher, Signals};
use crate::tensorflow::op_library;
use crate::trial;
use crate::triton::memory::MemoryManager;
use crate::triton::model::ModelHandle;
use crate::triton::{Error, Result};

/// One version of a model as it is served, shared by all its instances.
pub struct ServedModel {
    /// What its instances execute with.
    pub executors: Executors,
    /// Where requests wait, if this backend makes the batches.
    pub queue: Option<ModelQueue>,
    /// Which batches are computed while the next one is gathered, on a GPU.
    pub overlap: Option<OverlapRule>,
    /// Counts what happens to requests, where the server has metrics.
    pub signals: Option<Arc<Signals>>,
}

/// What publishes metrics, where the server has them.
#[derive(Clone, Copy)]
pub struct Metrics<'a> {
    /// Of adaptive batching.
    pub batching: Option<&'a batching::Families>,
    /// Of all models.
    pub signals: Option<&'a Publisher>,
}

impl ServedModel {
    /// Loads the model that the server names.
    ///
    /// # Errors
    /// The configuration asks for what is not there, or the model cannot be loaded.
    pub fn load(handle: ModelHandle<'_>, options: &BackendOptions, metrics: Metrics<'_>) -> Result<Self> {
        let (name, version) = (handle.name()?, handle.version()?);
        let _loading = Loading::of(&name);
        load(handle, options, metrics, &name, version)
            .map_err(|e| e.context(format!("model '{name}', version {version}")))
    }
}

fn load(
    handle: ModelHandle<'_>,
    options: &BackendOptions,
    metrics: Metrics<'_>,
    name: &str,
    version: u64,
) -> Result<ServedModel> {
    let mut json = handle.config()?;
    let mut config = ModelConfig::from_json(&json, options)?;
    for unknown in &config.unknown_parameters {
        let nearest = ModelConfig::nearest_parameter(unknown);
        log::warn!("model '{name}': unknown parameter of config.pbtxt, ignored: {nearest}");
    }
    let folder = handle.folder()?;
    let version_folder = folder.join(version.to_string());
    let (format, path) = model_file::find(&config, &version_folder);
    let (inputs, outputs) = tensors_of_model(&config);
    let init_ops = match format {
        Format::SavedModel => Vec::new(),
        Format::GraphDef => model_file::init_ops(&config, &folder, &version_folder)?,
    };
    if format == Format::SavedModel && config.init_ops_file.is_some() {
        log::warn!(
            "model '{name}': TF_INIT_OPS_FILE has no effect on a SavedModel, which has its own main op"
        );
    }
    for library in model_file::op_libraries(&config, &folder, &version_folder)? {
        op_library::load(&library)?;
        log::info!("model '{name}': its operations include those of {}", library.display());
    }
    let opens = Opens::new(name, &path, (format, inputs, outputs, init_ops), options);
    let session = opens.open(&config)?;
    tell_of_gpus(name, &config, session.on_gpu);
    let signature = Signature { model: name, inputs: &session.inputs, outputs: &session.outputs };
    // A graph does not say which of its tensors are inputs and outputs.
    let may_complete = format == Format::SavedModel && handle.may_complete_config()?;
    if may_complete && autocomplete(&mut json, &config, signature, options)? {
        handle.set_config(&json)?;
        config = ModelConfig::from_json(&json, options)?;
    }
    let on_gpu = session.on_gpu || config.test_gpu;
    let keeps_sequences = session.may_act() && config.has_sequences;
    let maker = Maker { opens, version, memory: memory(handle, on_gpu), on_gpu };
    let mut executor = maker.executor(&config, session)?;
    executor.inline = trial::choose_inline(&executor.model, config.inline);
    let warmed_up = trial::warm_up(&executor);
    let service = match config.batching {
        Batching::Triton => None,
        Batching::Adaptive(adaptive) => {
            Some((adaptive, warmed_up.unwrap_or_else(|| trial::calibrate(&executor))))
        }
    };
    let signals = metrics.signals.and_then(|publisher| signals(publisher, &config, name, version, on_gpu));
    let queue = match service {
        None => None,
        Some((adaptive, service)) => {
            let metrics = (metrics.batching, signals.clone());
            Some(ModelQueue::start(&executor.model, version, adaptive, service, metrics)?)
        }
    };
    // After the trial runs, which are nobody's.
    executor.energy = Some(Arc::new(energy(&executor.model, version, &config, on_gpu, options)?));
    executor.signals = signals.clone();
    let rule = OverlapRule::new(config.server_batches);
    // The tests' batches are small.
    let rule = if config.test_gpu { OverlapRule { least_bytes: 0, ..rule } } else { rule };
    let executors =
        if keeps_sequences { Executors::apart(executor, maker, config) } else { Executors::shared(executor) };
    Ok(ServedModel { executors, queue, overlap: on_gpu.then_some(rule), signals })
}

/// The metrics of a model that counts what happens to its requests.
fn signals(
    publisher: &Publisher,
    config: &ModelConfig,
    name: &str,
    version: u64,
    on_gpu: bool,
) -> Option<Arc<Signals>> {
    let device = if on_gpu { Domain::Gpu } else { Domain::Cpu }.name();
    let (is_adaptive, target) = match config.batching {
        Batching::Triton => (false, None),
        Batching::Adaptive(adaptive) => (true, adaptive.target),
    };
    let target_ns = target.map(|target| target.latency_ns);
    let about = About { model: name.to_owned(), version, device, is_adaptive, target_ns };
    let published = publisher.publish(&about);
    published.inspect_err(|e| log::warn!("model '{name}': its metrics are not published: {e}")).ok()
}

/// The energy of a model's executions: shared where there is a meter, for whoever asks for it.
///
/// # Errors
/// There is none, and the configuration declares the output.
fn energy(
    model: &Model,
    version: u64,
    config: &ModelConfig,
    on_gpu: bool,
    options: &BackendOptions,
) -> Result<ModelEnergy> {
    let name = &model.name;
    let mut energy = ModelEnergy::unasked(name, version, Domain::of(config.energy_scope, on_gpu));
    if model.declared.measures.contains(&Measure::Energy) {
        let without = |mut reason: Error| {
            reason.message += ". Without a meter, remove the output from config.pbtxt";
            reason.context("output 'energy_uj'")
        };
        energy.ask(&options.meters).map_err(without)?;
    } else if config.latency_parameters
        && let Err(reason) = energy.ask(&options.meters)
    {
        log::info!("model '{name}': the response parameters have no energy: {}", reason.message);
    }
    Ok(energy)
}

/// The names that config.pbtxt has for tensors of the model.
fn tensors_of_model(config: &ModelConfig) -> (Vec<String>, Vec<String>) {
    let names = |tensors: &[TensorConfig]| tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let mut outputs: Vec<String> = names(&config.outputs);
    outputs.retain(|name| Measure::from_name(name).is_none());
    let mut inputs: Vec<String> = names(&config.inputs);
    // One that is there twice is told when it is held against the graph.
    inputs.sort_unstable();
    inputs.dedup();
    inputs.extend(names(&config.controls));
    inputs.extend(config.batch_inputs.iter().flat_map(|batch_input| batch_input.targets.iter().cloned()));
    (inputs, outputs)
}

/// Warns where a model is not on the GPUs that its instances name.
fn tell_of_gpus(name: &str, config: &ModelConfig, on_gpu: bool) {
    if config.gpus.is_empty() {
        return;
    }
    if !on_gpu {
        log::warn!(
            "model '{name}': its instance_group is of kind KIND_GPU, but TensorFlow finds no GPU and computes on CPUs: is it a \
             build with CUDA, and are CUDA's libraries where the loader finds them?"
        );
    } else if config.gpus.iter().any(|&gpu| gpu != 0) {
        log::warn!(
            "model '{name}': its instance_group names the GPUs {:?}, but TensorFlow computes on the first one only; \
             CUDA_VISIBLE_DEVICES in the server's environment chooses which that is",
            config.gpus
        );
    }
}

/// Whence a model on a GPU has page-locked memory for its inputs.
fn memory(handle: ModelHandle<'_>, on_gpu: bool) -> Option<MemoryManager> {
    let missing = |reason: &Error| {
        log::warn!("inputs go through ordinary memory, which costs a copy on their way to the GPU: {reason}");
    };
    on_gpu.then(|| handle.memory_manager().inspect_err(missing).ok()).flatten()
}
