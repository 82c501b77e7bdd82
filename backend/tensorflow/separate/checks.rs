//! Which checks an output waits for.
//!
//! Every output of a TensorFlow 2 function waits for all operations that TensorFlow counts as having side effects, and each of those
//! for the one before: reads of variables, calls, and checks (`Assert`, `CheckNumerics`). Where nothing has side effects, only the
//! checks matter. One belongs to the outputs that need what it looks at; one that looks at nothing but inputs belongs to all.

use std::collections::{HashMap, HashSet};

use crate::tensorflow::inspect::{CHECKS, HARMLESS};
use crate::tensorflow::proto::graph::{FunctionDef, NodeDef, source};

/// Operations that call a function.
pub const CALLS: [&str; 2] = ["PartitionedCall", "StatefulPartitionedCall"];

/// What is read rather than computed, so that having it in common does not make a check one of an output.
const SOURCES: [&str; 2] = ["Const", "ReadVariableOp"];

/// The functions of a graph, by name.
pub type Library<'g> = HashMap<&'g str, &'g FunctionDef>;

/// Whether others wait for a node because of what it may do, and it for others: here it does nothing, or checks.
pub fn is_ordered(node: &NodeDef) -> bool {
    HARMLESS.contains(&node.op.as_str()) || CALLS.contains(&node.op.as_str())
}

/// Lets each of `outputs`, all of them among `nodes`, wait for the checks that belong to it. `library` has the functions that
/// nodes still call.
///
/// # Errors
/// An attribute cannot be read.
pub fn attach(nodes: &mut [NodeDef], outputs: &[String], library: &Library<'_>) -> Result<(), String> {
    let mut functions = Functions { library, known: HashMap::new() };
    let mut checks = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if functions.checks(node)? {
            checks.push(index);
        }
    }
    if checks.is_empty() {
        return Ok(());
    }
    let graph = Nodes::new(nodes);
    let ends: Vec<usize> = outputs.iter().filter_map(|output| graph.index(output)).collect();
    let needs: Vec<Behind<'_>> = ends.iter().map(|&end| graph.behind(end, &HashSet::new())).collect();
    let needed: HashSet<&str> = needs.iter().flat_map(|needs| &needs.tensors).copied().collect();
    let is_source =
        |tensor: &str| graph.index(tensor).is_some_and(|index| SOURCES.contains(&nodes[index].op.as_str()));
    let mut waits: Vec<Vec<String>> = vec![Vec::new(); ends.len()];
    for check in checks {
        // Back from the check to the first tensors that some output needs.
        let Behind { tensors: mut looks_at, .. } = graph.behind(check, &needed);
        looks_at.retain(|tensor| needed.contains(tensor) && !is_source(tensor));
        for (needs, waits) in needs.iter().zip(&mut waits) {
            let belongs = looks_at.is_empty() || !looks_at.is_disjoint(&needs.tensors);
            if belongs && !needs.nodes.contains(&check) {
                waits.push(format!("^{}", nodes[check].name));
            }
        }
    }
    for (end, waits) in ends.into_iter().zip(waits) {
        nodes[end].input.extend(waits);
    }
    Ok(())
}

/// The functions of a graph, and which have checks, also in what they call.
struct Functions<'g> {
    library: &'g Library<'g>,
    known: HashMap<&'g str, bool>,
}

impl Functions<'_> {
    /// Whether a node is a check, or calls a function with one.
    fn checks(&mut self, node: &NodeDef) -> Result<bool, String> {
        if CHECKS.contains(&node.op.as_str()) {
            return Ok(true);
        }
        let mut called = vec![node.op.clone()];
        for name in node.attr.keys() {
            let value = node.attribute(name)?;
            let list = value.list.into_iter().flat_map(|list| list.func);
            called.extend(value.func.into_iter().chain(list).map(|function| function.name));
        }
        for name in called {
            if self.has_checks(&name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_checks(&mut self, name: &str) -> Result<bool, String> {
        let Some((&name, &function)) = self.library.get_key_value(name) else { return Ok(false) };
        if let Some(&known) = self.known.get(name) {
            return Ok(known);
        }
        // Noted first: a function may call itself.
        self.known.insert(name, false);
        let mut has = false;
        for node in &function.node_def {
            has = has || self.checks(node)?;
        }
        self.known.insert(name, has);
        Ok(has)
    }
}

struct Nodes<'n> {
    nodes: &'n [NodeDef],
    by_name: HashMap<&'n str, usize>,
}

/// What is behind a node.
struct Behind<'n> {
    /// Nodes, it among them.
    nodes: HashSet<usize>,
    /// Tensors, as the nodes name them.
    tensors: HashSet<&'n str>,
}

impl<'n> Nodes<'n> {
    fn new(nodes: &'n [NodeDef]) -> Self {
        let by_name = nodes.iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect();
        Self { nodes, by_name }
    }

    /// The node that a reference names; nothing for what comes from elsewhere.
    fn index(&self, reference: &str) -> Option<usize> {
        self.by_name.get(source(reference)).copied()
    }

    /// What is behind the node `from`, and nothing that is behind a tensor of `last`.
    fn behind(&self, from: usize, last: &HashSet<&str>) -> Behind<'n> {
        let mut behind = Behind { nodes: HashSet::from([from]), tensors: HashSet::new() };
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            for input in &self.nodes[index].input {
                let Some(source) = self.index(input) else { continue };
                behind.tensors.insert(input);
                if !last.contains(input.as_str()) && behind.nodes.insert(source) {
                    open.push(source);
                }
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{call, function, node};
    use super::*;

    /// What each of the nodes `outputs` waits for.
    fn waits(mut nodes: Vec<NodeDef>, outputs: &[&str], functions: &[FunctionDef]) -> Vec<Vec<String>> {
        let library = functions.iter().map(|function| (function.name(), function)).collect();
        let names: Vec<String> = outputs.iter().map(|output| output.to_string()).collect();
        attach(&mut nodes, &names, &library).unwrap();
        let graph = Nodes::new(&nodes);
        let waits = |output: &&str| {
            let inputs = &nodes[graph.index(output).unwrap()].input;
            inputs.iter().filter_map(|input| input.strip_prefix('^').map(str::to_owned)).collect()
        };
        outputs.iter().map(waits).collect()
    }

    #[test]
    fn an_output_waits_for_the_checks_of_what_it_needs() {
        // h is behind cheap and dear, d behind dear.
        let nodes = vec![
            node("reads", "ReadVariableOp", &["outside_v"]),
            node("h", "MatMul", &["outside_x", "reads:0"]),
            node("d", "Log", &["h:0"]),
            node("zero", "Const", &[]),
            node("positive", "Greater", &["outside_x", "zero:0"]),
            node("of_inputs", "Assert", &["positive:0"]),
            node("is_d", "IsFinite", &["d:0"]),
            node("of_d", "Assert", &["is_d:0"]),
            node("of_h", "CheckNumerics", &["h:0"]),
            node("of_v", "CheckNumerics", &["reads:0"]),
            node("unused", "CheckNumerics", &["side:0"]),
            node("side", "Exp", &["outside_x"]),
            node("used", "CheckNumerics", &["d:0"]),
            node("parts", "Split", &["outside_x"]),
            node("of_part", "CheckNumerics", &["parts:1"]),
            node("cheap", "Identity", &["h:0"]),
            node("dear", "Identity", &["used:0"]),
            node("part_0", "Identity", &["parts:0"]),
            node("part_1", "Identity", &["parts:1"]),
        ];
        let of_all = ["of_inputs", "of_v", "unused"];
        let expected = [
            vec!["of_inputs", "of_h", "of_v", "unused"],
            vec!["of_inputs", "of_d", "of_h", "of_v", "unused"],
        ];
        let expected = [&expected[..], &[of_all.to_vec(), [&of_all[..], &["of_part"]].concat()]].concat();
        assert_eq!(waits(nodes, &["cheap", "dear", "part_0", "part_1"], &[]), expected);
    }

    #[test]
    fn what_calls_a_check_is_one() {
        let inner = function("inner", vec![node("a", "Assert", &["x"])], &[], &["a"]);
        let outer = function("outer", vec![call("c", "inner", &["x"])], &[], &["c"]);
        let nodes = || {
            vec![
                node("y", "Exp", &["outside_x"]),
                call("checks", "outer", &["y:0"]),
                call("used", "outer", &["outside_x"]),
                node("one", "Identity", &["y:0"]),
                node("two", "Identity", &["used:0"]),
            ]
        };
        // A call that is needed does its own checks; the others wait for it, since it looks at inputs only.
        assert_eq!(waits(nodes(), &["one", "two"], &[inner, outer]), [vec!["checks", "used"], vec![]]);
        let harmless = function("outer", vec![node("a", "Exp", &["x"])], &[], &["a"]);
        assert_eq!(waits(nodes(), &["one", "two"], &[harmless]), [vec![""; 0], vec![]]);
    }
}
