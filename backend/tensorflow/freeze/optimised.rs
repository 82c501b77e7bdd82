//! The graph that TensorFlow's optimizer has made of one run becomes one that can be loaded, and then one to serve.
//!
//! TensorFlow keeps a constant four times over in a session: in the graph, in the definition it came from, in the
//! graph placed on devices, and in the operation that yields it. A variable it keeps once. So what is large, such
//! as a convolution's weights, is stored in a variable in the session that serves.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::model::{Held, LARGE, Model, Stored};
use super::values;
use crate::tensorflow::endpoint::Place;
use crate::tensorflow::proto::graph::{AttrValue, GraphDef, NodeDef, TensorProto, TensorShapeProto, source};
use crate::tensorflow::tensor::Tensor;
use crate::tensorflow::variables::HANDLE;

/// The shapes of a graph's inputs, each an `AttrValue`, by name.
pub fn shapes(graph: &GraphDef) -> HashMap<String, Vec<u8>> {
    let inputs = graph.node.iter().filter(|node| node.op == "Placeholder");
    inputs.filter_map(|node| Some((node.name.clone(), node.attr.get("shape")?.clone()))).collect()
}

/// Makes `graph`, which was handed out by a run of `model`, one that can be loaded. `shapes` are those of the graph
/// that ran.
///
/// # Errors
/// Why it is not one.
pub fn loadable(graph: GraphDef, model: &Model, shapes: &HashMap<String, Vec<u8>>) -> Result<Model, String> {
    let names = Names::new(&graph.node);
    let held_places: Vec<Place> = model.held.iter().map(|held| (held.name.clone(), 0)).collect();
    let fed: Vec<Place> = model.inputs.iter().cloned().chain(held_places).collect();
    let mut inputs = Ends::new("_arg", &fed);
    let mut outputs = Ends::new("_retval", &model.outputs);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in graph.node {
        for input in &mut node.input {
            *input = names.in_reference(input);
        }
        match node.op.as_str() {
            "_Arg" => {
                let (was, _) = inputs.found(&node, (names.of(&node.name), 0))?;
                let datatype = node.attr.remove("T").ok_or("an input has no type")?;
                node.op = "Placeholder".into();
                node.attr = [("dtype".to_string(), datatype)].into();
                node.attr.extend(shapes.get(was).map(|shape| ("shape".to_string(), shape.clone())));
            }
            "_Retval" => {
                let from = node.input.first().ok_or("an output comes from nowhere")?;
                outputs.found(&node, place(from)?)?;
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
        nodes.push(node);
    }
    let (inputs, held) = inputs.found.split_at(model.inputs.len());
    // A weight that the optimizer found to be of no use is not there any more.
    let held = held.iter().zip(&model.held).filter_map(|(place, held)| {
        let (name, _) = place.clone()?;
        Some(Held { name, variable: held.variable })
    });
    Ok(Model {
        definition: GraphDef { node: nodes, ..graph },
        inputs: all(inputs, &model.inputs)?,
        outputs: all(&outputs.found, &model.outputs)?,
        held: held.collect(),
    })
}

/// Makes of an optimised graph one to serve: what is held out of it is to be stored in variables, and with `stores_large` what is
/// large as well.
///
/// # Errors
/// The graph cannot be read.
pub fn servable(
    graph: GraphDef,
    held: Vec<Held>,
    values: Vec<Tensor>,
    stores_large: bool,
) -> Result<(GraphDef, Vec<Stored>), String> {
    let mut values: Vec<Option<Tensor>> = values.into_iter().map(Some).collect();
    let mut held: HashMap<String, Option<Tensor>> =
        held.into_iter().map(|held| (held.name, values[held.variable].take())).collect();
    let devices = devices_of_users(&graph.node);
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut stored = Vec::new();
    let mut constant = HashSet::new();
    for node in graph.node {
        let value = match held.remove(&node.name) {
            Some(value) => value,
            // In a loop, what comes after something belongs to a turn of it, and a variable to none.
            None if stores_large && node.op == "Const" && node.input.is_empty() => large_value(&node)?,
            None => None,
        };
        if value.is_some() || node.op == "Const" {
            constant.insert(node.name.clone());
        }
        match value {
            Some(value) => {
                let device = devices.get(&node.name).cloned().flatten();
                stored.push(store(node, value, device, &mut nodes)?);
            }
            None => nodes.push(node),
        }
    }
    for node in nodes.iter_mut().filter(|node| node.attr.contains_key("is_filter_const")) {
        // oneDNN then lays the weights out once.
        if node.input.get(1).is_some_and(|weights| constant.contains(source(weights))) {
            let yes = AttrValue { b: Some(true), ..AttrValue::default() };
            node.attr.insert("is_filter_const".into(), yes.encode_to_vec());
        }
    }
    Ok((GraphDef { node: nodes, ..graph }, stored))
}

/// The value of a constant if it is large, of plain numbers, and not written in a shorter form.
fn large_value(node: &NodeDef) -> Result<Option<Tensor>, String> {
    if node.attr.get("value").is_none_or(|value| value.len() < LARGE) {
        return Ok(None);
    }
    let value: TensorProto = node.attribute("value")?.tensor.ok_or("a constant has no value")?;
    values::tensor(&value)
}

/// The device on which all operations are that use what a node yields, by the node's name; nothing where they are on several.
fn devices_of_users(nodes: &[NodeDef]) -> HashMap<String, Option<String>> {
    let mut devices: HashMap<String, Option<String>> = HashMap::new();
    for user in nodes {
        for input in user.input.iter().filter(|input| !input.starts_with('^')) {
            match devices.entry(source(input).to_string()) {
                Entry::Vacant(entry) => drop(entry.insert(Some(user.device.clone()))),
                Entry::Occupied(mut entry) => {
                    if entry.get().as_ref().is_some_and(|device| *device != user.device) {
                        entry.insert(None);
                    }
                }
            }
        }
    }
    devices
}

/// Pushes the nodes that store and read a value in place of `node`: on `device`, or else on that of `node`, which for one
/// that was held out of the graph is where it was fed.
fn store(
    node: NodeDef,
    value: Tensor,
    device: Option<String>,
    nodes: &mut Vec<NodeDef>,
) -> Result<Stored, String> {
    let datatype = node.attr.get("dtype").ok_or("a weight has no type")?.clone();
    let NodeDef { name, device: own, .. } = node;
    let device = device.unwrap_or(own);
    let part = |part: &str| format!("{name}/stored{part}");
    let (handle, feed, assign) = (part(""), part("/feed"), part("/assign"));
    let datatype = || ("dtype".to_string(), datatype.clone());
    let mut push = |name: &str, op: &str, input: &[&String], attr: BTreeMap<String, Vec<u8>>| {
        let input = input.iter().copied().cloned().collect();
        let (name, op, device) = (name.into(), op.into(), device.clone());
        nodes.push(NodeDef { name, op, input, device, attr, ..NodeDef::default() });
    };
    let shape = AttrValue::of_shape(TensorShapeProto::of(value.dims()));
    // Two variables of one name, and that is also of none, would be one.
    let own_name = AttrValue { s: Some(handle.clone().into_bytes()), ..AttrValue::default() };
    let own = [("shape", shape), ("shared_name", own_name.encode_to_vec())]
        .map(|(name, value)| (name.to_string(), value));
    push(&handle, HANDLE, &[], own.into_iter().chain([datatype()]).collect());
    push(&feed, "Placeholder", &[], [datatype()].into());
    push(&assign, "AssignVariableOp", &[&handle, &feed], [datatype()].into());
    push(&name, "ReadVariableOp", &[&handle], [datatype()].into());
    Ok(Stored { feed, assign, value })
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

    /// Notes that `node` is one of them, which its name tells, and at `place` now. Returns where it was.
    fn found(&mut self, node: &NodeDef, place: Place) -> Result<&'p Place, String> {
        let number = node.attribute("index")?.i.unwrap_or(0);
        let is_it = |(name, index): &Place| node.name == format!("{}_{name}_{index}_{number}", self.prefix);
        let position = self.places.iter().position(is_it);
        let position = position.ok_or_else(|| format!("the optimised graph has an odd '{}'", node.name))?;
        self.found[position] = Some(place);
        Ok(&self.places[position])
    }
}

/// The places of all that were to be found.
fn all(found: &[Option<Place>], of: &[Place]) -> Result<Vec<Place>, String> {
    let missing = |(found, (name, _)): (&Option<Place>, &Place)| {
        found.clone().ok_or_else(|| format!("'{name}' of its signature is not used"))
    };
    found.iter().zip(of).map(missing).collect()
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
