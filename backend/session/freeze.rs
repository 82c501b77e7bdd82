//! Variables become constants when a model is loaded, and TensorFlow's own optimizer makes use of it: batch norm
//! goes into the weights of a convolution, bias and activation are fused with it, and weights are laid out
//! once for the kernels that use them.
//!
//! Several sessions follow one another: the SavedModel's, in which the variables are read ([`values`]); one of
//! the graph with constants in their place ([`rewrite`]), for one run, from which TensorFlow hands out the graph that
//! it has optimised ([`optimised`]); another of that kind where convolutions are scaled ([`weights`]); and the one
//! that serves.

mod optimised;
mod proto;
mod rewrite;
mod values;
mod weights;

use prost::Message;
use tensorflow::{self as tf, Graph, ImportGraphDefOptions, SessionOptions, SessionRunArgs};

use super::{Endpoint, RunOptions, Tensor, inspect};
use proto::{GraphDef, RunMetadata};
use weights::Held;

/// TensorFlow's `ConfigProto`, serialised: `disable_meta_optimizer` (field 19) of `rewrite_options` (field 10) of
/// `graph_options` (field 10). The graph has been optimised, and would be for each choice of outputs again.
const NO_OPTIMIZER: &[u8] = &[0x52, 5, 0x52, 3, 0x98, 1, 1];
/// The same for a SavedModel's session of which only the variables are read, with `place_pruned_graph` (field 6 of
/// `graph_options`): what is not needed for that is not placed on a device.
pub const ONLY_TO_READ: &[u8] = &[0x52, 7, 0x30, 1, 0x52, 3, 0x98, 1, 1];
/// For the run that optimises: `min_graph_nodes` (field 17) of `rewrite_options` is -1, so that small graphs are, too,
/// and passes of the optimizer that find nothing to do in such a graph are left out (shape, loop, layout, scoped
/// allocator, pinning to the host, implementation selector, common subgraphs: 2 is off; memory: 1 is none).
const LEAN_OPTIMIZER: &[u8] = &[
    0x52, 33, 0x52, 31, 0x08, 2, 0x20, 1, 0x48, 2, 0x68, 2, 0x78, 2, 0x90, 1, 2, 0xb0, 1, 2, 0xc0, 1, 2,
    0x88, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
];
/// Bytes of values that become constants: while the optimizer works, there are up to some ten copies of them.
const MOST_BYTES_OF_CONSTANTS: usize = 512 << 20;
/// A protobuf message has to be smaller.
const MOST_BYTES_OF_MESSAGE: usize = i32::MAX as usize;
/// The size of a dimension of any size in the run that optimises; the batch dimension is 1.
const OPEN_DIMENSION: u64 = 128;
/// Elements that an input may have in that run.
const MOST_ELEMENTS: u64 = 1 << 24;

/// A session that answers as the SavedModel's.
pub struct Frozen {
    pub graph: Graph,
    pub session: tf::Session,
    pub inputs: Vec<Endpoint>,
    pub outputs: Vec<Endpoint>,
    /// How many variables have become constants.
    pub variables: usize,
    /// The bytes of their values.
    pub bytes: usize,
}

/// A tensor of a graph: its node and which of its outputs.
type Place = (String, i32);

/// A graph on its way to be served.
struct Model {
    definition: GraphDef,
    /// Where the signature's inputs are fed.
    inputs: Vec<Place>,
    /// Where its outputs are fetched.
    outputs: Vec<Place>,
    /// The variables that are inputs as well.
    held: Vec<Held>,
}

/// Makes a session that answers as `session` does, in which the variables of `graph` are constants. `config` is
/// the configuration of sessions, serialised. With `hold` large weights are kept out of the way of TensorFlow's
/// optimizer where it would not compute with them.
///
/// Nothing is returned where there are no variables.
///
/// # Errors
/// Why `session` has to be used as it is.
pub fn freeze(
    session: &tf::Session,
    graph: &mut Graph,
    (inputs, outputs): (&[Endpoint], &[Endpoint]),
    config: &[u8],
    hold: bool,
) -> Result<Option<Frozen>, String> {
    let has = |kinds: &[&str]| {
        graph.operation_iter().any(|operation| operation.op_type().is_ok_and(|kind| kinds.contains(&&*kind)))
    };
    if has(&["Variable", "VariableV2"]) {
        return Err("they are TensorFlow 1's reference variables".into());
    }
    if !has(&["VarHandleOp"]) {
        return Ok(None);
    }
    if let Some(objection) = inspect::risk(graph, inputs, outputs) {
        return Err(objection);
    }
    let definition = graph.graph_def().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let definition =
        GraphDef::decode(&definition[..]).map_err(|e| format!("the graph cannot be read: {e}"))?;
    let roots: Vec<&str> =
        inputs.iter().chain(outputs).map(|endpoint| endpoint.operation_name.as_str()).collect();
    let (definition, variables) = rewrite::rewrite(definition, &roots)?;
    if variables.is_empty() {
        return Ok(None);
    }
    let mut values = values::read(&definition, &variables, session, graph)?;
    let bytes = values.iter().map(Tensor::byte_size).sum();

    let fed: Vec<Place> = inputs.iter().map(place).collect();
    let mut fetched: Vec<Place> = Vec::new();
    for output in outputs.iter().map(place) {
        // TensorFlow does not fetch what it is fed.
        if !fed.contains(&output) && !fetched.contains(&output) {
            fetched.push(output);
        }
    }
    let zeros: Vec<Tensor> = inputs.iter().map(zeros).collect::<Result<_, _>>()?;
    let optimise = |model: Model, values: &[Tensor]| optimise(model, &zeros, values, config);
    let start = |hold: &[bool]| {
        let constants =
            values.iter().zip(hold).filter(|(_, hold)| !**hold).map(|(value, _)| value.byte_size());
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
    let mut hold: Vec<bool> = values.iter().map(|value| hold && value.byte_size() >= values::LARGE).collect();
    let mut model = start(&hold)?;
    let dims = weights::dims(&values);
    let wanted = weights::wanted(&model, &dims)?;
    if !wanted.is_empty() {
        drop(model);
        wanted.into_iter().for_each(|variable| hold[variable] = false);
        model = start(&hold)?;
    }
    if let Some(scalings) = weights::apply(&mut model, &dims)? {
        weights::scale(&mut values, scalings);
        model = optimise(model, &values)?;
    }
    let Model { definition, inputs: new_inputs, outputs: new_outputs, held } = model;
    let (definition, stored) = optimised::servable(definition, held, values)?;
    let (graph, session) = open(definition, &[config, NO_OPTIMIZER].concat())?;
    values::store(&stored, &session, &graph)?;
    drop(stored);
    run(&session, &graph, new_inputs.iter().zip(&zeros), &new_outputs, RunOptions::PATIENT)
        .map_err(|e| format!("the optimised graph does not run on zeros: {e}"))?;

    let at = |endpoint: &Endpoint, (name, index): &Place| {
        endpoint.at(&graph, name, *index).map_err(|e| format!("'{}' is not in the graph: {e}", endpoint.name))
    };
    let inputs: Vec<Endpoint> =
        inputs.iter().zip(&new_inputs).map(|(input, new)| at(input, new)).collect::<Result<_, _>>()?;
    let new_output = |output: &Endpoint| {
        let old = place(output);
        let index = |places: &[Place]| places.iter().position(|place| *place == old);
        match (index(&fed), index(&fetched)) {
            (Some(input), _) => at(output, &new_inputs[input]),
            (None, Some(index)) => at(output, &new_outputs[index]),
            (None, None) => Err(format!("the output '{}' was not fetched", output.name)),
        }
    };
    let outputs: Vec<Endpoint> = outputs.iter().map(new_output).collect::<Result<_, _>>()?;
    Ok(Some(Frozen { graph, session, inputs, outputs, variables: variables.len(), bytes }))
}

fn place(endpoint: &Endpoint) -> Place {
    (endpoint.operation_name.clone(), endpoint.index)
}

/// A graph and a session of it.
fn open(definition: GraphDef, config: &[u8]) -> Result<(Graph, tf::Session), String> {
    if definition.encoded_len() > MOST_BYTES_OF_MESSAGE {
        return Err("a graph with constants would be larger than 2 GiB".into());
    }
    let bytes = definition.encode_to_vec();
    drop(definition);
    let open = || {
        let mut options = SessionOptions::new();
        options.set_config(config)?;
        let mut graph = Graph::new();
        graph.import_graph_def(&bytes, &ImportGraphDefOptions::new())?;
        let session = tf::Session::new(&options, &graph)?;
        Ok((graph, session))
    };
    open().map_err(|e: tf::Status| format!("TensorFlow refuses the graph with constants: {e}"))
}

/// Runs a graph once, on zeros, and returns it as TensorFlow has optimised it for that.
fn optimise(mut model: Model, zeros: &[Tensor], values: &[Tensor], config: &[u8]) -> Result<Model, String> {
    let shapes = optimised::shapes(&model.definition);
    let definition = std::mem::take(&mut model.definition);
    let functions = definition.library.clone();
    let (graph, session) = open(definition, &[config, LEAN_OPTIMIZER].concat())?;
    let held: Vec<Place> = model.held.iter().map(|held| (held.name.clone(), 0)).collect();
    let held = held.iter().zip(model.held.iter().map(|held| &values[held.variable]));
    let feeds = model.inputs.iter().zip(zeros).chain(held);
    let metadata = run(&session, &graph, feeds, &model.outputs, RunOptions::HAND_OUT_GRAPHS)
        .map_err(|e| format!("it does not run on zeros, which optimises it: {e}"))?;
    let metadata =
        RunMetadata::decode(&metadata[..]).map_err(|e| format!("the optimised graph cannot be read: {e}"))?;
    let graphs = metadata.partition_graphs.len();
    let only = metadata.partition_graphs.into_iter().next().filter(|_| graphs == 1);
    let mut graph = only.ok_or_else(|| format!("it runs on {graphs} devices; this is done for one"))?;
    // What TensorFlow hands out has no functions, even where calls are left.
    graph.library = graph.library.filter(|library| !library.function.is_empty()).or(functions);
    optimised::loadable(graph, &model, &shapes)
}

/// Runs a graph once, and returns what TensorFlow tells of that: a `RunMetadata`, serialised.
fn run<'a>(
    session: &tf::Session,
    graph: &Graph,
    feeds: impl Iterator<Item = (&'a Place, &'a Tensor)>,
    fetches: &[Place],
    options: RunOptions,
) -> Result<Vec<u8>, String> {
    let mut args = SessionRunArgs::new();
    args.set_run_options(options.0);
    args.set_request_metadata(true);
    for (place, value) in feeds {
        value.feed(&mut args, &values::endpoint(graph, place).map_err(|e| e.to_string())?);
    }
    for (name, index) in fetches {
        let operation = graph.operation_by_name_required(name).map_err(|e| e.to_string())?;
        args.request_fetch(&operation, *index);
    }
    session.run(&mut args).map_err(|e| e.to_string())?;
    Ok(args.get_metadata().unwrap_or_default().to_vec())
}

fn zeros(input: &Endpoint) -> Result<Tensor, String> {
    let name = &input.name;
    let datatype = input.datatype.ok_or_else(|| format!("its input '{name}' is {}", input.type_name))?;
    let dims =
        input.dims.as_ref().ok_or_else(|| format!("its input '{name}' has any number of dimensions"))?;
    let size = |(index, &dim): (usize, &i64)| match (index, u64::try_from(dim)) {
        (_, Ok(size)) => size,
        (0, Err(_)) => 1,
        (_, Err(_)) => OPEN_DIMENSION,
    };
    let dims: Vec<u64> = dims.iter().enumerate().map(size).collect();
    let elements = dims.iter().try_fold(1_u64, |elements, &dim| elements.checked_mul(dim));
    if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
        return Err(format!("its input '{name}' is large"));
    }
    Ok(Tensor::new(datatype, &dims))
}
