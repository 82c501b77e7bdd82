//! Outputs of a TensorFlow 2 signature that can be computed one without the other.
//!
//! Such a signature is one call of a function, and whoever fetches an output of a call waits for all that the call does. So the
//! operations of the function, and of those that it calls, are added to the graph one by one, and what is fetched is one of
//! them. They share the objects of the session, such as variables, with the call, which stays and is not run.

mod checks;
#[cfg(test)]
mod fixtures;
mod inline;

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::endpoint::Place;
use super::graph::Graph;
use super::proto::graph::{GraphDef, NodeDef, OpDef};
use checks::{CALLS, Library};
use inline::Inliner;

/// A larger graph has values in it that are not worth having twice, and more often while it is loaded.
const MOST_BYTES: usize = 64 << 20;

/// What begins the names of all that is added.
const ADDED: &str = "separate_outputs";

/// What is added to a graph.
#[derive(Debug, PartialEq)]
struct Addition {
    nodes: Vec<NodeDef>,
    /// The names under which it takes tensors of the graph.
    from_here: Vec<(String, Place)>,
    /// Where the outputs are now.
    outputs: Vec<Place>,
}

/// Changes `graph`, none of whose operations has side effects, so that each of `outputs` can be computed without the others;
/// returns where they are then. Nothing where there is nothing to gain.
///
/// # Errors
/// Why that cannot be done.
pub fn separate(graph: &Graph, outputs: &[Place]) -> Result<Option<Vec<Place>>, String> {
    let is_call = |(name, _): &Place| {
        graph.operation(name).is_some_and(|operation| CALLS.contains(&&*operation.op_type()))
    };
    let different: HashSet<&Place> = outputs.iter().collect();
    if different.len() < 2 || !outputs.iter().any(is_call) {
        return Ok(None);
    }
    let definition = graph.definition().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let size = definition.bytes().len();
    if size > MOST_BYTES {
        return Err(format!(
            "the graph has {} MiB, and more than {} are not looked at",
            size >> 20,
            MOST_BYTES >> 20
        ));
    }
    let definition: GraphDef = definition.decode().map_err(|e| format!("the graph cannot be read: {e}"))?;
    let op_def = |op: &str| {
        let definition = graph.op_def(op).map_err(|e| format!("the operation {op} is not known: {e}"))?;
        definition.decode().map_err(|e| format!("the definition of the operation {op} cannot be read: {e}"))
    };
    let Some(addition) = addition(&definition, outputs, op_def)? else { return Ok(None) };
    let from_here: Vec<(&str, Place)> =
        addition.from_here.iter().map(|(name, place)| (name.as_str(), place.clone())).collect();
    let GraphDef { version, versions, .. } = definition;
    let added = GraphDef { node: addition.nodes, library: None, version, versions };
    graph.import(&added.encode_to_vec(), &from_here).map_err(|e| e.message)?;
    Ok(Some(addition.outputs))
}

fn addition(
    graph: &GraphDef,
    outputs: &[Place],
    op_def: impl Fn(&str) -> Result<OpDef, String>,
) -> Result<Option<Addition>, String> {
    if graph.node.iter().any(|node| node.name.starts_with(ADDED)) {
        return Err(format!("it has operations called '{ADDED}' already"));
    }
    let nodes: HashMap<&str, &NodeDef> = graph.node.iter().map(|node| (node.name.as_str(), node)).collect();
    let functions = graph.library.iter().flat_map(|library| &library.function);
    let library: Library<'_> = functions.map(|function| (function.name(), function)).collect();
    let mut inliner = Inliner::new(&library, op_def);
    let mut from_here = Vec::new();
    // What stands in the place of calls, by the names of the calls; nothing for what stays.
    let mut replaced: HashMap<&str, Option<String>> = HashMap::new();
    let mut places = Vec::with_capacity(outputs.len());
    for place in outputs {
        let (name, index) = (place.0.as_str(), place.1);
        if let Some(&call) = nodes.get(name)
            && !replaced.contains_key(name)
        {
            let waits = call.input.iter().any(|input| input.starts_with('^'));
            let mut instead = None;
            if !waits && inliner.replaces(call)? {
                let mut call = NodeDef { name: format!("{ADDED}/call_{}", replaced.len()), ..call.clone() };
                for input in &mut call.input {
                    *input = outside(input, &mut from_here)?;
                }
                inliner.put(&call)?;
                instead = Some(call.name);
            }
            replaced.insert(name, instead);
        }
        places.push(match replaced.get(name) {
            Some(Some(call)) => (format!("{call}/output_{index}"), 0),
            _ => place.clone(),
        });
    }
    if replaced.values().all(Option::is_none) {
        return Ok(None);
    }
    let mut nodes = inliner.nodes;
    let ends: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
    checks::attach(&mut nodes, &ends, &library)?;
    Ok(Some(Addition { nodes, from_here, outputs: places }))
}

/// The name under which the addition takes the tensor `input` of the graph.
fn outside(input: &str, from_here: &mut Vec<(String, Place)>) -> Result<String, String> {
    let (node, index) = input.split_once(':').unwrap_or((input, "0"));
    let index = index.parse().map_err(|_| format!("'{input}' names no tensor"))?;
    let name = format!("{ADDED}/from_outside_{}", from_here.len());
    from_here.push((name.clone(), (node.to_owned(), index)));
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::super::proto::graph::{ArgDef, AttrValue, FunctionDef, FunctionDefLibrary};
    use super::fixtures::{argument, call, function, node};
    use super::*;

    fn graph(functions: Vec<FunctionDef>) -> GraphDef {
        let outer = call("f", "outer", &["x:1", "v"]);
        GraphDef {
            node: vec![node("x", "Placeholder", &[]), node("v", "VarHandleOp", &[]), outer],
            library: Some(FunctionDefLibrary { function: functions }),
            ..GraphDef::default()
        }
    }

    /// Every operation has one output, `y`; `Split` has as many as N says, and `rest`.
    fn op_def(op: &str) -> Result<OpDef, String> {
        let many = ArgDef { number_attr: "N".into(), ..argument("y") };
        let outputs = if op == "Split" { vec![many, argument("rest")] } else { vec![argument("y")] };
        let output_arg = outputs.iter().map(ArgDef::encode_to_vec).collect();
        Ok(OpDef { name: op.into(), output_arg, ..OpDef::default() })
    }

    fn added(functions: Vec<FunctionDef>) -> Option<Addition> {
        addition(&graph(functions), &[("f".into(), 0), ("f".into(), 1)], op_def).unwrap()
    }

    fn inputs<'a>(addition: &'a Addition, name: &str) -> Vec<&'a str> {
        let name = format!("{ADDED}/{name}");
        let node = addition.nodes.iter().find(|node| node.name == name);
        let inputs = node.unwrap_or_else(|| panic!("there is no {name}")).input.iter();
        let prefix = format!("{ADDED}/");
        inputs
            .map(|input| input.split_at(input.find(&prefix).unwrap_or(0)).1.trim_start_matches(&prefix))
            .collect()
    }

    #[test]
    fn functions_take_the_place_of_their_calls() {
        let ends = |waits: &'static str| {
            vec![
                node("one", "Identity", &["c:output:1", waits]),
                node("two", "Identity", &["late:y:0", waits]),
            ]
        };
        let inner = function(
            "inner",
            vec![
                node("y", "Exp", &["x"]),
                node("z", "Log", &["v"]),
                node("of_y", "CheckNumerics", &["y:y:0"]),
                node("first", "Identity", &["y:y:0", "^of_y"]),
                node("second", "Identity", &["z:y:0", "^of_y"]),
            ],
            &["first:y:0", "second:y:0"],
            &["of_y"],
        );
        let mut split = node("split", "Split", &["x"]);
        split.attr.insert("N".into(), AttrValue { i: Some(3), ..AttrValue::default() }.encode_to_vec());
        let late = node("late", "Exp", &["split:rest:0", "^c"]);
        let gathered = node("gathered", "NoOp", &["^c", "^late"]);
        let body = [vec![split, call("c", "inner", &["split:y:2", "v"]), late, gathered], ends("^gathered")]
            .concat();
        let outer = function("outer", body, &["one:y:0", "two:y:0"], &["c"]);
        let addition = added(vec![inner, outer]).unwrap();
        let outputs: Vec<&str> = addition.outputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(outputs, ["separate_outputs/call_0/output_0", "separate_outputs/call_0/output_1"]);
        let from: Vec<&Place> = addition.from_here.iter().map(|(_, place)| place).collect();
        assert_eq!(from, [&("x".to_owned(), 1), &("v".to_owned(), 0)]);
        for (name, expected) in [
            // What only waited for the call is free, and so is what needs another output of it.
            ("call_0/output_0", vec!["call_0/one:0"]),
            ("call_0/one", vec!["call_0/c/output_1"]),
            // This one needs what comes after the call, and so the check.
            ("call_0/output_1", vec!["call_0/two:0"]),
            ("call_0/two", vec!["call_0/late:0"]),
            ("call_0/late", vec!["call_0/split:3", "call_0/c/done"]),
            ("call_0/split", vec!["from_outside_0"]),
            ("call_0/c/y", vec!["call_0/split:2"]),
            ("call_0/c/z", vec!["from_outside_1"]),
            ("call_0/c/of_y", vec!["call_0/c/y:0"]),
            ("call_0/c/first", vec!["call_0/c/y:0"]),
            ("call_0/c/second", vec!["call_0/c/z:0"]),
            ("call_0/c/output_1", vec!["call_0/c/second:0"]),
            ("call_0/c/done", vec!["call_0/c/of_y"]),
            ("call_0/done", vec!["call_0/c/done"]),
        ] {
            assert_eq!(inputs(&addition, name), expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_stays() {
        let ends = || vec![node("y", "Identity", &["x"]), node("z", "Identity", &["v"])];
        let outer = |more: Vec<NodeDef>| function("outer", [more, ends()].concat(), &["y:y:0", "z:y:0"], &[]);
        // A function that calls itself keeps that call; one that is not there has none.
        let endless = added(vec![outer(vec![call("c", "outer", &["x"])])]).unwrap();
        assert_eq!(inputs(&endless, "call_0/c"), ["from_outside_0"]);
        assert_eq!(added(vec![]), None);
        let mut replaceable = outer(vec![]);
        replaceable.attr.insert("api_implements".into(), Vec::new());
        assert_eq!(added(vec![replaceable]), None);
        // Plain operations have no function.
        let plain = [("x".into(), 0), ("v".into(), 0)];
        assert_eq!(addition(&graph(vec![]), &plain, op_def), Ok(None));
        // References that lead nowhere.
        for input in ["nowhere:y:0", "y:other:0", "y:y:many", "x:1"] {
            let odd = graph(vec![outer(vec![node("odd", "Exp", &[input])])]);
            addition(&odd, &[("f".into(), 0), ("f".into(), 1)], op_def).unwrap_err();
        }
    }
}
