//! A graph is cut down to what its signature needs, and variables become constants in it.
//!
//! Functions stay functions: TensorFlow's optimizer takes them apart itself. A variable's handle that goes into
//! a call becomes the variable's value, and the function's argument the value's type; where the function
//! reads the variable, it hands the value on. Control dependencies and names stay as they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::model::Variable;
use crate::tensorflow::proto::graph::{
    AttrValue, DT_RESOURCE, FunctionDef, FunctionDefLibrary, GraphDef, NameAttrList, NodeDef, source,
};
use crate::tensorflow::variables::HANDLE;

/// The types that replace the handles among a call's inputs, by index.
type Replaced = BTreeMap<usize, i32>;

/// Cuts `graph` down to the nodes that `roots` (names of nodes) need, and lists the variables among them.
///
/// # Errors
/// Why that cannot be done with the model's answers left as they are.
pub fn rewrite(graph: GraphDef, roots: &[&str]) -> Result<(GraphDef, Vec<Variable>), String> {
    let mut functions = Functions::new(graph.library.unwrap_or_default().function);
    let mut nodes = needed(graph.node, roots)?;
    let mut handles = HashMap::new();
    let mut variables = Vec::new();
    for (index, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.op == HANDLE) {
        if roots.contains(&node.name.as_str()) {
            return Err(format!("the signature names the variable '{}' itself", node.name));
        }
        let datatype = type_of(node, "dtype")?;
        handles.insert(node.name.clone(), datatype);
        variables.push(Variable { index, datatype });
        node.experimental_type = None;
    }
    for node in &mut nodes {
        read_values(node, &handles, &mut functions)?;
    }
    let function = functions.reachable(&nodes)?;
    let library = Some(FunctionDefLibrary { function });
    Ok((GraphDef { node: nodes, library, ..graph }, variables))
}

/// The nodes that `roots` need, in the order in which they were.
fn needed(nodes: Vec<NodeDef>, roots: &[&str]) -> Result<Vec<NodeDef>, String> {
    let index: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect();
    let mut needed = vec![false; nodes.len()];
    let mut open = roots.to_vec();
    while let Some(name) = open.pop() {
        let &index = index.get(name).ok_or_else(|| format!("the graph has no node '{name}'"))?;
        if !std::mem::replace(&mut needed[index], true) {
            open.extend(nodes[index].input.iter().map(|input| source(input)));
        }
    }
    let mut needed = needed.into_iter();
    Ok(nodes.into_iter().filter(|_| needed.next() == Some(true)).collect())
}

/// Makes a node that takes handles, `handles` by the names of what they come from, take values. Tells whether
/// the output `value` of it is now `output`.
fn read_values(
    node: &mut NodeDef,
    handles: &HashMap<String, i32>,
    functions: &mut Functions,
) -> Result<bool, String> {
    let replaced: Replaced = node
        .input
        .iter()
        .enumerate()
        .filter(|(_, input)| !input.starts_with('^'))
        .filter_map(|(index, input)| Some((index, *handles.get(source(input))?)))
        .collect();
    let Some(&datatype) = replaced.values().next() else {
        return Ok(false);
    };
    let unknown =
        |node: &NodeDef| Err(format!("the operation {} ('{}') takes a variable", node.op, node.name));
    let (op, kept): (_, &[&str]) = match node.op.as_str() {
        "PartitionedCall" | "StatefulPartitionedCall" => {
            functions.replace_in_call(node, &replaced)?;
            return Ok(false);
        }
        "ReadVariableOp" => ("Identity", &[]),
        "VariableShape" => ("Shape", &["out_type"]),
        // An embedding's look-up.
        "ResourceGather" if integer(node, "batch_dims")? == 0 => {
            ("Gather", &["Tindices", "validate_indices"])
        }
        _ => return unknown(node),
    };
    if replaced.len() != 1 || !replaced.contains_key(&0) {
        return unknown(node);
    }
    let had_value = node.op == "ReadVariableOp";
    let parameter = if op == "Gather" { "Tparams" } else { "T" };
    node.op = op.into();
    node.attr.retain(|name, _| kept.contains(&name.as_str()));
    node.attr.insert(parameter.into(), AttrValue::of_type(datatype));
    node.experimental_type = None;
    Ok(had_value)
}

/// The graph's library.
struct Functions {
    by_name: HashMap<String, FunctionDef>,
    /// The functions whose arguments have been replaced, and by what.
    replaced: HashMap<String, Replaced>,
}

impl Functions {
    fn new(functions: Vec<FunctionDef>) -> Self {
        let by_name = functions.into_iter().map(|function| (function.name().to_string(), function)).collect();
        Self { by_name, replaced: HashMap::new() }
    }

    /// Makes a call take values in place of handles, and the function that it calls.
    fn replace_in_call(&mut self, call: &mut NodeDef, replaced: &Replaced) -> Result<(), String> {
        let mut types = call.attribute("Tin")?.list.unwrap_or_default().r#type;
        for (&index, &datatype) in replaced {
            match types.get_mut(index) {
                Some(kind) if *kind == DT_RESOURCE => *kind = datatype,
                _ => {
                    return Err(format!("the types of the call '{}' are not those of its inputs", call.name));
                }
            }
        }
        call.attr.insert("Tin".into(), AttrValue::of_types(types));
        call.attr.remove("_read_only_resource_inputs");
        let called = call.attribute("f")?.func.unwrap_or_default();
        if !called.attr.is_empty() {
            return Err(format!("the function '{}' is called with attributes", called.name));
        }
        self.replace(&called.name, replaced)
    }

    fn replace(&mut self, name: &str, replaced: &Replaced) -> Result<(), String> {
        if let Some(before) = self.replaced.get(name) {
            return if before == replaced {
                Ok(())
            } else {
                Err(format!("the function '{name}' is called with variables of different types"))
            };
        }
        // Noted first: a function that calls itself finds it here.
        self.replaced.insert(name.into(), replaced.clone());
        let mut function =
            self.by_name.remove(name).ok_or_else(|| format!("the graph has no function '{name}'"))?;
        let handles = replace_arguments(&mut function, replaced)?;
        let mut renamed = HashSet::new();
        for node in &mut function.node_def {
            if read_values(node, &handles, self)? {
                renamed.insert(node.name.clone());
            }
        }
        rename_outputs(&mut function, &renamed);
        if let Some(handed_on) = function.ret.values().find(|from| handles.contains_key(source(from))) {
            return Err(format!("the function '{name}' returns the variable '{handed_on}'"));
        }
        self.by_name.insert(name.into(), function);
        Ok(())
    }

    /// The functions that `nodes` call, and those that these call.
    fn reachable(mut self, nodes: &[NodeDef]) -> Result<Vec<FunctionDef>, String> {
        let mut reachable = Vec::new();
        let mut open = called(nodes)?;
        while let Some(name) = open.pop() {
            // Not there: it is no function but an operation, or has been reached before.
            if let Some(function) = self.by_name.remove(&name) {
                if function.node_def.iter().any(|node| node.op == HANDLE) {
                    return Err(format!("the function '{name}' has a variable of its own"));
                }
                open.extend(called(&function.node_def)?);
                reachable.push(function);
            }
        }
        Ok(reachable)
    }
}

/// Gives a function's arguments their new types; returns these by the arguments' names.
fn replace_arguments(
    function: &mut FunctionDef,
    replaced: &Replaced,
) -> Result<HashMap<String, i32>, String> {
    let mut handles = HashMap::new();
    let signature = function.signature.as_mut().ok_or("a function has no signature")?;
    for (&index, &datatype) in replaced {
        let argument = signature
            .input_arg
            .get_mut(index)
            .filter(|argument| argument.r#type == DT_RESOURCE && argument.number_attr.is_empty())
            .ok_or_else(|| format!("the function '{}' takes other arguments", signature.name))?;
        argument.r#type = datatype;
        argument.handle_data.clear();
        argument.experimental_full_type = None;
        handles.insert(argument.name.clone(), datatype);
        // These tell of the handle: of its shape, and of which are one variable.
        function.arg_attr.remove(&(index as u32));
        function.resource_arg_unique_id.remove(&(index as u32));
    }
    function.attr.remove("_input_shapes");
    Ok(handles)
}

/// What was the output `value` of the nodes `renamed` is now `output`.
fn rename_outputs(function: &mut FunctionDef, renamed: &HashSet<String>) {
    let inputs = function.node_def.iter_mut().flat_map(|node| &mut node.input);
    for reference in inputs.chain(function.ret.values_mut()) {
        if let Some((node, "value:0")) = reference.split_once(':')
            && renamed.contains(node)
        {
            *reference = format!("{node}:output:0");
        }
    }
}

/// The functions that nodes name, and the kinds of the nodes: in old graphs a function is called by a node of
/// its name.
fn called(nodes: &[NodeDef]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for node in nodes {
        names.push(node.op.clone());
        for name in node.attr.keys() {
            names_in(&node.attribute(name)?, &mut names);
        }
    }
    Ok(names)
}

fn names_in(value: &AttrValue, names: &mut Vec<String>) {
    let list = value.list.iter().flat_map(|list| &list.func);
    for NameAttrList { name, attr } in value.func.iter().chain(list) {
        names.push(name.clone());
        attr.values().for_each(|value| names_in(value, names));
    }
}

fn type_of(node: &NodeDef, name: &str) -> Result<i32, String> {
    node.attribute(name)?.r#type.ok_or_else(|| format!("the operation '{}' has no {name}", node.name))
}

fn integer(node: &NodeDef, name: &str) -> Result<i64, String> {
    Ok(node.attribute(name)?.i.unwrap_or(0))
}
