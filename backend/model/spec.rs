//! Inputs and outputs as configuration and SavedModel name them.

use std::ffi::CString;

use super::measure::Measure;
use crate::tensorflow::{Endpoint, InputDefault};
use crate::triton::DataType;

/// An input or output that configuration and signature agree on.
#[derive(Debug)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The name, for the server.
    pub c_name: CString,
    /// The element type.
    pub datatype: DataType,
    /// The shape that the model sees, without the batch dimension; -1 is any size.
    pub dims: Vec<i64>,
    /// It has no dimensions at all, which Triton does not know: its shape is `[1]` there.
    pub is_scalar: bool,
    /// The server makes it, not a client. A correlation id that is a text is then in a buffer of a fixed size.
    pub is_control: bool,
    /// The tensor of a batch has the elements of its requests one after the other, whatever their shapes; the dims are those of
    /// a request. Of an output see [`Ragged::outputs`](super::ragged::Ragged::outputs).
    pub is_ragged: bool,
    /// Of an input that a request may leave out, what it is then.
    pub default: Option<InputDefault>,
}

impl TensorSpec {
    /// The shape that a response has for a tensor of the model's, whose shape is `dims`.
    pub fn told<'d>(&self, dims: &'d [i64]) -> &'d [i64] {
        if self.is_scalar { &[1] } else { dims }
    }

    /// The elements of its default, where that is always the same.
    pub fn default_bytes(&self) -> &[u8] {
        match &self.default {
            Some(InputDefault::Constant { bytes, .. }) => bytes,
            _ => &[],
        }
    }

    /// Whether requests that leave this input out cannot share an execution with those that have it.
    pub fn sets_apart(&self) -> bool {
        match self.default {
            Some(InputDefault::Constant { .. }) => self.dims.contains(&-1),
            Some(InputDefault::Computed) => true,
            None => false,
        }
    }
}

/// Some of a model's outputs.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Outputs of the SavedModel, as indices into the session's outputs.
    pub outputs: Vec<usize>,
    /// Latency outputs.
    pub measures: Vec<Measure>,
}

impl Selection {
    /// How many outputs these are.
    pub fn len(&self) -> usize {
        self.outputs.len() + self.measures.len()
    }
}

/// What an endpoint of the signature is, in the words of config.pbtxt.
pub fn describe(endpoint: &Endpoint) -> String {
    let datatype = endpoint.datatype.map_or(endpoint.type_name.as_str(), |datatype| datatype.config_name());
    match &endpoint.dims {
        Some(dims) => format!("{datatype} {dims:?}"),
        None => format!("{datatype} of unknown rank"),
    }
}

/// Whether the signature says that the first dimension is a batch of any size.
pub fn has_batch_dimension(endpoint: &Endpoint) -> bool {
    endpoint.dims.as_ref().is_some_and(|dims| dims.first() == Some(&-1))
}

/// Why this backend cannot serve an endpoint of the signature, whatever config.pbtxt declares for it, and what to do;
/// nothing if it can.
pub fn unservable(endpoint: &Endpoint) -> Option<String> {
    endpoint.datatype.is_none().then(|| {
        let types: Vec<_> = DataType::ALL.iter().map(|datatype| datatype.config_name()).collect();
        format!(
            "it is {}, and this backend takes {}: export the model with one of these types for it",
            endpoint.type_name,
            types.join(", ")
        )
    })
}
