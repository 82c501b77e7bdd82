//! TensorFlow hands out the graph of a run in pieces, one for each device, and what goes from one device to another is sent
//! and received by operations of its own. Here the pieces become one graph again, in which an operation takes its input
//! from where it was sent. Every operation names its device by then, so that the session that serves divides the graph in
//! the same way.
//!
//! Within a piece of a GPU there are such pairs as well, between the device's memory and the host's.

use std::collections::{HashMap, HashSet};

use crate::tensorflow::proto::graph::{GraphDef, NodeDef, source};

const SENDS: [&str; 2] = ["_Send", "_HostSend"];
const RECEIVES: [&str; 2] = ["_Recv", "_HostRecv"];
/// How the names of the operations begin that TensorFlow adds to divide a loop: they steer its turns on the other device.
const OF_DIVIDED_LOOPS: &str = "_cloop";

/// What a sender and its receiver have in common.
#[derive(PartialEq, Eq, Hash)]
struct Channel {
    tensor: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Channel {
    fn of(node: &NodeDef) -> Result<Self, String> {
        let text = |name| {
            let text = node.attribute(name)?.s;
            text.ok_or_else(|| format!("'{}' ({}) has no attribute '{name}'", node.name, node.op))
        };
        Ok(Self { tensor: text("tensor_name")?, from: text("send_device")?, to: text("recv_device")? })
    }
}

/// One graph of the pieces of one.
///
/// # Errors
/// Why that cannot be done.
pub fn join(mut pieces: Vec<GraphDef>) -> Result<GraphDef, String> {
    let count = pieces.len();
    let divided = |op: &str| SENDS.contains(&op) || RECEIVES.contains(&op);
    let has = |is: &dyn Fn(&NodeDef) -> bool| pieces.iter().any(|piece| piece.node.iter().any(is));
    if has(&|node| node.name.starts_with(OF_DIVIDED_LOOPS)) {
        return Err(format!("a loop in it is divided among its {count} devices"));
    }
    let joins = count > 1 || has(&|node| divided(&node.op));
    let mut whole = pieces.pop().ok_or("TensorFlow handed out no optimised graph")?;
    if !joins {
        return Ok(whole);
    }
    for piece in pieces {
        whole.node.extend(piece.node);
    }
    let mut names = HashSet::new();
    if let Some(twice) = whole.node.iter().find(|node| !names.insert(node.name.as_str())) {
        return Err(format!("'{}' is on several of its {count} devices", twice.name));
    }
    let origins = origins(&whole.node)?;
    whole.node.retain(|node| !divided(&node.op));
    for input in whole.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(origin) = origins.get(source(input)) {
            *input = if input.starts_with('^') { format!("^{}", source(origin)) } else { origin.clone() };
        }
    }
    for node in &mut whole.node {
        // An operation comes after another only once.
        let mut seen = HashSet::new();
        node.input.retain(|input| !input.starts_with('^') || seen.insert(input.clone()));
    }
    Ok(whole)
}

/// Where what each receiver yields comes from, by the receiver's name.
fn origins(nodes: &[NodeDef]) -> Result<HashMap<String, String>, String> {
    let mut sent = HashMap::new();
    for node in nodes.iter().filter(|node| SENDS.contains(&node.op.as_str())) {
        let [from] = &node.input[..] else { return Err(waits(node)) };
        sent.insert(Channel::of(node)?, from.as_str());
    }
    let mut received = HashMap::new();
    for node in nodes.iter().filter(|node| RECEIVES.contains(&node.op.as_str())) {
        if !node.input.is_empty() {
            return Err(waits(node));
        }
        let from = sent.get(&Channel::of(node)?);
        let from = from.ok_or_else(|| format!("nothing is sent to '{}' ({})", node.name, node.op))?;
        received.insert(node.name.as_str(), *from);
    }
    let origin = |&receiver: &&str| {
        let mut from = received[receiver];
        // What was received may be sent on.
        for _ in 0..received.len() {
            match received.get(source(from)) {
                Some(next) => from = next,
                None => return Ok((receiver.to_string(), from.to_string())),
            }
        }
        Err(format!("'{receiver}' is sent in a circle"))
    };
    received.keys().map(origin).collect()
}

fn waits(node: &NodeDef) -> String {
    format!("'{}' ({}) waits for other operations", node.name, node.op)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::tensorflow::proto::graph::AttrValue;

    const CPU: &str = "/device:CPU:0";
    const GPU: &str = "/device:GPU:0";

    fn node(name: &str, op: &str, device: &str, input: &[&str]) -> NodeDef {
        let input = input.iter().map(|input| input.to_string()).collect();
        NodeDef { name: name.into(), op: op.into(), device: device.into(), input, ..NodeDef::default() }
    }

    fn channel(mut node: NodeDef, tensor: &str, from: &str, to: &str) -> NodeDef {
        for (name, text) in [("tensor_name", tensor), ("send_device", from), ("recv_device", to)] {
            let text = AttrValue { s: Some(text.into()), ..AttrValue::default() };
            node.attr.insert(name.into(), text.encode_to_vec());
        }
        node
    }

    fn piece(node: Vec<NodeDef>) -> GraphDef {
        GraphDef { node, ..GraphDef::default() }
    }

    fn inputs(graph: &GraphDef, name: &str) -> Vec<String> {
        graph.node.iter().find(|node| node.name == name).unwrap().input.clone()
    }

    #[test]
    fn what_is_received_comes_from_where_it_was_sent() {
        let cpu = piece(vec![
            node("x", "_Arg", CPU, &[]),
            channel(node("x/_1", "_Send", CPU, &["x"]), "edge_1", CPU, GPU),
            channel(node("y/_4", "_Recv", CPU, &[]), "edge_2", GPU, CPU),
            node("out", "_Retval", CPU, &["y/_4"]),
        ]);
        let gpu = piece(vec![
            channel(node("x/_2", "_Recv", GPU, &[]), "edge_1", CPU, GPU),
            node("split", "Split", GPU, &["x/_2", "^x/_2"]),
            // Within the device: from its memory to the host's.
            channel(node("split/_5", "_Send", GPU, &["split:1"]), "memtype_1", GPU, GPU),
            channel(node("split/_6", "_HostRecv", GPU, &[]), "memtype_1", GPU, GPU),
            node("y", "Reshape", GPU, &["split", "split/_6", "^split/_6", "^x/_2"]),
            channel(node("y/_3", "_Send", GPU, &["y"]), "edge_2", GPU, CPU),
        ]);
        let whole = join(vec![cpu, gpu]).unwrap();
        let mut names: Vec<&str> = whole.node.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["out", "split", "x", "y"]);
        assert_eq!(inputs(&whole, "split"), ["x", "^x"]);
        assert_eq!(inputs(&whole, "y"), ["split", "split:1", "^split", "^x"]);
        assert_eq!(inputs(&whole, "out"), ["y"]);
    }

    #[test]
    fn what_was_received_may_be_sent_on() {
        let other = "/device:GPU:1";
        let whole = join(vec![
            piece(vec![
                node("x", "Const", CPU, &[]),
                channel(node("s1", "_Send", CPU, &["x"]), "1", CPU, GPU),
            ]),
            piece(vec![
                channel(node("r1", "_Recv", GPU, &[]), "1", CPU, GPU),
                channel(node("s2", "_Send", GPU, &["r1"]), "2", GPU, other),
            ]),
            piece(vec![
                channel(node("r2", "_Recv", other, &[]), "2", GPU, other),
                node("y", "Identity", other, &["r2:0"]),
            ]),
        ]);
        assert_eq!(inputs(&whole.unwrap(), "y"), ["x"]);
    }

    #[test]
    fn a_graph_of_one_device_stays_as_it_is() {
        let graph = piece(vec![node("x", "_Arg", CPU, &[]), node("y", "Enter", CPU, &["x", "^x", "^x"])]);
        assert_eq!(join(vec![graph.clone()]).unwrap(), graph);
    }

    #[test]
    fn what_cannot_be_joined_says_why() {
        let receive = || channel(node("r", "_Recv", GPU, &[]), "1", CPU, GPU);
        let send = |input: &[&str]| channel(node("s", "_Send", CPU, input), "1", CPU, GPU);
        let x = |device| node("x", "Const", device, &[]);
        for (pieces, expected) in [
            (vec![], "no optimised graph"),
            (vec![piece(vec![x(CPU)]), piece(vec![x(GPU)])], "'x' is on several of its 2 devices"),
            (vec![piece(vec![x(CPU)]), piece(vec![receive()])], "nothing is sent to 'r' (_Recv)"),
            (vec![piece(vec![x(CPU), send(&["x", "^x"])]), piece(vec![receive()])], "'s' (_Send) waits"),
            (
                vec![piece(vec![x(CPU)]), piece(vec![node("_cloope", "Enter", GPU, &[])])],
                "a loop in it is divided among its 2 devices",
            ),
            (vec![piece(vec![node("r", "_Recv", GPU, &[])])], "'r' (_Recv) has no attribute 'tensor_name'"),
            (vec![piece(vec![send(&["r"])]), piece(vec![receive()])], "sent in a circle"),
        ] {
            let error = join(pieces).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
