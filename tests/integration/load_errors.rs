//! Models that cannot be loaded: each says why and what to do, and keeps no other model from loading.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

/// A model that must fail to load, and what the server's message must tell.
struct Case {
    name: &'static str,
    model: &'static str,
    config: ModelConfig,
    tells: &'static [&'static str],
}

/// A configuration for `add_one` as the change makes it.
fn add_one(
    name: &'static str,
    change: fn(ModelConfig) -> ModelConfig,
    tells: &'static [&'static str],
) -> Case {
    Case { name, model: "add_one", config: change(add_one_config(name, 8)), tells }
}

/// A configuration written from nothing.
fn new(
    name: &'static str,
    model: &'static str,
    max_batch_size: u32,
    fill: fn(ModelConfig) -> ModelConfig,
    tells: &'static [&'static str],
) -> Case {
    Case { name, model, config: fill(ModelConfig::new(name, max_batch_size)), tells }
}

fn disagreeing() -> Vec<Case> {
    vec![
        new(
            "unknown_input",
            "add_one",
            8,
            |c| c.input("z", "FP32", &[16]).output("y", "FP32", &[16]),
            &["config.pbtxt", "'z'", "'x'", "[-1, 16]"],
        ),
        add_one("one_input_more", |c| c.input("z", "FP32", &[1]), &["config.pbtxt", "'z'", "'x'"]),
        add_one(
            "unknown_output",
            |c| c.output("z", "FP32", &[16]),
            &["config.pbtxt", "'z'", "'y'", "[-1, 16]"],
        ),
        new(
            "wrong_input_type",
            "add_one",
            8,
            |c| c.input("x", "INT32", &[16]).output("y", "FP32", &[16]),
            &["config.pbtxt", "'x'", "TYPE_FP32", "TYPE_INT32"],
        ),
        new(
            "wrong_output_type",
            "add_one",
            8,
            |c| c.input("x", "FP32", &[16]).output("y", "FP64", &[16]),
            &["config.pbtxt", "'y'", "TYPE_FP32", "TYPE_FP64"],
        ),
        new(
            "wrong_input_rank",
            "add_one",
            8,
            |c| c.input("x", "FP32", &[4, 4]).output("y", "FP32", &[16]),
            &["config.pbtxt", "'x'", "[16]", "[4, 4]"],
        ),
        new(
            "wrong_input_dims",
            "add_one",
            8,
            |c| c.input("x", "FP32", &[15]).output("y", "FP32", &[16]),
            &["config.pbtxt", "'x'", "[16]", "[15]"],
        ),
        new(
            "wrong_output_dims",
            "add_one",
            8,
            |c| c.input("x", "FP32", &[16]).output("y", "FP32", &[17]),
            &["config.pbtxt", "'y'", "[16]", "[17]"],
        ),
        // The server could not check requests against such a configuration.
        new(
            "open_input_dims",
            "add_one",
            8,
            |c| c.input("x", "FP32", &[-1]).output("y", "FP32", &[16]),
            &["config.pbtxt", "'x'", "[16]", "[-1]"],
        ),
        new(
            "batching_without_batch_dimension",
            "fixed",
            8,
            |c| c.input("x", "FP32", &[3]).output("y", "FP32", &[2]),
            &["'x'", "max_batch_size", "[2, 3]"],
        ),
        new(
            "strings",
            "text",
            8,
            |c| c.input("x", "FP32", &[1]).output("y", "BYTES", &[1]),
            &["'x'", "TYPE_STRING", "TYPE_FP32"],
        ),
    ]
}

fn latency_settings() -> Vec<Case> {
    vec![
        add_one(
            "latency_type",
            |c| c.output("compute_latency_ns", "FP32", &[1]),
            &["'compute_latency_ns'", "INT64", "FP32"],
        ),
        add_one(
            "latency_dims",
            |c| c.output("request_end_ns", "INT64", &[2]),
            &["'request_end_ns'", "[ 1 ]", "[2]"],
        ),
        add_one(
            "latency_rank",
            |c| c.output("executed_batch_size", "INT64", &[1, 1]),
            &["'executed_batch_size'", "[ 1 ]", "[1, 1]"],
        ),
        add_one(
            "latency_open_dims",
            |c| c.output("executed_batch_size", "INT64", &[-1]),
            &["'executed_batch_size'", "[ 1 ]", "[-1]"],
        ),
        add_one(
            "queue",
            |c| c.output("queue_ns", "INT64", &[1]).parameter("batching", "triton"),
            &["'queue_ns'", "does not see", "batching: adaptive", "remove"],
        ),
        add_one(
            "request_latency",
            |c| c.output("request_latency_ns", "INT64", &[1]).parameter("batching", "triton"),
            &["'request_latency_ns'", "queue", "batching: adaptive", "remove"],
        ),
        add_one(
            "latency_parameters_value",
            |c| c.parameter("latency-parameters", "maybe"),
            &["'latency-parameters'", "true or false", "'maybe'"],
        ),
    ]
}

fn other_settings() -> Vec<Case> {
    vec![
        add_one(
            "intra_threads",
            |c| c.parameter("TF_NUM_INTRA_THREADS", "many"),
            &["'TF_NUM_INTRA_THREADS'", "whole number", "'many'"],
        ),
        add_one(
            "inter_threads",
            |c| c.parameter("TF_NUM_INTER_THREADS", "-2"),
            &["'TF_NUM_INTER_THREADS'", "whole number", "'-2'"],
        ),
        add_one(
            "session_threads",
            |c| c.parameter("TF_USE_PER_SESSION_THREADS", "2x"),
            &["'TF_USE_PER_SESSION_THREADS'", "true or false", "'2x'"],
        ),
        Case {
            name: "signature",
            model: "two_signatures",
            config: ModelConfig::new("signature", 8)
                .input("x", "FP32", &[4])
                .output("y", "FP32", &[4])
                .parameter("TF_SIGNATURE_DEF", "triple"),
            tells: &["'triple'", "double", "serving_default", "TF_SIGNATURE_DEF"],
        },
        add_one("graph_tag", |c| c.parameter("TF_GRAPH_TAG", "train"), &["'train'", "TF_GRAPH_TAG"]),
        new(
            "ragged",
            "add_one",
            8,
            |c| c.input_with("x", "FP32", &[16], "allow_ragged_batch: true").output("y", "FP32", &[16]),
            &["shape [-1]  for ragged input 'x', model provides [-1,16]", "allow_ragged_batch"],
        ),
        new(
            "optional_input",
            "mixed",
            8,
            |c| {
                c.input("a", "FP32", &[4]).input_with("b", "INT32", &[2, 3], "optional: true").output(
                    "sum",
                    "FP32",
                    &[1],
                )
            },
            &["'optional'", "'b'"],
        ),
        add_one(
            "sequences",
            |c| c.line("sequence_batching { direct { } }").adaptive(),
            &["sequence_batching", "batching: adaptive"],
        ),
    ]
}

/// `sizes` for a model with one input `x` and one output.
fn buckets(
    name: &'static str,
    (model, width, output): (&'static str, i64, &str),
    max_batch_size: u32,
    sizes: &str,
    tells: &'static [&'static str],
) -> Case {
    let config = ModelConfig::new(name, max_batch_size)
        .input("x", "FP32", &[width])
        .output(output, "FP32", &[width])
        .parameter("batch_size_buckets", sizes);
    Case { name, model, config, tells }
}

fn wrong_buckets() -> Vec<Case> {
    const ADD_ONE: (&str, i64, &str) = ("add_one", ADD_ONE_WIDTH, "y");
    let form = &["'batch_size_buckets'", "auto, off, or batch sizes of 1 or more", "found"];
    vec![
        buckets("buckets_word", ADD_ONE, 8, "powers", form),
        buckets("buckets_zero", ADD_ONE, 8, "0,1", form),
        buckets("buckets_descending", ADD_ONE, 8, "4,2", form),
        buckets("buckets_twice", ADD_ONE, 8, "2,2,4", form),
        buckets("buckets_too_large", ADD_ONE, 8, "2,16", &["'batch_size_buckets'", "which is 8", "found 16"]),
        buckets(
            "buckets_stateful",
            ("stateful", 1, "count"),
            8,
            "2,4",
            &["batch_size_buckets", "AssignAddVariableOp may have side effects", "Remove"],
        ),
        buckets(
            "buckets_random",
            ("noise", 4, "y"),
            8,
            "2,4",
            &["batch_size_buckets", "RandomUniform may have side effects", "Remove"],
        ),
        buckets(
            "buckets_table",
            ("keeps_in_table", 16, "before"),
            8,
            "2,4",
            &["batch_size_buckets", "may have side effects", "Remove"],
        ),
        Case {
            name: "buckets_without_batch",
            model: "fixed",
            config: ModelConfig::new("buckets_without_batch", 0)
                .input("x", "FP32", &[2, 3])
                .output("y", "FP32", &[3, 2])
                .parameter("batch_size_buckets", "1,2"),
            tells: &["batch_size_buckets", "max_batch_size is 0", "remove"],
        },
        // An output of a known rank without a batch dimension is refused with buckets or without.
        Case {
            name: "buckets_without_rows",
            model: "no_batch",
            config: ModelConfig::new("buckets_without_rows", 8)
                .input("x", "FP32", &[-1])
                .output_with("total", "FP32", &[1], "reshape: { shape: [ ] }")
                .parameter("batch_size_buckets", "1,2"),
            tells: &["'total'", "max_batch_size: 0", "not a batch"],
        },
    ]
}

/// Loads each case, collects all that is amiss, and checks that a good model serves before and after each.
fn assert_refused(server: &Server, good: &str, cases: Vec<Case>) {
    server.load(&add_one_config(good, 8), SavedModel::Small("add_one"));
    let mut faults = Vec::new();
    for case in cases {
        match server.try_load(&case.config, SavedModel::Small(case.model)) {
            Ok(()) => faults.push(format!("{}: loaded", case.name)),
            Err(message) => {
                println!("{message}");
                let missing: Vec<_> = case.tells.iter().filter(|part| !message.contains(*part)).collect();
                if !missing.is_empty() || !message.contains(case.name) {
                    faults.push(format!("{}: {missing:?} missing in: {message}", case.name));
                }
            }
        }
        assert_serves(server, good);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn assert_serves(server: &Server, model: &str) {
    let values = [0.25; 16];
    let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}

#[test]
fn a_configuration_that_disagrees_with_the_signature_is_refused() {
    assert_refused(&shared_server(), "good_among_disagreeing", disagreeing());
}

#[test]
fn wrong_latency_settings_are_refused() {
    assert_refused(&shared_server(), "good_among_latency", latency_settings());
}

#[test]
fn settings_that_cannot_be_honoured_are_refused() {
    assert_refused(&shared_server(), "good_among_settings", other_settings());
}

#[test]
fn batch_sizes_that_cannot_be_filled_up_to_are_refused() {
    assert_refused(&shared_server(), "good_among_buckets", wrong_buckets());
}

#[test]
fn a_backend_option_with_an_unknown_value_is_refused() {
    let server = Server::start(Options::new().backend_config("latency-parameters", "si"));
    let message = server
        .try_load(&add_one_config("any", 8), SavedModel::Small("add_one"))
        .expect_err("the option's value means nothing");
    println!("{message}");
    // Where a backend fails to initialise, the server's answer may be short; the log has the reason.
    let told = format!("{message}\n{}", server.log());
    for part in ["latency-parameters", "true or false", "'si'", "--backend-config"] {
        assert!(told.contains(part), "'{part}' is missing in: {told}");
    }
    assert!(server.is_running());
}

/// A folder for one test, empty.
pub fn fresh_folder(name: &str) -> PathBuf {
    let folder = scratch_folder().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the target folder can be written");
    }
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Copies all files and folders.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder can be written");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the target folder can be written");
        }
    }
}

#[test]
fn broken_and_foreign_saved_models_are_refused() {
    let server = shared_server();
    let whole = SavedModel::Small("stateful").folder();
    let config =
        |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[1]).output("count", "FP32", &[1]);

    let truncated = fresh_folder("truncated");
    copy_folder(&whole, &truncated);
    let graph = fs::read(truncated.join("saved_model.pb")).expect("the SavedModel has a graph");
    fs::write(truncated.join("saved_model.pb"), &graph[..graph.len() / 2]).expect("the copy can be written");

    let random = fresh_folder("random_bytes");
    copy_folder(&whole, &random);
    let mut numbers = Random::new(5);
    let noise: Vec<u8> = (0..20_000).map(|_| numbers.below(256) as u8).collect();
    fs::write(random.join("saved_model.pb"), noise).expect("the copy can be written");

    let without_variables = fresh_folder("without_variables");
    copy_folder(&whole, &without_variables);
    fs::remove_dir_all(without_variables.join("variables")).expect("the copy can be written");

    let truncated_variables = fresh_folder("truncated_variables");
    copy_folder(&whole, &truncated_variables);
    let data = truncated_variables.join("variables/variables.data-00000-of-00001");
    fs::write(data, []).expect("the copy can be written");

    let foreign = fresh_folder("foreign");
    fs::write(foreign.join("model.onnx"), "not a SavedModel").expect("the copy can be written");

    let empty = fresh_folder("empty");

    let good = "good_among_broken";
    server.load(&add_one_config(good, 8), SavedModel::Small("add_one"));
    let mut faults = Vec::new();
    for (name, folder) in [
        ("truncated", &truncated),
        ("random_bytes", &random),
        ("without_variables", &without_variables),
        ("truncated_variables", &truncated_variables),
        ("foreign", &foreign),
        ("empty", &empty),
    ] {
        match server.try_load(&config(name), SavedModel::Folder(folder)) {
            Ok(()) => faults.push(format!("{name}: loaded")),
            Err(message) => {
                println!("{message}");
                // The path tells which file to look at, and what is broken has to be exported (or copied)
                // again.
                for part in [name, "SavedModel", "1/model.savedmodel", "export"] {
                    if !message.contains(part) {
                        faults.push(format!("{name}: '{part}' missing in: {message}"));
                    }
                }
            }
        }
        assert_serves(&server, good);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The same name loads once the SavedModel is whole.
    server.load(&config("truncated"), SavedModel::Folder(&whole));
}

#[test]
fn a_missing_saved_model_folder_is_refused() {
    let server = shared_server();
    let config = add_one_config("no_folder", 8).line("default_model_filename: \"elsewhere.savedmodel\"");
    let message =
        server.try_load(&config, SavedModel::Small("add_one")).expect_err("the folder is not there");
    println!("{message}");
    assert!(message.contains("elsewhere.savedmodel"), "{message}");
}

#[test]
fn without_a_tensorflow_library_the_message_says_what_to_do_and_other_models_load() {
    let empty = fresh_folder("no_tensorflow");
    let options =
        Options::new().without_tensorflow_option().backend_config("tensorflow-dir", &empty.to_string_lossy());
    let server = Server::start(options);
    let message = server
        .try_load(&add_one_config("no_library", 8), SavedModel::Small("add_one"))
        .expect_err("there is no library in the folder");
    println!("{message}");
    for part in ["no_library", "libtensorflow_cc.so.2", "tensorflow-dir", "pip install", "no_tensorflow"] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    assert!(server.is_running());

    if std::env::var("TL_SHIPPED_TENSORFLOW").is_ok_and(|folder| !folder.is_empty()) {
        left_out("a server where nothing names a TensorFlow", "this container ships one");
        return;
    }

    // A copy of the backend in a model's folder is another library with a TensorFlow beside it, so it loads;
    // only the option, which serves both, has to be out of the way.
    let server = Server::start(Options::new().without_tensorflow_option());
    let message = server
        .try_load(&add_one_config("no_library", 8), SavedModel::Small("add_one"))
        .expect_err("nothing names a library");
    println!("{message}");
    for part in ["no_library", "libtensorflow_cc.so.2", "TENSORFLOW_DIR", "own folder", "/usr/local/lib"] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    let config = add_one_config("brings_its_own", 8);
    let folder = write_model(&server.repository(), &config, SavedModel::Small("add_one"));
    place_backend(&folder);
    crate::discovery::link_tensorflow(&folder, "libtensorflow_cc.so.2");
    server.client().load("brings_its_own").expect("the backend has TensorFlow beside it");
    assert_serves(&server, "brings_its_own");
}

/// Where configurations are completed, an input that is left out is added.
#[test]
fn an_input_that_is_not_declared_is_told_where_nothing_is_completed() {
    const STRICT: &str = "--disable-auto-complete-config";
    let options =
        if executable().has_option(STRICT) { Options::new().argument(STRICT) } else { Options::new() };
    let server = Server::start(options);
    let config = ModelConfig::new("missing_input", 8).input("a", "FP32", &[4]).output("sum", "FP32", &[1]);
    let message = server.try_load(&config, SavedModel::Small("mixed")).expect_err("b is not declared");
    for part in [
        "unable to load model 'missing_input', configuration expects 1 inputs, model provides 2",
        "config.pbtxt has no input 'b'",
        "INT32 [-1, 2, 3]",
    ] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    // Nor is the batch dimension, which is left out here.
    let config = ModelConfig::new("no_batches", 0).input("x", "FP32", &[16]).output("y", "FP32", &[16]);
    let message = server.try_load(&config, SavedModel::Small("add_one")).expect_err("dims are incomplete");
    for part in ["config.pbtxt", "'x'", "(shape [-1,16])", "expected dims [-1, 16], found [16]"] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    let config = ModelConfig::new("only_latency", 8).input("x", "FP32", &[16]).latency_outputs();
    let message = server.try_load(&config, SavedModel::Small("add_one")).expect_err("it has no output");
    assert!(message.contains("declares no output of the model"), "{message}");
}
