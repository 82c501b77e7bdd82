//! The values of variables, read from a session and stored in one.

use tensorflow::{self as tf, Graph, SessionRunArgs};

use super::Place;
use super::optimised::Stored;
use super::proto::{Dim, GraphDef, TensorProto, TensorShapeProto};
use super::rewrite::Variable;
use crate::session::{Endpoint, Tensor, tensor};

/// Bytes from which on a value is stored in a variable again: below, the reading would cost more than the copies.
pub const LARGE: usize = 64 << 10;
/// While a model is loaded there are three copies of its values.
const MOST_BYTES: usize = 2 << 30;

/// Reads the variables, which are nodes of `definition`, in `session`, whose graph is `graph`.
///
/// # Errors
/// A variable cannot be read, or all of them are too large.
pub fn read(
    definition: &GraphDef,
    variables: &[Variable],
    session: &tf::Session,
    graph: &mut Graph,
) -> Result<Vec<Tensor>, String> {
    let reads: Vec<Endpoint> = variables
        .iter()
        .map(|variable| {
            let name = &definition.node[variable.index].name;
            add_read(graph, name).map_err(|e| format!("the variable '{name}' cannot be read: {e}"))
        })
        .collect::<Result<_, _>>()?;
    let mut args = SessionRunArgs::new();
    let tokens: Vec<_> = reads.iter().map(|read| args.request_fetch(&read.operation, read.index)).collect();
    session.run(&mut args).map_err(|e| format!("its variables cannot be read: {e}"))?;
    let fetch = |(token, read)| Tensor::fetch(&mut args, token, read).map_err(|e| e.message);
    let values: Vec<Tensor> = tokens.into_iter().zip(&reads).map(fetch).collect::<Result<_, _>>()?;
    if values.iter().map(Tensor::byte_size).sum::<usize>() > MOST_BYTES {
        return Err(format!(
            "they take more than {} GiB, and loading would take three times the memory",
            MOST_BYTES >> 30
        ));
    }
    Ok(values)
}

/// Adds an operation that reads a variable.
fn add_read(graph: &mut Graph, variable: &str) -> tf::Result<Endpoint> {
    let handle = graph.operation_by_name_required(variable)?;
    let name = format!("{variable}/read_to_freeze");
    let mut read = graph.new_operation("ReadVariableOp", &name)?;
    read.add_input(handle.output(0));
    read.set_attr_type("dtype", handle.get_attr_type("dtype")?)?;
    read.finish()?;
    endpoint(graph, &(name, 0))
}

/// An output of an operation.
pub fn endpoint(graph: &Graph, (name, index): &Place) -> tf::Result<Endpoint> {
    let operation = graph.operation_by_name_required(name)?;
    let datatype = operation.output_type(*index as usize);
    Ok(Endpoint {
        name: name.clone(),
        datatype: tensor::datatype(datatype),
        type_name: datatype.to_string(),
        dims: None,
        operation,
        operation_name: name.clone(),
        index: *index,
    })
}

/// The shape of `value`.
pub fn shape_proto(value: &Tensor) -> TensorShapeProto {
    TensorShapeProto { dim: value.dims().iter().map(|&size| Dim { size: size as i64 }).collect() }
}

/// `value`, whose type is TensorFlow's number `dtype`.
pub fn tensor_proto(value: &Tensor, dtype: i32) -> TensorProto {
    let elements = value.dims().iter().product::<u64>() as usize;
    let mut tensor_content = Vec::new();
    value.read(0..elements, |bytes| tensor_content = bytes.to_vec());
    TensorProto { dtype, tensor_shape: Some(shape_proto(value)), tensor_content, ..TensorProto::default() }
}

/// The tensor that `value` describes; nothing if its elements are not there as they are in memory.
pub fn tensor(value: &TensorProto) -> Option<Tensor> {
    let (datatype, dims) = (value.datatype()?, value.dims()?);
    let elements = dims.iter().try_fold(1_u64, |elements, &dim| elements.checked_mul(dim))? as usize;
    if elements.checked_mul(datatype.byte_size()) != Some(value.tensor_content.len()) {
        return None;
    }
    let mut tensor = Tensor::new(datatype, &dims);
    tensor.write(0..elements, |bytes| bytes.copy_from_slice(&value.tensor_content));
    Some(tensor)
}

/// Stores values in `session`, whose graph is `graph`.
///
/// # Errors
/// TensorFlow's own.
pub fn store(stored: &[Stored], session: &tf::Session, graph: &Graph) -> Result<(), String> {
    let refused = |e: tf::Status| format!("a constant cannot be stored: {e}");
    let mut args = SessionRunArgs::new();
    for Stored { feed, assign, value } in stored {
        let feed = endpoint(graph, &(feed.clone(), 0)).map_err(refused)?;
        value.feed(&mut args, &feed);
        args.add_target(&graph.operation_by_name_required(assign).map_err(refused)?);
    }
    if stored.is_empty() { Ok(()) } else { session.run(&mut args).map_err(refused) }
}
