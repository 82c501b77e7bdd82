//! Graphs for the tests.

use prost::Message;

use crate::tensorflow::proto::graph::{ArgDef, AttrValue, FunctionDef, NameAttrList, NodeDef, OpDef};

pub fn node(name: &str, op: &str, input: &[&str]) -> NodeDef {
    let input = input.iter().map(|input| input.to_string()).collect();
    NodeDef { name: name.into(), op: op.into(), input, ..NodeDef::default() }
}

pub fn call(name: &str, function: &str, input: &[&str]) -> NodeDef {
    let mut call = node(name, "StatefulPartitionedCall", input);
    let func = Some(NameAttrList { name: function.into(), ..NameAttrList::default() });
    call.attr.insert("f".into(), AttrValue { func, ..AttrValue::default() }.encode_to_vec());
    call
}

/// An argument or an output of FP32.
pub fn argument(name: &str) -> ArgDef {
    ArgDef { name: name.into(), r#type: 1, ..ArgDef::default() }
}

/// A function of x and v.
pub fn function(name: &str, nodes: Vec<NodeDef>, ret: &[&str], control_ret: &[&str]) -> FunctionDef {
    let named = |names: &[&str]| {
        let named = names.iter().enumerate();
        named.map(|(index, name)| (format!("o{index}"), name.to_string())).collect()
    };
    let output_arg = (0..ret.len()).map(|index| argument(&format!("o{index}")).encode_to_vec()).collect();
    let input_arg = ["x", "v"].map(argument).to_vec();
    FunctionDef {
        signature: Some(OpDef { name: name.into(), input_arg, output_arg, ..OpDef::default() }),
        node_def: nodes,
        ret: named(ret),
        control_ret: named(control_ret),
        ..FunctionDef::default()
    }
}
