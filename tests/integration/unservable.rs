//! Models and settings that cannot be served: the message names the thing, the reason and what to do.

use std::fs;

use crate::support::*;

/// Loads a model that is refused, and checks that the message has all parts and none of the others.
fn assert_refused(
    server: &Server,
    config: &ModelConfig,
    saved_model: &'static str,
    has: &[&str],
    has_not: &[&str],
) {
    let message = server.try_load(config, SavedModel::Small(saved_model)).expect_err("it is refused");
    for part in has {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    for part in has_not {
        assert!(!message.contains(part), "'{part}' is in: {message}");
    }
}

/// Nobody wrote an input, so it cannot be missing: what is wrong is with the SavedModel's.
#[test]
fn a_configuration_is_not_completed_with_inputs_that_cannot_be_served() {
    if !completes_configurations("inputs that cannot be served, in a completed configuration") {
        return;
    }
    let server = shared_server();
    let config = ModelConfig::new("unservable_completed", 0);
    let all = ["'quantised'", "QINT8", "'open'", "rank", "export the model"];
    let others = ["config.pbtxt has no input", "'x' (FP32", "'text'", "'number'"];
    assert_refused(&server, &config, "unservable", &all, &others);
}

#[test]
fn a_declared_input_that_cannot_be_served_is_refused_with_the_reason() {
    let server = shared_server();
    let x = |name: &str| ModelConfig::new(name, 0).input("x", "FP32", &[-1, 4]).output("y", "FP32", &[-1, 4]);
    // All of them are told at once, whether they are declared or not.
    let number = x("number_declared").input("number", "FP32", &[1]);
    let all = ["'quantised'", "QINT8", "this backend takes BOOL", "export the model"];
    assert_refused(&server, &number, "unservable", &all, &["config.pbtxt has no input"]);
    // Writing them down would not help, so it is not asked for.
    assert_refused(&server, &x("all_missing"), "unservable", &all, &["config.pbtxt has no input"]);
}

/// As many rows come out as are found.
#[test]
fn a_model_with_other_rows_out_than_in_names_the_way_to_serve_it() {
    let server = shared_server();
    let values = [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 2.0, 2.0, 2.0, 2.0];
    let request = InferRequest::new(vec![Tensor::fp32("x", &[3, 4], &values)]);
    let config = |name: &str, batch, dims: &[i64]| {
        ModelConfig::new(name, batch).input("x", "FP32", dims).output("found", "FP32", dims)
    };
    server.load(&config("finds_batched", 8, &[4]), SavedModel::Small("finds"));
    let refusal = server.client().infer("finds_batched", &request).expect_err("two rows are found of three");
    for part in ["finds_batched", "'found'", "[3, 4]", "[2, 4]", "max_batch_size: 0"] {
        assert!(refusal.message.contains(part), "'{part}' is missing in: {}", refusal.message);
    }
    // A request all of whose rows are found is answered, all the same.
    let all = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &values[..4])]);
    assert_eq!(
        server.client().infer("finds_batched", &all).expect("one of one").output("found").as_f32(),
        values[..4]
    );

    server.load(&config("finds_whole", 0, &[-1, 4]), SavedModel::Small("finds"));
    let answer = server.client().infer("finds_whole", &request).expect("any number of rows may come out");
    assert_eq!(answer.output("found").shape, [2, 4]);
    assert_eq!(answer.output("found").as_f32(), [&values[..4], &values[8..]].concat());
}

#[test]
fn a_tensor_that_is_declared_twice_is_refused() {
    let server = shared_server();
    let cases = [
        (add_one_config("x_twice", 8).input("x", "FP32", &[16]), "'x'"),
        (add_one_config("x_twice_differently", 8).input("x", "FP32", &[-1]), "'x'"),
        (add_one_config("y_twice", 8).output("y", "FP32", &[16]), "'y'"),
        (
            add_one_config("latency_twice", 8).output("compute_latency_ns", "INT64", &[1]).output(
                "compute_latency_ns",
                "INT64",
                &[1],
            ),
            "'compute_latency_ns'",
        ),
    ];
    for (config, name) in cases {
        let message = server.try_load(&config, SavedModel::Small("add_one")).expect_err("it is refused");
        // The server may see it first, and then has words of its own.
        let told = message.contains("more than once")
            || message.contains("duplicate")
            || message.contains("multiple");
        assert!(told && message.contains(&name.replace('\'', "")), "{message}");
    }
}

/// A folder without a name is not the working directory. Without even a space the server itself ends, and shows how it
/// is called; unit tests of the backend show that case.
#[test]
fn a_blank_folder_of_tensorflow_is_said_to_be_empty() {
    let server =
        Server::start(Options::new().without_tensorflow_option().backend_config("tensorflow-dir", " "));
    let message = server
        .try_load(&add_one_config("nowhere", 8), SavedModel::Small("add_one"))
        .expect_err("there is no TensorFlow");
    // Where a backend fails to initialise, the server's answer may be short; the log has the reason.
    let told = format!("{message}\n{}", server.log());
    assert!(told.contains("tensorflow-dir") && told.contains("empty"), "{told}");
    assert!(server.is_running());
}

#[test]
fn an_empty_saved_model_is_said_to_be_empty() {
    let folder = scratch_folder().join("empty_saved_model");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    fs::write(folder.join("saved_model.pb"), "").expect("the target folder can be written");
    let server = shared_server();
    let message = server
        .try_load(&add_one_config("empty_file", 8), SavedModel::Folder(&folder))
        .expect_err("there is nothing in it");
    assert!(message.contains("saved_model.pb") && message.contains("empty"), "{message}");
}
