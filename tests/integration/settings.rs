//! What the settings do: completion of the configuration, thread counts.

use crate::support::*;

/// The server lets the backend complete a configuration by default; `default-max-batch-size` is 4.
#[test]
fn a_configuration_without_inputs_and_outputs_is_completed_from_the_signature() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "completed";
    server.load(&ModelConfig::new(model, 0), SavedModel::Small("add_one"));
    let values = Random::new(11).floats(4 * 16);
    let answer = server.client().infer(model, &add_one_request(&values)).expect("four rows are allowed");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    let mut expected = LATENCY_OUTPUTS.to_vec();
    expected.push("y");
    if environment().adaptive_batching {
        expected.extend(QUEUE_OUTPUTS);
    }
    expected.sort_unstable();
    assert_eq!(answer.names(), expected, "the latency outputs are declared along with the model's own");
    Latency::of_outputs(&answer, Some(4));
    let five = server.client().infer(model, &add_one_request(&[0.0; 5 * 16])).expect_err("five are too many");
    assert_eq!(five.status, 400, "{}", five.message);
}

#[test]
fn a_completed_configuration_keeps_what_it_declares() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "completed_outputs";
    let config = ModelConfig::new(model, 16).input("x", "FP32", &[16]);
    server.load(&config, SavedModel::Small("add_one"));
    let rows = 16;
    let values = Random::new(12).floats(rows * 16);
    let answer = server.client().infer(model, &add_one_request(&values)).expect("16 rows are allowed");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}

#[test]
fn a_completed_configuration_has_the_padded_size_where_batches_are_filled_up() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "completed_buckets";
    let config = ModelConfig::new(model, 0).parameter("batch_size_buckets", "3");
    server.load(&config, SavedModel::Small("add_one"));
    for (rows, padded) in [(1, 3), (3, 3), (4, 4)] {
        let values = Random::new(rows).floats(rows as usize * 16);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("four rows are allowed");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
        assert_eq!(answer.output(PADDED_OUTPUT).as_i64(), vec![padded; rows as usize]);
    }
}

#[test]
fn a_model_without_a_batch_dimension_is_completed_without_one() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "completed_fixed";
    server.load(&ModelConfig::new(model, 0), SavedModel::Small("fixed"));
    let config = server.client().get(&format!("/v2/models/{model}/config")).expect("the server answers").1;
    let config: serde_json::Value = serde_json::from_str(&config).expect("the configuration is JSON");
    assert_eq!(config["max_batch_size"], 0);
    assert_eq!(config["input"][0]["dims"], serde_json::json!([2, 3]));
}

/// TensorFlow has one pool of each kind for the process unless it is told otherwise.
#[test]
fn threads_are_the_first_models_unless_each_model_has_its_own() {
    let threads = |name: &str, count: &str| add_one_config(name, 8).parameter("TF_NUM_INTRA_THREADS", count);
    let grown = |server: &Server| {
        server.load(&threads("first", "3"), SavedModel::Small("add_one"));
        let before = server.thread_count();
        server.load(&threads("second", "23"), SavedModel::Small("add_one"));
        server.thread_count() - before
    };

    let shared = Server::start(Options::new());
    let growth = grown(&shared);
    assert!(growth < 20, "the pool of the first model is everybody's, but {growth} threads came");
    assert!(shared.log().contains("TF_NUM_INTRA_THREADS has no effect here"), "a warning says so");

    let inter = |name: &str| add_one_config(name, 8).parameter("TF_NUM_INTER_THREADS", "31");
    let before = shared.thread_count();
    shared.load(&inter("third"), SavedModel::Small("add_one"));
    assert!(shared.thread_count() - before < 20, "the inter-op pool is everybody's, too");
    assert!(shared.log().contains("TF_NUM_INTER_THREADS has no effect here"), "a warning says so");
    let before = shared.thread_count();
    let per_session = inter("fourth").parameter("TF_USE_PER_SESSION_THREADS", "true");
    shared.load(&per_session, SavedModel::Small("add_one"));
    assert!(shared.thread_count() - before >= 20, "the fourth model has inter-op threads of its own");

    let own = Server::start(Options::new().environment("TF_OVERRIDE_GLOBAL_THREADPOOL", "1"));
    let growth = grown(&own);
    assert!(growth >= 20, "the second model has 23 threads of its own, but only {growth} came");
    assert!(!own.log().contains("TF_NUM_INTRA_THREADS has no effect here"));
}
