//! The rewrite that makes variables constants, on any graph. Input: a `GraphDef`.
#![no_main]

use std::collections::{HashMap, HashSet};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tensorflow_latency_fuzz::tensorflow::freeze::rewrite::rewrite;
use tensorflow_latency_fuzz::tensorflow::proto::graph::{GraphDef, NodeDef, source};

fuzz_target!(|data: &[u8]| {
    let Ok(graph) = GraphDef::decode(data) else { return };
    // TensorFlow, from which the graph comes, takes no two nodes of one name.
    if graph.node.iter().map(|node| &node.name).collect::<HashSet<_>>().len() != graph.node.len() {
        return;
    }
    let used: HashSet<&str> =
        graph.node.iter().flat_map(|node| &node.input).map(|input| source(input)).collect();
    let is_end = |node: &&NodeDef| node.op == "Placeholder" || !used.contains(node.name.as_str());
    let roots: Vec<&str> = graph.node.iter().filter(is_end).map(|node| node.name.as_str()).collect();
    check(&graph, &roots);
    // Of all ends only one.
    if let Some(last) = roots.last().filter(|_| roots.len() > 1) {
        check(&graph, &[last]);
    }
});

fn check(graph: &GraphDef, roots: &[&str]) {
    let Ok((rewritten, variables)) = rewrite(graph.clone(), roots) else { return };
    // The nodes that are left are those that were there, in their order, under their names.
    let mut before = graph.node.iter();
    for node in &rewritten.node {
        let was = before.find(|was| was.name == node.name).expect("a node of the graph, in its place");
        assert_eq!(was.input, node.input, "what comes first stays");
    }
    let names: HashSet<&str> = rewritten.node.iter().map(|node| node.name.as_str()).collect();
    assert!(roots.iter().all(|root| names.contains(root)), "what is wanted is there");
    for input in rewritten.node.iter().flat_map(|node| &node.input) {
        assert!(names.contains(source(input)), "'{input}' is there");
    }
    // The variables are those nodes, each once, and nothing takes a handle any more.
    let handles: Vec<usize> =
        (0..rewritten.node.len()).filter(|&index| rewritten.node[index].op == "VarHandleOp").collect();
    assert_eq!(variables.iter().map(|variable| variable.index).collect::<Vec<_>>(), handles);
    let handles: HashSet<&str> = handles.iter().map(|&index| rewritten.node[index].name.as_str()).collect();
    let takes_handle = |node: &&NodeDef| {
        node.input.iter().any(|input| !input.starts_with('^') && handles.contains(source(input)))
    };
    for node in rewritten.node.iter().filter(takes_handle) {
        let takes_values = ["Identity", "Shape", "Gather", "PartitionedCall", "StatefulPartitionedCall"];
        assert!(takes_values.contains(&node.op.as_str()), "{} takes a handle", node.op);
    }
    // Functions are those of the library, each once.
    let functions = |graph: &GraphDef| -> HashMap<String, usize> {
        let mut count = HashMap::new();
        for function in graph.library.iter().flat_map(|library| &library.function) {
            *count.entry(function.name().to_string()).or_default() += 1;
        }
        count
    };
    let library = functions(graph);
    assert!(functions(&rewritten).iter().all(|(name, &count)| count == 1 && library.contains_key(name)));
    assert_eq!(rewritten.versions, graph.versions);
    let again = rewrite(graph.clone(), roots).expect("the same again").0;
    assert_eq!(again.node, rewritten.node);
}
