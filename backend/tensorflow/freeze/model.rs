//! A graph on its way to be served.

use crate::tensorflow::endpoint::Place;
use crate::tensorflow::proto::graph::GraphDef;
use crate::tensorflow::tensor::Tensor;

/// Bytes from which on a value is stored in a variable again: below, the reading would cost more than the copies.
pub const LARGE: usize = 64 << 10;

/// The size of a dimension of any size in the run that optimises; the batch dimension is 1.
pub const OPEN_DIMENSION: i64 = 128;
/// Elements that an input may have in a run at load.
pub const MOST_ELEMENTS: usize = 1 << 24;

/// A graph, and where the signature's tensors are in it.
pub struct Model {
    pub definition: GraphDef,
    /// Where the signature's inputs are fed.
    pub inputs: Vec<Place>,
    /// Where its outputs are fetched.
    pub outputs: Vec<Place>,
    /// The variables that are inputs as well.
    pub held: Vec<Held>,
}

/// A variable whose node waits for its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// The node's place in the graph.
    pub index: usize,
    /// TensorFlow's number of its type.
    pub datatype: i32,
}

/// A variable that an input of the graph stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The input's node.
    pub name: String,
    /// Which of the variables.
    pub variable: usize,
}

/// A value that is stored in a variable once the graph is loaded.
pub struct Stored {
    /// The node that is fed the value.
    pub feed: String,
    /// The node that stores it.
    pub assign: String,
    pub value: Tensor,
}
