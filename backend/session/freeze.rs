//! Variables become constants when a model is loaded, and TensorFlow's own optimizer makes use of it: batch norm
//! goes into the weights of a convolution, bias and activation are fused with it, and weights are laid out
//! once for the kernels that use them.
//!
//! Three sessions follow one another: the SavedModel's, in which the variables are read ([`values`]); one of the
//! graph with constants in their place ([`rewrite`]), for one run, from which TensorFlow hands out the graph
//! that it has optimised; and the one that serves this graph ([`optimised`]).

mod optimised;
mod proto;
mod rewrite;
mod values;

use prost::Message;
use tensorflow::{self as tf, Graph, ImportGraphDefOptions, SessionOptions, SessionRunArgs};

use super::{Endpoint, RunOptions, Tensor, inspect};
use optimised::Place;
use proto::{GraphDef, RunMetadata};

/// TensorFlow's `ConfigProto`, serialised: `disable_meta_optimizer` (field 19) of `rewrite_options` (field 10) of
/// `graph_options` (field 10). The graph has been optimised, and would be for each choice of outputs again.
const NO_OPTIMIZER: &[u8] = &[0x52, 5, 0x52, 3, 0x98, 1, 1];
/// The same for the run that optimises, without the passes of the optimizer that find nothing to do in such a graph
/// (shape, loop, layout, scoped allocator, pinning to the host, implementation selector, common subgraphs: 2 is off;
/// memory: 1 is none). Each pass copies all constants.
const LEAN_OPTIMIZER: &[u8] =
    &[0x52, 21, 0x52, 19, 0x08, 2, 0x20, 1, 0x48, 2, 0x68, 2, 0x78, 2, 0x90, 1, 2, 0xb0, 1, 2, 0xc0, 1, 2];
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

/// Makes a session that answers as `session` does, in which the variables of `graph` are constants. `config` is
/// the configuration of sessions, serialised.
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
    let (mut definition, variables) = rewrite::rewrite(definition, &roots)?;
    if variables.is_empty() {
        return Ok(None);
    }
    let bytes = values::fill_in(&mut definition, &variables, session, graph)?;

    let fed: Vec<Place> = inputs.iter().map(place).collect();
    let mut fetched: Vec<Place> = Vec::new();
    for output in outputs.iter().map(place) {
        // TensorFlow does not fetch what it is fed.
        if !fed.contains(&output) && !fetched.contains(&output) {
            fetched.push(output);
        }
    }
    let functions = definition.library.clone();
    let mut optimised = optimise(definition, inputs, &fetched, config)?;
    // What TensorFlow hands out has no functions, even where calls are left.
    optimised.library = optimised.library.filter(|library| !library.function.is_empty()).or(functions);
    let served = optimised::serve(optimised, &fed, &fetched)?;

    let (graph, session) = open(served.definition, &[config, NO_OPTIMIZER].concat())?;
    values::store(served.stored, &session, &graph)?;
    let at = |endpoint: &Endpoint, (name, index): &Place| {
        endpoint.at(&graph, name, *index).map_err(|e| format!("'{}' is not in the graph: {e}", endpoint.name))
    };
    let new_input = |index: usize| (served.inputs[index].clone(), 0);
    let new_inputs: Vec<Endpoint> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| at(input, &new_input(index)))
        .collect::<Result<_, _>>()?;
    let new_outputs = outputs.iter().map(|output| {
        let old = place(output);
        let index = |places: &[Place]| places.iter().position(|place| *place == old);
        match (index(&fed), index(&fetched)) {
            (Some(input), _) => at(output, &new_input(input)),
            (None, Some(output_)) => at(output, &served.outputs[output_]),
            (None, None) => Err(format!("the output '{}' was not fetched", output.name)),
        }
    });
    let new_outputs = new_outputs.collect::<Result<_, _>>()?;
    run_on_zeros(&session, &graph, &new_inputs, &served.outputs, RunOptions::PATIENT)
        .map_err(|e| format!("the optimised graph does not run on zeros: {e}"))?;
    let (inputs, outputs) = (new_inputs, new_outputs);
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
fn optimise(
    definition: GraphDef,
    inputs: &[Endpoint],
    fetched: &[Place],
    config: &[u8],
) -> Result<GraphDef, String> {
    let (graph, session) = open(definition, &[config, LEAN_OPTIMIZER].concat())?;
    let at = |input: &Endpoint| input.at(&graph, &input.operation_name, input.index);
    let inputs: tf::Result<Vec<Endpoint>> = inputs.iter().map(at).collect();
    let inputs = inputs.map_err(|e| format!("an input is not in the graph: {e}"))?;
    let metadata = run_on_zeros(&session, &graph, &inputs, fetched, RunOptions::HAND_OUT_GRAPHS)
        .map_err(|e| format!("it does not run on zeros, which optimises it: {e}"))?;
    let metadata =
        RunMetadata::decode(&metadata[..]).map_err(|e| format!("the optimised graph cannot be read: {e}"))?;
    let graphs = metadata.partition_graphs.len();
    let only = metadata.partition_graphs.into_iter().next().filter(|_| graphs == 1);
    only.ok_or_else(|| format!("it runs on {graphs} devices; this is done for one"))
}

/// Runs a graph once, and returns what TensorFlow tells of that: a `RunMetadata`, serialised.
fn run_on_zeros(
    session: &tf::Session,
    graph: &Graph,
    inputs: &[Endpoint],
    fetched: &[Place],
    options: RunOptions,
) -> Result<Vec<u8>, String> {
    let zeros: Vec<Tensor> = inputs.iter().map(zeros).collect::<Result<_, _>>()?;
    let mut args = SessionRunArgs::new();
    args.set_run_options(options.0);
    args.set_request_metadata(true);
    for (input, zeros) in inputs.iter().zip(&zeros) {
        zeros.feed(&mut args, input);
    }
    for (name, index) in fetched {
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
