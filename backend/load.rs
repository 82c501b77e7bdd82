//! Loads a model: configuration, session, trial runs, queue.

use std::sync::Arc;

use crate::batching::{Families, Loading, ModelQueue};
use crate::config::{BackendOptions, Batching, Format, MathMode, ModelConfig, TensorConfig};
use crate::execute::{Executor, OverlapRule};
use crate::model::{Measure, Model, autocomplete};
use crate::model_file;
use crate::tensorflow::{File, Named, Options, Session, TensorPool};
use crate::trial;
use crate::triton::Result;
use crate::triton::model::ModelHandle;

/// One version of a model as it is served, shared by all its instances.
pub struct ServedModel {
    /// The model, with what it takes to execute it.
    pub executor: Arc<Executor>,
    /// Where requests wait, if this backend makes the batches.
    pub queue: Option<ModelQueue>,
    /// Which batches are computed while the next one is gathered, on a GPU.
    pub overlap: Option<OverlapRule>,
}

impl ServedModel {
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
    if !config.unknown_parameters.is_empty() {
        let (unknown, known) = (config.unknown_parameters.join(", "), ModelConfig::known_parameters());
        log::warn!("model '{name}': unknown parameters, ignored: {unknown} (known: {known})");
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
    let mut session = Session::open(
        &path,
        &Options {
            model: name,
            file: match format {
                Format::SavedModel => {
                    File::SavedModel { graph_tag: &config.graph_tag, signature: &config.signature }
                }
                Format::GraphDef => {
                    File::GraphDef(Named { inputs: &inputs, outputs: &outputs, init_ops: &init_ops })
                }
            },
            threads: config.threads,
            cpu_only: config.cpu_only,
            gpu_memory: options.gpu_memory,
            optimization: config.optimization,
            bf16: options.math_mode == Some(MathMode::Bf16),
            freeze: config.freeze,
        },
    )?;
    tell_of_gpus(name, &config, session.on_gpu);
    session.on_gpu |= config.test_gpu;
    if handle.may_complete_config()? && autocomplete(&mut json, &config, &session, options)? {
        handle.set_config(&json)?;
        config = ModelConfig::from_json(&json, options)?;
    }
    let on_gpu = session.on_gpu;
    let model = Model::new(name.into(), &config, session, on_gpu)?;
    let mut executor = Executor::new(model, tensor_pool(handle, on_gpu), config.test_panic);
    executor.inline = trial::choose_inline(&executor.model, config.inline);
    let warmed_up = trial::warm_up(&executor);
    let queue = match config.batching {
        Batching::Triton => None,
        Batching::Adaptive(adaptive) => {
            let service = warmed_up.unwrap_or_else(|| trial::calibrate(&executor));
            Some(ModelQueue::start(&executor.model, version, adaptive, service, families)?)
        }
    };
    let rule = OverlapRule::new(config.server_batches);
    // The tests' batches are small.
    let rule = if config.test_gpu { OverlapRule { least_bytes: 0, ..rule } } else { rule };
    Ok(ServedModel { executor: Arc::new(executor), queue, overlap: on_gpu.then_some(rule) })
}

/// The names that config.pbtxt has for tensors of the model.
fn tensors_of_model(config: &ModelConfig) -> (Vec<String>, Vec<String>) {
    let names = |tensors: &[TensorConfig]| tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let mut outputs: Vec<String> = names(&config.outputs);
    outputs.retain(|name| Measure::from_name(name).is_none());
    let mut inputs: Vec<String> = names(&config.inputs);
    inputs.extend(names(&config.controls));
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
