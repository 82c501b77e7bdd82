//! The values of variables, read from a session and stored in one.

use super::model::{Stored, Variable};
use crate::tensorflow::endpoint::Place;
use crate::tensorflow::graph::{Outputs, Targets};
use crate::tensorflow::proto::graph::{AttrValue, GraphDef, TensorProto, TensorShapeProto};
use crate::tensorflow::raw_session::RawSession;
use crate::tensorflow::run_options::RunOptions;
use crate::tensorflow::tensor::{Blank, Tensor, byte_size};
use crate::tensorflow::types;
use crate::tensorflow::variables::{Handle, add_reads};
use crate::triton::{DataType, Error};

/// While a model is loaded there are three copies of its values.
const MOST_BYTES: usize = 2 << 30;

/// Reads the variables, which are nodes of `definition`, in `session`.
///
/// # Errors
/// A variable cannot be read, or all of them are too large.
pub fn read(
    definition: &GraphDef,
    variables: &[Variable],
    session: &RawSession,
) -> Result<Vec<Tensor>, String> {
    let unreadable = |e: Error| format!("its variables cannot be read: {e}");
    let graph = session.graph();
    let handle = |Variable { index, datatype }: &Variable| Handle {
        name: definition.node[*index].name.clone(),
        datatype: AttrValue::of_type(*datatype),
    };
    let handles: Vec<Handle> = variables.iter().map(handle).collect();
    let reads = add_reads(graph, &handles, "read_to_freeze")
        .map_err(|e| format!("its variables cannot be read: {e}"))?;
    let nothing = Outputs::new(graph, []).map_err(unreadable)?;
    let reads = Outputs::new(graph, &reads).map_err(unreadable)?;
    let values = session
        .run(&nothing, [], &reads.all(), RunOptions::PATIENT)
        .map_err(|e| format!("its variables cannot be read: {e}"))?;
    let value = |(value, variable): (_, &Variable)| {
        let name = &definition.node[variable.index].name;
        if variable.datatype == types::number(DataType::Bytes) {
            return Err(format!("its variable '{name}' holds strings"));
        }
        Tensor::from_raw(value).map_err(|e| format!("the variable '{name}' cannot be read: {e}"))
    };
    let values: Vec<Tensor> = values.into_iter().zip(variables).map(value).collect::<Result<_, _>>()?;
    if values.iter().map(|value| value.bytes().len()).sum::<usize>() > MOST_BYTES {
        return Err(format!(
            "they take more than {} GiB, and loading would take three times the memory",
            MOST_BYTES >> 30
        ));
    }
    Ok(values)
}

/// `value`, whose type is TensorFlow's number `dtype`.
pub fn tensor_proto(value: &Tensor, dtype: i32) -> TensorProto {
    TensorProto {
        dtype,
        tensor_shape: Some(TensorShapeProto::of(value.dims())),
        tensor_content: value.bytes().to_vec(),
        ..TensorProto::default()
    }
}

/// The tensor that `value` describes; nothing if its elements are not there as they are in memory.
///
/// # Errors
/// There is no memory for it.
pub fn tensor(value: &TensorProto) -> Result<Option<Tensor>, String> {
    let (Some(datatype), Some(dims)) = (value.datatype(), value.dims()) else { return Ok(None) };
    if datatype == DataType::Bytes || byte_size(datatype, &dims) != Some(value.tensor_content.len()) {
        return Ok(None);
    }
    let tensor = || {
        let mut tensor = Blank::new(datatype, &dims)?;
        tensor.append(&value.tensor_content[..])?;
        Ok(*tensor.finish()?)
    };
    tensor().map(Some).map_err(|e: Error| e.message)
}

/// Stores values in `session`.
///
/// # Errors
/// TensorFlow's own.
pub fn store(stored: &[Stored], session: &RawSession) -> Result<(), String> {
    if stored.is_empty() {
        return Ok(());
    }
    let refused = |e: Error| format!("a constant cannot be stored: {e}");
    let places: Vec<Place> = stored.iter().map(|stored| (stored.feed.clone(), 0)).collect();
    let feeds = Outputs::new(session.graph(), &places).map_err(refused)?;
    let targets = stored.iter().map(|stored| stored.assign.as_str());
    let targets = Targets::new(session.graph(), targets).map_err(refused)?;
    let values = stored.iter().map(|stored| &stored.value);
    session.execute(&feeds, values, &targets).map_err(|e| format!("a constant cannot be stored: {e}"))
}
