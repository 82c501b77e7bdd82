//! Large weights are held out of the graph while TensorFlow optimises it.
//!
//! Each pass of its optimizer copies every constant of the graph, which for Inception-v3 took longer than all
//! the rest of the loading. Held out, a weight is one more input of the graph: it is fed in the runs that
//! optimise, and stored in a variable in the session that serves. The optimizer then cannot compute with it. What
//! it would do with the weights of a convolution, to multiply them by what scales the result (batch norm does
//! that), is done here. Weights that it wants for anything else are made constants for it.

use std::collections::{HashMap, HashSet};

use super::model::{Held, Model, Variable};
use super::values::tensor_proto;
use crate::tensorflow::proto::graph::{
    AttrValue, DT_FLOAT, GraphDef, NodeDef, TensorProto, TensorShapeProto, source,
};
use crate::tensorflow::tensor::{Blank, Tensor};
use crate::triton::DataType;
use crate::triton::Error;

/// An operation that sums products of its first input and weights, its second.
struct Kind {
    name: &'static str,
    /// What it is called where oneDNN does it. It has attributes then that TensorFlow's own does not have.
    onednn: &'static str,
    /// How many dimensions the weights have, and the result.
    rank: usize,
    /// How many of the last dimensions of the weights are the channels of the result.
    channel_dimensions: usize,
}

const KINDS: [Kind; 4] = [
    Kind { name: "Conv2D", onednn: "_MklNativeConv2D", rank: 4, channel_dimensions: 1 },
    Kind { name: "Conv3D", onednn: "_MklNativeConv3D", rank: 5, channel_dimensions: 1 },
    Kind {
        name: "DepthwiseConv2dNative",
        onednn: "_MklNativeDepthwiseConv2dNative",
        rank: 4,
        channel_dimensions: 2,
    },
    Kind { name: "MatMul", onednn: "_MklMatMul", rank: 2, channel_dimensions: 1 },
];

impl Kind {
    fn of(node: &NodeDef) -> Option<&'static Self> {
        KINDS.iter().find(|kind| node.op == kind.name || node.op == kind.onednn)
    }
}

/// The attributes of TensorFlow's own operations.
const ATTRIBUTES: [&str; 9] = [
    "T",
    "strides",
    "use_cudnn_on_gpu",
    "padding",
    "explicit_paddings",
    "data_format",
    "dilations",
    "transpose_a",
    "transpose_b",
];

/// What the optimizer would put into the weights of a convolution if they were a constant.
const SCALES: [&str; 3] = ["Mul", "RealDiv", "Div"];

/// Puts inputs in place of the variables that are to be held out, and constants in place of the others.
pub fn fill_in(graph: &mut GraphDef, variables: &[Variable], values: &[Tensor], hold: &[bool]) -> Vec<Held> {
    let mut held = Vec::new();
    for (variable, Variable { index, datatype }) in variables.iter().enumerate() {
        let node = &mut graph.node[*index];
        let value = &values[variable];
        let (op, name, attribute) = if hold[variable] {
            held.push(Held { name: node.name.clone(), variable });
            ("Placeholder", "shape", AttrValue::of_shape(TensorShapeProto::of(value.dims())))
        } else {
            ("Const", "value", AttrValue::of_tensor(tensor_proto(value, *datatype)))
        };
        node.op = op.into();
        node.attr.retain(|name, _| name == "dtype");
        node.attr.insert(name.into(), attribute);
    }
    held
}

/// The variables held out of an optimised graph that TensorFlow's optimizer would compute with if they were
/// constants, other than [`apply`] does.
///
/// # Errors
/// The graph cannot be read.
pub fn wanted(model: &Model, dims: &[Vec<i64>]) -> Result<Vec<usize>, String> {
    let users = Users::of(model);
    let mut wanted = Vec::new();
    for Held { name, variable } in &model.held {
        let nodes = &model.definition.node;
        let scaled = match Contraction::of(name, &dims[*variable], nodes, &users)? {
            Some(contraction) => contraction.next(&["Mul"], nodes, &users)?.is_some(),
            None => false,
        };
        if !scaled && !users.take_as_it_is(name, nodes) {
            wanted.push(*variable);
        }
    }
    Ok(wanted)
}

/// Takes what scales the result of a convolution out of the graph where its weights are held out of it, and makes what is
/// added to it a `BiasAdd`: the optimizer does not see that it is one where it does not know the weights' shape.
///
/// Returns the variables whose values are to be multiplied, and by what; nothing if the graph stays as it is.
///
/// # Errors
/// The graph cannot be read.
pub fn apply(model: &mut Model, dims: &[Vec<i64>]) -> Result<Option<Vec<Scaling>>, String> {
    let users = Users::of(model);
    let nodes = &mut model.definition.node;
    let before = nodes.len();
    let mut gone = HashSet::new();
    let mut scalings = Vec::new();
    for Held { name, variable } in &model.held {
        let Some(mut contraction) = Contraction::of(name, &dims[*variable], nodes, &users)? else { continue };
        if let Some((multiplication, factors)) = contraction.next(&["Mul"], nodes, &users)? {
            scalings.push((*variable, factors));
            contraction.take_place_of(multiplication, nodes);
            gone.insert(multiplication);
        }
        if let Some((addition, bias)) = contraction.next(&["AddV2", "Add"], nodes, &users)? {
            contraction.add_bias(addition, &bias, nodes);
        }
    }
    if gone.is_empty() && nodes.len() == before {
        return Ok(None);
    }
    let mut index = 0..;
    nodes.retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    nodes.iter_mut().for_each(give_own_name);
    Ok(Some(scalings))
}

/// The dimensions of values, none for those that are not FP32.
pub fn dims(values: &[Tensor]) -> Vec<Vec<i64>> {
    let dims = |value: &Tensor| match value.datatype() {
        DataType::Fp32 => value.dims().to_vec(),
        _ => Vec::new(),
    };
    values.iter().map(dims).collect()
}

/// A variable, and what its values are to be multiplied by, one factor for each channel.
type Scaling = (usize, Vec<f32>);

/// Multiplies the weights of each channel by its factor.
///
/// # Errors
/// There is no memory for the products.
pub fn scale(values: &mut [Tensor], scalings: Vec<Scaling>) -> Result<(), String> {
    for (variable, factors) in scalings {
        let weights = &mut values[variable];
        if weights.datatype() == DataType::Fp32 {
            *weights = scaled(weights, &factors).map_err(|e| e.message)?;
        }
    }
    Ok(())
}

/// A tensor of its own: what was read may be the variable's memory, and another's.
fn scaled(weights: &Tensor, factors: &[f32]) -> Result<Tensor, Error> {
    let mut scaled = Blank::new(DataType::Fp32, weights.dims())?;
    let row = size_of_val(factors);
    let mut products = Vec::with_capacity(row);
    for weights in weights.bytes().chunks_exact(row) {
        products.clear();
        for (&weight, factor) in weights.as_chunks().0.iter().zip(factors) {
            products.extend((f32::from_ne_bytes(weight) * factor).to_ne_bytes());
        }
        scaled.append(&products[..])?;
    }
    scaled.finish().map(|tensor| *tensor)
}

/// oneDNN's operation becomes TensorFlow's own again, which is the one that its optimizer knows.
fn give_own_name(node: &mut NodeDef) {
    if let Some(kind) = Kind::of(node) {
        node.op = kind.name.into();
        node.attr.retain(|name, _| ATTRIBUTES.contains(&name.as_str()));
    }
}

/// An operation of [`KINDS`] whose weights nothing else uses, in FP32, the channels of its result the last dimension.
struct Contraction {
    node: usize,
    /// The name of the node that it is, or whose place it has taken.
    was: String,
    channels: i64,
    rank: usize,
}

impl Contraction {
    fn of(name: &str, dims: &[i64], nodes: &[NodeDef], users: &Users) -> Result<Option<Self>, String> {
        let Some((node, 1)) = users.only(name) else { return Ok(None) };
        let Some(kind) = Kind::of(&nodes[node]) else { return Ok(None) };
        let attribute = |name| nodes[node].attribute(name);
        let channels_first = attribute("data_format")?.s.is_some_and(|format| format.starts_with(b"NC"));
        let transposed = attribute("transpose_b")?.b.unwrap_or(false);
        if channels_first || transposed || dims.len() != kind.rank {
            return Ok(None);
        }
        let channels = dims[kind.rank - kind.channel_dimensions..].iter().product();
        Ok((channels > 0).then(|| Self { node, was: nodes[node].name.clone(), channels, rank: kind.rank }))
    }

    /// What comes next if it is the only user of the result, one of the operations `ops`, and its other input a
    /// constant with a number for each channel: these.
    fn next(
        &self,
        ops: &[&str],
        nodes: &[NodeDef],
        users: &Users,
    ) -> Result<Option<(usize, Vec<f32>)>, String> {
        let Some((next, position @ (0 | 1))) = users.only(&self.was) else { return Ok(None) };
        let other = nodes[next].input.get(1 - position).and_then(|input| users.node(input));
        let Some(other) = other.map(|index| &nodes[index]) else { return Ok(None) };
        if !ops.contains(&nodes[next].op.as_str()) || other.op != "Const" {
            return Ok(None);
        }
        let numbers = other.attribute("value")?.tensor.unwrap_or_default();
        let dims = numbers.dims().unwrap_or_default();
        let Some((last, before)) = dims.split_last() else { return Ok(None) };
        // The result keeps its shape: [C], [1, C], [1, 1, 1, C].
        let fits = *last == self.channels && before.iter().all(|&size| size == 1) && dims.len() <= self.rank;
        let floats = if fits { numbers.floats() } else { None };
        Ok(floats.map(|numbers| (next, numbers)))
    }

    /// Puts the operation in the place of the multiplication of its result.
    fn take_place_of(&mut self, multiplication: usize, nodes: &mut [NodeDef]) {
        let NodeDef { name, input, .. } = std::mem::take(&mut nodes[multiplication]);
        let node = &mut nodes[self.node];
        node.input.extend(input.into_iter().filter(|input| input.starts_with('^')));
        node.name.clone_from(&name);
        self.was = name;
    }

    /// Makes the addition to its result one of a bias.
    fn add_bias(&self, addition: usize, bias: &[f32], nodes: &mut Vec<NodeDef>) {
        let node = &mut nodes[addition];
        let constant = NodeDef {
            name: format!("{}/bias_by_channel", node.name),
            op: "Const".into(),
            device: node.device.clone(),
            attr: [
                ("dtype", AttrValue::of_type(DT_FLOAT)),
                ("value", AttrValue::of_tensor(TensorProto::of_floats(bias))),
            ]
            .map(|(name, value)| (name.to_string(), value))
            .into(),
            ..NodeDef::default()
        };
        node.op = "BiasAdd".into();
        node.attr.retain(|name, _| name == "T");
        node.input.retain(|input| input.starts_with('^'));
        node.input.splice(0..0, [self.was.clone(), constant.name.clone()]);
        nodes.push(constant);
    }
}

/// Which nodes use the output of a node, and as which of their inputs.
struct Users {
    indices: HashMap<String, usize>,
    /// Nothing where it is an output of the graph, or something only comes after it.
    users: HashMap<usize, Vec<Option<(usize, usize)>>>,
}

impl Users {
    fn of(model: &Model) -> Self {
        let nodes = &model.definition.node;
        let indices: HashMap<String, usize> =
            nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect();
        let mut users: HashMap<usize, Vec<_>> = HashMap::new();
        let mut add = |used: &str, user| {
            if let Some(&used) = indices.get(used) {
                users.entry(used).or_default().push(user);
            }
        };
        for (user, node) in nodes.iter().enumerate() {
            for (position, input) in node.input.iter().enumerate() {
                add(source(input), (!input.starts_with('^')).then_some((user, position)));
            }
        }
        model.outputs.iter().for_each(|(name, _)| add(name, None));
        Self { indices, users }
    }

    /// The node whose output a reference names.
    fn node(&self, reference: &str) -> Option<usize> {
        self.indices.get(reference).copied()
    }

    fn users(&self, name: &str) -> &[Option<(usize, usize)>] {
        self.node(name).and_then(|used| self.users.get(&used)).map_or(&[], Vec::as_slice)
    }

    /// The only user of `name`, and as which input.
    fn only(&self, name: &str) -> Option<(usize, usize)> {
        match self.users(name) {
            [Some(user)] => Some(*user),
            _ => None,
        }
    }

    /// Whether TensorFlow's optimizer could do nothing with a weight if it were a constant.
    fn take_as_it_is(&self, weight: &str, nodes: &[NodeDef]) -> bool {
        for user in self.users(weight) {
            let Some((user, position)) = *user else { return false };
            let node = &nodes[user];
            let takes = |kind: &str, at: usize| position == at && node.op.contains(kind);
            let scaled =
                || self.only(&node.name).is_some_and(|(next, _)| SCALES.contains(&nodes[next].op.as_str()));
            if !(takes("Gather", 0) || takes("MatMul", 1) || (takes("Conv", 1) && !scaled())) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, op: &str, input: &[&str]) -> NodeDef {
        let input = input.iter().map(|input| (*input).to_string()).collect();
        NodeDef { name: name.into(), op: op.into(), input, ..NodeDef::default() }
    }

    /// Two numbers, in this shape.
    fn numbers(name: &str, dims: &[i64], floats: [f32; 2]) -> NodeDef {
        let shape = TensorShapeProto::of(dims);
        let tensor = TensorProto { tensor_shape: Some(shape), ..TensorProto::of_floats(&floats) };
        let attr = [("value".to_string(), AttrValue::of_tensor(tensor))].into();
        NodeDef { attr, ..node(name, "Const", &[]) }
    }

    /// The weights of [`model`].
    fn dims() -> Vec<Vec<i64>> {
        vec![vec![1, 1, 3, 2]]
    }

    /// A convolution of `x` with weights `w` to two channels, and what comes next.
    fn model(next: Vec<NodeDef>) -> Model {
        let oddity = ("is_filter_const".to_string(), Vec::new());
        let convolution =
            NodeDef { attr: [oddity].into(), ..node("conv", "_MklNativeConv2D", &["x", "w", "^x"]) };
        let mut nodes = vec![node("x", "Placeholder", &[]), node("w", "Placeholder", &[]), convolution];
        nodes.extend(next);
        let output = nodes[nodes.len() - 1].name.clone();
        Model {
            definition: GraphDef { node: nodes, ..GraphDef::default() },
            inputs: vec![("x".into(), 0)],
            outputs: vec![(output, 0)],
            held: vec![Held { name: "w".into(), variable: 0 }],
        }
    }

    #[test]
    fn what_scales_a_convolution_goes_into_its_weights_and_what_is_added_is_a_bias() {
        for shape in [&[2][..], &[1, 2], &[1, 1, 1, 2]] {
            let mut model = model(vec![
                numbers("s", shape, [2.0, 3.0]),
                node("mul", "Mul", &["s", "conv", "^x"]),
                numbers("b", shape, [4.0, 5.0]),
                node("add", "AddV2", &["mul", "b"]),
            ]);
            assert_eq!(wanted(&model, &dims()).unwrap(), [0; 0], "{shape:?}");
            assert_eq!(apply(&mut model, &dims()).unwrap(), Some(vec![(0, vec![2.0, 3.0])]), "{shape:?}");
            let nodes = model.definition.node;
            let find = |name: &str| nodes.iter().find(|node| node.name == name).unwrap();
            assert_eq!(find("mul"), &node("mul", "Conv2D", &["x", "w", "^x", "^x"]), "the convolution");
            assert_eq!(find("add"), &node("add", "BiasAdd", &["mul", "add/bias_by_channel"]));
            let bias = find("add/bias_by_channel").attribute("value").unwrap().tensor.unwrap();
            assert_eq!((bias.dims(), bias.floats()), (Some(vec![2]), Some(vec![4.0, 5.0])));
            assert!(!nodes.iter().any(|node| node.name == "conv"));
        }
    }

    #[test]
    fn weights_stay_where_more_than_channels_or_more_than_one_user_is_there() {
        let scaled = |next| vec![numbers("s", &[2], [2.0, 3.0]), node("mul", "Mul", &["conv", "s"]), next];
        let other = |shape: &[i64]| vec![numbers("s", shape, [2.0, 3.0]), node("mul", "Mul", &["conv", "s"])];
        for (why, next, is_wanted) in [
            ("the result is used twice", scaled(node("twice", "Sub", &["mul", "conv"])), false),
            ("the weights are", scaled(node("twice", "Sub", &["mul", "w"])), true),
            ("the weights are the output", scaled(node("y", "Identity", &["w"])), true),
            ("not by channel", other(&[2, 1]), true),
            ("more dimensions", other(&[1, 1, 1, 1, 2]), true),
            ("nothing is scaled", vec![node("y", "Relu", &["conv"])], false),
        ] {
            let mut model = model(next);
            assert_eq!(!wanted(&model, &dims()).unwrap().is_empty(), is_wanted, "{why}");
            let before = model.definition.clone();
            assert_eq!(apply(&mut model, &dims()).unwrap(), None, "{why}");
            assert_eq!(model.definition, before, "{why}");
        }
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        let shape = Some(TensorShapeProto::of(&[3]));
        let written = TensorProto { tensor_shape: shape, ..TensorProto::of_floats(&[1.0, 2.0]) };
        assert_eq!(written.floats(), Some(vec![1.0, 2.0, 2.0]));
        let bytes = [1.0_f32, -2.0, 0.5].iter().flat_map(|number| number.to_le_bytes()).collect();
        let in_bytes = TensorProto { tensor_content: bytes, float_val: Vec::new(), ..written.clone() };
        assert_eq!(in_bytes.floats(), Some(vec![1.0, -2.0, 0.5]));
        assert_eq!(TensorProto { dtype: DT_FLOAT + 1, ..written }.floats(), None);
    }
}
