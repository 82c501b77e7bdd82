//! In the place of the backend that Triton used to ship: models that name a platform and no backend.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::discovery::link_tensorflow;
use crate::support::*;

/// The names that servers have for that backend. Those before 23.04 made one of the last two of the first.
const NAMES: [&str; 3] = ["tensorflow", "tensorflow1", "tensorflow2"];

/// A server whose only backend is this one, under those names, with TensorFlow beside it.
fn server() -> Server {
    server_with(Options::new())
}

fn server_with(options: Options) -> Server {
    let server = Server::start(options.without_backend().without_tensorflow_option());
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
    assert!(!server.log().contains("unknown parameter"));
}

/// The configuration that the server has of a model now.
fn told_config(server: &Server, model: &str) -> Value {
    let (_, text) = server.client().get(&format!("/v2/models/{model}/config")).expect("the server answers");
    serde_json::from_str(&text).expect("the configuration is JSON")
}

/// Loads a model with this text as its config.pbtxt, or without one.
fn load_text(
    server: &Server,
    model: &str,
    saved_model: SavedModel,
    text: Option<&str>,
) -> Result<(), String> {
    let version = server.repository().join(model).join("1");
    fs::create_dir_all(&version).expect("the repository can be written");
    symlink(saved_model.folder(), version.join("model.savedmodel")).expect("the repository can be written");
    if let Some(text) = text {
        let file = server.repository().join(model).join("config.pbtxt");
        fs::write(file, text).expect("the repository can be written");
    }
    server.client().load(model)
}

/// Names, types and dims of a field of a configuration, in the order of the names.
fn declared(config: &Value, field: &str) -> Vec<Value> {
    let tensors = config[field].as_array().expect("a list");
    let mut declared: Vec<Value> = tensors
        .iter()
        .map(|tensor| {
            // Older servers write 64-bit numbers as texts.
            let dim = |dim: &Value| {
                dim.as_str().map_or_else(|| dim.clone(), |dim| json!(dim.parse::<i64>().expect("a number")))
            };
            let dims: Vec<Value> = tensor["dims"].as_array().expect("a list").iter().map(dim).collect();
            json!([tensor["name"], tensor["data_type"], dims])
        })
        .collect();
    declared.sort_by_key(Value::to_string);
    declared
}

/// What the former backend filled in, in the same cases. `mixed` has two inputs and three outputs.
#[test]
fn configurations_are_completed_as_the_former_backend_did() {
    if !completes_configurations("completed configurations in place of the former backend") {
        return;
    }
    let server = server();
    let platform = "platform: \"tensorflow_savedmodel\"\n";
    let load = |model: &str, rest: Option<&str>| {
        let text = rest.map(|rest| format!("{platform}{rest}"));
        load_text(&server, model, SavedModel::Small("mixed"), text.as_deref())
            .unwrap_or_else(|e| panic!("{e}"));
        told_config(&server, model)
    };
    let ab = [json!(["a", "TYPE_FP32", [4]]), json!(["b", "TYPE_INT32", [2, 3]])];
    let all_outputs = [
        json!(["guarded", "TYPE_FP32", [4]]),
        json!(["outer", "TYPE_FP32", [4, 6]]),
        json!(["sum", "TYPE_FP32", [1]]),
    ];
    for (model, rest) in
        [("mixed_none", None), ("mixed_empty", Some("")), ("mixed_a", Some("input { name: \"a\" }"))]
    {
        let config = load(model, rest);
        assert_eq!(config["max_batch_size"], 4, "{model}");
        assert!(config["dynamic_batching"].is_object(), "{model}: {config}");
        assert_eq!(declared(&config, "input"), ab, "{model}");
        assert_eq!(declared(&config, "output"), all_outputs, "{model}: no latency outputs");
    }
    // What is declared decides: outputs are a choice, inputs are not; dims say whether there are batches.
    let config = load(
        "mixed_sum",
        Some("max_batch_size: 1 input { name: \"b\" dims: [ 2, 3 ] } output { name: \"sum\" }"),
    );
    assert_eq!(declared(&config, "input"), ab);
    assert_eq!(declared(&config, "output"), all_outputs[2..]);
    assert!(config["dynamic_batching"].is_null(), "one row needs no batcher: {config}");
    let config = load("mixed_whole", Some("output { name: \"sum\" data_type: TYPE_FP32 dims: [ -1, 1 ] }"));
    assert_eq!(config["max_batch_size"], 0);
    let whole = [json!(["a", "TYPE_FP32", [-1, 4]]), json!(["b", "TYPE_INT32", [-1, 2, 3]])];
    assert_eq!(declared(&config, "input"), whole);
    // Where only max_batch_size is missing, the dims say that there are batches.
    let open = "input [ { name: \"a\" data_type: TYPE_FP32 dims: [ 4 ] }, { name: \"b\" data_type: TYPE_INT32 dims: [ 2, 3 ] } ] \
                output { name: \"sum\" data_type: TYPE_FP32 dims: [ 1 ] }";
    let config = load("mixed_open", Some(open));
    assert!(config["max_batch_size"] == 4 && config["dynamic_batching"].is_object(), "{config}");
    // A batcher is added to what is declared as a whole, too.
    let full = "max_batch_size: 8 input [ { name: \"a\" data_type: TYPE_FP32 dims: [ 4 ] }, { name: \"b\" data_type: \
                TYPE_INT32 dims: [ 2, 3 ] } ] output { name: \"sum\" data_type: TYPE_FP32 dims: [ 1 ] }";
    assert!(load("mixed_full", Some(full))["dynamic_batching"].is_object());

    // What has no shape in the signature has to be declared, scalars among it.
    for (model, saved_model, words) in [
        ("no_shape", "no_shape", "the rank of model tensor 'x' is 0 and dimensions are not defined"),
        ("open_rank", "open_rank", "the rank of model tensor 'x' is 0 and dimensions are not defined"),
        ("scalar", "scalar", "the rank of model tensor 'total' is 0 which is not supported"),
    ] {
        let told = load_text(&server, model, SavedModel::Small(saved_model), Some(platform));
        let message = told.expect_err("it cannot be completed");
        let words = format!("Unable to autofill for '{model}': {words}");
        assert!(message.contains(&words), "{message}");
    }

    let request = InferRequest::new(vec![
        Tensor::fp32("a", &[1, 4], &[1.0, 2.0, 3.0, 4.0]),
        Tensor::int32("b", &[1, 2, 3], &[1, 2, 3, 4, 5, 6]),
    ]);
    for model in ["mixed_none", "mixed_a", "mixed_sum", "mixed_whole", "mixed_open", "mixed_full"] {
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("sum").as_f32(), [31.0], "{model}");
    }
}

/// What loaded in the former backend loads here, if only to be told what is wrong with it.
#[test]
fn what_can_only_fail_is_loaded_with_a_warning() {
    let server = server();
    let folder = scratch_folder().join("without_values.savedmodel");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let whole = SavedModel::Small("weights").folder().join("saved_model.pb");
    fs::copy(whole, folder.join("saved_model.pb")).expect("the target folder can be written");
    let model = "without_values";
    let new = |model: &str, backend: &str| {
        ModelConfig::of_backend(backend, model, 4).input("x", "FP32", &[16]).output("y", "FP32", &[4])
    };
    let config = new(model, "").line("platform: \"tensorflow_savedmodel\"");
    server.load(&config, SavedModel::Folder(&folder));
    assert!(server.log().contains("every run will fail"));
    server.client().infer(model, &add_one_request(&[0.5; 16])).expect_err("there are no values");
    // Under our own name it is refused.
    let own = new("without_values_own", "tensorflow_latency");
    let message = shared_server().try_load(&own, SavedModel::Folder(&folder)).expect_err("it is refused");
    assert!(message.contains("no variables/variables.index with their values"), "{message}");

    let decoupled = config.named("decoupled").line("model_transaction_policy { decoupled: true }");
    server.load(&decoupled, SavedModel::Small("weights"));
    assert!(server.log().contains("a decoupled model_transaction_policy of config.pbtxt has no effect"));
}

#[test]
fn completed_configurations_have_the_latency_outputs_where_an_option_says_so() {
    if !completes_configurations("the option latency-outputs") {
        return;
    }
    let server = server_with(Options::new().argument("--backend-config=tensorflow,latency-outputs=true"));
    load_text(&server, "timed", SavedModel::Small("add_one"), None).expect("it is completed");
    let answer = server.client().infer("timed", &add_one_request(&[0.5; 16])).expect("the request is good");
    assert!(Latency::of_outputs(&answer, Some(1)).total > 0);
}

/// Scripts look for the former backend's words.
#[test]
fn refusals_begin_with_the_former_backend_s_words() {
    let server = server();
    let refused = |name: &str, saved_model: &'static str, config: ModelConfig, words: &str| {
        let config = config.named(name).line("platform: \"tensorflow_savedmodel\"");
        let message = server.try_load(&config, SavedModel::Small(saved_model)).expect_err("it is refused");
        let words = words.replace("NAME", name);
        assert!(message.contains(&words), "'{words}' is missing in: {message}");
        // Nothing but the server's own words is in front.
        let log = server.log();
        let error = log.lines().find(|line| line.contains(&words)).expect("it is logged, too");
        let kinds = ["Invalid argument: ", "Internal: "];
        assert!(kinds.iter().any(|kind| error.contains(&format!("{kind}{words}"))), "{error}");
    };
    let new = |batch| ModelConfig::of_backend("", "", batch);
    let x = |batch: u32, datatype: &str, dims: &[i64]| {
        new(batch).input("x", datatype, dims).output("y", "FP32", &[16])
    };
    refused(
        "bad_type",
        "add_one",
        x(8, "INT32", &[16]),
        "unable to load model 'NAME', configuration expects datatype TYPE_INT32 for input 'x', model provides TYPE_FP32",
    );
    refused(
        "bad_dims",
        "add_one",
        new(8).input("x", "FP32", &[16, 1]).output("y", "FP32", &[16, 1]),
        "model 'NAME', tensor 'x': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 3 \
         dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making \
         complete shape [-1,16,1])",
    );
    refused(
        "bad_twice",
        "add_one",
        x(8, "FP32", &[16]).input("x", "FP32", &[16]),
        "unable to load model 'NAME', configuration expects 2 inputs, model provides 1",
    );
    if completes_configurations("contradictions in a configuration that is whole") {
        refused(
            "bad_hints",
            "add_one",
            x(8, "FP32", &[16, 1]),
            "unable to autofill for 'NAME', model tensor configurations are contradicting each other in terms of whether \
             batching is supported",
        );
    }
    refused(
        "bad_whole_dims",
        "add_one",
        new(0).input("x", "FP32", &[-1, 15]).output("y", "FP32", &[-1, 16]),
        "model 'NAME', tensor 'x': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 2 \
         dimensions (shape [-1,15])",
    );
    refused(
        "unknown_input",
        "mixed",
        new(8).input("z", "FP32", &[4]).output("sum", "FP32", &[1]),
        "unexpected inference input 'z', allowed inputs are: a, b",
    );
    refused(
        "unknown_output",
        "add_one",
        x(8, "FP32", &[16]).output("z", "FP32", &[1]),
        "unexpected inference output 'z', allowed outputs are: y",
    );
    refused(
        "no_batch",
        "fixed",
        new(8).input("x", "FP32", &[3]).output("y", "FP32", &[2]),
        if completes_configurations("a max_batch_size of a whole configuration that its model cannot have") {
            "unable to autofill for 'NAME', configuration specified max-batch 8 but model signature does not support batching"
        } else {
            "model 'NAME', tensor 'x': for the model to support batching the shape should have at least 1 dimension and the \
             first dimension must be -1; but shape expected by the model is [2,3]"
        },
    );
    if completes_configurations("what is said of configurations that cannot be completed") {
        refused(
            "contradicts",
            "mixed",
            new(0).input("a", "FP32", &[4]).output("sum", "FP32", &[-1, 1]),
            "unable to autofill for 'NAME', model tensor configurations are contradicting each other in terms of whether \
             batching is supported",
        );
        refused(
            "max_batch",
            "fixed",
            new(8).input("x", "FP32", &[3]),
            "unable to autofill for 'NAME', configuration specified max-batch 8 but model signature does not support batching",
        );
    }
}

#[test]
fn a_name_that_nobody_knows_is_told_with_the_one_that_may_be_meant() {
    let server = server_with(Options::new().argument("--backend-config=tensorflow,gpu-memory-fractoin=0.5"));
    let model = "misspelt";
    let config =
        config(model, "tensorflow_savedmodel").parameter("TF_NUM_INTRA_THREAD", "1").parameter("mine", "1");
    server.load(&config, SavedModel::Small("add_one"));
    let log = server.log();
    for told in [
        "'gpu-memory-fractoin' (did you mean 'gpu-memory-fraction'?)",
        "'TF_NUM_INTRA_THREAD' (did you mean 'TF_NUM_INTRA_THREADS'?)",
        "'mine' (known: ",
    ] {
        assert_eq!(log.matches(told).count(), 1, "{told}");
    }
    assert_eq!(log.matches("unknown option of --backend-config").count(), 1, "the server's own are known");
}
