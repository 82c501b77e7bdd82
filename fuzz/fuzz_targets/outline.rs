//! The outline of a SavedModel or a GraphDef, which is read field by field, beside what prost decodes of the same bytes.
#![no_main]

use std::collections::BTreeMap;
use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tensorflow_latency_fuzz::memory;
use tensorflow_latency_fuzz::tensorflow::calls;
use tensorflow_latency_fuzz::tensorflow::outline::{Body, GraphOutline, Name, Outline};
use tensorflow_latency_fuzz::tensorflow::proto::graph::{AttrValue, GraphDef, NameAttrList, NodeDef};
use tensorflow_latency_fuzz::tensorflow::proto::saved_model::MetaInfoDef;

/// A `SavedModel` with its graphs.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(message, repeated, tag = "2")]
    meta_graphs: Vec<WholeMetaGraph>,
}

#[derive(Clone, PartialEq, Message)]
struct WholeMetaGraph {
    #[prost(message, optional, tag = "1")]
    info: Option<MetaInfoDef>,
    #[prost(message, optional, tag = "2")]
    graph: Option<GraphDef>,
}

fuzz_target!(|data: &[u8]| {
    // A function takes two bytes at least in the file, and some 200 in the outline; the list of them grows by doubling. The
    // file is read through a buffer.
    let bound = 512 * data.len() + (256 << 10);
    let outline = memory::within(bound, || read(data));
    if let Ok(outline) = &outline {
        outline.graphs.iter().for_each(|graph| drop(calls::check(graph)));
    }
    // A file may be a graph alone.
    let graph = memory::within(bound, || GraphOutline::read(Cursor::new(data), data.len() as u64));
    drop(graph.map(|graph| calls::check(&graph)));
    // What is behind the end of the file is no part of it. A number that is cut off there may be read on, for the error only.
    let longer = [data, b"\x12\x7f"].concat();
    let beyond = Outline::read(Cursor::new(&longer), data.len() as u64);
    assert_eq!(beyond.map(counts).ok(), outline.map(counts).ok());

    let Ok(mut whole) = Whole::decode(data) else { return };
    if let Some(expected) = canonical(&mut whole) {
        let bytes = whole.encode_to_vec();
        match read(&bytes) {
            Ok(outline) => assert_eq!(counts(outline), expected),
            // Attributes are bytes to prost, so that it counts the levels anew in each.
            Err(error) => assert!(error.to_string().contains("levels"), "{error}"),
        }
    }
});

fn read(bytes: &[u8]) -> std::io::Result<Outline> {
    Outline::read(Cursor::new(bytes), bytes.len() as u64)
}

/// What a body has: its calls by name, its gradients, its loops with their values.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    calls: BTreeMap<String, u64>,
    gradients: Vec<String>,
    loops: Vec<(String, usize)>,
}

type Graph = (Vec<String>, Counts, Vec<(String, usize, usize, Counts)>);

fn counts(outline: Outline) -> Vec<Graph> {
    let graph = |graph: &GraphOutline| {
        let names: BTreeMap<Name, &str> = graph.names.all().map(|(name, number)| (number, name)).collect();
        let body = |body: &Body| Counts {
            calls: body.calls.iter().map(|(name, &count)| (names[name].to_string(), count)).collect(),
            gradients: body.gradients.iter().map(|name| names[name].to_string()).collect(),
            loops: body.loops.iter().map(|again| (again.name.clone(), again.values)).collect(),
        };
        let functions = graph.functions.iter().map(|function| {
            (function.name.clone(), function.arguments, function.results, body(&function.body))
        });
        (graph.tags.clone(), body(&graph.body), functions.collect())
    };
    outline.graphs.iter().map(graph).collect()
}

/// What prost finds, and nothing where an attribute is not one. Attributes are written anew, so that no field in one is
/// there twice: of those the last counts for prost, and each of them here.
fn canonical(whole: &mut Whole) -> Option<Vec<Graph>> {
    let mut graphs = Vec::new();
    for meta_graph in &mut whole.meta_graphs {
        let tags = meta_graph.info.as_ref().map(|info| info.tags.clone()).unwrap_or_default();
        let mut graph = meta_graph.graph.as_mut();
        let body =
            graph.as_mut().map(|graph| body(&mut graph.node)).unwrap_or_else(|| Some(Counts::default()))?;
        let mut functions = Vec::new();
        for function in graph
            .and_then(|graph| graph.library.as_mut())
            .iter_mut()
            .flat_map(|library| &mut library.function)
        {
            let signature = function.signature.clone().unwrap_or_default();
            let (arguments, results) = (signature.input_arg.len(), signature.output_arg.len());
            functions.push((signature.name, arguments, results, self::body(&mut function.node_def)?));
        }
        graphs.push((tags, body, functions));
    }
    Some(graphs)
}

fn body(nodes: &mut [NodeDef]) -> Option<Counts> {
    let mut counts = Counts::default();
    for node in nodes {
        let mut called = Vec::new();
        for value in node.attr.values_mut() {
            let attribute = AttrValue::decode(&value[..]).ok()?;
            *value = attribute.encode_to_vec();
            named(&attribute, &mut called);
        }
        if node.op == "SymbolicGradient" {
            counts.gradients.extend(called.iter().cloned());
        }
        if ["While", "StatelessWhile"].contains(&node.op.as_str()) {
            let values = node.input.iter().filter(|input| !input.starts_with('^')).count();
            counts.loops.push((node.name.clone(), values));
        }
        called.push(node.op.clone());
        called.into_iter().for_each(|name| *counts.calls.entry(name).or_default() += 1);
    }
    Some(counts)
}

/// In the order of the file: the list's before what the attribute names itself.
fn named(value: &AttrValue, called: &mut Vec<String>) {
    let list = value.list.iter().flat_map(|list| &list.func);
    for NameAttrList { name, attr } in list.chain(&value.func) {
        // A name that is empty is not written.
        if !name.is_empty() {
            called.push(name.clone());
        }
        attr.values().for_each(|value| named(value, called));
    }
}
