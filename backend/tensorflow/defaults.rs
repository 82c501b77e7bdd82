//! What an input of a model is where nobody sends it.
//!
//! TensorFlow 1 has an operation for it, `PlaceholderWithDefault`, whose value is that of another tensor unless it is fed. In
//! TensorFlow 2 the default of a function's argument is in the signature. What does not depend on other inputs is computed once,
//! when the model is loaded.

use std::collections::{BTreeMap, HashSet};

use prost::Message;

use super::endpoint::{Endpoint, InputDefault};
use super::graph::{Graph, Outputs};
use super::inspect;
use super::operation::Operation;
use super::proto::graph::{AttrValue, GraphDef, NodeDef};
use super::raw_session::RawSession;
use super::run_options::RunOptions;
use super::tensor::Tensor;
use super::types;
use crate::triton::{DataType, Error, Result};

/// An operation whose value is fed.
const PLACEHOLDER: &str = "Placeholder";
/// An operation whose value is that of its input, unless it is fed.
const WITH_DEFAULT: &str = "PlaceholderWithDefault";
/// Operations that have, or name, what a run may change.
const VARIABLES: [&str; 4] = ["VarHandleOp", "Variable", "VariableV2", "ReadVariableOp"];

/// Finds the defaults of `inputs` in the graph of `session`, or in `given`, where a signature has them: serialised
/// `TensorProto`s.
pub fn find(session: &RawSession, inputs: &mut [Endpoint], given: &BTreeMap<String, Vec<u8>>) {
    for input in inputs {
        let found = match given.get(&input.name) {
            Some(value) => of_signature(session, input, value).map(Some),
            None => Ok(of_graph(session, input)),
        };
        match found {
            Ok(default) => input.default = default,
            Err(reason) => log::warn!(
                "the signature's default for the input '{}' cannot be used, so that each request has to have this input: {reason}",
                input.name
            ),
        }
    }
}

fn of_graph(session: &RawSession, input: &Endpoint) -> Option<InputDefault> {
    let graph = session.graph();
    if graph.operation(&input.place.0)?.op_type() != WITH_DEFAULT {
        return None;
    }
    if !is_constant(graph, input) {
        return Some(InputDefault::Computed);
    }
    Some(value(session, input).unwrap_or_else(|reason| {
        log::debug!("the default of the input '{}' is computed in each run: {reason}", input.name);
        InputDefault::Computed
    }))
}

fn of_signature(session: &RawSession, input: &Endpoint, value: &[u8]) -> Result<InputDefault> {
    let datatype = input.datatype.ok_or_else(|| Error::unsupported(input.type_name.clone()))?;
    let name = format!("{}/default", input.place.0);
    let node = NodeDef {
        name: name.clone(),
        op: "Const".into(),
        attr: BTreeMap::from([
            ("dtype".into(), AttrValue::of_type(types::number(datatype))),
            ("value".into(), SerializedTensor { tensor: Some(value.to_vec()) }.encode_to_vec()),
        ]),
        ..NodeDef::default()
    };
    let versions = session.graph().versions().map_err(|e| Error::internal(e.to_string()))?.bytes().to_vec();
    let graph = GraphDef { node: vec![node], versions: Some(versions), ..GraphDef::default() };
    session.graph().import(&graph.encode_to_vec(), &[])?;
    self::value(session, &input.at(&(name, 0)))
}

/// An [`AttrValue`] that is a tensor, as it was written.
#[derive(Clone, PartialEq, Message)]
struct SerializedTensor {
    #[prost(bytes, optional, tag = "8")]
    tensor: Option<Vec<u8>>,
}

/// Whether the same value comes out in each run: nothing behind it is fed, may change, or is left to chance.
fn is_constant(graph: &Graph, input: &Endpoint) -> bool {
    let mut open: Vec<Operation<'_>> =
        graph.operation(&input.place.0).map(Operation::needs).unwrap_or_default();
    let mut seen = HashSet::new();
    while let Some(operation) = open.pop() {
        let kind = operation.op_type();
        if [PLACEHOLDER, WITH_DEFAULT].iter().chain(&VARIABLES).any(|changes| *changes == kind) {
            return false;
        }
        if seen.insert(operation.name().into_owned()) {
            open.extend(operation.needs());
        }
    }
    inspect::count(graph, &[], std::slice::from_ref(input)).is_ok()
}

/// The value of the tensor that nobody feeds.
fn value(session: &RawSession, tensor: &Endpoint) -> Result<InputDefault> {
    let nothing = Outputs::new(session.graph(), [])?;
    let fetches = Outputs::new(session.graph(), [&tensor.place])?;
    let fetched = session.run(&nothing, [], &fetches.all(), RunOptions::PATIENT);
    let fetched = fetched.map_err(|failure| Error::internal(failure.to_string()))?.into_iter().next();
    let value = Tensor::from_raw(fetched.ok_or_else(|| Error::internal("TensorFlow returned no tensor"))?)?;
    if tensor.datatype != Some(value.datatype()) {
        return Err(Error::invalid(format!("expected {}, found {}", tensor.type_name, value.datatype())));
    }
    let bytes = if value.datatype() == DataType::Bytes {
        let serialized = |text: &[u8]| [&(text.len() as u32).to_le_bytes(), text].concat();
        value.strings().flat_map(serialized).collect()
    } else {
        value.bytes().to_vec()
    };
    Ok(InputDefault::Constant { dims: value.dims().to_vec(), bytes })
}
