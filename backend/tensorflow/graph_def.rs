//! Loads a frozen graph (`model.graphdef`): a `GraphDef` without a signature, whose inputs and outputs config.pbtxt names.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::defaults;
use super::endpoint::{Endpoint, Place};
use super::files;
use super::graph::{Graph, Outputs, Targets};
use super::operation::Operation;
use super::origin::Origin;
use super::proto::config::ConfigProto;
use super::raw_session::RawSession;
use super::saved_model::{Loaded, one_name_each};
use super::types;
use super::variables::ModelSession;
use crate::config::MAX_RANK;
use crate::triton::{Code, Error, Result};

/// An operation that has no value unless it is fed.
const PLACEHOLDER: &str = "Placeholder";

const INPUT: &str = "input";

/// What config.pbtxt says of the graph. A tensor is `operation`, or `operation:index` for another one than its first result.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The tensors to feed.
    pub inputs: &'a [String],
    /// The tensors to fetch.
    pub outputs: &'a [String],
    /// Operations to run once, one after the other.
    pub init_ops: &'a [String],
}

/// Loads the graph in `file`, to open with `config`.
///
/// # Errors
/// It is none, TensorFlow cannot load it, or it has not what config.pbtxt names.
pub fn load(file: &Path, named: Named<'_>, config: &ConfigProto) -> Result<Loaded> {
    let place = format!("the GraphDef at {}", file.display());
    files::check_graph(file)?;
    let read = |e: io::Error| Error::internal(format!("{place} cannot be read: {e}"));
    let graph = Graph::new();
    graph
        .import(&fs::read(file).map_err(read)?, &[])
        .map_err(|e| e.context(format!("{place} cannot be loaded")))?;
    let origin = Origin::of_graph(&graph);
    let endpoints = || {
        if named.outputs.is_empty() {
            log::warn!("{place}: {}", undeclared(&graph));
        }
        let inputs = endpoints(&graph, INPUT, named.inputs)?;
        let outputs = endpoints(&graph, "output", named.outputs)?;
        one_name_each(&inputs)?;
        feeds_all(&graph, &inputs, &outputs)?;
        Ok((inputs, outputs))
    };
    let (mut inputs, outputs) = endpoints().map_err(|e: Error| e.context(&*place))?;
    let session = RawSession::new(Arc::new(graph), config)
        .map_err(|e| Error::internal(format!("{place} cannot be opened: {e}")))?;
    initialise(&session, named.init_ops).map_err(|e| e.context(place))?;
    defaults::find(&session, &mut inputs, &BTreeMap::new());
    Ok(Loaded { session: ModelSession::new(session), inputs, outputs, origin })
}

fn endpoints(graph: &Graph, kind: &str, names: &[String]) -> Result<Vec<Endpoint>> {
    let endpoint = |name: &String| {
        endpoint(graph, kind, name).map_err(|e| e.context(format!("{kind} '{name}' of config.pbtxt")))
    };
    let mut endpoints: Vec<Endpoint> = names.iter().map(endpoint).collect::<Result<_>>()?;
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(endpoints)
}

fn endpoint(graph: &Graph, kind: &str, name: &str) -> Result<Endpoint> {
    let place = parse(name);
    let number = graph.type_of(&place).map_err(|e| {
        let placeholders = || graph.operations().filter(|operation| operation.op_type() == PLACEHOLDER);
        let reason = format!(
            "{}; expected a tensor of the graph, whose placeholders are: {}",
            e.message,
            list(placeholders())
        );
        if kind != INPUT {
            return Error::new(e.code, reason);
        }
        let mut allowed: Vec<String> = placeholders().map(|operation| operation.name().into_owned()).collect();
        allowed.sort_unstable();
        // Triton's former TensorFlow backend began so.
        Error::whole(
            Code::InvalidArg,
            format!(
                "unexpected inference input '{name}', allowed inputs are: {}. The input '{name}' of config.pbtxt: {reason}",
                allowed.join(", ")
            ),
        )
    })?;
    let number = types::of_values(number);
    let dims = graph.dims_of(&place)?;
    if let Some(dims) = dims.as_ref().filter(|dims| dims.len() > MAX_RANK) {
        return Err(Error::unsupported(format!(
            "expected at most {MAX_RANK} dimensions, as TensorFlow's tensors have them, found {}",
            dims.len()
        )));
    }
    Ok(Endpoint {
        name: name.into(),
        datatype: types::from_number(number),
        type_name: types::name(number),
        dims,
        place,
        default: None,
    })
}

/// The place that a name of config.pbtxt stands for.
fn parse(name: &str) -> Place {
    match name.rsplit_once(':').and_then(|(operation, index)| Some((operation, index.parse().ok()?))) {
        Some((operation, index)) => (operation.into(), index),
        None => (name.into(), 0),
    }
}

/// Checks that no placeholder is needed which nobody feeds.
fn feeds_all(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Result<()> {
    let mut seen: HashSet<String> = inputs.iter().map(|input| input.place.0.clone()).collect();
    let mut open: Vec<Operation<'_>> =
        outputs.iter().filter_map(|output| graph.operation(&output.place.0)).collect();
    while let Some(operation) = open.pop() {
        let name = operation.name();
        if !seen.insert(name.clone().into_owned()) {
            continue;
        }
        if operation.op_type() == PLACEHOLDER {
            return Err(Error::invalid(format!(
                "config.pbtxt has no input '{name}', which the graph needs for its outputs ({})",
                described(graph, &(name.clone().into_owned(), 0))
            )));
        }
        open.extend(operation.needs());
    }
    Ok(())
}

/// What to declare, where nothing is. The model is loaded all the same: a server that has no configuration of it says so
/// itself, afterwards.
fn undeclared(graph: &Graph) -> String {
    let mut used = HashSet::new();
    for operation in graph.operations() {
        used.extend(operation.needs().into_iter().map(|needed| needed.name().into_owned()));
    }
    let is_input = |operation: &Operation<'_>| operation.op_type() == PLACEHOLDER;
    let inputs = list(graph.operations().filter(is_input));
    let is_last = |operation: &Operation<'_>| !is_input(operation) && !used.contains(&*operation.name());
    let outputs = list(graph.operations().filter(is_last));
    format!(
        "a GraphDef has no signature, so config.pbtxt has to declare its inputs and outputs, and answers have none now. Its \
         placeholders are: {inputs}; operations whose results no other one takes are: {outputs}"
    )
}

/// The first few of them.
fn list<'g>(operations: impl Iterator<Item = Operation<'g>>) -> String {
    const MOST: usize = 20;
    let mut names: Vec<String> =
        operations.take(MOST + 1).map(|operation| format!("'{}'", operation.name())).collect();
    if names.len() > MOST {
        names[MOST] = "and others".into();
    }
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn described(graph: &Graph, place: &Place) -> String {
    let number = graph.type_of(place).map_or(0, types::of_values);
    let datatype =
        types::from_number(number).map_or_else(|| types::name(number), |found| found.config_name().into());
    match graph.dims_of(place) {
        Ok(Some(dims)) => format!("{datatype} {dims:?}"),
        _ => format!("{datatype} of unknown rank"),
    }
}

/// Runs the operations that give the graph's variables and tables their values.
fn initialise(session: &RawSession, operations: &[String]) -> Result<()> {
    let nothing = Outputs::new(session.graph(), [])?;
    for name in operations {
        let failed = |reason: String| {
            Error::new(
                Code::InvalidArg,
                format!("the operation '{name}' of TF_INIT_OPS_FILE cannot be run: {reason}"),
            )
        };
        let targets = Targets::new(session.graph(), [name.as_str()]).map_err(|e| failed(e.message))?;
        session.execute(&nothing, [], &targets).map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_an_index() {
        assert_eq!(parse("x"), ("x".into(), 0));
        assert_eq!(parse("x:0"), ("x".into(), 0));
        assert_eq!(parse("scope/y:12"), ("scope/y".into(), 12));
        // What TensorFlow then does not find.
        assert_eq!(parse("x:y"), ("x:y".into(), 0));
        assert_eq!(parse("x:"), ("x:".into(), 0));
        assert_eq!(parse(":1"), (String::new(), 1));
    }
}
