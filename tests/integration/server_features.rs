//! What the server does around a backend: ensembles, warm-up, the response cache, the rate limiter, versions, traces, labels.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::*;

/// One row for `add_one`, and what it answers.
fn row() -> (Vec<f32>, Vec<f32>) {
    let values = Random::new(11).floats(16);
    let answer = add_one_answer(&values);
    (values, answer)
}

fn assert_adds_one(server: &Server, model: &str) {
    let (values, expected) = row();
    let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), expected, "{model}");
}

#[test]
fn models_are_steps_of_an_ensemble_and_tell_their_latencies() {
    let server = shared_server();
    for step in ["step_one", "step_two"] {
        server.load(&add_one_config(step, 4).latency_outputs(), SavedModel::Small("add_one"));
    }
    // The ensemble's outputs are those of its steps, latencies included.
    let step = |name: &str, from: &str, to: &str, latency: &str| {
        format!(
            "{{ model_name: \"{name}\" model_version: -1 input_map {{ key: \"x\" value: \"{from}\" }} \
             output_map {{ key: \"y\" value: \"{to}\" }} output_map {{ key: \"compute_latency_ns\" value: \"{latency}\" }} }}"
        )
    };
    let steps = [step("step_one", "x", "between", "first_ns"), step("step_two", "between", "y", "second_ns")];
    let text = format!(
        "name: \"both_steps\"\nplatform: \"ensemble\"\nmax_batch_size: 4\n\
         input [ {{ name: \"x\" data_type: TYPE_FP32 dims: [ 16 ] }} ]\n\
         output [ {{ name: \"y\" data_type: TYPE_FP32 dims: [ 16 ] }}, {{ name: \"first_ns\" data_type: TYPE_INT64 dims: [ 1 ] }}, \
         {{ name: \"second_ns\" data_type: TYPE_INT64 dims: [ 1 ] }} ]\n\
         ensemble_scheduling {{ step [ {} ] }}\n",
        steps.join(", ")
    );
    let folder = server.repository().join("both_steps");
    fs::create_dir_all(folder.join("1")).expect("the repository can be written");
    fs::write(folder.join("config.pbtxt"), text).expect("the repository can be written");
    server.client().load("both_steps").expect("the ensemble is good");
    for rows in [1, 4] {
        let values = Random::new(rows as u64).floats(rows * 16);
        let answer =
            server.client().infer("both_steps", &add_one_request(&values)).expect("the request is good");
        let expected = add_one_answer(&add_one_answer(&values));
        assert_eq!(answer.output("y").as_f32(), expected);
        for latency in ["first_ns", "second_ns"] {
            assert_eq!(answer.output(latency).shape, [rows as i64, 1]);
            assert!(answer.output(latency).as_i64().iter().all(|&ns| ns > 0), "{latency}");
        }
    }
}

#[test]
fn warm_up_requests_run_before_the_model_is_ready() {
    let server = shared_server();
    let model = "warmed_up";
    let config = ModelConfig::new(model, 4).input("x", "FP32", &[1]).output("runs", "FP32", &[1]).instances(1).line(
        "model_warmup [ { name: \"three rows\" batch_size: 3 count: 5 inputs { key: \"x\" value: { data_type: TYPE_FP32 dims: [ 1 ] \
         zero_data: true } } } ]",
    );
    server.load(&config, SavedModel::Small("counts_runs"));
    // It tells how often it has run; nothing else runs a model with state.
    let x = InferRequest::new(vec![Tensor::fp32("x", &[1, 1], &[0.0])]);
    let answer = server.client().infer(model, &x).expect("the request is good");
    assert_eq!(answer.output("runs").as_f32(), [6.0]);
}

#[test]
fn a_cached_answer_repeats_the_times_of_the_one_that_was_computed() {
    let option = "--cache-config";
    if !executable().has_option(option) {
        return left_out("the response cache", &format!("this server has no option {option}"));
    }
    let mut options = Options::new().argument(&format!("{option}=local,size=1048576"));
    // Where the server is not in its usual place, it has to be told where its caches are.
    let caches = environment().tritonserver.parent().map(|folder| folder.with_file_name("caches"));
    if let Some(caches) = caches.filter(|caches| caches.is_dir()) {
        options = options.argument(&format!("--cache-directory={}", caches.display()));
    }
    let server = Server::start(options);
    let model = "cached";
    let config = add_one_config(model, 4).latency_outputs().line("response_cache { enable: true }");
    // The server caches with its own batcher or none.
    server.load(&config.parameter("batching", "triton"), SavedModel::Small("add_one"));
    let (values, expected) = row();
    let ask = || server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    let first = ask();
    assert_eq!(first.output("y").as_f32(), expected);
    let second = ask();
    assert_eq!(second.outputs, first.outputs, "times included");
    let statistics = server.client().statistics(model);
    assert_eq!((statistics.success.count, statistics.inference_count), (2, 1), "the second was not computed");
    assert!(
        server.log().contains("response cache repeats the times"),
        "the log says what that means for times"
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn the_rate_limiter_keeps_two_models_from_running_at_once() {
    let server = Server::start(
        Options::new().argument("--rate-limit=execution_count").argument("--rate-limit-resource=turn:1"),
    );
    let models = ["limited_a", "limited_b"];
    for model in models {
        let config = slow_config(model, 1)
            .line(
                "instance_group [ { kind: KIND_CPU count: 1 rate_limiter { resources [ { name: \"turn\" global: true count: 1 } ] } } ]",
            )
            .parameter("batching", "triton");
        server.load(&config, SavedModel::Small("slow"));
    }
    // The times of both executions, by the responses' own clock.
    let mut spans = in_parallel(2, 6, |number| {
        let answer =
            server.client().infer(models[number % 2], &slow_request(20.0)).expect("the request is good");
        let latency = Latency::of_outputs(&answer, Some(1));
        (latency.request_end - latency.total, latency.request_end)
    });
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two executions overlap: {spans:?}");
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn versions_are_served_as_the_policy_says() {
    let server = shared_server();
    let model = "versions";
    let config = ModelConfig::new(model, 4)
        .input("x", "FP32", &[4])
        .output("y", "FP32", &[4])
        .line("version_policy: { specific { versions: [ 1, 3 ] } }");
    let folder = write_model(&server.repository(), &config, SavedModel::Small("failing"));
    // Version 3 has another signature's answer; version 2 would not load.
    fs::create_dir_all(folder.join("3")).expect("the repository can be written");
    fs::create_dir_all(folder.join("2/model.savedmodel")).expect("the repository can be written");
    symlink(SavedModel::Small("two_signatures").folder(), folder.join("3/model.savedmodel"))
        .expect("the repository can be written");
    server.client().load(model).expect("both versions are good");
    let values = [1.0, 2.0, 3.0, 4.0];
    let ask = |version: &str| {
        let (length, body) = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &values)]).binary_body();
        server.client().infer_body(&format!("{model}{version}"), Some(length), &body)
    };
    let y = |version: &str| ask(version).expect("the version is there").output("y").as_f32();
    assert_eq!(y("/versions/1"), values);
    assert_eq!(y("/versions/3"), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(y(""), y("/versions/3"), "the newest is the default");
    ask("/versions/2").expect_err("it is not served");
}

#[test]
fn the_repository_may_be_polled() {
    let arguments = ["--model-control-mode=poll", "--repository-poll-secs=1"];
    let options = arguments.iter().fold(Options::new(), |options, argument| options.argument(argument));
    let server = Server::start(options);
    let ready = |model: &str| {
        server.client().get(&format!("/v2/models/{model}/ready")).is_ok_and(|(status, _)| status == 200)
    };
    // A model appears, changes and goes.
    let at_once = |config: &ModelConfig, saved_model| {
        let beside = server.repository().with_extension("beside");
        write_model(&beside, config, saved_model);
        fs::rename(beside.join(config.name()), server.repository().join(config.name()))
            .expect("the repository can be written");
    };
    at_once(&add_one_config("polled", 4), SavedModel::Small("add_one"));
    assert!(eventually(|| ready("polled")), "the model is not found");
    assert_adds_one(&server, "polled");
    fs::remove_dir_all(server.repository().join("polled")).expect("the repository can be written");
    assert!(eventually(|| !ready("polled")), "the model does not go");
    assert_eq!(server.stop(), 0);
}

#[test]
fn traces_have_the_times_of_compute() {
    let option = "--trace-config";
    if !executable().has_option(option) {
        return left_out("traces", &format!("this server has no option {option}"));
    }
    let file = scratch_folder().join(format!("trace-{}", std::process::id()));
    let settings = ["mode=triton", "rate=1", "level=TIMESTAMPS", &format!("triton,file={}", file.display())];
    let options = settings
        .iter()
        .fold(Options::new(), |options, setting| options.argument(&format!("{option}={setting}")));
    let server = Server::start(options);
    let model = "traced";
    server.load(&add_one_config(model, 4), SavedModel::Small("add_one"));
    assert_adds_one(&server, model);
    assert_eq!(server.stop(), 0);
    let written = fs::read_dir(file.parent().expect("it has a folder")).expect("the folder can be read");
    let written: Vec<_> = written
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().starts_with(&*file.to_string_lossy()))
        .collect();
    let text =
        fs::read_to_string(written.first().expect("the server has written a trace")).expect("it can be read");
    written.iter().for_each(|path| drop(fs::remove_file(path)));
    let spans: Vec<Value> = serde_json::from_str(&text).expect("traces are JSON");
    let stamps: Vec<(String, u64)> = spans
        .iter()
        .flat_map(|span| span["timestamps"].as_array().cloned().unwrap_or_default())
        .map(|stamp| {
            (stamp["name"].as_str().unwrap_or_default().to_owned(), stamp["ns"].as_u64().unwrap_or(0))
        })
        .collect();
    let at = |name: &str| {
        stamps.iter().find(|stamp| stamp.0 == name).unwrap_or_else(|| panic!("no {name}: {stamps:?}")).1
    };
    let in_order =
        ["QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"].map(at);
    assert!(in_order.is_sorted() && in_order[1] < in_order[4], "{in_order:?}");
}

#[test]
fn labels_and_classes_are_the_servers() {
    let server = shared_server();
    let model = "labelled";
    let config = ModelConfig::new(model, 4)
        .input("x", "FP32", &[4])
        .output_with("y", "FP32", &[4], "label_filename: \"labels.txt\"")
        .line("optimization { priority: PRIORITY_MAX }");
    let folder = write_model(&server.repository(), &config, SavedModel::Small("failing"));
    fs::write(folder.join("labels.txt"), "ant\nbee\ncow\ndog\n").expect("the repository can be written");
    server.client().load(model).expect("the model is good");
    let request = json!({
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, 3.0, -1.0, 2.0] }],
        "outputs": [{ "name": "y", "parameters": { "classification": 2 } }],
    });
    let (status, text) = server.client().post(&format!("/v2/models/{model}/infer"), &request);
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
    let classes: Vec<&str> =
        answer["outputs"][0]["data"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(classes, ["3.000000:1:bee", "2.000000:3:dog"]);
}

#[test]
fn priorities_and_timeouts_of_the_batcher_are_the_servers() {
    let server = shared_server();
    let model = "queue_policy";
    let config = slow_config(model, 4).instances(1).parameter("batching", "triton").line(
        "dynamic_batching { priority_levels: 2 default_priority_level: 2 preserve_ordering: false \
         default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 50000 max_queue_size: 8 } }",
    );
    server.load(&config, SavedModel::Small("slow"));
    std::thread::scope(|scope| {
        let long = scope.spawn(|| server.client().infer(model, &slow_request(400.0)));
        assert!(eventually(|| server.log().contains("for 400 ms")), "it does not run");
        let answer = server.client().infer(model, &slow_request(1.0));
        // Older servers hand an instance what it has no time for yet, and look at timeouts no more.
        if capabilities().has_backend_api(15, "a timeout in the server's queue, behind a request that runs") {
            let refused = answer.expect_err("it waits for longer than 50 ms");
            assert!(refused.message.contains("timeout"), "{}", refused.message);
        }
        long.join().expect("the thread ends").expect("the request is good");
    });
    server.client().infer(model, &slow_request(1.0)).expect("nothing is in front of it");
}
