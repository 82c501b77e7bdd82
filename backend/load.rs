//! Loads a model: configuration, session, trial runs, queue.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batching::{Families, Loading, ModelQueue};
use crate::config::{BackendOptions, Batching, Format, MathMode, ModelConfig, TensorConfig};
use crate::execute::{Executor, OverlapRule};
use crate::model::{Measure, Model, Signature, autocomplete};
use crate::model_file;
use crate::tensorflow::{File, Named, Options, Session, TensorPool, op_library};
use crate::trial;
use crate::triton::model::ModelHandle;
use crate::triton::{Error, Result};

/// One version of a model as it is served, shared by all its instances.
pub struct ServedModel {
    /// The model, with what it takes to execute it: once for all instances, or more often where instances keep sequences apart.
    executors: Mutex<Vec<Arc<Executor>>>,
    /// Where requests wait, if this backend makes the batches.
    pub queue: Option<ModelQueue>,
    /// Which batches are computed while the next one is gathered, on a GPU.
    pub overlap: Option<OverlapRule>,
}

impl ServedModel {
    /// What a new instance executes with: that which the fewest others have.
    pub fn executor(&self) -> Arc<Executor> {
        // Chosen and counted under the lock. Nothing under it can panic and leave the list half changed.
        let executors = self.executors.lock().unwrap_or_else(PoisonError::into_inner);
        let fewest = executors.iter().min_by_key(|executor| Arc::strong_count(executor));
        Arc::clone(fewest.expect("there is one, since the model is loaded"))
    }

    /// Loads the model that the server names.
    ///
    /// # Errors
    /// The configuration asks for what is not there, or the model cannot be loaded.
    pub fn load(
        handle: ModelHandle<'_>,
        options: &BackendOptions,
        families: Option<&Families>,
    ) -> Result<Self> {
        let (name, version) = (handle.name()?, handle.version()?);
        let _loading = Loading::of(&name);
        load(handle, options, families, &name, version)
            .map_err(|e| e.context(format!("model '{name}', version {version}")))
    }
}

fn load(
    handle: ModelHandle<'_>,
    options: &BackendOptions,
    families: Option<&Families>,
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
    let opens = Opens { name, path: &path, format, options, inputs, outputs, init_ops };
    let mut session = opens.open(&config)?;
    tell_of_gpus(name, &config, session.on_gpu);
    session.on_gpu |= config.test_gpu;
    let signature = Signature { model: name, inputs: &session.inputs, outputs: &session.outputs };
    // A graph does not say which of its tensors are inputs and outputs.
    let may_complete = format == Format::SavedModel && handle.may_complete_config()?;
    if may_complete && autocomplete(&mut json, &config, signature, options)? {
        handle.set_config(&json)?;
        config = ModelConfig::from_json(&json, options)?;
    }
    let on_gpu = session.on_gpu;
    let keeps_sequences = session.may_act();
    let executor = |session| {
        let model = Model::new(name.into(), &config, session, on_gpu)?;
        Ok::<_, Error>(Executor::new(model, tensor_pool(handle, on_gpu), config.test_panic))
    };
    let mut executors = vec![executor(session)?];
    let first = &mut executors[0];
    first.inline = trial::choose_inline(&first.model, config.inline);
    let inline = first.inline;
    if keeps_sequences && config.sequence_sessions > 1 {
        log::info!(
            "model '{name}': {} sessions, because its instances have sequences of their own and an operation of it may keep \
             their state",
            config.sequence_sessions
        );
        for _ in 1..config.sequence_sessions {
            let mut other = executor(opens.open(&config)?)?;
            other.inline = inline;
            executors.push(other);
        }
    }
    let executor = &executors[0];
    let warmed_up = trial::warm_up(executor);
    let queue = match config.batching {
        Batching::Triton => None,
        Batching::Adaptive(adaptive) => {
            let service = warmed_up.unwrap_or_else(|| trial::calibrate(executor));
            Some(ModelQueue::start(&executor.model, version, adaptive, service, families)?)
        }
    };
    let rule = OverlapRule::new(config.server_batches);
    // The tests' batches are small.
    let rule = if config.test_gpu { OverlapRule { least_bytes: 0, ..rule } } else { rule };
    let executors = executors.into_iter().map(Arc::new).collect();
    Ok(ServedModel { executors: Mutex::new(executors), queue, overlap: on_gpu.then_some(rule) })
}

/// What a model's sessions are opened from.
struct Opens<'a> {
    name: &'a str,
    path: &'a Path,
    format: Format,
    options: &'a BackendOptions,
    /// The tensors of a GraphDef.
    inputs: Vec<String>,
    outputs: Vec<String>,
    init_ops: Vec<String>,
}

impl Opens<'_> {
    fn open(&self, config: &ModelConfig) -> Result<Session> {
        let file = match self.format {
            Format::SavedModel => {
                File::SavedModel { graph_tag: &config.graph_tag, signature: config.signature.as_deref() }
            }
            Format::GraphDef => File::GraphDef(Named {
                inputs: &self.inputs,
                outputs: &self.outputs,
                init_ops: &self.init_ops,
            }),
        };
        let options = Options {
            model: self.name,
            file,
            threads: config.threads,
            cpu_only: config.cpu_only,
            gpu_memory: self.options.gpu_memory,
            optimization: config.optimization,
            bf16: self.options.math_mode == Some(MathMode::Bf16),
            soft_placement: self.options.soft_placement,
            freeze: config.freeze,
        };
        Session::open(self.path, &options)
    }
}

/// The names that config.pbtxt has for tensors of the model.
fn tensors_of_model(config: &ModelConfig) -> (Vec<String>, Vec<String>) {
    let names = |tensors: &[TensorConfig]| tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let mut outputs: Vec<String> = names(&config.outputs);
    outputs.retain(|name| Measure::from_name(name).is_none());
    let mut inputs: Vec<String> = names(&config.inputs);
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

/// Where a model's input tensors come from.
fn tensor_pool(handle: ModelHandle<'_>, on_gpu: bool) -> TensorPool {
    if !on_gpu {
        return TensorPool::default();
    }
    match handle.memory_manager() {
        Ok(manager) => TensorPool::pinned(manager),
        Err(reason) => {
            log::warn!(
                "inputs go through ordinary memory, which costs a copy on their way to the GPU: {reason}"
            );
            TensorPool::default()
        }
    }
}
