//! Files that TensorFlow must not be given: each is refused with the reason, in bounded time, where TensorFlow would end the
//! process or not end at all.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;
use crate::tensorflow::proto::graph::{
    FunctionDef, FunctionDefLibrary, ListValue, NameAttrList, OpDef, TensorProto,
};
use crate::tensorflow::proto::saved_model::{MetaInfoDef, SignatureDef, TensorInfo};
use crate::tensorflow::status::Failure;

/// A `SavedModel` with its graph.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(int64, tag = "1")]
    version: i64,
    #[prost(message, repeated, tag = "2")]
    meta_graphs: Vec<WholeMetaGraph>,
}

#[derive(Clone, PartialEq, Message)]
struct WholeMetaGraph {
    #[prost(message, optional, tag = "1")]
    info: Option<MetaInfoDef>,
    #[prost(message, optional, tag = "2")]
    graph: Option<GraphDef>,
    #[prost(btree_map = "string, message", tag = "5")]
    signatures: BTreeMap<String, SignatureDef>,
}

fn tensor_info(name: &str, rank: usize) -> TensorInfo {
    TensorInfo {
        name: Some(name.into()),
        dtype: types::number(DataType::Fp32),
        tensor_shape: Some(TensorShapeProto::of(&vec![1; rank])),
    }
}

/// A SavedModel in which `x` is an input and `y` is its negative. Both are of rank 1 in its signature.
fn model() -> Whole {
    let node = vec![node("x", "Placeholder", &[], &["dtype"]), node("y", "Neg", &["x"], &["T"])];
    let signature = SignatureDef {
        defaults: BTreeMap::new(),
        inputs: [("in".to_string(), tensor_info("x:0", 1))].into(),
        outputs: [("out".to_string(), tensor_info("y:0", 1))].into(),
    };
    let meta_graph = WholeMetaGraph {
        info: Some(MetaInfoDef { tags: vec!["serve".into()], ..MetaInfoDef::default() }),
        graph: Some(GraphDef { node, ..GraphDef::default() }),
        signatures: [("serving_default".to_string(), signature)].into(),
    };
    Whole { version: 1, meta_graphs: vec![meta_graph] }
}

impl Whole {
    fn signature(&mut self) -> &mut SignatureDef {
        self.meta_graphs[0].signatures.get_mut("serving_default").expect("it has one")
    }

    fn graph(&mut self) -> &mut GraphDef {
        self.meta_graphs[0].graph.as_mut().expect("it has one")
    }

    fn written(&self, name: &str) -> Changed {
        Changed::new(name, "add_one", |_| self.encode_to_vec())
    }

    /// What is said when it is loaded.
    fn opened(&self, name: &str) -> Result<Session, Error> {
        open_for_tests();
        Session::open(&self.written(name).0, &options("serve"))
    }
}

#[track_caller]
fn assert_says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.message.contains(part), "'{part}' is not in: {error}");
    }
}

#[test]
fn a_place_of_the_signature_that_is_not_in_the_graph_is_named() {
    assert!(model().opened("places").is_ok());
    let cases = [
        ("x:1", "has no output 1; it has 1"),
        ("x:9", "has no output 9; it has 1"),
        ("x:2147483647", "has no output 2147483647; it has 1"),
        ("x:-1", "has no output -1; it has 1"),
        ("x:-2147483648", "has no output -2147483648; it has 1"),
        ("x:2147483648", "expected operation:index, found 'x:2147483648'"),
        ("x:99999999999", "expected operation:index, found 'x:99999999999'"),
        ("x:abc", "expected operation:index, found 'x:abc'"),
        ("x:", "expected operation:index, found 'x:'"),
        ("x:0:0", "expected operation:index, found 'x:0:0'"),
        ("z:0", "the graph has no operation 'z'"),
        ("^x", "the graph has no operation '^x'"),
        (":0", "the graph has no operation ''"),
        ("x\0:0", "the graph has no operation"),
        ("", "a sparse or composite tensor"),
    ];
    for (place, why) in cases {
        for (kind, name) in [("input", "in"), ("output", "out")] {
            let mut model = model();
            let signature = model.signature();
            let tensors = if kind == "input" { &mut signature.inputs } else { &mut signature.outputs };
            tensors.get_mut(name).expect("it has one").name = Some(place.into());
            let error = model.opened("places").expect_err("there is no such tensor");
            assert_says(&error, &[&format!("{kind} '{name}' of the signature"), why, "xport the model"]);
        }
    }
}

/// TensorFlow itself finds that, before it runs anything.
#[test]
fn an_initialisation_that_is_not_in_the_graph_is_an_error() {
    for place in ["y:1", "y:9", "y:-1", "y:99999999999", "z", "", ":", "^y"] {
        let mut model = model();
        let name = "__saved_model_init_op".to_string();
        let outputs = [(name.clone(), tensor_info(place, 0))].into();
        model.meta_graphs[0].signatures.insert(name, SignatureDef { outputs, ..SignatureDef::default() });
        // Without a name there is nothing to run.
        assert_eq!(model.opened("initialisation").is_ok(), place.is_empty(), "{place:?}");
    }
}

#[test]
fn a_rank_that_tensorflow_does_not_have_is_refused() {
    for (rank, fits) in [(0, true), (254, true), (255, false), (256, false), (300, false), (70_000, false)] {
        for (kind, name) in [("input", "in"), ("output", "out")] {
            let mut model = model();
            let signature = model.signature();
            let tensors = if kind == "input" { &mut signature.inputs } else { &mut signature.outputs };
            let shape = Some(TensorShapeProto::of(&vec![1; rank]));
            tensors.get_mut(name).expect("it has one").tensor_shape = shape;
            match model.opened("rank") {
                Ok(_) => assert!(fits, "{kind} of rank {rank}"),
                Err(error) => {
                    assert!(!fits, "{kind} of rank {rank}: {error}");
                    let found = format!(
                        "expected at most 254 dimensions, as TensorFlow's tensors have them, found {rank}"
                    );
                    assert_says(&error, &[&format!("{kind} '{name}' of the signature"), &found]);
                }
            }
        }
    }
    // Of an unknown rank, dims mean nothing.
    let mut open = model();
    let shape = TensorShapeProto { unknown_rank: true, ..TensorShapeProto::of(&[]) };
    open.signature().inputs.get_mut("in").expect("it has one").tensor_shape = Some(shape);
    assert_eq!(open.opened("rank").expect("it loads").inputs[0].dims, None);
}

#[test]
fn a_file_that_is_no_saved_model_is_told_so() {
    open_for_tests();
    let whole = model().encode_to_vec();
    let half = whole[..whole.len() / 2].to_vec();
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("empty", Vec::new(), "is empty (0 bytes)"),
        ("one_byte", vec![8], "(1 bytes) is no SavedModel's, or not whole: it ends in the middle"),
        (
            "zeros",
            vec![0; 4096],
            "(4096 bytes) is no SavedModel's, or not whole: the field at byte 1 has the number 0",
        ),
        ("half", half, "is no SavedModel's, or not whole: the field at byte"),
        ("version_only", vec![8, 1], "(2 bytes) has no graph"),
        ("text", b"This is not a model.".to_vec(), "(20 bytes) is no SavedModel's, or not whole"),
        ("groups", vec![0x0b; 100_000], "(100000 bytes) is no SavedModel's, or not whole"),
    ];
    for (name, bytes, why) in cases {
        let changed = Changed::new(name, "add_one", |_| bytes);
        let error = Session::open(&changed.0, &options("serve")).expect_err("it is no SavedModel");
        let place = changed.0.display().to_string();
        assert_says(&error, &[&place, "its saved_model.pb", why, "Copy the folder again, or export"]);
        assert!(!error.message.contains("TF_GRAPH_TAG"), "{error}");
    }
}

#[test]
fn a_saved_model_is_a_file_or_leads_to_one() {
    let changed = model().written("kinds");
    let (file, aside) = (changed.0.join("saved_model.pb"), changed.0.join("aside"));
    fs::rename(&file, &aside).expect("the test's own folder");
    let open = || {
        open_for_tests();
        Session::open(&changed.0, &options("serve"))
    };
    assert_says(&open().expect_err("it is not there"), &["no SavedModel at"]);
    symlink("aside", &file).expect("the test's own folder");
    assert!(open().is_ok(), "a link is followed");
    fs::remove_file(&file).expect("the test's own folder");
    symlink("nowhere", &file).expect("the test's own folder");
    assert_says(&open().expect_err("it leads nowhere"), &["its saved_model.pb cannot be read"]);
    fs::remove_file(&file).expect("the test's own folder");
    fs::create_dir(&file).expect("the test's own folder");
    assert_says(
        &open().expect_err("it is a folder"),
        &["its saved_model.pb is a folder where a file is expected"],
    );
}

#[test]
fn a_saved_model_as_text_is_read_and_checked() {
    open_for_tests();
    let text = r#"
        saved_model_schema_version: 1
        meta_graphs {
          meta_info_def { tags: "serve" }
          graph_def {
            node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
            node { name: "y" op: "PartitionedCall" input: "x"
                   attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } }
                   attr { key: "f" value { func { name: "f" } } } }
            library { function {
              signature { name: "f" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "b" type: DT_FLOAT } }
              node_def { name: "n" op: "PartitionedCall" input: "a"
                   attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } }
                   attr { key: "f" value { func { name: "g" } } } }
              ret { key: "b" value: "n:output:0" }
            } function {
              signature { name: "g" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "b" type: DT_FLOAT } }
              node_def { name: "n" op: "Neg" input: "a" attr { key: "T" value { type: DT_FLOAT } } }
              ret { key: "b" value: "n:y:0" }
            } }
            versions { producer: 2000 }
          }
          signature_def { key: "serving_default" value {
            inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: 1 } } } }
            outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT tensor_shape { dim { size: 1 } } } }
          } }
        }
    "#;
    let open = |name: &str, text: &str| {
        let changed = Changed::new(name, "add_one", |_| Vec::new());
        fs::remove_file(changed.0.join("saved_model.pb")).expect("the test's own folder");
        fs::write(changed.0.join("saved_model.pbtxt"), text).expect("the test's own folder");
        Session::open(&changed.0, &options("serve"))
    };
    let session = open("as_text", text).expect("it is a SavedModel");
    let input = [filled(DataType::Fp32, &[1], &[&1.0_f32.to_ne_bytes()]).expect("a tensor")];
    let answer = session.run(&input, &[0], RunOptions::DEFAULT).expect("it runs");
    assert_eq!(answer[0].bytes(), (-1.0_f32).to_ne_bytes());
    drop(answer);

    let recursive = text.replace(r#"func { name: "g" }"#, r#"func < name: 'f' >"#);
    let error = open("recursive_text", &recursive).expect_err("it calls itself");
    assert_says(&error, &["the function 'f' calls itself (f -> f)"]);
    let error = open("no_text", "").expect_err("it is empty");
    assert_says(&error, &["its saved_model.pbtxt is empty"]);
    let error = open("half_text", &text[..text.len() / 2]).expect_err("it is not whole");
    assert_says(
        &error,
        &["its saved_model.pbtxt", "is no SavedModel's, or not whole: it ends in the middle"],
    );
    let error = open("no_graph", "saved_model_schema_version: 1").expect_err("it has no graph");
    assert_says(&error, &["its saved_model.pbtxt (29 bytes) has no graph"]);
}

/// How a function calls the next one.
#[derive(Clone, Copy)]
enum By {
    Call,
    Name,
    Condition,
    Loop,
}

fn value(value: AttrValue) -> Vec<u8> {
    value.encode_to_vec()
}

fn func(name: &str) -> Vec<u8> {
    let func = NameAttrList { name: name.into(), ..NameAttrList::default() };
    value(AttrValue { func: Some(func), ..AttrValue::default() })
}

/// Operations that call `name` with `argument`, the last one `call` with the result.
fn call(by: By, name: &str, argument: &str) -> Vec<NodeDef> {
    let float = types::number(DataType::Fp32);
    let list = ListValue { r#type: vec![float], ..ListValue::default() };
    let floats = value(AttrValue { list: Some(list), ..AttrValue::default() });
    let with = |mut node: NodeDef, attributes: &[(&str, Vec<u8>)]| {
        node.attr.extend(attributes.iter().map(|(name, value)| ((*name).to_string(), value.clone())));
        node
    };
    let truth = || {
        let bool = types::number(DataType::Bool);
        let tensor = TensorProto {
            dtype: bool,
            tensor_shape: Some(TensorShapeProto::of(&[])),
            tensor_content: vec![1],
            ..TensorProto::default()
        };
        let attributes = [("dtype", AttrValue::of_type(bool)), ("value", AttrValue::of_tensor(tensor))];
        with(node("truth", "Const", &[], &[]), &attributes)
    };
    match by {
        By::Call => vec![with(
            node("call", "PartitionedCall", &[argument], &[]),
            &[("f", func(name)), ("Tin", floats.clone()), ("Tout", floats)],
        )],
        By::Name => vec![node("call", name, &[argument], &[])],
        By::Condition => vec![
            truth(),
            with(
                node("call", "If", &["truth:output:0", argument], &[]),
                &[
                    ("Tcond", AttrValue::of_type(types::number(DataType::Bool))),
                    ("Tin", floats.clone()),
                    ("Tout", floats),
                    ("then_branch", func(name)),
                    ("else_branch", func(name)),
                ],
            ),
        ],
        By::Loop => vec![with(
            node("call", "While", &[argument], &[]),
            &[("T", floats), ("cond", func(name)), ("body", func(name))],
        )],
    }
}

/// A function of one FP32 tensor that calls `next`, or negates it.
fn function(name: &str, by: By, next: Option<&str>) -> FunctionDef {
    let float = types::number(DataType::Fp32);
    // An argument's name is field 1 and its type field 3.
    let argument = |name: &str| [&[0x0a, 1], name.as_bytes(), &[0x18, float as u8]].concat();
    let result = match (next, by) {
        (None, _) => "call:y:0",
        (_, By::Name) => "call:b:0",
        _ => "call:output:0",
    };
    let input = Message::decode(&argument("a")[..]).expect("an argument");
    FunctionDef {
        signature: Some(OpDef {
            name: name.into(),
            input_arg: vec![input],
            output_arg: vec![argument("b")],
            ..OpDef::default()
        }),
        node_def: match next {
            Some(next) => call(by, next, "a"),
            None => vec![node("call", "Neg", &["a"], &["T"])],
        },
        ret: [("b".to_string(), result.to_string())].into(),
        ..FunctionDef::default()
    }
}

/// A model whose `y` calls the first of these functions.
fn calling(by: By, functions: Vec<FunctionDef>) -> Whole {
    let mut model = model();
    let first = functions[0].name().to_string();
    let graph = model.graph();
    graph.node.truncate(1);
    for mut node in call(by, &first, "x") {
        let own = HashMap::from([("call", "y"), ("truth", "truth")]);
        node.name = own[node.name.as_str()].into();
        // In a graph an output has a number only.
        node.input.iter_mut().for_each(|input| *input = input.replace(":output:0", ""));
        graph.node.push(node);
    }
    graph.library = Some(FunctionDefLibrary { function: functions });
    model
}

fn nested(by: By, levels: usize) -> Whole {
    let name = |index: usize| format!("f{index}");
    let function = |index: usize| {
        let next = (index + 1 < levels).then(|| name(index + 1));
        function(&name(index), by, next.as_deref())
    };
    calling(by, (0..levels).map(function).collect())
}

const WAYS: [By; 4] = [By::Call, By::Name, By::Condition, By::Loop];

#[test]
fn functions_that_call_themselves_are_refused_at_once() {
    for by in WAYS {
        let start = Instant::now();
        let own = calling(by, vec![function("f", by, Some("f"))]);
        let error = own.opened("recursive").expect_err("it calls itself");
        assert_says(
            &error,
            &["tensorflow-latency-", "the function 'f' calls itself (f -> f)", "Export the model"],
        );
        let two = [function("f", by, Some("g")), function("g", by, Some("f"))].into();
        let error = calling(by, two).opened("recursive").expect_err("they call one another");
        assert_says(&error, &["the function 'f' calls itself (f -> g -> f)"]);
        // Whether its variables become constants does not matter, nor does another signature.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn functions_deep_inside_one_another_are_refused_at_once() {
    for by in WAYS {
        for levels in [129, 2_000, 20_000] {
            let start = Instant::now();
            let error = nested(by, levels).opened("nested").expect_err("it is deep");
            assert_says(
                &error,
                &[&format!("{levels} functions call one another, from 'f0' on"), "at most 128"],
            );
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    }
}

/// On a thread whose stack is as small as a worker's.
#[test]
fn functions_as_deep_as_they_may_be_run() {
    for by in [By::Call, By::Name] {
        let session = nested(by, 128).opened("as_deep_as_may_be").expect("it loads");
        let input = [filled(DataType::Fp32, &[1], &[&1.0_f32.to_ne_bytes()]).expect("a tensor")];
        let answer = session.run(&input, &[0], RunOptions::DEFAULT).expect("it runs");
        assert_eq!(answer[0].bytes(), (-1.0_f32).to_ne_bytes());
    }
}

#[test]
fn functions_that_call_the_next_one_twice_are_refused_at_once() {
    let start = Instant::now();
    let twice = |index: usize| {
        let mut function = function(&format!("f{index}"), By::Call, Some(&format!("f{}", index + 1)));
        let mut again = function.node_def[0].clone();
        again.name = "again".into();
        function.node_def.push(again);
        function
    };
    let mut functions: Vec<FunctionDef> = (0..40).map(twice).collect();
    functions.push(function("f40", By::Call, None));
    let error = calling(By::Call, functions).opened("twice").expect_err("it is 2^40 calls");
    assert_says(&error, &["call one another more than 1000000 times"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// As one wrong byte in a file makes it.
#[test]
fn a_loop_of_a_function_that_is_not_there_is_refused() {
    open_for_tests();
    let lost = Changed::new("lost_body", "loop", |mut bytes| {
        let name = b"while_body_";
        // The last one is the loop's own.
        let at = (0..bytes.len() - name.len()).rfind(|&at| bytes[at..].starts_with(name));
        bytes[at.expect("the loop names its body")] = b'v';
        bytes
    });
    let error = Session::open(&lost.0, &options("serve")).expect_err("TensorFlow would not come back");
    assert_says(
        &error,
        &["the loop 'while'", "as its body that is not in the graph", "xport the model again"],
    );
}

/// A model with an initialisation that loops for ever.
fn endless() -> Whole {
    let mut model = model();
    let float = types::number(DataType::Fp32);
    let mut on = function("on", By::Condition, Some("unused"));
    on.node_def.truncate(1);
    on.ret = [("b".to_string(), "truth:output:0".to_string())].into();
    let bool = [0x0a, 1, b'b', 0x18, types::number(DataType::Bool) as u8];
    on.signature.as_mut().expect("it has one").output_arg = vec![bool.to_vec()];
    let graph = model.graph();
    let [mut turns] = call(By::Loop, "on", "start").try_into().expect("one operation");
    turns.name = "turns".into();
    turns.attr.insert("body".into(), func("again"));
    let zero = TensorProto {
        dtype: float,
        tensor_shape: Some(TensorShapeProto::of(&[])),
        tensor_content: vec![0; 4],
        ..TensorProto::default()
    };
    let mut start = node("start", "Const", &[], &["dtype"]);
    start.attr.insert("value".into(), AttrValue::of_tensor(zero));
    graph.node.extend([start, turns]);
    let again = function("again", By::Call, None);
    graph.library = Some(FunctionDefLibrary { function: vec![on, again] });
    let name = "__saved_model_init_op".to_string();
    let outputs = [(name.clone(), tensor_info("turns", 0))].into();
    model.meta_graphs[0].signatures.insert(name, SignatureDef { outputs, ..SignatureDef::default() });
    model
}

#[test]
fn an_initialisation_without_an_end_is_cancelled() {
    open_for_tests();
    let changed = endless().written("endless");
    let start = Instant::now();
    let time = Duration::from_millis(300);
    let loaded = RawSession::load(&changed.0, &["serve"], &ConfigProto::default(), time);
    let Err(Failure { code, message }) = loaded else { panic!("it loops for ever") };
    assert_eq!(code, tensorflow_c_sys::TF_Code::TF_DEADLINE_EXCEEDED, "{message}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
