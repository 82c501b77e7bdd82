//! What a graph may do besides answering, and how large it is: whether the backend may run it at load, when
//! nobody has asked for it.

use std::collections::{HashMap, HashSet};

use tensorflow::{Function, Graph, Operation};

use super::Endpoint;

/// Operations that a graph may have to be tried at load: with more it is no small graph, and its first run,
/// for which TensorFlow optimises it, would make loading longer than the trial can gain.
const MOST_OPERATIONS: usize = 300;

/// Operations that TensorFlow calls stateful although they change nothing. The calls among them are as
/// harmless as the functions they call, which are looked into.
const HARMLESS: [&str; 13] = [
    "_Arg",
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

/// Operations that begin a loop. Where its end depends on the inputs, it may have none on zeros, and TensorFlow cannot
/// be trusted to end such a run in time: that needs a thread of its pool, which other runs may have.
const LOOPS: [&str; 4] = ["Enter", "RefEnter", "StatelessWhile", "While"];

/// Parts of the names of operations that act on the world outside although TensorFlow does not call them
/// stateful: their state is in an object that they are given, or in a file.
const SUSPICIOUS: [&str; 4] = ["Dataset", "Debug", "Infeed", "PyFunc"];

/// What speaks against running a model at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The run may change something, or never end; the reason.
    Acts(String),
    /// It is no small graph; the reason.
    Large(String),
}

/// Why the operations behind `outputs` are better not run at load; nothing when they may be. `inputs` are
/// fed, so what is behind those does not run.
pub fn objection(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Option<Objection> {
    let count = match count(graph, inputs, outputs) {
        Ok(count) => count,
        Err(reason) => return Some(Objection::Acts(reason)),
    };
    let large = count > MOST_OPERATIONS;
    large.then(|| Objection::Large(format!("the graph has more than {MOST_OPERATIONS} operations")))
}

/// Which of the operations behind `outputs` may change something, keep something from one run to the next other than
/// by reading variables, or go on without end; nothing when none does.
pub fn risk(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Option<String> {
    count(graph, inputs, outputs).err()
}

/// How many operations there are behind `outputs`.
///
/// # Errors
/// One of them may change something or never end; which, or why that is not known.
fn count(graph: &Graph, inputs: &[Endpoint], outputs: &[Endpoint]) -> Result<usize, String> {
    let mut inspection =
        Inspection { graph, kinds: HashMap::new(), functions: None, called: Vec::new(), count: 0 };
    let mut seen: HashSet<String> = inputs.iter().map(|input| input.operation_name.clone()).collect();
    let mut open: Vec<Operation> = outputs.iter().map(|output| output.operation.clone()).collect();
    while let Some(operation) = open.pop() {
        let name = operation.name().unwrap_or_default();
        if !seen.insert(name) {
            continue;
        }
        inspection.operation(&operation)?;
        open.extend((0..operation.num_inputs()).map(|index| operation.input(index).0));
        open.extend(operation.control_inputs());
    }
    let mut seen = HashSet::new();
    while let Some(function) = inspection.called.pop() {
        if !seen.insert(function.clone()) {
            continue;
        }
        inspection.function(&function)?;
    }
    Ok(inspection.count)
}

/// What is known of a kind of operation.
#[derive(Clone)]
struct Kind {
    /// What speaks against running it at load.
    risk: Option<&'static str>,
    /// The attributes that hold functions.
    functions: Vec<String>,
}

struct Inspection<'g> {
    graph: &'g Graph,
    kinds: HashMap<String, Kind>,
    /// Those of the graph's library, by name, once they are needed.
    functions: Option<HashMap<String, Function>>,
    /// Names of functions to look into.
    called: Vec<String>,
    count: usize,
}

type Verdict = Result<(), String>;

impl Inspection<'_> {
    fn operation(&mut self, operation: &Operation) -> Verdict {
        let kind = operation.op_type().map_err(|_| "an operation has no readable type".to_string())?;
        let attributes = self.kind(&kind)?.functions;
        for attribute in attributes {
            let value = operation
                .get_attr_value_proto(&attribute)
                .map_err(|e| format!("the attribute '{attribute}' of a {kind} cannot be read: {e}"))?;
            self.calls_of(&value)?;
        }
        Ok(())
    }

    fn function(&mut self, name: &str) -> Verdict {
        const NODE: u64 = 3;
        const OP: u64 = 2;
        const ATTRIBUTE: u64 = 5;
        let unreadable = || format!("the function '{name}' cannot be read");
        let definition = self
            .library()?
            .get(name)
            .ok_or_else(|| format!("the function '{name}' is not in the graph"))?
            .to_function_def()
            .map_err(|_| unreadable())?;
        for node in messages(&definition, NODE).ok_or_else(unreadable)? {
            let kind = messages(node, OP).and_then(|op| text(op.first()?)).ok_or_else(unreadable)?;
            self.kind(&kind)?;
            for entry in messages(node, ATTRIBUTE).ok_or_else(unreadable)? {
                for value in messages(entry, 2).ok_or_else(unreadable)? {
                    self.calls_of(value)?;
                }
            }
        }
        Ok(())
    }

    /// Notes the functions that an `AttrValue` names.
    fn calls_of(&mut self, value: &[u8]) -> Verdict {
        const LIST: u64 = 1;
        const FUNCTION: u64 = 10;
        const FUNCTION_OF_LIST: u64 = 9;
        let names = || {
            let mut functions = messages(value, FUNCTION)?;
            for list in messages(value, LIST)? {
                functions.extend(messages(list, FUNCTION_OF_LIST)?);
            }
            functions.into_iter().map(|function| text(messages(function, 1)?.first()?)).collect()
        };
        let names: Option<Vec<String>> = names();
        self.called.extend(names.ok_or("an attribute cannot be read")?);
        Ok(())
    }

    /// Counts an operation and tells of its kind.
    fn kind(&mut self, name: &str) -> Result<Kind, String> {
        self.count += 1;
        let kind = match self.kinds.get(name) {
            Some(kind) => kind.clone(),
            None => {
                let kind = self
                    .graph
                    .get_op_def(name)
                    .ok()
                    .and_then(|definition| kind(name, &definition))
                    .ok_or_else(|| format!("it is not known what the operation {name} does"))?;
                self.kinds.insert(name.to_string(), kind.clone());
                // In old graphs a function is called by an operation of its name.
                if self.library()?.contains_key(name) {
                    self.called.push(name.to_string());
                }
                kind
            }
        };
        match kind.risk {
            Some(risk) if !self.library()?.contains_key(name) => Err(format!("the operation {name} {risk}")),
            _ => Ok(kind),
        }
    }

    fn library(&mut self) -> Result<&HashMap<String, Function>, String> {
        if self.functions.is_none() {
            let functions =
                self.graph.get_functions().map_err(|e| format!("the functions cannot be read: {e}"))?;
            let named =
                functions.into_iter().filter_map(|function| Some((function.get_name().ok()?, function)));
            self.functions = Some(named.collect());
        }
        self.functions.as_ref().ok_or_else(|| "there is no library of functions".to_string())
    }
}

/// What an `OpDef` tells; nothing where it cannot be read.
fn kind(name: &str, definition: &[u8]) -> Option<Kind> {
    const INPUT: u64 = 2;
    const IS_REFERENCE: u64 = 16;
    const ATTRIBUTE: u64 = 4;
    const IS_STATEFUL: u64 = 17;
    let stateful = number(definition, IS_STATEFUL)? != 0;
    let mut takes_reference = false;
    for input in messages(definition, INPUT)? {
        takes_reference |= number(input, IS_REFERENCE)? != 0;
    }
    let mut functions = Vec::new();
    for attribute in messages(definition, ATTRIBUTE)? {
        let [name, kind] =
            [1, 2].map(|field| messages(attribute, field).and_then(|text_| text(text_.first()?)));
        if ["func", "list(func)"].contains(&kind?.as_str()) {
            functions.push(name?);
        }
    }
    let suspicious = SUSPICIOUS.iter().any(|part| name.contains(part));
    let risk = if LOOPS.contains(&name) {
        Some("may go on without end on zeros")
    } else {
        let changes_things = suspicious || takes_reference || stateful && !HARMLESS.contains(&name);
        changes_things.then_some("may do more than to answer")
    };
    Some(Kind { risk, functions })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// A field of a serialised protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields `number` that hold messages, strings or bytes; nothing where `message` is not a message.
fn messages(message: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    let of_that_number = |(key, field)| match field {
        Field::Bytes(bytes) if key == number => Some(bytes),
        _ => None,
    };
    Some(fields(message)?.into_iter().filter_map(of_that_number).collect())
}

/// The number in the field `number`, 0 where it is left out; nothing where `message` is not a message.
fn number(message: &[u8], number: u64) -> Option<u64> {
    let of_that_number = |(key, field)| match field {
        Field::Number(value) if key == number => Some(value),
        _ => None,
    };
    Some(fields(message)?.into_iter().filter_map(of_that_number).next_back().unwrap_or(0))
}

fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => fields.push((key >> 3, Field::Number(varint(&mut message)?))),
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                fields.push((key >> 3, Field::Bytes(bytes)));
                message = rest;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // OpDefs as TensorFlow writes them, shortened.
    const READS: &[u8] = b"\x0a\x0eReadVariableOp\x12\x0c\x0a\x08resource\x18\x14\x88\x01\x01";
    const ASSIGNS: &[u8] = b"\x0a\x06Assign\x12\x08\x0a\x03ref\x80\x01\x01\x12\x07\x0a\x05value";
    const CALLS: &[u8] =
        b"\x0a\x0fPartitionedCall\x22\x09\x0a\x01f\x12\x04func\x22\x0d\x0a\x06config\x12\x03int";

    #[test]
    fn what_may_do_harm_is_told_by_name_and_definition() {
        let changes = |name: &str, definition| kind(name, definition).map(|kind| kind.risk.is_some());
        assert_eq!(changes("ReadVariableOp", READS), Some(false), "stateful, but on the list");
        assert_eq!(changes("Unheard", READS), Some(true), "stateful, and not on the list");
        assert_eq!(changes("Assign", ASSIGNS), Some(true), "it takes a reference");
        assert_eq!(changes("PartitionedCall", CALLS), Some(false));
        assert_eq!(changes("SnapshotDatasetV2", CALLS), Some(true));
        assert_eq!(changes("StatelessWhile", CALLS), Some(true), "a loop");
        assert_eq!(kind("PartitionedCall", CALLS).map(|kind| kind.functions), Some(vec!["f".to_string()]));
    }

    #[test]
    fn what_is_no_message_is_told() {
        for broken in [
            &b"\x0a\x05ab"[..],
            b"\x0b",
            b"\xff",
            b"\x08",
            b"\x09\x00",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(fields(broken).is_none(), "{broken:?}");
        }
        assert_eq!(number(b"\x08\xac\x02", 1), Some(300));
        assert_eq!(number(b"", 1), Some(0));
    }
}
