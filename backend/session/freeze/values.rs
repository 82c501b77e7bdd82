//! The values of variables, read from a session and stored in one.

use prost::Message;
use tensorflow::{self as tf, Graph, SessionRunArgs};

use super::optimised::Stored;
use super::proto::{AttrValue, Dim, GraphDef, TensorProto, TensorShapeProto};
use super::rewrite::Variable;
use crate::session::{Endpoint, Tensor, tensor};

/// While a model is loaded, TensorFlow and this backend have up to some ten copies of the values at a time.
const MOST_BYTES: usize = 512 << 20;

/// Reads the variables in `session`, whose graph is `graph`, and writes their values into `definition`. Returns
/// the bytes of all values.
///
/// # Errors
/// A variable cannot be read, or all of them are too large.
pub fn fill_in(
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
    let mut sum = 0;
    for ((variable, read), token) in variables.iter().zip(&reads).zip(tokens) {
        let value = Tensor::fetch(&mut args, token, read).map_err(|e| e.message)?;
        let value = tensor_proto(variable, &value);
        sum += value.tensor_content.len();
        if sum > MOST_BYTES {
            return Err(format!(
                "they take more than {} MiB, and loading would take many times the memory",
                MOST_BYTES >> 20
            ));
        }
        let attribute = AttrValue { tensor: Some(value), ..AttrValue::default() };
        definition.node[variable.index].attr.insert("value".into(), attribute.encode_to_vec());
    }
    Ok(sum)
}

/// Adds an operation that reads a variable.
fn read(graph: &mut Graph, variable: &str) -> tf::Result<Endpoint> {
    let handle = graph.operation_by_name_required(variable)?;
    let name = format!("{variable}/read_to_freeze");
    let mut read = graph.new_operation("ReadVariableOp", &name)?;
    read.add_input(handle.output(0));
    read.set_attr_type("dtype", handle.get_attr_type("dtype")?)?;
    read.finish()?;
    endpoint(graph, &name)
}

/// The first output of an operation.
fn endpoint(graph: &Graph, name: &str) -> tf::Result<Endpoint> {
    let operation = graph.operation_by_name_required(name)?;
    let datatype = operation.output_type(0);
    Ok(Endpoint {
        name: name.into(),
        datatype: tensor::datatype(datatype),
        type_name: datatype.to_string(),
        dims: None,
        operation,
        operation_name: name.into(),
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

/// Stores values in `session`, whose graph is `graph`.
///
/// # Errors
/// TensorFlow's own, or a value is not what its variable holds.
pub fn store(stored: Vec<Stored>, session: &tf::Session, graph: &Graph) -> Result<(), String> {
    let refused = |e: tf::Status| format!("a constant cannot be stored: {e}");
    let mut values = Vec::new();
    let mut assigns = Vec::new();
    for Stored { feed, assign, value } in stored {
        let feed = endpoint(graph, &feed).map_err(refused)?;
        let odd = || format!("the constant '{}' is odd", feed.name);
        let dims = value.dims().ok_or_else(odd)?;
        let datatype = feed.datatype.ok_or_else(odd)?;
        let elements = dims.iter().product::<u64>() as usize;
        if elements * datatype.byte_size() != value.tensor_content.len() {
            return Err(odd());
        }
        let mut tensor = Tensor::new(datatype, &dims);
        tensor.write(0..elements, |bytes| bytes.copy_from_slice(&value.tensor_content));
        values.push((feed, tensor));
        assigns.push(graph.operation_by_name_required(&assign).map_err(refused)?);
    }
    let mut args = SessionRunArgs::new();
    for (feed, tensor) in &values {
        tensor.feed(&mut args, feed);
    }
    for assign in &assigns {
        args.add_target(assign);
    }
    if values.is_empty() { Ok(()) } else { session.run(&mut args).map_err(refused) }
}
