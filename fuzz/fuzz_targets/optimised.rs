//! What is done to a graph that TensorFlow has optimised, on any graph. Input: the shape of the weights, and a `GraphDef`.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tensorflow_latency_fuzz::tensorflow::freeze::model::{Held, Model};
use tensorflow_latency_fuzz::tensorflow::freeze::{optimised, weights};
use tensorflow_latency_fuzz::tensorflow::proto::graph::{GraphDef, NodeDef, source};

fuzz_target!(|data: &[u8]| {
    let [shape, bytes @ ..] = data else { return };
    let Ok(graph) = GraphDef::decode(bytes) else { return };
    // TensorFlow, from which the graph comes, has no two nodes of one name.
    if graph.node.iter().map(|node| &node.name).collect::<HashSet<_>>().len() != graph.node.len() {
        return;
    }
    let used: HashSet<&str> =
        graph.node.iter().flat_map(|node| &node.input).map(|input| source(input)).collect();
    let inputs: Vec<&NodeDef> = graph.node.iter().filter(|node| node.op == "Placeholder").collect();
    let ends = graph.node.iter().filter(|node| !used.contains(node.name.as_str()));
    let outputs: Vec<(String, i32)> = ends.map(|node| (node.name.clone(), 0)).collect();
    // Half of the inputs stand for variables.
    let (held, fed): (Vec<_>, Vec<_>) = inputs.iter().enumerate().partition(|(index, _)| index % 2 == 1);
    let dims: Vec<Vec<i64>> = (0..held.len()).map(|index| dims(*shape, index)).collect();
    let held =
        held.iter().enumerate().map(|(variable, (_, node))| Held { name: node.name.clone(), variable });
    let mut model = Model {
        held: held.collect(),
        inputs: fed.iter().map(|(_, node)| (node.name.clone(), 0)).collect(),
        outputs,
        definition: graph.clone(),
    };
    if let Ok(wanted) = weights::wanted(&model, &dims) {
        assert!(wanted.iter().all(|&variable| variable < dims.len()));
    }
    loadable(&graph, &model);
    let before = model.definition.clone();
    match weights::apply(&mut model, &dims) {
        Ok(None) => {
            assert_eq!(before.encode_to_vec(), model.definition.encode_to_vec(), "the graph stays as it is")
        }
        Ok(Some(scalings)) => {
            for (variable, factors) in scalings {
                let channels: i64 = dims[variable].iter().product();
                assert!(!factors.is_empty() && channels % factors.len() as i64 == 0);
            }
            // What is wanted is there, and what takes its place has its name.
            let names: HashSet<&str> = model.definition.node.iter().map(|node| node.name.as_str()).collect();
            assert!(model.outputs.iter().all(|(name, _)| names.contains(name.as_str())));
            assert!(model.held.iter().all(|held| names.contains(held.name.as_str())));
        }
        Err(_) => {}
    }
});

/// A shape of weights, or of something else.
fn dims(shape: u8, index: usize) -> Vec<i64> {
    let (rank, last) = (usize::from(shape & 7), i64::from(shape >> 3) % 5 + index as i64 % 2);
    let mut dims = vec![1; rank];
    if let Some(dim) = dims.last_mut() {
        *dim = last;
    }
    dims
}

fn loadable(graph: &GraphDef, model: &Model) {
    let shapes = optimised::shapes(graph);
    let Ok(loadable) = optimised::loadable(graph.clone(), model, &shapes) else { return };
    assert_eq!((loadable.inputs.len(), loadable.outputs.len()), (model.inputs.len(), model.outputs.len()));
    let only_tensorflow_s =
        |node: &NodeDef| node.name.starts_with('_') || ["_Arg", "_Retval"].contains(&&*node.op);
    assert!(!loadable.definition.node.iter().any(only_tensorflow_s));
    assert!(loadable.definition.node.len() <= graph.node.len());
}
