//! Functions in the place of their calls.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::checks::{CALLS, Library, is_ordered};
use crate::tensorflow::proto::graph::{ArgDef, AttrValue, FunctionDef, NameAttrList, NodeDef, OpDef, source};

/// A function that says what it implements may be replaced by another one that says the same: its calls stay.
const REPLACEABLE: &str = "api_implements";
/// What ties operations to one device; it names them, and is a wish.
const COLOCATION: &str = "_class";
/// More are not worth the time to load.
const MOST_NODES: usize = 50_000;

/// Puts functions in the place of calls.
pub struct Inliner<'g, D> {
    library: &'g Library<'g>,
    /// The definition of an operation's type.
    definition: D,
    definitions: HashMap<String, OpDef>,
    /// The functions that are being put in place, to find those that call themselves.
    within: Vec<String>,
    /// What stands in the place of the calls.
    pub nodes: Vec<NodeDef>,
}

/// How the nodes of one function's body are called where it is put.
struct Scope<'s> {
    prefix: &'s str,
    arguments: HashMap<&'s str, &'s str>,
    nodes: HashMap<&'s str, &'s NodeDef>,
    /// The calls in the body that functions take the place of.
    replaced: HashSet<&'s str>,
}

impl<'g, D: Fn(&str) -> Result<OpDef, String>> Inliner<'g, D> {
    pub fn new(library: &'g Library<'g>, definition: D) -> Self {
        Self { library, definition, definitions: HashMap::new(), within: Vec::new(), nodes: Vec::new() }
    }

    /// Whether a function can take the place of this call.
    ///
    /// # Errors
    /// An attribute cannot be read.
    pub fn replaces(&self, call: &NodeDef) -> Result<bool, String> {
        let Some(function) = self.function(call)? else { return Ok(false) };
        if function.attr.contains_key(REPLACEABLE) || self.within.iter().any(|name| name == function.name()) {
            return Ok(false);
        }
        Ok(outputs_of(function)?.is_some())
    }

    fn function(&self, call: &NodeDef) -> Result<Option<&'g FunctionDef>, String> {
        if !CALLS.contains(&call.op.as_str()) {
            return Ok(None);
        }
        let NameAttrList { name, attr } = call.attribute("f")?.func.unwrap_or_default();
        Ok(self.library.get(name.as_str()).filter(|_| attr.is_empty()).copied())
    }

    /// Puts its function in the place of a call that it [`replaces`](Self::replaces), and so on. Output `k` of the call is then
    /// the node `CALL/output_k`, and whoever waits for the call waits for `CALL/done`.
    ///
    /// What is returned waits for nothing that may be a check, and neither does one of those wait for another.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub fn put(&mut self, call: &NodeDef) -> Result<(), String> {
        let function = self.function(call)?.ok_or("a call has no function")?;
        self.within.push(function.name().to_owned());
        let inputs = call.input.iter().filter(|input| !input.starts_with('^')).map(String::as_str);
        let arguments = function.signature.iter().flat_map(|signature| &signature.input_arg);
        let mut scope = Scope {
            prefix: &call.name,
            arguments: arguments.map(|argument| argument.name.as_str()).zip(inputs).collect(),
            nodes: function.node_def.iter().map(|node| (node.name.as_str(), node)).collect(),
            replaced: HashSet::new(),
        };
        for node in &function.node_def {
            if self.replaces(node)? {
                scope.replaced.insert(&node.name);
            }
        }
        let returned: HashSet<&str> = function.ret.values().map(|from| source(from)).collect();
        for original in &function.node_def {
            let mut node = original.clone();
            let is_returned = returned.contains(node.name.as_str());
            if is_returned || is_ordered(&node) {
                // Newer versions of TensorFlow gather what all that is returned waits for in one operation.
                let gathers = |node: &NodeDef| is_returned && node.op == "NoOp";
                let goes =
                    |name: &str| scope.nodes.get(name).is_some_and(|node| is_ordered(node) || gathers(node));
                node.input.retain(|input| !input.strip_prefix('^').is_some_and(goes));
            }
            for input in &mut node.input {
                *input = self.reference(&scope, input)?;
            }
            node.name = format!("{}/{}", scope.prefix, node.name);
            node.attr.remove(COLOCATION);
            if node.device.is_empty() {
                node.device.clone_from(&call.device);
            }
            if scope.replaced.contains(original.name.as_str()) {
                self.put(&node)?;
            } else {
                self.push(node)?;
            }
        }
        for (index, (from, datatype)) in outputs_of(function)?.unwrap_or_default().into_iter().enumerate() {
            let from = self.reference(&scope, from)?;
            self.push(identity(format!("{}/output_{index}", call.name), from, datatype, &call.device))?;
        }
        let done = function.control_ret.values().map(|name| self.reference(&scope, &format!("^{name}")));
        let input = done.collect::<Result<_, _>>()?;
        let (name, device) = (format!("{}/done", call.name), call.device.clone());
        self.push(NodeDef { name, op: "NoOp".into(), input, device, ..NodeDef::default() })?;
        self.within.pop();
        Ok(())
    }

    fn push(&mut self, node: NodeDef) -> Result<(), String> {
        if self.nodes.len() == MOST_NODES {
            return Err(format!("its functions have more than {MOST_NODES} operations, each call counted"));
        }
        self.nodes.push(node);
        Ok(())
    }

    /// What an input of a function's node is called outside of the function.
    fn reference(&mut self, scope: &Scope<'_>, input: &str) -> Result<String, String> {
        let (prefix, name) = (scope.prefix, source(input));
        if let Some(control) = input.strip_prefix('^') {
            let part = if scope.replaced.contains(name) { "/done" } else { "" };
            return Ok(format!("^{prefix}/{control}{part}"));
        }
        let mut parts = input.split(':').skip(1);
        let (output, index) = (parts.next(), parts.next().unwrap_or("0"));
        if let Some(&argument) = scope.arguments.get(name) {
            // An argument is one tensor here.
            return if matches!(output, None | Some("0")) {
                Ok(argument.to_owned())
            } else {
                Err(odd(input))
            };
        }
        let node = scope.nodes.get(name).ok_or_else(|| odd(input))?;
        let index: usize = index.parse().map_err(|_| odd(input))?;
        if scope.replaced.contains(name) {
            return Ok(format!("{prefix}/{name}/output_{index}"));
        }
        let first = self.first(node, output.ok_or_else(|| odd(input))?)?;
        Ok(format!("{prefix}/{name}:{}", first + index))
    }

    /// The number of the first tensor of a node's output of this name, among all tensors of the node.
    fn first(&mut self, node: &NodeDef, output: &str) -> Result<usize, String> {
        if !self.definitions.contains_key(&node.op) {
            let definition = (self.definition)(&node.op)?;
            self.definitions.insert(node.op.clone(), definition);
        }
        let mut first = 0;
        for argument in &self.definitions[&node.op].output_arg {
            let argument = decoded(argument)?;
            if argument.name == output {
                return Ok(first);
            }
            first += tensors(node, &argument)?;
        }
        Err(format!("the operation {} has no output '{output}'", node.op))
    }
}

/// How many tensors an output is.
fn tensors(node: &NodeDef, argument: &ArgDef) -> Result<usize, String> {
    let unknown =
        || format!("the operation '{}' ({}) does not say how many outputs it has", node.name, node.op);
    if !argument.number_attr.is_empty() {
        let number = node.attribute(&argument.number_attr)?.i;
        return number.and_then(|number| number.try_into().ok()).ok_or_else(unknown);
    }
    if !argument.type_list_attr.is_empty() {
        let list = node.attribute(&argument.type_list_attr)?.list;
        return list.map(|list| list.r#type.len()).ok_or_else(unknown);
    }
    Ok(1)
}

/// Where the outputs of a function come from, and their types; nothing where a type depends on the call.
fn outputs_of(function: &FunctionDef) -> Result<Option<Vec<(&str, i32)>>, String> {
    let Some(signature) = &function.signature else { return Ok(None) };
    let mut outputs = Vec::with_capacity(signature.output_arg.len());
    for argument in &signature.output_arg {
        let argument = decoded(argument)?;
        let from = function.ret.get(&argument.name).filter(|_| argument.r#type != 0);
        let Some(from) = from else { return Ok(None) };
        outputs.push((from.as_str(), argument.r#type));
    }
    Ok(Some(outputs))
}

fn decoded(argument: &[u8]) -> Result<ArgDef, String> {
    ArgDef::decode(argument).map_err(|e| format!("an output of an operation cannot be read: {e}"))
}

fn odd(reference: &str) -> String {
    format!("'{reference}' in a function names no tensor")
}

/// An operation that hands a tensor on.
fn identity(name: String, from: String, datatype: i32, device: &str) -> NodeDef {
    NodeDef {
        name,
        op: "Identity".into(),
        input: vec![from],
        device: device.to_owned(),
        attr: [("T".to_owned(), AttrValue::of_type(datatype))].into(),
        ..NodeDef::default()
    }
}
