//! What a graph may do besides computing its outputs, and how large it is: whether the backend may run it at load, when
//! nobody has asked for it, and whether it can keep a tensor beyond its run.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::buffer::Buffer;
use super::endpoint::Endpoint;
use super::graph::{Function, Graph};
use super::operation::Operation;
use super::proto::graph::{AttrDef, AttrValue, FunctionDef, NameAttrList, OpDef};

/// A graph with more operations is not tried at load: its first run, for which TensorFlow optimises it, would make
/// loading longer than the trial can gain.
const MOST_OPERATIONS: usize = 300;

/// Operations that TensorFlow calls stateful although they change nothing. The calls among them are as
/// harmless as the functions they call, which are looked into.
pub const HARMLESS: [&str; 14] = [
    "_Arg",
    "Assert",
    "Case",
    "CheckNumerics",
    "CheckNumericsV2",
    "If",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "StatefulPartitionedCall",
    "VarHandleOp",
    "VarIsInitializedOp",
    "VariableShape",
    "VariableV2",
];

/// Operations that do nothing but fail where their inputs are not as they should be.
pub const CHECKS: [&str; 3] = ["Assert", "CheckNumerics", "CheckNumericsV2"];

/// Operations that read lookup tables, or name one. Whoever runs a model may do so, whoever takes its graph elsewhere may not: a
/// table has its entries in the session that has initialised it.
const TABLES: [&str; 4] = ["HashTableV2", "LookupTableFindV2", "LookupTableSizeV2", "MutableHashTableV2"];

/// Operations that begin a loop. Where its end depends on the inputs, it may not end on zeros, and TensorFlow cannot be
/// trusted to stop such a run in time: that needs a thread of its pool, which other runs may occupy.
const LOOPS: [&str; 4] = ["Enter", "RefEnter", "StatelessWhile", "While"];

/// Parts of the names of operations that act on the outside world although TensorFlow does not call them stateful: their
/// state is in an object that they are given, or in a file.
const SUSPICIOUS: [&str; 4] = ["Dataset", "Debug", "Infeed", "PyFunc"];

/// An attribute that names an object which outlives a run, as `Batch` and `Unbatch` have it, which TensorFlow does not
/// call stateful.
const NAME_OF_STATE: &str = "shared_name";

/// What speaks against running a model at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// A run may have side effects, or it is not known what it does; the reason.
    Acts(String),
    /// A run on zeros may never end; the reason.
    Endless(String),
    /// It is not a small graph; the reason.
    Large(String),
}

/// Why the operations behind `outputs` should not run at load; nothing when they may. `inputs` are fed, so what is behind
/// those does not run.
pub fn objection(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Option<Objection> {
    let Found { count, endless, .. } = match inspect(graph, inputs, outputs) {
        Ok(found) => found,
        Err(reason) => return Some(Objection::Acts(reason)),
    };
    if let Some(reason) = endless {
        return Some(Objection::Endless(reason));
    }
    let large = count > MOST_OPERATIONS;
    large.then(|| Objection::Large(format!("the graph has more than {MOST_OPERATIONS} operations")))
}

/// How many operations there are behind `outputs`, those of functions included. `inputs` are fed.
///
/// # Errors
/// One of them may have side effects, keep something from one run to the next other than by reading variables, or never end, or
/// they need a lookup table; which, or why that is not known.
pub fn count(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Result<usize, String> {
    let Found { count, endless, table } = inspect(graph, inputs, outputs)?;
    endless.or(table).map_or(Ok(count), Err)
}

/// What is behind `outputs`.
struct Found {
    /// How many operations.
    count: usize,
    /// Why a run on zeros may never end.
    endless: Option<String>,
    /// What needs a lookup table.
    table: Option<String>,
}

/// # Errors
/// An operation may have side effects, or keep something from one run to the next other than by reading variables; which, or
/// why that is not known.
fn inspect(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Result<Found, String> {
    let mut inspection = Inspection {
        graph,
        kinds: HashMap::new(),
        functions: None,
        called: Vec::new(),
        count: 0,
        endless: None,
        table: None,
    };
    let mut seen: HashSet<String> = inputs.iter().map(|input| input.place.0.clone()).collect();
    let mut open: Vec<Operation<'_>> =
        outputs.iter().filter_map(|output| graph.operation(&output.place.0)).collect();
    while let Some(operation) = open.pop() {
        if !seen.insert(operation.name().into_owned()) {
            continue;
        }
        inspection.operation(operation)?;
        open.extend(operation.needs());
    }
    let mut seen = HashSet::new();
    while let Some(function) = inspection.called.pop() {
        if !seen.insert(function.clone()) {
            continue;
        }
        inspection.function(&function)?;
    }
    Ok(Found { count: inspection.count, endless: inspection.endless, table: inspection.table })
}

/// What is known of a kind of operation.
#[derive(Clone)]
struct Kind {
    /// What speaks against running it at load.
    risk: Option<Risk>,
    /// The attributes that hold functions.
    functions: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Risk {
    Acts,
    Endless,
}

struct Inspection<'g> {
    graph: &'g Graph,
    kinds: HashMap<String, Kind>,
    /// Those of the graph's library, by name, once they are needed.
    functions: Option<HashMap<String, Function>>,
    /// Names of functions to look into.
    called: Vec<String>,
    count: usize,
    endless: Option<String>,
    table: Option<String>,
}

type Verdict = Result<(), String>;

impl Inspection<'_> {
    fn operation(&mut self, operation: Operation<'_>) -> Verdict {
        let kind = operation.op_type();
        let attributes = self.kind(&kind)?.functions;
        for attribute in attributes {
            let value = operation
                .attribute(&attribute)
                .map_err(|e| format!("the attribute '{attribute}' of a {kind} cannot be read: {e}"))?;
            self.calls_of(value.bytes())?;
        }
        Ok(())
    }

    fn function(&mut self, name: &str) -> Verdict {
        let unreadable = || format!("the function '{name}' cannot be read");
        let definition = self
            .library()?
            .get(name)
            .ok_or_else(|| format!("the function '{name}' is not in the graph"))?
            .definition()
            .map_err(|_| unreadable())?;
        let definition: FunctionDef = definition.decode().map_err(|_| unreadable())?;
        for node in &definition.node_def {
            self.kind(&node.op)?;
            for value in node.attr.values() {
                self.calls_of(value)?;
            }
        }
        Ok(())
    }

    /// Notes the functions that a serialised `AttrValue` names.
    fn calls_of(&mut self, value: &[u8]) -> Verdict {
        let value = AttrValue::decode(value).map_err(|e| format!("an attribute cannot be read: {e}"))?;
        let list = value.list.iter().flat_map(|list| &list.func);
        let names = value.func.iter().chain(list).map(|NameAttrList { name, .. }| name.clone());
        self.called.extend(names);
        Ok(())
    }

    /// Counts an operation and returns its kind.
    fn kind(&mut self, name: &str) -> Result<Kind, String> {
        self.count += 1;
        let kind = match self.kinds.get(name) {
            Some(kind) => kind.clone(),
            None => {
                let kind = self
                    .graph
                    .op_def(name)
                    .ok()
                    .and_then(|definition: Buffer| kind(name, definition.bytes()))
                    .ok_or_else(|| format!("it is not known what the operation {name} does"))?;
                self.kinds.insert(name.to_string(), kind.clone());
                // In old graphs a function is called by an operation of its name.
                if self.library()?.contains_key(name) {
                    self.called.push(name.to_string());
                }
                kind
            }
        };
        if TABLES.contains(&name) {
            self.table.get_or_insert_with(|| format!("the operation {name} needs a lookup table"));
        }
        let Some(risk) = kind.risk else { return Ok(kind) };
        if self.library()?.contains_key(name) {
            return Ok(kind);
        }
        match risk {
            Risk::Acts => Err(format!("the operation {name} may have side effects")),
            Risk::Endless => {
                self.endless.get_or_insert_with(|| format!("the operation {name} may never end on zeros"));
                Ok(kind)
            }
        }
    }

    fn library(&mut self) -> Result<&HashMap<String, Function>, String> {
        if self.functions.is_none() {
            let functions =
                self.graph.functions().map_err(|e| format!("the functions cannot be read: {e}"))?;
            let named = functions.into_iter().map(|function| (function.name().into_owned(), function));
            self.functions = Some(named.collect());
        }
        self.functions.as_ref().ok_or_else(|| "there is no library of functions".to_string())
    }
}

/// What an `OpDef` says; nothing where it cannot be read.
fn kind(name: &str, definition: &[u8]) -> Option<Kind> {
    let definition = OpDef::decode(definition).ok()?;
    let attributes: Vec<AttrDef> = definition
        .attr
        .iter()
        .map(|attribute| AttrDef::decode(&attribute[..]).ok())
        .collect::<Option<_>>()?;
    let harmless = HARMLESS.contains(&name) || TABLES.contains(&name);
    let suspicious = SUSPICIOUS.iter().any(|part| name.contains(part))
        || definition.input_arg.iter().any(|input| input.is_ref);
    let stateful =
        definition.is_stateful || attributes.iter().any(|attribute| attribute.name == NAME_OF_STATE);
    let risk = if LOOPS.contains(&name) {
        Some(Risk::Endless)
    } else {
        (suspicious || stateful && !harmless).then_some(Risk::Acts)
    };
    let takes_functions = |attribute: &AttrDef| ["func", "list(func)"].contains(&attribute.r#type.as_str());
    let functions = attributes.into_iter().filter(takes_functions).map(|attribute| attribute.name).collect();
    Some(Kind { risk, functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    // OpDefs as TensorFlow writes them, shortened.
    const READS: &[u8] = b"\x0a\x0eReadVariableOp\x12\x0c\x0a\x08resource\x18\x14\x88\x01\x01";
    const ASSIGNS: &[u8] = b"\x0a\x06Assign\x12\x08\x0a\x03ref\x80\x01\x01\x12\x07\x0a\x05value";
    const CALLS: &[u8] =
        b"\x0a\x0fPartitionedCall\x22\x09\x0a\x01f\x12\x04func\x22\x0d\x0a\x06config\x12\x03int";
    const NAMES_STATE: &[u8] = b"\x0a\x07Unbatch\x22\x15\x0a\x0bshared_name\x12\x06string";

    #[test]
    fn an_operation_is_judged_by_name_and_definition() {
        let changes =
            |name: &str, definition| kind(name, definition).map(|kind| kind.risk == Some(Risk::Acts));
        assert_eq!(changes("ReadVariableOp", READS), Some(false), "stateful, but on the list");
        assert_eq!(changes("Unheard", READS), Some(true), "stateful, and not on the list");
        assert_eq!(changes("Assign", ASSIGNS), Some(true), "it takes a reference");
        assert_eq!(changes("PartitionedCall", CALLS), Some(false));
        assert_eq!(changes("SnapshotDatasetV2", CALLS), Some(true));
        assert_eq!(kind("StatelessWhile", CALLS).and_then(|kind| kind.risk), Some(Risk::Endless), "a loop");
        assert_eq!(changes("Unbatch", NAMES_STATE), Some(true), "its object outlives a run");
        assert_eq!(changes("VarHandleOp", NAMES_STATE), Some(false), "on the list");
        assert_eq!(changes("HashTableV2", NAMES_STATE), Some(false), "it is only read");
        assert_eq!(changes("LookupTableInsertV2", READS), Some(true));
        assert_eq!(kind("PartitionedCall", CALLS).map(|kind| kind.functions), Some(vec!["f".to_string()]));
    }

    #[test]
    fn what_is_not_an_operation_s_definition_is_not_known() {
        for broken in [&b"\x0a\x05ab"[..], b"\x0b", b"\xff", b"\x08", b"\x09\x00"] {
            assert!(kind("Any", broken).is_none(), "{broken:?}");
        }
    }
}
