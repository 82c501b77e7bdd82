//! Tests of this room with a real TensorFlow, the one in the folder that `TL_TENSORFLOW_DIR` names.

mod hostile;
mod strings;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;

use super::endpoint::Place;
use super::freeze::{self, Effort, Plan, Refusal};
use super::graph::{Graph, Outputs, Targets};
use super::library::open_for_tests;
use super::memory::{ALIGNMENT, ForeignMemory};
use super::pool::TensorPool;
use super::proto::config::ConfigProto;
use super::proto::graph::{AttrValue, GraphDef, NodeDef, TensorShapeProto};
use super::proto::saved_model::SavedModel;
use super::raw_session::RawSession;
use super::run_options::RunOptions;
use super::saved_model::{self, Loaded, Parts};
use super::session::{File, Options, Output, Session};
use super::tensor::{Blank, Tensor};
use super::{Objection, types};
use crate::config::{Freeze, GpuMemory, Optimization, Threads};
use crate::triton::DataType;
use crate::triton::{Code, Error};

const FLOATS: usize = 32;

/// Memory that counts how often it has been given back.
struct Lent {
    memory: Box<Aligned>,
    offset: usize,
    returned: Arc<AtomicUsize>,
}

#[repr(align(64))]
struct Aligned([u8; 2 * FLOATS * 4]);

// SAFETY: the memory is on the heap, lives as long as the value, and nobody writes to it.
unsafe impl ForeignMemory for Lent {
    fn ptr(&self) -> *const u8 {
        self.memory.0[self.offset..].as_ptr()
    }

    fn len(&self) -> usize {
        FLOATS * 4
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.returned.fetch_add(1, Ordering::SeqCst);
    }
}

/// Lent memory that begins `offset` bytes behind an aligned address, its bytes counted up; and how often it was
/// returned.
fn lent(offset: usize) -> (Lent, Arc<AtomicUsize>) {
    let returned = Arc::new(AtomicUsize::new(0));
    let mut memory = Box::new(Aligned([0; 2 * FLOATS * 4]));
    memory.0.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
    (Lent { memory, offset, returned: Arc::clone(&returned) }, returned)
}

fn node(name: &str, op: &str, input: &[&str], types: &[&str]) -> NodeDef {
    let float = |name: &&str| ((*name).to_string(), AttrValue::of_type(types::number(DataType::Fp32)));
    NodeDef {
        name: name.into(),
        op: op.into(),
        input: input.iter().map(|input| (*input).to_string()).collect(),
        attr: types.iter().map(float).collect::<BTreeMap<_, _>>(),
        ..NodeDef::default()
    }
}

/// A session of a graph with the input `x` and these nodes.
fn session(nodes: Vec<NodeDef>) -> RawSession {
    open_for_tests();
    let graph = Arc::new(Graph::new());
    let node = [node("x", "Placeholder", &[], &["dtype"])].into_iter().chain(nodes).collect();
    let definition = GraphDef { node, ..GraphDef::default() };
    graph.import(&definition.encode_to_vec(), &[]).expect("a graph");
    RawSession::new(graph, &ConfigProto::default()).expect("a session")
}

fn place(name: &str) -> Place {
    (name.into(), 0)
}

fn filled(datatype: DataType, dims: &[i64], pieces: &[&[u8]]) -> Result<Tensor, Error> {
    let mut blank = Blank::new(datatype, dims)?;
    pieces.iter().try_for_each(|piece| blank.append(*piece))?;
    blank.finish().map(|tensor| *tensor)
}

#[test]
fn a_tensor_is_its_bytes_for_every_type() {
    open_for_tests();
    for &datatype in DataType::ALL.iter().filter(|&&datatype| datatype != DataType::Bytes) {
        let bytes: Vec<u8> = (1..=6 * datatype.byte_size()).map(|byte| byte as u8).collect();
        let (first, rest) = bytes.split_at(3);
        let tensor = filled(datatype, &[2, 3], &[first, &[], rest]).expect("a tensor");
        assert_eq!((tensor.datatype(), tensor.dims()), (datatype, &[2, 3][..]));
        let expected = if datatype == DataType::Bool { vec![1; 6] } else { bytes };
        assert_eq!(tensor.bytes(), expected, "{datatype}");
        assert_eq!(Tensor::zeroed(datatype, &[2, 3]).expect("a tensor").bytes(), vec![0; expected.len()]);
    }
    let flags = filled(DataType::Bool, &[4], &[&[0, 1, 2, 255]]).expect("a tensor");
    assert_eq!(flags.bytes(), [0, 1, 1, 1], "what is not 0 is true");
}

#[test]
fn tensors_of_odd_shapes_are_made_or_refused() {
    open_for_tests();
    assert_eq!(filled(DataType::Fp64, &[], &[&[7; 8]]).expect("a scalar").bytes(), [7; 8]);
    assert!(filled(DataType::Fp32, &[3, 0, 1 << 40], &[]).expect("no elements").bytes().is_empty());
    for dims in [&[1 << 62, 4][..], &[1 << 62, 4, 0], &[-1], &[1; 255]] {
        let error = Blank::new(DataType::UInt8, dims).expect_err("there is no such tensor");
        assert_eq!(error.code, Code::InvalidArg, "{dims:?}");
    }
    let error = Blank::new(DataType::UInt8, &[1 << 62]).expect_err("there is no such memory");
    assert!(error.message.starts_with("no memory for a tensor of UINT8 [4611686018427387904]"), "{error}");
    let error = filled(DataType::Int16, &[3], &[&[0; 5]]).expect_err("a byte is missing");
    assert_eq!(error.message, "5 bytes for a tensor of INT16 [3], which has 6");
}

#[test]
fn a_tensor_is_filled_with_copies_of_its_last_row() {
    open_for_tests();
    for (rows, padded) in [(1, 1), (1, 2), (1, 7), (2, 3), (3, 16)] {
        let mut blank = Blank::new(DataType::Int16, &[padded, 2]).expect("a tensor");
        let bytes: Vec<u8> = (1..=rows as u8 * 4).collect();
        blank.append(&bytes[..]).expect("no source fails");
        blank.repeat_last(4);
        let tensor = blank.finish().expect("it is full");
        let (first, copies) = tensor.bytes().split_at(bytes.len());
        assert_eq!(first, bytes);
        assert!(copies.chunks(4).all(|copy| copy == &bytes[bytes.len() - 4..]), "{copies:?}");
        assert_eq!(copies.len() / 4, (padded - rows) as usize);
    }
    // Without elements there is nothing to copy.
    let mut blank = Blank::new(DataType::Fp32, &[4, 0]).expect("a tensor");
    blank.repeat_last(0);
    assert!(blank.finish().expect("it is full").bytes().is_empty());
    let mut flags = Blank::new(DataType::Bool, &[3, 1]).expect("a tensor");
    flags.append(&[2][..]).expect("no source fails");
    flags.repeat_last(1);
    assert_eq!(flags.finish().expect("it is full").bytes(), [1, 1, 1]);
}

#[test]
fn only_memory_that_tensorflow_reads_in_place_is_borrowed() {
    open_for_tests();
    let dims = [FLOATS as i64];
    for (why, datatype, dims, offset) in [
        ("not aligned", DataType::Fp32, &dims[..], ALIGNMENT / 2),
        ("too short", DataType::Fp32, &[FLOATS as i64 + 1], 0),
        ("too long", DataType::Fp32, &[FLOATS as i64 - 1], 0),
        ("booleans", DataType::Bool, &[FLOATS as i64 * 4], 0),
        ("impossible", DataType::Fp32, &[-1], 0),
    ] {
        let (memory, returned) = lent(offset);
        let memory = Tensor::borrowing(datatype, dims, memory).expect_err(why);
        assert_eq!(returned.load(Ordering::SeqCst), 0, "{why}");
        drop(memory);
        assert_eq!(returned.load(Ordering::SeqCst), 1, "{why}");
    }
    let (memory, returned) = lent(0);
    let address = memory.ptr();
    let tensor = Tensor::borrowing(DataType::Fp32, &dims, memory).ok().expect("it is aligned");
    assert_eq!(tensor.bytes().as_ptr(), address, "nothing was copied");
    assert_eq!(tensor.bytes()[..3], [0, 1, 2]);
    assert!(Box::new(tensor).reclaim().is_none(), "it is not ours to write to");
    assert_eq!(returned.load(Ordering::SeqCst), 1);
}

#[test]
fn borrowed_memory_is_given_back_once_after_the_last_tensor_that_uses_it() {
    let session = session(vec![node("y", "Identity", &["x"], &["T"])]);
    let feeds = Outputs::new(session.graph(), &[place("x")]).expect("the input");
    let fetches = Outputs::new(session.graph(), &[place("y")]).expect("the output");
    for options in [RunOptions::DEFAULT, RunOptions::INLINE, RunOptions::LIMITED] {
        let (memory, returned) = lent(0);
        let address = memory.ptr();
        let input = Tensor::borrowing(DataType::Fp32, &[FLOATS as i64], memory).ok().expect("it is aligned");
        let outputs = session.run(&feeds, [&input], &fetches.all(), options).expect("the session runs");
        let output = outputs.into_iter().next().map(Tensor::from_raw).expect("an output").expect("of FP32");
        assert_eq!(output.bytes().as_ptr(), address, "the output is the input's memory");
        drop(input);
        assert_eq!(returned.load(Ordering::SeqCst), 0, "the output still uses it");
        assert_eq!(output.bytes()[..3], [0, 1, 2]);
        drop(output);
        assert_eq!(returned.load(Ordering::SeqCst), 1);
    }
}

/// Why `Session::keeps_nothing` decides what may be borrowed, and the pool looks at each tensor.
#[test]
fn a_variable_keeps_what_it_is_assigned() {
    let handle = node("handle", "VarHandleOp", &[], &["dtype"]);
    let shape = TensorShapeProto::of(&[FLOATS as i64]);
    let attr = handle.attr.into_iter().chain([("shape".to_string(), AttrValue::of_shape(shape))]).collect();
    let handle = NodeDef { attr, name: "handle".into(), op: "VarHandleOp".into(), ..NodeDef::default() };
    let session = session(vec![handle, node("store", "AssignVariableOp", &["handle", "x"], &["dtype"])]);
    let feeds = Outputs::new(session.graph(), &[place("x")]).expect("the input");
    let store = Targets::new(session.graph(), ["store"]).expect("the operation");

    let pool = TensorPool::default();
    let mut blank = pool.take(DataType::Fp32, &[FLOATS as i64]).expect("a tensor");
    blank.append(&[1; FLOATS * 4][..]).expect("bytes");
    let input = blank.finish().expect("it is full");
    let address = input.bytes().as_ptr();
    session.execute(&feeds, [&*input], &store).expect("the session runs");
    pool.give_back([input]);
    let mut other = pool.take(DataType::Fp32, &[FLOATS as i64]).expect("a tensor");
    other.append(&[2; FLOATS * 4][..]).expect("bytes");
    let other = other.finish().expect("it is full");
    assert_ne!(other.bytes().as_ptr(), address, "the variable has that memory");

    let (memory, returned) = lent(0);
    let input = Tensor::borrowing(DataType::Fp32, &[FLOATS as i64], memory).ok().expect("it is aligned");
    session.execute(&feeds, [&input], &store).expect("the session runs");
    drop(input);
    assert_eq!(returned.load(Ordering::SeqCst), 0, "the variable has it");
    session.execute(&feeds, [&*other], &store).expect("the session runs");
    assert_eq!(returned.load(Ordering::SeqCst), 1, "the variable has something else");
}

#[test]
fn the_pool_hands_out_what_fits_and_nobody_uses() {
    let session = session(vec![node("y", "Identity", &["x"], &["T"])]);
    let feeds = Outputs::new(session.graph(), &[place("x")]).expect("the input");
    let fetches = Outputs::new(session.graph(), &[place("y")]).expect("the output");
    let pool = TensorPool::default();
    let make = || {
        let mut blank = pool.take(DataType::Fp32, &[FLOATS as i64]).expect("a tensor");
        blank.append(&[3; FLOATS * 4][..]).expect("bytes");
        blank.finish().expect("it is full")
    };
    let first = make();
    let address = first.bytes().as_ptr();
    pool.give_back([first]);
    assert!(
        pool.take(DataType::Int32, &[FLOATS as i64]).and_then(Blank::finish).is_err(),
        "it is not filled"
    );
    let again = make();
    assert_eq!(again.bytes().as_ptr(), address, "same type, same shape");
    let outputs = session.run(&feeds, [&*again], &fetches.all(), RunOptions::DEFAULT).expect("it runs");
    pool.give_back([again]);
    assert_ne!(make().bytes().as_ptr(), address, "the output has that memory");
    drop(outputs);
}

#[test]
fn a_run_fetches_some_or_all_and_says_what_is_wrong() {
    let session = session(vec![node("y", "Identity", &["x"], &["T"]), node("z", "Neg", &["x"], &["T"])]);
    let graph = session.graph();
    let feeds = Outputs::new(graph, &[place("x")]).expect("the input");
    let fetches = Outputs::new(graph, &[place("y"), place("z")]).expect("the outputs");
    let input = filled(DataType::Fp32, &[1], &[&1.0_f32.to_ne_bytes()]).expect("a tensor");
    let values = |indices: &[usize]| -> Vec<f32> {
        let fetches = fetches.some(indices.iter().copied());
        let outputs = session.run(&feeds, [&input], &fetches, RunOptions::DEFAULT).expect("it runs");
        let value = |output| Tensor::from_raw(output).expect("of FP32").bytes().as_chunks().0[0];
        outputs.into_iter().map(|output| f32::from_ne_bytes(value(output))).collect()
    };
    assert_eq!(values(&[1]), [-1.0]);
    assert_eq!(values(&[1, 0]), [-1.0, 1.0]);

    let error = Outputs::new(graph, &[("z".into(), 1)]).expect_err("it has one output");
    assert_eq!(error.message, "the operation 'z' (Neg) has no output 1; it has 1");
    let error = Outputs::new(graph, &[place("w")]).expect_err("it is not there");
    assert_eq!(error.message, "the graph has no operation 'w'");
    let wrong = filled(DataType::Int32, &[1], &[&[0; 4]]).expect("a tensor");
    let failure = session.run(&feeds, [&wrong], &fetches.all(), RunOptions::DEFAULT).expect_err("not FP32");
    assert!(failure.to_string().starts_with("INVALID_ARGUMENT: "), "{failure}");
}

fn test_model(name: &str) -> PathBuf {
    let folder =
        std::env::var_os("TL_TEST_MODELS").expect("TL_TEST_MODELS names the folder of the test models");
    Path::new(&folder).join(name).join("model.savedmodel")
}

fn options(tags: &'static str) -> Options<'static> {
    Options {
        model: "test",
        file: File::SavedModel(Parts { tags, signature: None, may_lack_values: false }),
        threads: Threads::default(),
        cpu_only: true,
        gpu_memory: GpuMemory::default(),
        optimization: Optimization::default(),
        bf16: false,
        soft_placement: true,
        freeze: Freeze::Auto,
        optional: &[],
        is_other_shape: &|_| false,
    }
}

fn refused(folder: &Path, options: &Options<'_>) -> String {
    Session::open(folder, options).expect_err("it cannot be loaded").message
}

#[test]
fn a_saved_model_answers_and_passes_its_input_on() {
    open_for_tests();
    let session = Session::open(&test_model("add_one"), &options("serve")).expect("the model loads");
    assert!(session.keeps_nothing());
    let [input, output] = [&session.inputs[0], &session.outputs[0]];
    assert_eq!((input.name.as_str(), output.name.as_str()), ("x", "y"));
    assert_eq!((input.datatype, input.type_name.as_str()), (Some(DataType::Fp32), "DT_FLOAT"));
    assert_eq!(input.dims, Some(vec![-1, 16]));
    let zeros = [Tensor::zeroed(DataType::Fp32, &[2, 16]).expect("a tensor")];
    let answer = session.run(&zeros, &[0], RunOptions::INLINE).expect("it runs");
    assert!(matches!(answer[0], Output::Fetched(_)));
    assert_eq!(answer[0].bytes(), 1.0_f32.to_ne_bytes().repeat(32));

    let session = Session::open(&test_model("passthrough"), &options("serve")).expect("the model loads");
    let wanted: Vec<usize> = (0..session.outputs.len()).collect();
    let dims = |dims: &Vec<i64>| dims.iter().map(|dim| dim.abs()).collect::<Vec<_>>();
    let zeros: Vec<Tensor> = session
        .inputs
        .iter()
        .map(|input| {
            let dims = input.dims.as_ref().map(dims).expect("a rank");
            Tensor::zeroed(input.datatype.expect("a type"), &dims).expect("a tensor")
        })
        .collect();
    let answer = session.run(&zeros, &wanted, RunOptions::DEFAULT).expect("it runs");
    assert!(answer.iter().any(|output| matches!(output, Output::Input(_))), "an output is an input");
}

#[test]
fn what_may_keep_its_input_is_told() {
    open_for_tests();
    for (model, keeps, acts) in [
        ("remembers", true, true),
        ("stateful", true, true),
        ("slow", true, true),
        ("loop", true, false),
        ("mixed", false, false),
    ] {
        let session = Session::open(&test_model(model), &options("serve")).expect("the model loads");
        assert_eq!(!session.keeps_nothing(), keeps, "{model}: {:?}", session.objection);
        assert_eq!(matches!(session.objection, Some(Objection::Acts(_))), acts, "{model}");
    }
}

/// What a loaded model answers to random rows, all outputs.
fn answers(loaded: &Loaded, input: &Tensor) -> Vec<Vec<u8>> {
    let graph = loaded.session.graph();
    let feeds = Outputs::new(graph, [&loaded.inputs[0].place]).expect("the input");
    let fetches =
        Outputs::new(graph, loaded.outputs.iter().map(|output| &output.place)).expect("the outputs");
    let answers = loaded.session.run(&feeds, [input], &fetches.all(), RunOptions::DEFAULT).expect("it runs");
    let bytes = |answer| Tensor::from_raw(answer).expect("a type that there is").bytes().to_vec();
    answers.into_iter().map(bytes).collect()
}

/// Stands in for a GPU: a second device of the CPU's, to which TensorFlow sends tensors as well.
#[test]
fn a_model_on_several_devices_is_frozen() {
    open_for_tests();
    let folder = test_model("devices");
    let config = ConfigProto {
        device_count: [("CPU".to_string(), 2)].into(),
        allow_soft_placement: true,
        ..ConfigProto::default()
    };
    let parts = Parts { tags: "serve", signature: None, may_lack_values: false };
    let load = |config| saved_model::load(&folder, parts, config).expect("the model loads");
    let as_it_is = load(&config);
    let bytes: Vec<u8> = (0..3 * 16).flat_map(|at| (at as f32 / 16.0 - 1.0).to_ne_bytes()).collect();
    let input = filled(DataType::Fp32, &[3, 16], &[&bytes]).expect("a tensor");
    let expected = answers(&as_it_is, &input);
    for on_gpu in [false, true] {
        let plan = Plan { bf16: false, coarse: false, on_gpu, effort: Effort::Any };
        let frozen = match freeze::freeze(&load(&config), &config, plan) {
            Ok(frozen) => frozen.expect("it has variables"),
            Err(Refusal::Impossible(reason) | Refusal::Wrong(reason)) => panic!("{reason}"),
        };
        assert_eq!(frozen.variables, 4);
        let difference = frozen.difference.expect("it was compared");
        assert!(difference < 1e-5, "{difference}");
        let found = answers(&frozen.loaded, &input);
        for (output, (found, expected)) in frozen.loaded.outputs.iter().zip(found.iter().zip(&expected)) {
            if output.datatype == Some(DataType::Int64) {
                assert_eq!(found, expected, "{}", output.name);
                continue;
            }
            let floats =
                |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect::<Vec<_>>();
            for (found, expected) in floats(found).into_iter().zip(floats(expected)) {
                assert!(
                    (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
                    "{found}, not {expected}"
                );
            }
        }
        let definition: GraphDef =
            frozen.loaded.session.graph().definition().expect("a graph").decode().expect("one");
        let on = |device: &str| definition.node.iter().filter(|node| node.device.ends_with(device)).count();
        assert!(on("CPU:0") > 0 && on("CPU:1") > 0, "both devices are still used");
        let stored =
            definition.node.iter().find(|node| node.op == "VarHandleOp" && node.device.ends_with("CPU:1"));
        assert!(stored.is_some(), "the second product's weights are where they are used");
    }
}

/// A copy of a test model whose saved_model.pb is changed.
struct Changed(PathBuf);

impl Changed {
    fn new(name: &str, model: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let unique = format!("tensorflow-latency-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        fs::create_dir_all(&folder).expect("a folder for the test");
        let graph = fs::read(test_model(model).join("saved_model.pb")).expect("the test models are there");
        fs::write(folder.join("saved_model.pb"), change(graph)).expect("a file for the test");
        Self(folder)
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `bytes` with `from` replaced by `to`, which is as long.
fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let positions: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from.as_bytes())).collect();
    assert!(!positions.is_empty(), "'{from}' is in the file");
    for at in positions {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn a_saved_model_that_cannot_be_loaded_says_why() {
    open_for_tests();
    let empty = Changed::new("empty", "add_one", |_| Vec::new());
    assert!(refused(&empty.0, &options("serve")).contains("its saved_model.pb is empty (0 bytes)"));

    let message = refused(&test_model("add_one"), &options("serve,gpu"));
    assert!(message.contains("(tags 'serve,gpu')") && message.contains("TF_GRAPH_TAG"), "{message}");
    assert!(message.contains("The file has the graphs 'serve'"), "{message}");
    // A string of MetaInfoDef's field 4, and another one in the same bytes.
    let two_tags =
        Changed::new("two_tags", "add_one", |bytes| replaced(bytes, "\x22\x05serve", "\x22\x01a\x22\x02bb"));
    let message = refused(&two_tags.0, &options("serve"));
    assert!(message.contains("The file has the graphs 'a,bb'. Choose"), "{message}");
    assert!(Session::open(&two_tags.0, &options("bb, a")).is_ok());

    let index = Changed::new("index", "add_one", |bytes| {
        replaced(bytes, "\x11PartitionedCall:0", "\x11PartitionedCall:7")
    });
    let message = refused(&index.0, &options("serve"));
    assert!(
        message.contains("output 'y' of the signature") && message.contains("has no output 7"),
        "{message}"
    );
}

/// The version of the TensorFlow that made the test models, as it is in their files.
fn writer(saved_model: &[u8]) -> String {
    let saved_model = SavedModel::decode(saved_model).expect("a SavedModel");
    let info = saved_model.meta_graphs[0].meta_info_def.clone();
    info.expect("it says who wrote it").tensorflow_version
}

#[test]
fn a_model_of_a_newer_tensorflow_or_with_custom_operations_is_told_so() {
    open_for_tests();
    let other_version = |bytes: Vec<u8>| {
        let own = writer(&bytes);
        let newer = format!("2.99{}", &own[4..]);
        replaced(
            bytes,
            &format!("\x2a{}{own}", char::from(own.len() as u8)),
            &format!("\x2a{}{newer}", char::from(own.len() as u8)),
        )
    };
    let other_operation = |bytes| replaced(bytes, "\x12\x05AddV2", "\x12\x05AddV9");

    let custom = Changed::new("custom", "add_one", other_operation);
    let message = refused(&custom.0, &options("serve"));
    assert!(
        message.contains("The operation 'AddV9' is unknown") && message.contains("custom op library"),
        "{message}"
    );
    assert!(!message.contains("too new"), "{message}");

    let newer = Changed::new("newer", "add_one", |bytes| other_version(other_operation(bytes)));
    let message = refused(&newer.0, &options("serve"));
    assert!(
        message.contains("too new for this TensorFlow (2.") && message.contains("TensorFlow 2.99"),
        "{message}"
    );
    assert!(message.contains("'AddV9' is from a custom op library"), "{message}");
}
