//! The tensors of a signature.

use crate::triton::DataType;

/// A tensor of a graph: its operation and which of the operation's outputs.
pub type Place = (String, i32);

/// A tensor of the signature.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name in the signature.
    pub name: String,
    /// The element type; nothing where this backend has no such type.
    pub datatype: Option<DataType>,
    /// The type as TensorFlow calls it.
    pub type_name: String,
    /// The shape with the batch dimension, -1 for any size; nothing where the rank is open.
    pub dims: Option<Vec<i64>>,
    /// Where it is in the graph.
    pub place: Place,
    /// Of an input that nobody has to feed, what it is then.
    pub default: Option<InputDefault>,
}

/// What an input is where nobody sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputDefault {
    /// Always the same.
    Constant {
        /// Its shape.
        dims: Vec<i64>,
        /// Its elements, as the server has them: before each string is its length.
        bytes: Vec<u8>,
    },
    /// What the graph computes in each run where it is not fed, from other inputs, variables or chance.
    Computed,
}

impl Endpoint {
    /// The same tensor of the signature at another place.
    pub fn at(&self, place: &Place) -> Self {
        Self { place: place.clone(), ..self.clone() }
    }
}
