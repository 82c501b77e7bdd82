//! TensorFlow: a SavedModel's session and the tensors that go in and out of it.
//!
//! Only this file and those of its folder name the `tensorflow` crate.

mod freeze;
mod inspect;
mod settings;
mod tensor;

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use tensorflow::{
    self as tf, FetchToken, Graph, Operation, SavedModelBundle, SessionOptions, SessionRunArgs, SignatureDef,
};

pub use inspect::Objection;
pub use tensor::Tensor;

use crate::config::Threads;
use crate::datatype::DataType;
use crate::few::Few;
use crate::triton::{Code, Error, Result, process};

/// The file of a SavedModel that lists the values of its variables.
const VARIABLES_INDEX: &str = "variables/variables.index";

/// Shows the crate the library that `TENSORFLOW_DIR` names now.
pub fn link_library() -> std::result::Result<(), String> {
    tf::library::load()
}

/// The version of the TensorFlow that is linked.
pub fn version() -> String {
    tf::version().unwrap_or_else(|_| "of unknown version".into())
}

/// What to open and how.
pub struct Options<'a> {
    /// The model's name, for the log.
    pub model: &'a str,
    /// Which of the SavedModel's graphs.
    pub graph_tag: &'a str,
    /// Which of its signatures.
    pub signature: &'a str,
    /// The thread counts.
    pub threads: Threads,
    /// Leave the machine's GPUs alone.
    pub cpu_only: bool,
    /// Compute FP32 in BF16 where the CPU can.
    pub bf16: bool,
    /// Turn variables into constants where that can be done.
    pub freeze: bool,
}

/// How one run goes: TensorFlow's `RunOptions`, serialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions(&'static [u8]);

impl RunOptions {
    /// Operations run in TensorFlow's threads.
    pub const DEFAULT: Self = Self(&[]);
    /// Operations run in the thread that calls: `inter_op_thread_pool` (field 3) is -1.
    pub const CALLING_THREAD: Self =
        Self(&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    /// In TensorFlow's threads, and not for long: `timeout_in_ms` (field 2) is 500.
    pub const LIMITED: Self = Self(&[0x10, 0xf4, 0x03]);
    /// In TensorFlow's threads, for 10 s: `timeout_in_ms` is 10000.
    const PATIENT: Self = Self(&[0x10, 0x90, 0x4e]);
    /// The same, and the optimised graphs are handed out: `output_partition_graphs` (field 5) is true.
    const HAND_OUT_GRAPHS: Self = Self(&[0x10, 0x90, 0x4e, 0x28, 1]);
}

/// A tensor of the signature.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name in the signature.
    pub name: String,
    /// The element type; nothing where this backend has no such type.
    pub datatype: Option<DataType>,
    /// The type as TensorFlow calls it.
    pub type_name: String,
    /// The shape with the batch dimension, -1 for any size; nothing where the rank is open.
    pub dims: Option<Vec<i64>>,
    operation: Operation,
    operation_name: String,
    index: i32,
}

impl Endpoint {
    /// The same tensor of the signature at another place.
    fn at(&self, graph: &Graph, operation_name: &str, index: i32) -> tf::Result<Self> {
        let operation = graph.operation_by_name_required(operation_name)?;
        Ok(Self { operation, operation_name: operation_name.into(), index, ..self.clone() })
    }

    fn is_same_tensor(&self, other: &Self) -> bool {
        self.index == other.index && self.operation_name == other.operation_name
    }
}

/// A loaded SavedModel, ready to run; shared by all instances of a model.
#[derive(Debug)]
pub struct Session {
    session: tf::Session,
    /// The signature's inputs, sorted by name.
    pub inputs: Vec<Endpoint>,
    /// The signature's outputs, sorted by name.
    pub outputs: Vec<Endpoint>,
    /// Why the model is better not run when nobody has asked for it.
    pub objection: Option<Objection>,
}

impl Session {
    /// Loads the SavedModel in `folder`.
    ///
    /// # Errors
    /// It is not a SavedModel, or not one that this TensorFlow can load; it has no such graph or
    /// signature.
    pub fn open(folder: &Path, options: &Options<'_>) -> Result<Self> {
        let place = folder.display();
        if !["saved_model.pb", "saved_model.pbtxt"].iter().any(|file| folder.join(file).is_file()) {
            return Err(Error::new(
                Code::NotFound,
                format!(
                    "no SavedModel at {place}: expected a folder with a saved_model.pb, as \
                     `model.export()` or `tf.saved_model.save()` write it (another name can be set with \
                     default_model_filename)"
                ),
            ));
        }
        let config =
            settings::session_config(settings::choose(options.threads), options.cpu_only, options.bf16);
        let mut session = None;
        if options.freeze && folder.join(VARIABLES_INDEX).is_file() {
            let (as_it_is, graph) = Self::load(folder, options, &[&config, freeze::ONLY_TO_READ].concat())?;
            session = as_it_is.frozen(graph, &config, options);
        }
        let (mut session, graph) = match session {
            Some(frozen) => frozen,
            None => Self::load(folder, options, &config)?,
        };
        process::release_free_memory();
        session.objection = inspect::objection(&graph, &session.inputs, &session.outputs);
        Ok(session)
    }

    /// Loads the SavedModel in `folder` as it is, with `config` as the session's configuration.
    fn load(folder: &Path, options: &Options<'_>, config: &[u8]) -> Result<(Self, Graph)> {
        let mut session_options = SessionOptions::new();
        session_options.set_config(config).map_err(|e| failure("the thread settings were refused", &e))?;
        let mut graph = Graph::new();
        let bundle = SavedModelBundle::load(&session_options, [options.graph_tag], &mut graph, folder)
            .map_err(|e| not_loaded(folder, options.graph_tag, &e))?;
        check_variables(folder, &graph)?;
        let signature = signature(&bundle, options.signature)
            .map_err(|e| e.context(format!("the SavedModel at {}", folder.display())))?;
        let endpoints = |infos| endpoints(&graph, infos);
        let (inputs, outputs) = (endpoints(signature.inputs())?, endpoints(signature.outputs())?);
        one_name_each(&inputs)?;
        // The rest of the bundle, which may hold the weights a second time, goes here.
        Ok((Self { session: bundle.session, inputs, outputs, objection: None }, graph))
    }

    /// The session with constants in place of variables, unless it has to be used as it is; the log tells which.
    fn frozen(self, mut graph: Graph, config: &[u8], options: &Options<'_>) -> Option<(Self, Graph)> {
        let model = options.model;
        let start = Instant::now();
        // The optimizer turns the weights of what it makes BF16, too.
        let hold = !options.bf16;
        match freeze::freeze(&self.session, &mut graph, (&self.inputs, &self.outputs), config, hold) {
            Ok(None) => None,
            Ok(Some(frozen)) => {
                let (variables, megabytes) = (frozen.variables, frozen.bytes as f64 / 1e6);
                let seconds = start.elapsed().as_secs_f64();
                log::info!(
                    "model '{model}': {variables} variables ({megabytes:.1} MB) turned into constants in \
                     {seconds:.2} s"
                );
                let freeze::Frozen { graph, session, inputs, outputs, .. } = frozen;
                Some((Self { session, inputs, outputs, objection: None }, graph))
            }
            Err(reason) => {
                log::info!(
                    "model '{model}': served as it is, its variables not turned into constants: {reason}"
                );
                None
            }
        }
    }

    /// Whether nothing that is fed outlives its run, so that the caller may write into it again.
    pub fn keeps_nothing(&self) -> bool {
        !matches!(self.objection, Some(Objection::Acts(_)))
    }

    /// Runs the model once: `inputs` in the order of [`Self::inputs`], `wanted` as indices into
    /// [`Self::outputs`], and nothing but these is computed.
    ///
    /// # Errors
    /// TensorFlow's own, with its message.
    pub fn run<'i>(
        &self,
        inputs: &'i [Tensor],
        wanted: &[usize],
        options: RunOptions,
    ) -> Result<Few<Cow<'i, Tensor>>> {
        let mut args = SessionRunArgs::new();
        if options != RunOptions::DEFAULT {
            args.set_run_options(options.0);
        }
        for (endpoint, tensor) in self.inputs.iter().zip(inputs) {
            tensor.feed(&mut args, endpoint);
        }
        // TensorFlow does not fetch what it was fed, so an output that is an input is handed back here.
        let fetches: Few<Fetch<'_>> = wanted
            .iter()
            .map(|&index| &self.outputs[index])
            .map(|output| match self.inputs.iter().position(|input| input.is_same_tensor(output)) {
                Some(input) => Fetch::Input(input),
                None => Fetch::Output(args.request_fetch(&output.operation, output.index), output),
            })
            .collect();
        if fetches.iter().any(|fetch| matches!(fetch, Fetch::Output(..))) {
            self.session.run(&mut args).map_err(|e| failure("TensorFlow failed", &e))?;
        }
        fetches
            .into_iter()
            .map(|fetch| match fetch {
                Fetch::Input(input) => Ok(Cow::Borrowed(&inputs[input])),
                Fetch::Output(token, output) => Tensor::fetch(&mut args, token, output).map(Cow::Owned),
            })
            .collect()
    }
}

/// Where a wanted output comes from.
enum Fetch<'s> {
    Input(usize),
    Output(FetchToken, &'s Endpoint),
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.session.close() {
            log::warn!("a session could not be closed: {error}");
        }
    }
}

fn not_loaded(folder: &Path, tag: &str, status: &tf::Status) -> Error {
    let (version, place, reason) = (version(), folder.display(), status.to_string());
    let advice = if status.code() == tf::Code::NotFound && reason.contains("tags") {
        "Choose the graph with the parameter TF_GRAPH_TAG".into()
    } else if reason.contains("min consumer version") || reason.contains("not registered") {
        format!(
            "The SavedModel is too new for this TensorFlow: give the server a newer one (tensorflow-dir), or \
             export the model with TensorFlow {version}"
        )
    } else {
        "Is the folder complete, and written by no newer TensorFlow? If in doubt, export the model again"
            .into()
    };
    Error::internal(format!(
        "TensorFlow {version} cannot load the SavedModel at {place} (tag '{tag}'): {reason}. {advice}"
    ))
}

/// TensorFlow loads a SavedModel without its variables all the same, and then every run fails.
fn check_variables(folder: &Path, graph: &Graph) -> Result<()> {
    let variable = graph.operation_iter().find_map(|operation| {
        let kind = operation.op_type().ok()?;
        ["VarHandleOp", "VariableV2"].contains(&kind.as_str()).then(|| operation.name().ok())?
    });
    match variable {
        Some(name) if !folder.join(VARIABLES_INDEX).is_file() => Err(Error::new(
            Code::NotFound,
            format!(
                "the SavedModel at {} has variables ('{name}' is one) but no variables/variables.index with \
                 their values. Copy the whole folder, or export the model again",
                folder.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Two inputs of a signature may be one tensor of the graph, but that can be fed only once.
fn one_name_each(inputs: &[Endpoint]) -> Result<()> {
    for (index, input) in inputs.iter().enumerate() {
        if let Some(other) = inputs[..index].iter().find(|other| other.is_same_tensor(input)) {
            return Err(Error::unsupported(format!(
                "the signature's inputs '{}' and '{}' are one tensor of the graph ({}): export the model with \
                 one of them",
                other.name, input.name, input.operation_name
            )));
        }
    }
    Ok(())
}

fn failure(what: &str, status: &tf::Status) -> Error {
    Error::internal(format!("{what}: {status}"))
}

fn signature<'a>(bundle: &'a SavedModelBundle, name: &str) -> Result<&'a SignatureDef> {
    let signatures = bundle.meta_graph_def().signatures();
    signatures.get(name).ok_or_else(|| {
        // Names with two underscores are TensorFlow's own, such as __saved_model_init_op.
        let mut names: Vec<_> =
            signatures.keys().map(String::as_str).filter(|name| !name.starts_with("__")).collect();
        names.sort_unstable();
        Error::new(
            Code::NotFound,
            format!(
                "has no signature '{name}'; it has: {}. Choose one with the parameter TF_SIGNATURE_DEF",
                names.join(", ")
            ),
        )
    })
}

fn endpoints<'a>(
    graph: &Graph,
    infos: impl IntoIterator<Item = (&'a String, &'a tf::TensorInfo)>,
) -> Result<Vec<Endpoint>> {
    let mut endpoints = infos
        .into_iter()
        .map(|(name, info)| {
            let tensor = info.name();
            if tensor.name.is_empty() {
                return Err(Error::unsupported(format!(
                    "the signature's '{name}' is a sparse or composite tensor; this backend takes dense ones: \
                     export the model with a signature of dense tensors"
                )));
            }
            let operation = graph
                .operation_by_name_required(&tensor.name)
                .map_err(|e| failure(&format!("the signature's '{name}' is not in the graph"), &e))?;
            let dims = Option::<Vec<Option<i64>>>::from(info.shape().clone());
            Ok(Endpoint {
                name: name.clone(),
                datatype: tensor::datatype(info.dtype()),
                type_name: info.dtype().to_string(),
                dims: dims.map(|dims| dims.into_iter().map(|dim| dim.unwrap_or(-1)).collect()),
                operation,
                operation_name: tensor.name.clone(),
                index: tensor.index,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(endpoints)
}
