//! What saved_model.pb says about its graphs, without the graphs (`saved_model.proto`, `meta_graph.proto`).

use std::collections::BTreeMap;

use prost::Message;

use super::graph::TensorShapeProto;

#[derive(Clone, PartialEq, Message)]
pub struct SavedModel {
    #[prost(message, repeated, tag = "2")]
    pub meta_graphs: Vec<MetaGraphDef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetaGraphDef {
    #[prost(message, optional, tag = "1")]
    pub meta_info_def: Option<MetaInfoDef>,
    #[prost(message, optional, tag = "2")]
    pub graph_def: Option<GraphHeader>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub signature_def: BTreeMap<String, SignatureDef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetaInfoDef {
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    /// The version of the TensorFlow that wrote it.
    #[prost(string, tag = "5")]
    pub tensorflow_version: String,
}

/// A `GraphDef` without its nodes.
#[derive(Clone, PartialEq, Message)]
pub struct GraphHeader {
    #[prost(message, optional, tag = "4")]
    pub versions: Option<VersionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VersionDef {
    /// The graph version of the TensorFlow that wrote it, which counts on between releases.
    #[prost(int32, tag = "1")]
    pub producer: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct SignatureDef {
    #[prost(btree_map = "string, message", tag = "1")]
    pub inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub outputs: BTreeMap<String, TensorInfo>,
    /// What inputs are that are left out, each a `TensorProto`; since TensorFlow 2.13 or so.
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub defaults: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorInfo {
    /// `operation:index`; missing for a sparse or composite tensor.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(int32, tag = "2")]
    pub dtype: i32,
    #[prost(message, optional, tag = "3")]
    pub tensor_shape: Option<TensorShapeProto>,
}
