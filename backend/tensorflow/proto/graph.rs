//! Graphs, functions and operations (`graph.proto`, `function.proto`, `op_def.proto`, `node_def.proto`,
//! `attr_value.proto`, `tensor.proto`). [`GraphDef`], [`NodeDef`], [`FunctionDef`] and [`OpDef`] are written again and
//! declared whole.

use std::collections::BTreeMap;

use prost::Message;

use crate::tensorflow::tensor::byte_size;
use crate::tensorflow::types;
use crate::triton::DataType;

/// `DataType` of FP32.
pub const DT_FLOAT: i32 = types::FLOAT;
/// `DataType` of a handle to a variable or another object of the session.
pub const DT_RESOURCE: i32 = 20;

#[derive(Clone, PartialEq, Message)]
pub struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeDef>,
    #[prost(message, optional, tag = "2")]
    pub library: Option<FunctionDefLibrary>,
    #[prost(int32, tag = "3")]
    pub version: i32,
    #[prost(bytes, optional, tag = "4")]
    pub versions: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeDef {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub op: String,
    /// `node` or `node:index` in a graph, `argument` or `node:output:index` in a function, `^node` to come after.
    #[prost(string, repeated, tag = "3")]
    pub input: Vec<String>,
    #[prost(string, tag = "4")]
    pub device: String,
    /// Each an [`AttrValue`].
    #[prost(btree_map = "string, bytes", tag = "5")]
    pub attr: BTreeMap<String, Vec<u8>>,
    #[prost(bytes, optional, tag = "6")]
    pub experimental_debug_info: Option<Vec<u8>>,
    #[prost(bytes, optional, tag = "7")]
    pub experimental_type: Option<Vec<u8>>,
}

impl NodeDef {
    /// The attribute of this name; an empty one where there is none.
    ///
    /// # Errors
    /// Its bytes are not an `AttrValue`.
    pub fn attribute(&self, name: &str) -> Result<AttrValue, String> {
        let bytes = self.attr.get(name).map_or(&[][..], Vec::as_slice);
        AttrValue::decode(bytes).map_err(|e| {
            format!("the attribute '{name}' of the operation '{}' cannot be read: {e}", self.name)
        })
    }
}

/// The node, or a function's argument, that an input of a node comes from.
pub fn source(input: &str) -> &str {
    let input = input.strip_prefix('^').unwrap_or(input);
    input.split_once(':').map_or(input, |(node, _)| node)
}

#[derive(Clone, PartialEq, Message)]
pub struct FunctionDefLibrary {
    #[prost(message, repeated, tag = "1")]
    pub function: Vec<FunctionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FunctionDef {
    #[prost(message, optional, tag = "1")]
    pub signature: Option<OpDef>,
    #[prost(message, repeated, tag = "3")]
    pub node_def: Vec<NodeDef>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub ret: BTreeMap<String, String>,
    #[prost(btree_map = "string, bytes", tag = "5")]
    pub attr: BTreeMap<String, Vec<u8>>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub control_ret: BTreeMap<String, String>,
    #[prost(btree_map = "uint32, bytes", tag = "7")]
    pub arg_attr: BTreeMap<u32, Vec<u8>>,
    #[prost(btree_map = "uint32, uint32", tag = "8")]
    pub resource_arg_unique_id: BTreeMap<u32, u32>,
}

impl FunctionDef {
    pub fn name(&self) -> &str {
        self.signature.as_ref().map_or("", |signature| &signature.name)
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct OpDef {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub input_arg: Vec<ArgDef>,
    #[prost(bytes, repeated, tag = "3")]
    pub output_arg: Vec<Vec<u8>>,
    /// Each an [`AttrDef`].
    #[prost(bytes, repeated, tag = "4")]
    pub attr: Vec<Vec<u8>>,
    #[prost(string, tag = "5")]
    pub summary: String,
    #[prost(string, tag = "6")]
    pub description: String,
    #[prost(bytes, optional, tag = "8")]
    pub deprecation: Option<Vec<u8>>,
    #[prost(bool, tag = "16")]
    pub is_aggregate: bool,
    #[prost(bool, tag = "17")]
    pub is_stateful: bool,
    #[prost(bool, tag = "18")]
    pub is_commutative: bool,
    #[prost(bool, tag = "19")]
    pub allows_uninitialized_input: bool,
    #[prost(string, repeated, tag = "20")]
    pub control_output: Vec<String>,
    #[prost(bool, tag = "21")]
    pub is_distributed_communication: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ArgDef {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(int32, tag = "3")]
    pub r#type: i32,
    #[prost(string, tag = "4")]
    pub type_attr: String,
    #[prost(string, tag = "5")]
    pub number_attr: String,
    #[prost(string, tag = "6")]
    pub type_list_attr: String,
    #[prost(bytes, repeated, tag = "7")]
    pub handle_data: Vec<Vec<u8>>,
    #[prost(bool, tag = "16")]
    pub is_ref: bool,
    #[prost(bytes, optional, tag = "17")]
    pub experimental_full_type: Option<Vec<u8>>,
}

/// Of an `OpDef.AttrDef`, which attribute it is.
#[derive(Clone, PartialEq, Message)]
pub struct AttrDef {
    #[prost(string, tag = "1")]
    pub name: String,
    /// As text: `func`, `list(func)`, `type` and so on.
    #[prost(string, tag = "2")]
    pub r#type: String,
}

/// Of an `AttrValue`, only what is read of one or made anew here.
#[derive(Clone, PartialEq, Message)]
pub struct AttrValue {
    #[prost(message, optional, tag = "1")]
    pub list: Option<ListValue>,
    #[prost(bytes, optional, tag = "2")]
    pub s: Option<Vec<u8>>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bool, optional, tag = "5")]
    pub b: Option<bool>,
    #[prost(int32, optional, tag = "6")]
    pub r#type: Option<i32>,
    #[prost(message, optional, tag = "7")]
    pub shape: Option<TensorShapeProto>,
    #[prost(message, optional, tag = "8")]
    pub tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "10")]
    pub func: Option<NameAttrList>,
}

impl AttrValue {
    /// A serialised type.
    pub fn of_type(r#type: i32) -> Vec<u8> {
        Self { r#type: Some(r#type), ..Self::default() }.encode_to_vec()
    }

    /// A serialised shape.
    pub fn of_shape(shape: TensorShapeProto) -> Vec<u8> {
        Self { shape: Some(shape), ..Self::default() }.encode_to_vec()
    }

    /// A serialised tensor.
    pub fn of_tensor(tensor: TensorProto) -> Vec<u8> {
        Self { tensor: Some(tensor), ..Self::default() }.encode_to_vec()
    }

    /// A serialised list of types.
    pub fn of_types(types: Vec<i32>) -> Vec<u8> {
        Self { list: Some(ListValue { r#type: types, func: Vec::new() }), ..Self::default() }.encode_to_vec()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ListValue {
    #[prost(int32, repeated, tag = "6")]
    pub r#type: Vec<i32>,
    #[prost(message, repeated, tag = "9")]
    pub func: Vec<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NameAttrList {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub attr: BTreeMap<String, AttrValue>,
}

/// A tensor with its elements as they are in memory, or as numbers.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub tensor_shape: Option<TensorShapeProto>,
    #[prost(bytes, tag = "4")]
    pub tensor_content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    pub float_val: Vec<f32>,
}

impl TensorProto {
    /// A vector of FP32.
    pub fn of_floats(floats: &[f32]) -> Self {
        let shape = TensorShapeProto::of(&[floats.len() as i64]);
        let float_val = floats.to_vec();
        Self { dtype: DT_FLOAT, tensor_shape: Some(shape), float_val, ..Self::default() }
    }

    /// The elements of a tensor of FP32; nothing for one of another type.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let bytes = byte_size(DataType::Fp32, &self.dims()?)?;
        let elements = bytes / size_of::<f32>();
        if self.datatype() != Some(DataType::Fp32) {
            None
        } else if self.tensor_content.len() == bytes {
            let bytes = self.tensor_content.as_chunks().0;
            Some(bytes.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
        } else {
            // The last of the numbers stands for all that are left out.
            let &last = self.float_val.last().filter(|_| self.float_val.len() <= elements)?;
            let mut floats = self.float_val.clone();
            floats.resize(elements, last);
            Some(floats)
        }
    }

    /// The type of its elements; nothing for types that this backend does not have.
    pub fn datatype(&self) -> Option<DataType> {
        types::from_number(self.dtype)
    }

    /// The shape; nothing where there is none, or where it leaves something open.
    pub fn dims(&self) -> Option<Vec<i64>> {
        let shape = self.tensor_shape.as_ref()?;
        shape.dim.iter().map(|dim| (dim.size >= 0).then_some(dim.size)).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub unknown_rank: bool,
}

impl TensorShapeProto {
    /// A shape.
    pub fn of(dims: &[i64]) -> Self {
        Self { dim: dims.iter().map(|&size| Dim { size }).collect(), unknown_rank: false }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    #[prost(int64, tag = "1")]
    pub size: i64,
}
