//! Variables become constants when a model is loaded, so that TensorFlow's own optimizer can compute what
//! depends on them alone: batch norm goes into the weights of a convolution, bias and activation are fused
//! with it, and weights are laid out once for the kernels that use them.

mod proto;
mod rewrite;

use prost::Message;
use tensorflow::{self as tf, Graph, ImportGraphDefOptions, SessionOptions, SessionRunArgs};

use super::{Endpoint, Tensor, inspect, tensor};
use proto::{AttrValue, Dim, GraphDef, TensorProto, TensorShapeProto};
use rewrite::Variable;

/// A protobuf message has to be smaller.
const MOST_BYTES: usize = i32::MAX as usize;

/// A graph without variables, and a session of it.
pub struct Frozen {
    pub graph: Graph,
    pub session: tf::Session,
    /// How many variables have become constants.
    pub variables: usize,
    /// The bytes of their values.
    pub bytes: usize,
}

/// Makes a session that answers as `session` does, in which the variables of `graph` are constants.
///
/// # Errors
/// Why `session` has to be used as it is.
pub fn freeze(
    session: &tf::Session,
    graph: &mut Graph,
    (inputs, outputs): (&[Endpoint], &[Endpoint]),
    options: &SessionOptions,
) -> Result<Frozen, String> {
    if let Some(objection) = inspect::change(graph, inputs, outputs) {
        return Err(objection);
    }
    let definition = graph.graph_def().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let definition =
        GraphDef::decode(&definition[..]).map_err(|e| format!("the graph cannot be read: {e}"))?;
    let roots: Vec<&str> =
        inputs.iter().chain(outputs).map(|endpoint| endpoint.operation_name.as_str()).collect();
    let (mut definition, variables) = rewrite::rewrite(definition, &roots)?;
    if variables.is_empty() {
        return Err("it has none".into());
    }
    let bytes = fill_in(&mut definition, &variables, session, graph)?;
    let definition = serialised(definition)?;
    let refused = |e: tf::Status| format!("TensorFlow refused the graph with constants: {e}");
    let mut graph = Graph::new();
    graph.import_graph_def(&definition, &ImportGraphDefOptions::new()).map_err(refused)?;
    let session = tf::Session::new(options, &graph).map_err(refused)?;
    Ok(Frozen { graph, session, variables: variables.len(), bytes })
}

/// Reads the variables in `session`, whose graph is `graph`, and writes their values into `definition`. Returns
/// the bytes of all values.
fn fill_in(
    definition: &mut GraphDef,
    variables: &[Variable],
    session: &tf::Session,
    graph: &mut Graph,
) -> Result<usize, String> {
    let reads: Vec<Endpoint> = variables
        .iter()
        .map(|variable| {
            let name = &definition.node[variable.index].name;
            read(graph, name).map_err(|e| format!("the variable '{name}' cannot be read: {e}"))
        })
        .collect::<Result<_, _>>()?;
    let mut args = SessionRunArgs::new();
    let tokens: Vec<_> = reads.iter().map(|read| args.request_fetch(&read.operation, read.index)).collect();
    session.run(&mut args).map_err(|e| format!("its variables cannot be read: {e}"))?;
    let mut bytes = 0;
    for ((variable, read), token) in variables.iter().zip(&reads).zip(tokens) {
        let value = Tensor::fetch(&mut args, token, read).map_err(|e| e.message)?;
        let value = tensor_proto(variable, &value);
        bytes += value.tensor_content.len();
        if bytes > MOST_BYTES {
            return Err("their values take more than 2 GiB, which is more than a graph can hold".into());
        }
        let attribute = AttrValue { tensor: Some(value), ..AttrValue::default() };
        definition.node[variable.index].attr.insert("value".into(), attribute.encode_to_vec());
    }
    Ok(bytes)
}

/// Adds an operation that reads a variable.
fn read(graph: &mut Graph, variable: &str) -> tf::Result<Endpoint> {
    let handle = graph.operation_by_name_required(variable)?;
    let name = format!("{variable}/read_to_freeze");
    let mut read = graph.new_operation("ReadVariableOp", &name)?;
    read.add_input(handle.output(0));
    read.set_attr_type("dtype", handle.get_attr_type("dtype")?)?;
    let operation = read.finish()?;
    let datatype = operation.output_type(0);
    Ok(Endpoint {
        name: variable.into(),
        datatype: tensor::datatype(datatype),
        type_name: datatype.to_string(),
        dims: None,
        operation,
        operation_name: name,
        index: 0,
    })
}

fn tensor_proto(variable: &Variable, value: &Tensor) -> TensorProto {
    let dim = value.dims().iter().map(|&size| Dim { size: size as i64 }).collect();
    let elements = value.dims().iter().product::<u64>() as usize;
    let mut content = Vec::new();
    value.read(0..elements, |bytes| content = bytes.to_vec());
    TensorProto {
        dtype: variable.datatype,
        tensor_shape: Some(TensorShapeProto { dim }),
        tensor_content: content,
    }
}

fn serialised(definition: GraphDef) -> Result<Vec<u8>, String> {
    if definition.encoded_len() > MOST_BYTES {
        return Err("the graph with them would be larger than 2 GiB".into());
    }
    Ok(definition.encode_to_vec())
}
