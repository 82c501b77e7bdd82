//! Variables become constants when a model is loaded, and TensorFlow's own optimizer makes use of it: batch norm
//! goes into the weights of a convolution, bias and activation are fused with it, and weights are laid out
//! once for the kernels that use them.
//!
//! Several sessions follow one another: the SavedModel's, in which the variables are read ([`values`]); one of
//! the graph with constants in their place ([`rewrite`]), for one run, from which TensorFlow hands out the graph that
//! it has optimised ([`optimised`]); another of that kind where convolutions are scaled ([`weights`]); and the one
//! that serves. The first and the last are held against each other on random rows ([`verify`]).

mod compare;
mod model;
mod optimised;
mod partitions;
mod random;
mod rewrite;
mod values;
mod verify;
mod weights;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;

use super::buffer::Buffer;
use super::endpoint::{Endpoint, Place};
use super::graph::{Graph, Outputs};
use super::inspect;
use super::proto::config::{ConfigProto, NO_MEM_OPT, OFF};
use super::proto::graph::GraphDef;
use super::proto::run::RunMetadata;
use super::raw_session::RawSession;
use super::run_options::RunOptions;
use super::saved_model::Loaded;
use super::tensor::{Tensor, byte_size};
use super::variables::{HANDLE, ModelSession};
use compare::Tolerance;
use model::{LARGE, MOST_ELEMENTS, Model, OPEN_DIMENSION};
pub use verify::Effort;

/// Bytes of values that become constants: while the optimizer works, there are up to some ten copies of them.
const MOST_BYTES_OF_CONSTANTS: usize = 512 << 20;
/// A protobuf message has to be smaller.
const MOST_BYTES_OF_MESSAGE: usize = i32::MAX as usize;

/// The optimizer's time, which the limit of the run does not contain. It looks at the clock between its passes, and leaves
/// the graph as it was if the time is over.
const OPTIMIZER_TIME: Duration = Duration::from_secs(60);

/// A SavedModel with constants in place of its variables.
pub struct Frozen {
    pub loaded: Loaded,
    /// How many variables have become constants.
    pub variables: usize,
    /// The bytes of their values.
    pub bytes: usize,
    /// By how much its answers to random rows differ from the SavedModel's, as a part of the largest value; or why that is not
    /// known.
    pub difference: Result<f64, String>,
}

/// Why a SavedModel is used as it is.
pub enum Refusal {
    /// Its variables cannot become constants.
    Impossible(String),
    /// It would answer otherwise.
    Wrong(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Impossible(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_string().into()
    }
}

/// How a SavedModel is frozen.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// TensorFlow's optimizer lets FP32 be computed in BF16. It converts the weights of what it computes so, too; otherwise
    /// large weights are kept out of its way where it would not compute with them.
    pub bf16: bool,
    /// Rounding may be that of BF16, whoever chose that.
    pub coarse: bool,
    /// It serves on a GPU.
    pub on_gpu: bool,
    /// Whether the answers are compared.
    pub effort: Effort,
}

/// `config` for a session of a SavedModel of which only the variables are read: nothing is optimised, what is not
/// needed for the reading is not placed on a device, and no device's memory is taken for it.
pub fn only_to_read(config: &ConfigProto) -> ConfigProto {
    let mut config = without_optimizer(config);
    config.graph().place_pruned_graph = true;
    config.without_jit();
    config.without_gpus();
    config
}

/// `config` for the session that serves: its graph has been optimised, and would be for each choice of outputs again.
fn without_optimizer(config: &ConfigProto) -> ConfigProto {
    let mut config = config.clone();
    config.optimizer().disable_meta_optimizer = true;
    config
}

/// `config` for the run that optimises: small graphs are optimised, too, and passes that find nothing to do in such a
/// graph are left out.
///
/// On GPUs the graph is laid out for their kernels. Where XLA compiles what serves, it does that, and would not compile what
/// the optimizer has fused.
fn with_lean_optimizer(config: &ConfigProto, on_gpu: bool) -> ConfigProto {
    let mut config = config.clone();
    let xla = config.without_jit();
    let optimizer = config.optimizer();
    optimizer.min_graph_nodes = -1;
    optimizer.meta_optimizer_timeout_ms = OPTIMIZER_TIME.as_millis() as i64;
    if !on_gpu || xla {
        optimizer.layout_optimizer = OFF;
    }
    if !on_gpu {
        optimizer.implementation_selector = OFF;
    }
    if xla {
        optimizer.remapping = OFF;
    }
    optimizer.memory_optimization = NO_MEM_OPT;
    optimizer.loop_optimization = OFF;
    optimizer.shape_optimization = OFF;
    optimizer.scoped_allocator_optimization = OFF;
    optimizer.pin_to_host_optimization = OFF;
    optimizer.common_subgraph_elimination = OFF;
    config
}

/// Makes a session that answers as `loaded` does, in which its variables are constants. `config` is the configuration of
/// sessions.
///
/// Nothing is returned where there are no variables.
///
/// # Errors
/// Why `loaded` has to be used as it is.
pub fn freeze(loaded: &Loaded, config: &ConfigProto, plan: Plan) -> Result<Option<Frozen>, Refusal> {
    let Loaded { session, inputs, outputs, origin } = loaded;
    let graph = session.graph();
    let has = |kinds: &[&str]| graph.operations().any(|operation| kinds.contains(&&*operation.op_type()));
    if has(&["Variable", "VariableV2"]) {
        return Err("they are TensorFlow 1's reference variables".into());
    }
    if !has(&[HANDLE]) {
        return Ok(None);
    }
    let operations = inspect::count(graph, inputs, outputs)?;
    let definition = graph.definition().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let definition: GraphDef = definition.decode().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let roots: Vec<&str> = inputs.iter().chain(outputs).map(|endpoint| endpoint.place.0.as_str()).collect();
    let (definition, variables) = rewrite::rewrite(definition, &roots)?;
    if variables.is_empty() {
        return Ok(None);
    }

    let fed: Vec<Place> = inputs.iter().map(|input| input.place.clone()).collect();
    let mut fetched: Vec<Place> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for Endpoint { place, name, .. } in outputs {
        // TensorFlow does not fetch what it is fed.
        if !fed.contains(place) && !fetched.contains(place) {
            fetched.push(place.clone());
            names.push(name);
        }
    }
    let reference = verify::ask(session, operations, inputs, &fed, &fetched, plan.effort);
    let tolerance = if plan.coarse || plan.bf16 { Tolerance::BF16 } else { Tolerance::of(&definition) };
    let mut values = values::read(&definition, &variables, session)?;
    let bytes = values.iter().map(|value| value.bytes().len()).sum();
    let zeros: Vec<Tensor> = inputs.iter().map(zeros).collect::<Result<_, _>>()?;
    let optimise = |model: Model, values: &[Tensor]| {
        optimise(model, &zeros, values, &with_lean_optimizer(config, plan.on_gpu))
    };
    let start = |hold: &[bool]| {
        let constants =
            values.iter().zip(hold).filter(|(_, hold)| !**hold).map(|(value, _)| value.bytes().len());
        if constants.sum::<usize>() > MOST_BYTES_OF_CONSTANTS {
            return Err(format!(
                "those that the optimizer would compute with take more than {} MiB, and loading many times that",
                MOST_BYTES_OF_CONSTANTS >> 20
            ));
        }
        let mut definition = definition.clone();
        let held = weights::fill_in(&mut definition, &variables, &values, hold);
        optimise(Model { definition, inputs: fed.clone(), outputs: fetched.clone(), held }, &values)
    };
    // On a GPU the optimizer computes with all that it can have: what it would leave as it is takes it no time there.
    let holds = !plan.bf16 && (!plan.on_gpu || bytes > MOST_BYTES_OF_CONSTANTS);
    let mut hold: Vec<bool> = values.iter().map(|value| holds && value.bytes().len() >= LARGE).collect();
    let mut model = start(&hold)?;
    let dims = weights::dims(&values);
    let wanted = weights::wanted(&model, &dims)?;
    if !wanted.is_empty() {
        drop(model);
        wanted.into_iter().for_each(|variable| hold[variable] = false);
        model = start(&hold)?;
    }
    if let Some(scalings) = weights::apply(&mut model, &dims)? {
        weights::scale(&mut values, scalings)?;
        model = optimise(model, &values)?;
    }
    let Model { definition, inputs: new_inputs, outputs: new_outputs, held } = model;
    // XLA lays constants out when it compiles; what is in a variable it lays out in each run.
    let stores_large = !config.has_jit();
    let (definition, stored) = optimised::servable(definition, held, values, stores_large)?;
    let session = ModelSession::new(open(definition, &without_optimizer(config))?);
    values::store(&stored, &session)?;
    drop(stored);
    let difference = match reference {
        Ok(reference) => reference
            .hold_against(&session, &new_inputs, &new_outputs, &names, tolerance)
            .map_err(Refusal::Wrong)?,
        Err(reason) => Err(reason),
    };
    let time = if plan.on_gpu { RunOptions::COMPILING } else { RunOptions::PATIENT };
    run(&session, new_inputs.iter().zip(&zeros), &new_outputs, time)
        .map_err(|e| format!("the optimised graph does not run on zeros: {e}"))?;

    let inputs: Vec<Endpoint> = inputs.iter().zip(&new_inputs).map(|(input, new)| input.at(new)).collect();
    let new_output = |output: &Endpoint| {
        let index = |places: &[Place]| places.iter().position(|place| *place == output.place);
        match (index(&fed), index(&fetched)) {
            (Some(input), _) => Ok(output.at(&new_inputs[input])),
            (None, Some(index)) => Ok(output.at(&new_outputs[index])),
            (None, None) => Err(format!("the output '{}' was not fetched", output.name)),
        }
    };
    let outputs: Vec<Endpoint> = outputs.iter().map(new_output).collect::<Result<_, _>>()?;
    let loaded = Loaded { session, inputs, outputs, origin: origin.clone() };
    Ok(Some(Frozen { loaded, variables: variables.len(), bytes, difference }))
}

/// A session of a graph.
fn open(definition: GraphDef, config: &ConfigProto) -> Result<RawSession, String> {
    if definition.encoded_len() > MOST_BYTES_OF_MESSAGE {
        return Err("a graph with constants would be larger than 2 GiB".into());
    }
    let bytes = definition.encode_to_vec();
    drop(definition);
    let graph = Arc::new(Graph::new());
    graph.import(&bytes, &[]).map_err(|e| format!("with constants, {e}"))?;
    drop(bytes);
    RawSession::new(graph, config).map_err(|e| format!("TensorFlow refuses the graph with constants: {e}"))
}

/// Runs a graph once, on zeros, and returns it as TensorFlow has optimised it for that; `config` says how.
fn optimise(
    mut model: Model,
    zeros: &[Tensor],
    values: &[Tensor],
    config: &ConfigProto,
) -> Result<Model, String> {
    let shapes = optimised::shapes(&model.definition);
    let definition = std::mem::take(&mut model.definition);
    let functions = definition.library.clone();
    let session = open(definition, config)?;
    let held: Vec<Place> = model.held.iter().map(|held| (held.name.clone(), 0)).collect();
    let held = held.iter().zip(model.held.iter().map(|held| &values[held.variable]));
    let feeds = model.inputs.iter().zip(zeros).chain(held);
    let start = Instant::now();
    let metadata = run(&session, feeds, &model.outputs, RunOptions::HAND_OUT_GRAPHS)
        .map_err(|e| format!("it does not run on zeros, which optimises it: {e}"))?;
    if start.elapsed() > OPTIMIZER_TIME {
        return Err(format!("TensorFlow's optimizer takes more than {} s", OPTIMIZER_TIME.as_secs()));
    }
    let metadata: RunMetadata =
        metadata.decode().map_err(|e| format!("the optimised graph cannot be read: {e}"))?;
    let mut graph = partitions::join(metadata.partition_graphs)?;
    // What TensorFlow hands out has no functions, even where calls are left.
    graph.library = graph.library.filter(|library| !library.function.is_empty()).or(functions);
    optimised::loadable(graph, &model, &shapes)
}

/// Runs a graph once, and returns what TensorFlow tells about that, a serialised `RunMetadata`.
fn run<'a>(
    session: &RawSession,
    feeds: impl Iterator<Item = (&'a Place, &'a Tensor)>,
    fetches: &[Place],
    options: RunOptions,
) -> Result<Buffer, String> {
    let (places, values): (Vec<&Place>, Vec<&Tensor>) = feeds.unzip();
    let feeds = Outputs::new(session.graph(), places).map_err(|e| e.message)?;
    let fetches = Outputs::new(session.graph(), fetches).map_err(|e| e.message)?;
    session.observe(&feeds, values, &fetches.all(), options).map_err(|e| e.to_string())
}

/// Runs a graph once, on zeros, all of its outputs.
///
/// # Errors
/// TensorFlow's own; or why there are no zeros for an input, as the first part of the pair.
pub fn try_out(loaded: &Loaded) -> Result<(), TriedOut> {
    let zeros: Vec<Tensor> =
        loaded.inputs.iter().map(zeros).collect::<Result<_, _>>().map_err(TriedOut::Not)?;
    let fed: Vec<Place> = loaded.inputs.iter().map(|input| input.place.clone()).collect();
    let outputs = loaded.outputs.iter().map(|output| output.place.clone());
    let fetched: Vec<Place> = outputs.filter(|place| !fed.contains(place)).collect();
    let ran = run(&loaded.session, fed.iter().zip(&zeros), &fetched, RunOptions::COMPILING);
    ran.map(drop).map_err(TriedOut::Failed)
}

/// Why a graph did not run on zeros.
pub enum TriedOut {
    /// There are none for it.
    Not(String),
    /// It failed.
    Failed(String),
}

fn zeros(input: &Endpoint) -> Result<Tensor, String> {
    let name = &input.name;
    let datatype = input.datatype.ok_or_else(|| format!("its input '{name}' is {}", input.type_name))?;
    let dims =
        input.dims.as_ref().ok_or_else(|| format!("its input '{name}' has any number of dimensions"))?;
    let size = |(index, &dim): (usize, &i64)| match index {
        _ if dim >= 0 => dim,
        0 => 1,
        _ => OPEN_DIMENSION,
    };
    let dims: Vec<i64> = dims.iter().enumerate().map(size).collect();
    let most_bytes = MOST_ELEMENTS * datatype.byte_size();
    if byte_size(datatype, &dims).is_none_or(|bytes| bytes > most_bytes) {
        return Err(format!("its input '{name}' is large"));
    }
    Tensor::zeroed(datatype, &dims).map_err(|e| e.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_are_those_that_tensorflow_reads() {
        // TensorFlow 2.20's ConfigProto.FromString reads these bytes as what is meant.
        let lean: &[u8] = &[
            0x52, 38, 0x52, 36, 0x08, 2, 0x20, 1, 0x48, 2, 0x68, 2, 0x78, 2, 0x90, 1, 2, 0xa0, 1, 0xe0, 0xd4,
            3, 0xb0, 1, 2, 0xc0, 1, 2, 0x88, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ];
        let default = ConfigProto::default();
        for (known, config) in [
            (&[0x52, 5, 0x52, 3, 0x98, 1, 1][..], without_optimizer(&default)),
            (
                &[0x0a, 5, 0x0a, 3, b'G', b'P', b'U', 0x52, 7, 0x30, 1, 0x52, 3, 0x98, 1, 1],
                only_to_read(&default),
            ),
            (lean, with_lean_optimizer(&default, false)),
        ] {
            assert_eq!(ConfigProto::decode(known).unwrap(), config);
            assert_eq!(config.encode_to_vec().len(), known.len());
        }
    }
}
