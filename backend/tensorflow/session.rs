//! A SavedModel or a frozen graph that is ready to run.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::endpoint::{Endpoint, InputDefault, Place};
use super::files;
use super::freeze::{self, Effort, Plan, Refusal, TriedOut};
use super::graph::{Fetches, Graph, Outputs};
use super::graph_def::{self, Named};
use super::inspect::{self, Objection};
use super::math_mode;
use super::origin::Origin;
use super::process;
use super::proto::config::ConfigProto;
use super::raw_session::RawSession;
use super::run_options::RunOptions;
use super::saved_model::{self, Loaded, Parts};
use super::separate::separate;
use super::settings::{self, Devices};
use super::tensor::{RawTensor, Tensor};
use super::variables::ModelSession;
use crate::config::{Freeze, GpuMemory, Optimization, Threads};
use crate::few::Few;
use crate::triton::{Error, Result};

/// What to open and how.
pub struct Options<'a> {
    /// The model's name, for the log.
    pub model: &'a str,
    /// Which kind of file it is, and what of it.
    pub file: File<'a>,
    /// The thread counts.
    pub threads: Threads,
    /// Leave the machine's GPUs alone.
    pub cpu_only: bool,
    /// How the memory of GPUs is taken.
    pub gpu_memory: GpuMemory,
    /// What TensorFlow is to do with the graph.
    pub optimization: Optimization,
    /// Compute FP32 in BF16 where the CPU can.
    pub bf16: bool,
    /// Compute what has no kernel for its device on another one.
    pub soft_placement: bool,
    /// Whether to turn variables into constants where that can be done.
    pub freeze: Freeze,
    /// The names of inputs that requests may leave out.
    pub optional: &'a [String],
    /// The tensors whose shape is that of the configuration, whatever the model says.
    pub is_other_shape: &'a dyn Fn(&Endpoint) -> bool,
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub enum File<'a> {
    /// A SavedModel, which is a folder.
    SavedModel(Parts<'a>),
    /// A frozen graph.
    GraphDef(Named<'a>),
}

const OF_SIGNATURE: &str = "SavedModel's signature";

impl File<'_> {
    /// What says which tensors the model has, for messages.
    fn endpoints_of(self) -> &'static str {
        match self {
            Self::SavedModel(_) => OF_SIGNATURE,
            Self::GraphDef(_) => "graph",
        }
    }
}

/// A loaded model, ready to run; shared by all instances of a model.
#[derive(Debug)]
pub struct Session {
    session: ModelSession,
    /// The signature's inputs, sorted by name.
    pub inputs: Vec<Endpoint>,
    /// The signature's outputs, sorted by name.
    pub outputs: Vec<Endpoint>,
    /// What says which they are, for messages: "SavedModel's signature" or "graph".
    pub endpoints_of: &'static str,
    /// Whether the session has a GPU.
    pub on_gpu: bool,
    /// Why the model should not run when nobody has asked for it.
    pub objection: Option<Objection>,
    origin: Origin,
    /// Runs with different inputs left to the graph: one of all subsets of those that may be, by [`Fed`].
    runs: Vec<Run>,
}

/// Which inputs a run is fed: all, or all but some of those that [`Session::leave_to_graph`] was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed(usize);

impl Fed {
    /// Every input.
    pub const ALL: Self = Self(0);

    /// All of these but the input that is so far down the list of [`Session::leave_to_graph`].
    pub fn without(self, index: usize) -> Self {
        Self(self.0 | 1 << index)
    }

    fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 0
    }
}

/// What a run is fed, and what it fetches.
#[derive(Debug)]
struct Run {
    feeds: Outputs,
    /// Where each of the session's outputs comes from.
    sources: Vec<Source>,
    /// The tensors that [`Source::Fetch`] counts.
    fetches: Outputs,
}

/// Where an output comes from. TensorFlow does not fetch what it is fed.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// It is one of the inputs that are fed.
    Input(usize),
    /// It is one of the fetches.
    Fetch(usize),
}

/// An output of a run. It may share its memory with an input (`Identity`, `Reshape`): where that memory is borrowed, it is
/// given back once both are dropped.
#[derive(Debug)]
pub enum Output<'i> {
    /// One of the run's inputs.
    Input(&'i Tensor),
    /// A tensor of the run.
    Fetched(Tensor),
}

impl Deref for Output<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        match self {
            Self::Input(tensor) => tensor,
            Self::Fetched(tensor) => tensor,
        }
    }
}

impl Session {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// It is no such file, or not one that this TensorFlow can load; it has no such graph, signature or tensors.
    pub fn open(path: &Path, options: &Options<'_>) -> Result<Self> {
        let start = Instant::now();
        if let File::SavedModel(Parts { tags, .. }) = options.file {
            files::check(path, &saved_model::split(tags))?;
        }
        let devices = if options.cpu_only { Devices::Cpu } else { Devices::Any(options.gpu_memory) };
        let threads = settings::choose(options.threads);
        let mut config = settings::session_config(threads, devices, options.bf16, options.optimization);
        config.allow_soft_placement = options.soft_placement;
        let on_gpu = !options.cpu_only && has_gpu(&config)?;
        if options.optimization.xla && !on_gpu {
            settings::let_xla_compile_for_cpus();
        }
        let effort = match options.freeze {
            Freeze::Never => None,
            Freeze::Unverified => Some(Effort::No),
            Freeze::Auto => Some(Effort::Little(start)),
            Freeze::Verified => Some(Effort::Any),
        };
        let coarse = math_mode::is_relaxed()
            || options.optimization.auto_mixed_precision
            || (on_gpu && math_mode::may_be_tf32());
        let plan = effort.filter(|_| files::has_variables(path)).map(|effort| Plan {
            bf16: options.bf16,
            coarse,
            on_gpu,
            effort,
        });
        let load_as_it_is = |config: &ConfigProto| {
            let mut loaded = match options.file {
                File::SavedModel(parts) => saved_model::load(path, parts, config),
                File::GraphDef(named) => graph_def::load(path, named, config),
            }?;
            open_ranks(&mut loaded, options.model, options.is_other_shape);
            separate_outputs(&mut loaded, options.model);
            Ok::<_, Error>(loaded)
        };
        let load = |config: &ConfigProto| {
            let frozen = match plan {
                Some(plan) => {
                    let mut as_it_is = load_as_it_is(&freeze::only_to_read(config))?;
                    let frozen = match left_to_graph(&as_it_is, options.optional) {
                        None => frozen(&as_it_is, config, options.model, plan),
                        Some(input) => {
                            log::info!(
                                "model '{}': served as it is, its variables not turned into constants: its graph computes the \
                                 default of the input '{input}'",
                                options.model
                            );
                            None
                        }
                    };
                    if frozen.is_none() {
                        // Otherwise the allocator keeps it, and may put the variables of the session that serves elsewhere.
                        as_it_is.session.give_back_at_end();
                    }
                    frozen
                }
                None => None,
            };
            frozen.map_or_else(|| load_as_it_is(config), Ok)
        };
        let mut loaded = load(&config)?;
        if options.optimization.xla
            && let Some(reason) = not_compiled(&loaded, options.model)
        {
            loaded.session.give_back_at_end();
            log::warn!("model '{}': served without XLA, which cannot compile it: {reason}", options.model);
            let mut config = config;
            config.without_jit();
            drop(loaded);
            loaded = load(&config)?;
        }
        process::release_free_memory();
        Self::new(loaded, on_gpu, options.file.endpoints_of())
    }

    fn new(loaded: Loaded, on_gpu: bool, endpoints_of: &'static str) -> Result<Self> {
        let Loaded { mut session, inputs, outputs, origin } = loaded;
        session.give_back_at_end();
        let objection = inspect::objection(session.graph(), &inputs, &outputs);
        let runs = vec![Run::new(session.graph(), inputs.iter(), &outputs)?];
        Ok(Self { session, inputs, outputs, endpoints_of, on_gpu, objection, origin, runs })
    }

    /// Lets runs do without these inputs, whose values the graph computes then.
    ///
    /// # Errors
    /// The graph has no such tensor.
    pub fn leave_to_graph(&mut self, inputs: &[usize]) -> Result<()> {
        let runs = (0..1 << inputs.len()).map(Fed).map(|fed| {
            let is_fed =
                |input: &usize| inputs.iter().position(|it| it == input).is_none_or(|it| fed.has(it));
            let fed = (0..self.inputs.len()).filter(is_fed).map(|input| &self.inputs[input]);
            Run::new(self.session.graph(), fed, &self.outputs)
        });
        self.runs = runs.collect::<Result<_>>()?;
        Ok(())
    }

    /// Whether no operation of the graph can keep what it is fed beyond the run, so that memory of somebody else's can be
    /// fed. Operations that are not known, and loops, count as if they could.
    pub fn keeps_nothing(&self) -> bool {
        !matches!(self.objection, Some(Objection::Acts(_) | Objection::Endless(_)))
    }

    /// Whether the model says itself which its inputs and outputs are.
    pub fn has_signature(&self) -> bool {
        self.endpoints_of == OF_SIGNATURE
    }

    /// Whether a run may do more than to compute its outputs, as far as is known.
    pub fn may_act(&self) -> bool {
        matches!(self.objection, Some(Objection::Acts(_)))
    }

    /// Runs the model once: `inputs` in the order of [`Self::inputs`], `wanted` as indices into [`Self::outputs`], and nothing but
    /// these is computed.
    ///
    /// # Errors
    /// TensorFlow's own; or an output is not what the signature says.
    ///
    /// # Panics
    /// There are not as many inputs as are to be fed, or `wanted` has an index that no output has.
    pub fn run<'i, T: Borrow<Tensor>>(
        &self,
        inputs: &'i [T],
        wanted: &[usize],
        options: RunOptions,
    ) -> Result<Few<Output<'i>>> {
        self.run_fed(Fed::ALL, inputs, wanted, options)
    }

    /// As [`Self::run`], with those inputs only that are to be `fed`.
    ///
    /// # Errors
    /// As for [`Self::run`].
    ///
    /// # Panics
    /// As [`Self::run`]; or `fed` leaves out more inputs than [`Self::leave_to_graph`] was told.
    pub fn run_fed<'i, T: Borrow<Tensor>>(
        &self,
        fed: Fed,
        inputs: &'i [T],
        wanted: &[usize],
        options: RunOptions,
    ) -> Result<Few<Output<'i>>> {
        let run = &self.runs[fed.0];
        let fetches = run.fetches_for(wanted);
        let mut fetched = if fetches.raw().is_empty() {
            Few::new()
        } else {
            let tensors = inputs.iter().map(T::borrow);
            let ran = self.session.run(&run.feeds, tensors, &fetches, options);
            ran.map_err(|failure| self.origin.run_failed(&failure))?
        }
        .into_iter();
        let mut outputs = Few::with_capacity(wanted.len());
        for &index in wanted {
            outputs.push(match run.sources[index] {
                Source::Input(input) => Output::Input(inputs[input].borrow()),
                Source::Fetch(_) => {
                    let endpoint = &self.outputs[index];
                    let tensor = signed(fetched.next(), endpoint);
                    Output::Fetched(tensor.map_err(|e| e.context(format!("output '{}'", endpoint.name)))?)
                }
            });
        }
        Ok(outputs)
    }
}

impl Run {
    fn new<'e>(
        graph: &Arc<Graph>,
        inputs: impl Iterator<Item = &'e Endpoint> + Clone,
        outputs: &[Endpoint],
    ) -> Result<Self> {
        let feeds = Outputs::new(graph, inputs.clone().map(|input| &input.place))?;
        let fed: HashMap<&Place, usize> =
            inputs.enumerate().map(|(index, input)| (&input.place, index)).collect();
        let mut fetched = Vec::new();
        let source = |output: &Endpoint| match fed.get(&output.place) {
            Some(&input) => Source::Input(input),
            None => {
                fetched.push(output.place.clone());
                Source::Fetch(fetched.len() - 1)
            }
        };
        let sources = outputs.iter().map(source).collect();
        Ok(Self { feeds, sources, fetches: Outputs::new(graph, &fetched)? })
    }

    fn fetches_for(&self, wanted: &[usize]) -> Fetches<'_> {
        let of = |&index: &usize| match self.sources[index] {
            Source::Fetch(fetch) => Some(fetch),
            Source::Input(_) => None,
        };
        let all = 0..self.fetches.raw().len();
        if wanted.iter().filter_map(of).eq(all) {
            self.fetches.all()
        } else {
            self.fetches.some(wanted.iter().filter_map(of))
        }
    }
}

/// # Errors
/// There is no tensor, or it is of another type than its endpoint.
fn signed(fetched: Option<RawTensor>, endpoint: &Endpoint) -> Result<Tensor> {
    let fetched = fetched.ok_or_else(|| Error::internal("TensorFlow returned no tensor"))?;
    let tensor = Tensor::from_raw(fetched)?;
    if endpoint.datatype == Some(tensor.datatype()) {
        return Ok(tensor);
    }
    Err(Error::internal(format!(
        "expected {} by the signature, but TensorFlow returned {}",
        endpoint.type_name,
        tensor.datatype()
    )))
}

/// Why XLA cannot compile a model: it fails with it on zeros.
fn not_compiled(loaded: &Loaded, model: &str) -> Option<String> {
    const CUDA: [&str; 3] = ["libdevice", "ptxas", "nvlink"];
    let untried = |reason: &str| {
        log::warn!(
            "model '{model}': compiled by XLA at the first request of each batch size, and not tried before: {reason}"
        );
        None
    };
    if let Some(Objection::Acts(reason)) =
        inspect::objection(loaded.session.graph(), &loaded.inputs, &loaded.outputs)
    {
        return untried(&reason);
    }
    match freeze::try_out(loaded) {
        Ok(()) => None,
        Err(TriedOut::Not(reason)) => untried(&reason),
        Err(TriedOut::Failed(reason)) => {
            let advice = if CUDA.iter().any(|part| reason.contains(part)) {
                ". Start the server with XLA_FLAGS=--xla_gpu_cuda_data_dir=FOLDER in its environment, where FOLDER is CUDA's, \
             with nvvm/libdevice and bin/ptxas in it"
            } else {
                ""
            };
            Some(format!("{reason}{advice}"))
        }
    }
}

/// Tensors have any rank whose shape is the configuration's, or that have none in a signature because its exporter did not
/// know it.
fn open_ranks(loaded: &mut Loaded, model: &str, is_other_shape: &dyn Fn(&Endpoint) -> bool) {
    let Loaded { session, inputs, outputs, .. } = loaded;
    let is_scalar = |endpoint: &Endpoint| endpoint.dims.as_ref().is_some_and(Vec::is_empty);
    let is_scalar_in_graph = |place: &Place| {
        let dims = session.graph().dims_of(place);
        dims.is_ok_and(|dims| dims.is_some_and(|dims| dims.is_empty()))
    };
    // What is computed is a scalar where the graph says so, unless that follows from an input that is none.
    let mut any = false;
    let tensors =
        inputs.iter_mut().map(|input| (input, true)).chain(outputs.iter_mut().map(|output| (output, false)));
    for (endpoint, is_input) in tensors {
        if is_scalar(endpoint) && !is_scalar_in_graph(&endpoint.place) {
            endpoint.dims = None;
        } else if is_other_shape(endpoint) && (is_input || any || !is_scalar(endpoint)) {
            log::info!(
                "model '{model}': '{}' has the shape that config.pbtxt declares, and not that of the model, {:?}",
                endpoint.name,
                endpoint.dims.as_deref().unwrap_or_default()
            );
            endpoint.dims = None;
            any |= is_input;
        }
    }
}

/// Lets each output of a signature be computed without the others, where a run does no more than compute them.
fn separate_outputs(loaded: &mut Loaded, model: &str) {
    let Loaded { session, inputs, outputs, .. } = loaded;
    let graph = session.graph();
    if let Some(Objection::Acts(_)) = inspect::objection(graph, inputs, outputs) {
        return;
    }
    let places: Vec<Place> = outputs.iter().map(|output| output.place.clone()).collect();
    match separate(graph, &places) {
        Ok(None) => {}
        Ok(Some(places)) => {
            for (output, place) in outputs.iter_mut().zip(places) {
                output.place = place;
            }
        }
        Err(reason) => log::info!(
            "model '{model}': all of its outputs are computed, whichever a request asks for: {reason}"
        ),
    }
}

/// An input that the graph computes where a request leaves it out. A frozen graph has no such inputs.
fn left_to_graph<'l>(loaded: &'l Loaded, optional: &[String]) -> Option<&'l str> {
    let is_left =
        |input: &&Endpoint| input.default == Some(InputDefault::Computed) && optional.contains(&input.name);
    loaded.inputs.iter().find(is_left).map(|input| input.name.as_str())
}

/// Whether a session with this configuration has a GPU. Where there is one, TensorFlow sets it up.
fn has_gpu(config: &ConfigProto) -> Result<bool> {
    let session = RawSession::new(Arc::new(Graph::new()), config);
    let has_gpu = session.and_then(|session| session.has_gpu());
    has_gpu.map_err(|e| Error::internal(format!("TensorFlow's devices cannot be listed: {e}")))
}

/// The model with constants in place of its variables, unless it has to be used as it is. The log says which.
fn frozen(loaded: &Loaded, config: &ConfigProto, model: &str, plan: Plan) -> Option<Loaded> {
    let start = Instant::now();
    match freeze::freeze(loaded, config, plan) {
        Ok(None) => None,
        Ok(Some(frozen)) => {
            let (variables, megabytes) = (frozen.variables, frozen.bytes as f64 / 1e6);
            let seconds = start.elapsed().as_secs_f64();
            let verified = match frozen.difference {
                Ok(difference) => format!(
                    "verified on random rows, where answers differ by {difference:.1e} of the largest value at most"
                ),
                Err(reason) => format!("not verified on random rows: {reason}"),
            };
            log::info!(
                "model '{model}': {variables} variables ({megabytes:.1} MB) turned into constants in {seconds:.2} s; \
                 {verified}"
            );
            Some(frozen.loaded)
        }
        Err(Refusal::Impossible(reason)) => {
            log::info!("model '{model}': served as it is, its variables not turned into constants: {reason}");
            None
        }
        Err(Refusal::Wrong(difference)) => {
            log::warn!(
                "model '{model}': served as it is: with its variables turned into constants it answers random rows \
                 otherwise: {difference}. TF_FREEZE: false leaves the attempt out"
            );
            None
        }
    }
}
