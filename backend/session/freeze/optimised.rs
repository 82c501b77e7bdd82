//! The graph that TensorFlow's optimizer has made of one run becomes one that can be loaded and served.
//!
//! TensorFlow keeps a constant four times over in a session: in the graph, in the definition it came from, in the
//! graph placed on devices, and in the operation that yields it. A variable it keeps once. So what has become
//! a large constant, such as a convolution's weights with batch norm in them, is stored in a variable again.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::proto::{AttrValue, GraphDef, NodeDef, TensorProto};
use super::rewrite::attribute;

/// Bytes from which on a constant is stored in a variable: below, the reading would cost more than the copies.
const LARGE: usize = 64 << 10;

/// A tensor of a graph: its node and which of its outputs.
pub type Place = (String, i32);

/// A graph to be served.
#[derive(Debug)]
pub struct Served {
    pub definition: GraphDef,
    /// Where the inputs are fed.
    pub inputs: Vec<String>,
    /// Where the outputs are fetched.
    pub outputs: Vec<Place>,
    pub stored: Vec<Stored>,
}

/// A value that is stored in a variable once the graph is loaded.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// The node that is fed the value.
    pub feed: String,
    /// The node that stores it.
    pub assign: String,
    pub value: TensorProto,
}

/// Makes `graph`, which fed `inputs` and fetched `outputs`, one that can be served.
///
/// # Errors
/// Why it is not one.
pub fn serve(graph: GraphDef, inputs: &[Place], outputs: &[Place]) -> Result<Served, String> {
    let names = Names::new(&graph.node);
    let mut inputs = Ends::new("_arg", inputs);
    let mut outputs = Ends::new("_retval", outputs);
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut stored = Vec::new();
    for mut node in graph.node {
        for input in &mut node.input {
            *input = names.in_reference(input);
        }
        match node.op.as_str() {
            "_Arg" => {
                inputs.found(&node, (names.of(&node.name), 0))?;
                let datatype = node.attr.remove("T").ok_or("an input has no type")?;
                node.op = "Placeholder".into();
                node.attr = [("dtype".to_string(), datatype)].into();
            }
            "_Retval" => {
                let source = node.input.first().ok_or("an output comes from nowhere")?;
                outputs.found(&node, place(source)?)?;
                continue;
            }
            _ => {
                // What it was to be placed with may be gone, and it has a device by now.
                node.attr.remove("_class");
                // Of the operation that the optimizer has replaced, which may have had fewer outputs.
                node.attr.remove("_output_shapes");
            }
        }
        node.name = names.of(&node.name);
        // In a loop, what comes after something belongs to a turn of it, and a variable to none.
        let value = if node.op == "Const" && node.input.is_empty() { large_value(&node)? } else { None };
        match value {
            Some(value) => stored.push(store(node, value, &mut nodes)),
            None => nodes.push(node),
        }
    }
    let inputs = inputs.all()?.into_iter().map(|(name, _)| name).collect();
    Ok(Served { definition: GraphDef { node: nodes, ..graph }, inputs, outputs: outputs.all()?, stored })
}

/// The value of a constant if it is large, of plain numbers, and not written in a shorter form.
fn large_value(node: &NodeDef) -> Result<Option<TensorProto>, String> {
    if node.attr.get("value").is_none_or(|value| value.len() < LARGE) {
        return Ok(None);
    }
    let value = attribute(node, "value")?.tensor.ok_or("a constant has no value")?;
    let bytes = value
        .dims()
        .zip(value.element_size())
        .and_then(|(dims, size)| dims.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim)));
    Ok((bytes == Some(value.tensor_content.len() as u64)).then_some(value))
}

/// Pushes the nodes that store and read a value in place of the constant `node`.
fn store(node: NodeDef, value: TensorProto, nodes: &mut Vec<NodeDef>) -> Stored {
    let NodeDef { name, device, .. } = node;
    let part = |part: &str| format!("{name}/stored{part}");
    let (handle, feed, assign) = (part(""), part("/feed"), part("/assign"));
    let datatype = || ("dtype".to_string(), AttrValue::of_type(value.dtype));
    let mut push = |name: &str, op: &str, input: &[&String], attr: BTreeMap<String, Vec<u8>>| {
        let input = input.iter().copied().cloned().collect();
        let (name, op, device) = (name.into(), op.into(), device.clone());
        nodes.push(NodeDef { name, op, input, device, attr, ..NodeDef::default() });
    };
    let shape = AttrValue { shape: value.tensor_shape.clone(), ..AttrValue::default() };
    // Two variables of one name, and that is also of none, would be one.
    let own_name = AttrValue { s: Some(handle.clone().into_bytes()), ..AttrValue::default() };
    let own = [("shape", shape), ("shared_name", own_name)]
        .map(|(name, value)| (name.to_string(), value.encode_to_vec()));
    push(&handle, "VarHandleOp", &[], own.into_iter().chain([datatype()]).collect());
    push(&feed, "Placeholder", &[], [datatype()].into());
    push(&assign, "AssignVariableOp", &[&handle, &feed], [datatype()].into());
    push(&name, "ReadVariableOp", &[&handle], [datatype()].into());
    Stored { feed, assign, value }
}

/// New names for the nodes whose names only TensorFlow itself may give.
struct Names(HashMap<String, String>);

impl Names {
    fn new(nodes: &[NodeDef]) -> Self {
        let all: HashSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let own = all.iter().filter(|name| name.starts_with('_'));
        let renamed = own.map(|name| {
            let mut new = format!("x{name}");
            while all.contains(new.as_str()) {
                new.insert(0, 'x');
            }
            (name.to_string(), new)
        });
        Self(renamed.collect())
    }

    fn of(&self, name: &str) -> String {
        self.0.get(name).map_or(name, String::as_str).to_string()
    }

    fn in_reference(&self, reference: &str) -> String {
        let (control, tensor) =
            reference.strip_prefix('^').map_or(("", reference), |operation| ("^", operation));
        match tensor.split_once(':') {
            Some((node, index)) => format!("{control}{}:{index}", self.of(node)),
            None => format!("{control}{}", self.of(tensor)),
        }
    }
}

/// Inputs or outputs of the run, and where they are found in the graph.
struct Ends<'p> {
    prefix: &'static str,
    places: &'p [Place],
    found: Vec<Option<Place>>,
}

impl<'p> Ends<'p> {
    fn new(prefix: &'static str, places: &'p [Place]) -> Self {
        Self { prefix, places, found: vec![None; places.len()] }
    }

    /// Notes that `node` is one of them, which its name tells.
    fn found(&mut self, node: &NodeDef, place: Place) -> Result<(), String> {
        let number = attribute(node, "index")?.i.unwrap_or(0);
        let is_it = |(name, index): &Place| node.name == format!("{}_{name}_{index}_{number}", self.prefix);
        let position = self.places.iter().position(is_it);
        let position = position.ok_or_else(|| format!("the optimised graph has an odd '{}'", node.name))?;
        self.found[position] = Some(place);
        Ok(())
    }

    fn all(self) -> Result<Vec<Place>, String> {
        let missing = |(found, (name, _)): (Option<Place>, &Place)| {
            found.ok_or_else(|| format!("'{name}' of its signature is not used"))
        };
        self.found.into_iter().zip(self.places).map(missing).collect()
    }
}

fn place(reference: &str) -> Result<Place, String> {
    match reference.split_once(':') {
        None => Ok((reference.into(), 0)),
        Some((node, index)) => {
            let index = index.parse().map_err(|_| format!("'{reference}' names no tensor"))?;
            Ok((node.into(), index))
        }
    }
}
