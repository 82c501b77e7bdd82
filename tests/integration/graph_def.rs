//! Frozen graphs (`model.graphdef`): inputs and outputs as config.pbtxt names them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

fn config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 8)
        .input("x", "FP32", &[16])
        .output("y", "FP32", &[16])
        .output("parts", "FP32", &[8])
        .output("parts:1", "FP32", &[8])
}

/// Requests of several rows from several threads; the sums of their latencies are the server's.
fn assert_served(server: &Server, model: &str) {
    let before = server.client().statistics(model);
    let count = 400;
    let seen = in_parallel(6, count, |number| {
        let rows = 1 + number % 3;
        let values = Random::new(number as u64).floats(rows * 16);
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        let received = monotonic_ns();
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
        for (name, start) in [("parts", 0), ("parts:1", 8)] {
            let half: Vec<f32> = values.chunks(16).flat_map(|row| row[start..][..8].to_vec()).collect();
            assert_eq!(answer.output(name).as_f32(), half, "{name}");
        }
        Seen { rows: rows as i64, sent, received, latency: Latency::of_outputs(&answer, Some(rows as i64)) }
    });
    let after = server.client().statistics_of(model, before.success.count + count as u64);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);
}

#[test]
fn a_frozen_graph_answers_with_latencies() {
    let server = shared_server();
    let model = "graph_batched";
    server.load(&config(model).latency_outputs().dynamic_batching(300), SavedModel::Graph("graph"));
    assert_served(&server, model);
}

#[test]
fn the_platform_may_say_that_it_is_one() {
    let server = shared_server();
    let model = "graph_by_platform";
    let config = config(model).latency_outputs().dynamic_batching(300);
    let config = config.line("platform: \"tensorflow_graphdef\"");
    if server.try_load(&config, SavedModel::Graph("graph")).is_err() {
        // Others take that platform only for a backend called tensorflow.
        assert!(server.log().contains("unexpected 'platform' and 'backend' pair"), "{}", server.log());
        skipped("this server takes no platform beside this backend's name");
        return;
    }
    assert_served(&server, model);
}

#[test]
fn a_rank_that_the_graph_leaves_open_is_that_of_the_configuration() {
    let server = shared_server();
    for (model, batch, shape) in [
        ("graph_open_batched", 4, [2, 3, 2].as_slice()),
        ("graph_open_whole", 0, &[3, 2, 2]),
        ("graph_open_row", 0, &[12]),
    ] {
        let dims = &shape[usize::from(batch > 0)..];
        let config = ModelConfig::new(model, batch).input("x", "FP32", dims).output("y", "FP32", dims);
        server.load(&config, SavedModel::Graph("graph_open"));
        let values = Random::new(5).floats(12);
        let request = InferRequest::new(vec![Tensor::fp32("x", shape, &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("y").shape, shape);
        assert_eq!(answer.output("y").as_f32(), values.iter().map(|value| value * 2.0).collect::<Vec<_>>());
    }
}

#[test]
fn what_the_graph_has_not_is_refused() {
    let server = shared_server();
    let refused = |config: &ModelConfig, has: &[&str]| {
        let message = server.try_load(config, SavedModel::Graph("graph")).expect_err("it is refused");
        for part in has {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    };
    let x = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[16]);
    refused(
        &x("graph_no_output").output("nowhere", "FP32", &[16]),
        &["output 'nowhere' of config.pbtxt", "no operation 'nowhere'", "'x', 'z'"],
    );
    refused(
        &x("graph_no_index").output("parts:2", "FP32", &[8]),
        &["output 'parts:2'", "no output 2; it has 2"],
    );
    refused(
        &ModelConfig::new("graph_no_input", 8).input("input", "FP32", &[16]).output("y", "FP32", &[16]),
        &[
            "unexpected inference input 'input', allowed inputs are: x, z",
            "input 'input' of config.pbtxt",
            "placeholders are: 'x', 'z'",
        ],
    );
    refused(
        &x("graph_needs_more").output("both", "FP32", &[16]),
        &["no input 'z', which the graph needs", "FP32 [-1, 16]"],
    );
    refused(
        &x("graph_type").output("y", "INT32", &[16]),
        &["'y'", "the graph (FP32 [-1, 16])", "TYPE_FP32", "TYPE_INT32"],
    );
    refused(
        &x("graph_twice").input("x:0", "FP32", &[16]).output("y", "FP32", &[16]),
        &["'x' and 'x:0' are one tensor"],
    );
    refused(
        &x("graph_input_twice").input("x", "FP32", &[16]).output("y", "FP32", &[16]),
        &["configuration expects 2 inputs, model provides 1", "'x' more than once"],
    );
}

/// TensorFlow does not hold what it is fed against the shape of a placeholder.
#[test]
fn a_shape_is_that_of_the_configuration() {
    let server = shared_server();
    let values = Random::new(5).floats(32);
    for (model, batch, shape) in [
        ("graph_flat", 0, [16].as_slice()),
        ("graph_deep", 0, &[2, 2, 4]),
        ("graph_wide", 8, &[2, 8]),
        ("graph_deep_batch", 8, &[2, 4, 2]),
    ] {
        let dims = &shape[usize::from(batch > 0)..];
        let config = ModelConfig::new(model, batch).input("x", "FP32", dims).output("y", "FP32", dims);
        server.load(&config.latency_outputs(), SavedModel::Graph("graph"));
        let values = &values[..shape.iter().product::<i64>() as usize];
        let request = InferRequest::new(vec![Tensor::fp32("x", shape, values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("y").shape, shape, "{model}");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(values), "{model}");
        let refusal = InferRequest::new(vec![Tensor::fp32("x", &[3, 5], &values[..15.min(values.len())])]);
        server.client().infer(model, &refusal).expect_err("the configuration's shape counts");
    }
}

/// Nothing of it can be completed, and the former backend loaded it all the same.
#[test]
fn a_graph_of_which_nothing_is_declared_answers_nothing() {
    let server = shared_server();
    let config = ModelConfig::new("graph_undeclared", 8);
    server.load(&config, SavedModel::Graph("graph"));
    let log = server.log();
    for part in ["has no signature", "placeholders are: 'x', 'z'", "'y', 'both', 'parts'"] {
        assert!(log.contains(part), "'{part}' is missing in the log");
    }
    assert!(server.client().get("/v2/models/graph_undeclared/ready").is_ok_and(|(status, _)| status == 200));
    // Without any configuration it is the server that refuses.
    let folder = server.repository().join("graph_unconfigured/1");
    fs::create_dir_all(&folder).expect("the repository can be written");
    symlink(SavedModel::Graph("graph").folder(), folder.join("model.graphdef"))
        .expect("the repository can be written");
    server.client().load("graph_unconfigured").expect_err("there is no configuration");
}

#[test]
fn a_file_that_is_no_graph_is_refused() {
    let whole = fs::read(SavedModel::Graph("graph").folder()).expect("the test's model");
    let server = shared_server();
    for (name, bytes, part) in [
        ("empty", Vec::new(), "is empty (0 bytes)"),
        ("half", whole[..whole.len() / 2].to_vec(), "is no GraphDef, or not whole"),
        ("words", b"This is not a graph.".to_vec(), "is no GraphDef, or not whole"),
    ] {
        let file = scratch_folder().join(format!("{name}.graphdef"));
        fs::write(&file, bytes).expect("the target folder can be written");
        let config = config(&format!("graph_{name}"));
        let message = server.try_load(&config, SavedModel::GraphFile(&file)).expect_err("it is refused");
        assert!(message.contains("the GraphDef at") && message.contains(part), "{name}: {message}");
    }
}

/// Asks a model whose variable is 3 once it is initialised.
fn tripled(server: &Server, model: &str) -> Result<Vec<f32>, String> {
    let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &[1.0, 2.0, 3.0, 4.0])]);
    let answer = server.client().infer(model, &request).map_err(|refusal| refusal.message)?;
    Ok(answer.output("y").as_f32())
}

#[test]
fn init_ops_run_before_the_first_request() {
    let server = Server::start(Options::new());
    let config = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    let with_ops = |name: &str| config(name).parameter("TF_INIT_OPS_FILE", "ops.json");
    let graph = SavedModel::Graph("graph_variables");
    let write = |name: &str, place: &str, text: &str| {
        let folder = write_model(&server.repository(), &with_ops(name), graph);
        fs::write(folder.join(place).join("ops.json"), text).expect("the repository can be written");
    };

    server.load(&config("uninitialised"), graph);
    let error = tripled(&server, "uninitialised").expect_err("its variable has no value");
    assert!(error.contains("uninitialized"), "{error}");

    write("by_version", "1", r#"{"init_ops": ["init"]}"#);
    server.client().load("by_version").expect("the model loads");
    assert_eq!(tripled(&server, "by_version").expect("it answers"), [3.0, 6.0, 9.0, 12.0]);
    write("by_model", ".", r#"{"init_ops": ["init"]}"#);
    server.client().load("by_model").expect("the model loads");
    assert_eq!(tripled(&server, "by_model").expect("it answers"), [3.0, 6.0, 9.0, 12.0]);

    let missing = server.try_load(&with_ops("ops_missing"), graph).expect_err("there is no such file");
    assert!(missing.contains("TF_INIT_OPS_FILE names 'ops.json', which is neither in"), "{missing}");
    write("ops_unknown", "1", r#"{"init_ops": ["init", "other"]}"#);
    let unknown = server.client().load("ops_unknown").expect_err("there is no such operation");
    assert!(unknown.contains("'other' of TF_INIT_OPS_FILE"), "{unknown}");
    write("ops_broken", "1", "init");
    let broken = server.client().load("ops_broken").expect_err("this is no list");
    assert!(broken.contains("is not a list of operations"), "{broken}");
}
