//! The protobuf messages: what is decoded and encoded is decoded as the same again. Input: which message, and its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tensorflow_latency_fuzz::tensorflow::proto::config::ConfigProto;
use tensorflow_latency_fuzz::tensorflow::proto::graph::{
    ArgDef, AttrDef, AttrValue, FunctionDef, GraphDef, NodeDef, OpDef, TensorProto, source,
};
use tensorflow_latency_fuzz::tensorflow::proto::run::{RunMetadata, RunOptions};
use tensorflow_latency_fuzz::tensorflow::proto::saved_model::{MetaGraphDef, SavedModel};

/// Elements of a tensor that are made. What the backend makes of a tensor is bounded by a value that it has read.
const MOST_ELEMENTS: i64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 12 {
        0 => drop(again::<GraphDef>(bytes)),
        1 => drop(again::<MetaGraphDef>(bytes)),
        2 => drop(again::<SavedModel>(bytes)),
        3 => drop(again::<ConfigProto>(bytes)),
        4 => drop(again::<RunMetadata>(bytes)),
        5 => drop(again::<RunOptions>(bytes)),
        6 => drop(again::<OpDef>(bytes)),
        7 => drop(again::<FunctionDef>(bytes)),
        8 => drop(again::<AttrValue>(bytes)),
        9 => drop((again::<ArgDef>(bytes), again::<AttrDef>(bytes))),
        10 => {
            if let Some(node) = again::<NodeDef>(bytes) {
                for name in node.attr.keys() {
                    let _ = node.attribute(name);
                }
                assert!(node.input.iter().all(|input| input.contains(source(input))));
            }
        }
        _ => {
            if let Some(tensor) = again::<TensorProto>(bytes) {
                numbers(&tensor);
            }
        }
    }
});

fn again<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    // By their bytes: numbers that are none differ from themselves.
    let decoded = M::decode(&encoded[..]).expect("what was encoded can be decoded");
    assert_eq!(decoded.encode_to_vec(), encoded);
    Some(message)
}

fn numbers(tensor: &TensorProto) {
    let Some(dims) = tensor.dims() else { return };
    assert!(dims.iter().all(|&dim| dim >= 0));
    let elements = dims.iter().try_fold(1_i64, |product, &dim| product.checked_mul(dim));
    if elements.is_some_and(|elements| elements <= MOST_ELEMENTS)
        && let Some(floats) = tensor.floats()
    {
        assert_eq!(Some(floats.len() as i64), elements);
    }
}
