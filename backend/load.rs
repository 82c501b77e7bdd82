//! Loads a model: configuration, session, trial runs, queue.

use std::sync::Arc;

use crate::batching::{Families, Loading, ModelQueue};
use crate::config::{BackendOptions, Batching, MathMode, ModelConfig};
use crate::execute::Executor;
use crate::model::{Model, autocomplete};
use crate::tensorflow::{Options, Session};
use crate::trial;
use crate::triton::Result;
use crate::triton::model::ModelHandle;

/// One version of a model as it is served, shared by all its instances.
pub struct ServedModel {
    /// The model, with what it takes to execute it.
    pub executor: Arc<Executor>,
    /// Where requests wait, if this backend makes the batches.
    pub queue: Option<ModelQueue>,
}

impl ServedModel {
    /// Loads the model that the server names.
    ///
    /// # Errors
    /// The configuration asks for what is not there, or the SavedModel cannot be loaded.
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
    let folder = handle.folder()?.join(version.to_string()).join(&config.file_name);
    let session = Session::open(
        &folder,
        &Options {
            model: name,
            graph_tag: &config.graph_tag,
            signature: &config.signature,
            threads: config.threads,
            cpu_only: config.cpu_only,
            bf16: options.math_mode == Some(MathMode::Bf16),
            freeze: config.freeze,
        },
    )?;
    if handle.may_complete_config()? && autocomplete(&mut json, &config, &session, options)? {
        handle.set_config(&json)?;
        config = ModelConfig::from_json(&json, options)?;
    }
    // Nobody asks TensorFlow yet where it computes: as if it were on CPUs only.
    let on_gpu = false;
    let model = Model::new(name.into(), &config, session, on_gpu)?;
    let mut executor = Executor::new(model, config.test_panic);
    executor.inline = trial::choose_inline(&executor.model, config.inline);
    let warmed_up = trial::warm_up(&executor);
    let queue = match config.batching {
        Batching::Triton => None,
        Batching::Adaptive(adaptive) => {
            let service = warmed_up.unwrap_or_else(|| trial::calibrate(&executor));
            Some(ModelQueue::start(&executor.model, version, adaptive, service, families)?)
        }
    };
    Ok(ServedModel { executor: Arc::new(executor), queue })
}
