//! What a model's instances execute with: one session for all of them, or more where instances keep sequences apart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{BackendOptions, Format, GpuMemory, MathMode, ModelConfig, TensorConfig};
use crate::execute::Executor;
use crate::model::Model;
use crate::tensorflow::{Endpoint, File, Named, Options, Parts, Session, TensorPool};
use crate::triton::Result;
use crate::triton::memory::MemoryManager;

/// The executors of a model version, each with a session.
pub struct Executors {
    /// One at least.
    made: Mutex<Vec<Arc<Executor>>>,
    /// How more are made, where instances do not share one.
    more: Option<(Maker, ModelConfig)>,
}

impl Executors {
    /// One for all instances.
    pub fn shared(executor: Executor) -> Self {
        Self { made: Mutex::new(vec![Arc::new(executor)]), more: None }
    }

    /// One for each instance, or for so many as `config` lets share it: instances have sequences of their own, and an
    /// operation of the model may keep their state in the session.
    pub fn apart(executor: Executor, maker: Maker, config: ModelConfig) -> Self {
        Self { more: Some((maker, config)), ..Self::shared(executor) }
    }

    /// What a new instance executes with, be it one of those that the model is loaded with or one that a server adds later.
    ///
    /// # Errors
    /// It needs a session of its own, which cannot be opened.
    pub fn of_instance(&self) -> Result<Arc<Executor>> {
        // Chosen and counted under the lock. Nothing under it can panic and leave the list half changed.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let fewest = made.iter().min_by_key(|executor| Arc::strong_count(executor));
        let fewest = Arc::clone(fewest.expect("there is one, since the model is loaded"));
        let Some((maker, config)) = &self.more else { return Ok(fewest) };
        // The list has one, and so has this function.
        if Arc::strong_count(&fewest) - 2 < config.session_share_count {
            return Ok(fewest);
        }
        let executor = maker.another(config, &fewest)?;
        made.push(Arc::clone(&executor));
        log::info!(
            "model '{}': {} sessions, because its instances have sequences of their own and an operation of it may keep their \
             state",
            executor.model.name,
            made.len()
        );
        Ok(executor)
    }
}

/// Makes the executors of a model version.
pub struct Maker {
    /// Opens its sessions.
    pub opens: Opens,
    /// Its number.
    pub version: u64,
    /// Where page-locked memory for its inputs comes from.
    pub memory: Option<MemoryManager>,
    /// It computes on a GPU.
    pub on_gpu: bool,
}

impl Maker {
    /// An executor with this session. Its batches do not run inline yet.
    ///
    /// # Errors
    /// The configuration and the model disagree.
    pub fn executor(&self, config: &ModelConfig, session: Session) -> Result<Executor> {
        let model = Model::new(self.opens.name.clone(), config, session, self.on_gpu)?;
        let pool = self.memory.map_or_else(TensorPool::default, TensorPool::pinned);
        Ok(Executor::new(model, pool, config.test_panic))
    }

    /// One with a session of its own that is like `first` in all else.
    fn another(&self, config: &ModelConfig, first: &Executor) -> Result<Arc<Executor>> {
        let executor = self.opens.open(config).and_then(|session| self.executor(config, session));
        let mut executor = executor
            .map_err(|e| e.context(format!("model '{}', version {}", self.opens.name, self.version)))?;
        executor.inline = first.inline;
        executor.energy = first.energy.clone();
        executor.signals = first.signals.clone();
        Ok(Arc::new(executor))
    }
}

/// What a model's sessions are opened from.
pub struct Opens {
    name: String,
    path: PathBuf,
    format: Format,
    /// The tensors of a GraphDef.
    inputs: Vec<String>,
    outputs: Vec<String>,
    init_ops: Vec<String>,
    gpu_memory: GpuMemory,
    bf16: bool,
    soft_placement: bool,
    /// As Triton's former backend had it, a SavedModel without the values of its variables is loaded.
    may_lack_values: bool,
}

impl Opens {
    /// The model `name` in the file or folder `path`; `graph` is its format and, for a GraphDef, its inputs, its outputs and
    /// what is run once.
    pub fn new(
        name: &str,
        path: &Path,
        graph: (Format, Vec<String>, Vec<String>, Vec<String>),
        options: &BackendOptions,
    ) -> Self {
        let (format, inputs, outputs, init_ops) = graph;
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            format,
            inputs,
            outputs,
            init_ops,
            gpu_memory: options.gpu_memory,
            bf16: options.math_mode == Some(MathMode::Bf16),
            soft_placement: options.soft_placement,
            may_lack_values: options.is_drop_in,
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// The model cannot be loaded.
    pub fn open(&self, config: &ModelConfig) -> Result<Session> {
        let file = match self.format {
            Format::SavedModel => File::SavedModel(Parts {
                tags: &config.graph_tag,
                signature: config.signature.as_deref(),
                may_lack_values: self.may_lack_values,
            }),
            Format::GraphDef => File::GraphDef(Named {
                inputs: &self.inputs,
                outputs: &self.outputs,
                init_ops: &self.init_ops,
            }),
        };
        let optional = config.inputs.iter().filter(|input| input.is_optional);
        let optional: Vec<String> = optional.map(|input| input.name.clone()).collect();
        let is_other_shape = |endpoint: &Endpoint| self.is_other_shape(config, endpoint);
        let options = Options {
            optional: &optional,
            is_other_shape: &is_other_shape,
            model: &self.name,
            file,
            threads: config.threads,
            cpu_only: config.cpu_only,
            gpu_memory: self.gpu_memory,
            optimization: config.optimization,
            bf16: self.bf16,
            soft_placement: self.soft_placement,
            freeze: config.freeze,
        };
        let mut session = Session::open(&self.path, &options)?;
        session.on_gpu |= config.test_gpu;
        Ok(session)
    }
    /// Whether a tensor has the shape that it is declared with, whatever the model says.
    ///
    /// TensorFlow does not hold what it is fed against a shape in the graph, and neither did Triton's former backend, so
    /// repositories have GraphDefs that are declared otherwise. In a signature no dimensions may also stand for a shape that the
    /// exporter did not know.
    fn is_other_shape(&self, config: &ModelConfig, endpoint: &Endpoint) -> bool {
        let is_it = |tensor: &&TensorConfig| tensor.name == endpoint.name;
        let mut all = config.inputs.iter().chain(&config.controls).chain(&config.outputs);
        let Some((tensor, dims)) = all.find(is_it).zip(endpoint.dims.as_deref()) else { return false };
        if tensor.is_ragged || tensor.dims.is_empty() {
            return false;
        }
        let batch = (config.max_batch_size > 0).then_some(&-1);
        let declared: Vec<i64> = batch.into_iter().chain(&tensor.dims).copied().collect();
        match (self.format, dims) {
            (_, []) => declared != [1],
            (Format::SavedModel, _) => false,
            (Format::GraphDef, dims) => {
                let fits = |(&model, &declared): (&i64, &i64)| model == -1 || model == declared;
                dims.len() != declared.len() || !dims.iter().zip(&declared).all(fits)
            }
        }
    }
}
