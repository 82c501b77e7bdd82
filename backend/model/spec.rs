//! Inputs and outputs as configuration and SavedModel name them.

use std::ffi::CString;

use super::measure::Measure;
use crate::tensorflow::Endpoint;
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
    /// The shape without the batch dimension; -1 is any size.
    pub dims: Vec<i64>,
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
pub fn unservable(kind: &str, endpoint: &Endpoint, batching: bool) -> Option<String> {
    if endpoint.datatype.is_none() {
        let types: Vec<_> = DataType::ALL.iter().map(|datatype| datatype.config_name()).collect();
        return Some(format!(
            "it is {}, and this backend takes {}: export the model with one of these types for it",
            endpoint.type_name,
            types.join(", ")
        ));
    }
    let is_scalar = endpoint.dims.as_ref().is_some_and(Vec::is_empty);
    (is_scalar && !batching).then(|| {
        let advice = if kind == "output" { "leave it out, or export" } else { "export" };
        format!("it is a scalar, which Triton does not take with max_batch_size: 0: {advice} the model with a shape of [1] for it")
    })
}
