//! In the place of the backend that Triton used to ship: models that name a platform and no backend.

use std::fs;

use crate::discovery::link_tensorflow;
use crate::support::*;

/// The names that servers have for that backend. Those before 23.04 made one of the last two of the first.
const NAMES: [&str; 3] = ["tensorflow", "tensorflow1", "tensorflow2"];

/// A server whose only backend is this one, under those names, with TensorFlow beside it.
fn server() -> Server {
    let server = Server::start(Options::new().without_backend().without_tensorflow_option());
    for name in NAMES {
        let folder = server.backends().join(name);
        fs::create_dir_all(&folder).expect("the target folder can be written");
        fs::copy(&environment().backend, folder.join(format!("libtriton_{name}.so")))
            .expect("the backend can be copied");
        link_tensorflow(&folder, "libtensorflow_cc.so.2");
    }
    server
}

fn config(name: &str, platform: &str) -> ModelConfig {
    ModelConfig::of_backend("", name, 8)
        .input("x", "FP32", &[16])
        .output("y", "FP32", &[16])
        .line(&format!("platform: \"{platform}\""))
}

#[test]
fn models_by_platform_are_served() {
    let server = server();
    let values = Random::new(3).floats(32);
    for (model, platform, saved_model) in [
        ("by_saved_model", "tensorflow_savedmodel", SavedModel::Small("add_one")),
        ("by_graph", "tensorflow_graphdef", SavedModel::Graph("graph")),
    ] {
        let config = config(model, platform).dynamic_batching(100);
        server.load(&config, saved_model);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        assert_eq!(answer.names(), ["y"], "what is not declared is not answered");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
        // Whoever declares the latency outputs has them here, too.
        let timed = format!("{model}_timed");
        server.load(&config.named(&timed).latency_outputs(), saved_model);
        let answer = server.client().infer(&timed, &add_one_request(&values)).expect("the request is good");
        assert!(Latency::of_outputs(&answer, Some(2)).total > 0);
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// What the parameters of that backend are, this one takes.
#[test]
fn its_parameters_are_known() {
    let server = server();
    let model = "by_parameters";
    let mut config = config(model, "tensorflow_savedmodel");
    for (key, value) in [
        ("TF_NUM_INTRA_THREADS", "2"),
        ("TF_NUM_INTER_THREADS", "2"),
        ("TF_USE_PER_SESSION_THREADS", "0"),
        ("TF_GRAPH_TAG", "serve"),
        ("TF_SIGNATURE_DEF", "serving_default"),
        ("MAX_SESSION_SHARE_COUNT", "2"),
    ] {
        config = config.parameter(key, value);
    }
    server.load(&config, SavedModel::Small("add_one"));
    let values = Random::new(4).floats(16);
    let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    assert!(!server.log().contains("unknown parameters"));
}
