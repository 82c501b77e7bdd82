//! What is done for models on a GPU, without one: the hidden parameter `test_gpu` lets a model on a CPU be treated so. Its
//! batches are computed by a thread of the backend's, and its inputs are to be in page-locked memory, which a server without a
//! GPU does not have. What a real GPU is needed for, docs/gpu.md says.

use std::time::Duration;

use crate::support::*;

fn on_gpu(config: ModelConfig) -> ModelConfig {
    config.parameter("test_gpu", "true").parameter("batching", "triton")
}

#[test]
fn batches_that_are_gathered_while_others_are_computed_answer_right() {
    let server = shared_server();
    for (model, batches, instances) in
        [("gpu_alone", false, 1), ("gpu_merged", true, 1), ("gpu_two", true, 2)]
    {
        let config = on_gpu(add_one_config(model, 4)).latency_outputs().instances(instances);
        server
            .load(&if batches { config.dynamic_batching(500) } else { config }, SavedModel::Small("add_one"));
        const CLIENTS: usize = 8;
        const REQUESTS: usize = 100;
        in_parallel(CLIENTS, CLIENTS, |client| {
            for number in 0..REQUESTS {
                let rows = 1 + (client + number) % 4;
                let values: Vec<f32> =
                    (0..rows * 16).map(|at| (client * 1000 + number * 10 + at) as f32).collect();
                let answer =
                    server.client().infer(model, &add_one_request(&values)).expect("the request is good");
                assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "{model}");
                Latency::of_outputs(&answer, Some(rows as i64));
            }
        });
        let all = (CLIENTS * REQUESTS) as u64;
        let statistics = server.client().statistics_of(model, all);
        assert_eq!((statistics.success.count, statistics.fail.count), (all, 0), "{model}: {statistics:?}");
        server.unload(model);
    }
}

#[test]
fn the_times_of_computed_batches_are_those_of_the_statistics() {
    let server = shared_server();
    let model = "gpu_sums";
    server.load(&on_gpu(add_one_config(model, 4)).latency_outputs(), SavedModel::Small("add_one"));
    let latencies = in_parallel(4, 200, |number| {
        let answer = server.client().infer(model, &add_one_request(&[number as f32; 32]));
        Latency::of_outputs(&answer.expect("the request is good"), Some(2))
    });
    let statistics = server.client().statistics_of(model, 200);
    let sum = |of: fn(&Latency) -> i64| latencies.iter().map(of).sum::<i64>() as u64;
    assert_eq!(sum(|latency| latency.input), statistics.compute_input.ns);
    assert_eq!(sum(|latency| latency.infer), statistics.compute_infer.ns);
    assert_eq!(sum(|latency| latency.output), statistics.compute_output.ns);
}

#[test]
fn a_panic_in_a_computed_batch_is_an_answer() {
    let server = Server::start(Options::new());
    for step in ["execute", "gather", "scatter"] {
        let model = format!("gpu_panics_in_{step}");
        let config = on_gpu(add_one_config(&model, 8)).parameter("test_panic", step);
        server.load(&config, SavedModel::Small("add_one"));
        for round in 0..3 {
            let bad = add_one_request(&[1.0; 16]).with_id("panic");
            let refusal = server.client().infer(&model, &bad).expect_err("the backend panics for this id");
            assert!(refusal.message.contains("planted by the parameter test_panic"), "{refusal:?}");
            let values = [round as f32; 32];
            let answer =
                server.client().infer(&model, &add_one_request(&values)).expect("the request is good");
            assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
        }
        let statistics = server.client().statistics_of(&model, 6);
        assert_eq!((statistics.success.count, statistics.fail.count), (3, 3), "{statistics:?}");
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn an_unload_waits_for_the_batch_that_is_computed() {
    let server = shared_server();
    let model = "gpu_unloaded";
    let config = on_gpu(slow_config(model, 4));
    server.load(&config, SavedModel::Small("slow"));
    let answers = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..3).map(|_| scope.spawn(|| server.client().infer(model, &slow_request(300.0)))).collect();
        std::thread::sleep(Duration::from_millis(150));
        server.unload(model);
        clients.into_iter().map(|client| client.join().expect("no panic")).collect::<Vec<_>>()
    });
    for answer in answers {
        answer.expect("a request that was let in is answered");
    }
}

#[test]
fn without_page_locked_memory_one_warning_tells_and_requests_are_answered() {
    let server = Server::start(Options::new());
    let model = "gpu_ordinary_memory";
    server.load(&on_gpu(add_one_config(model, 4)), SavedModel::Small("add_one"));
    for round in 0..5 {
        let values = [round as f32; 16];
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    }
    let log = server.log();
    let told = log.lines().filter(|line| line.contains("goes through ordinary memory")).count();
    // A server that finds a GPU has page-locked memory.
    assert!(told <= 1, "{told} warnings");
    if told == 1 {
        assert!(log.contains("--pinned-memory-pool-byte-size"), "{log}");
    }
}

#[test]
fn xla_answers_the_same() {
    let server = shared_server();
    let models = [("xla", "optimization { graph { level: 1 } }"), ("xla_not", "")];
    for (model, line) in models {
        let config =
            ModelConfig::new(model, 8).input("x", "FP32", &[16]).output("y", "FP32", &[4]).line(line);
        server.load(&config, SavedModel::Small("weights"));
    }
    for rows in [1, 3, 8] {
        let values = Random::new(rows as u64).floats(rows as usize * 16);
        let request = InferRequest::new(vec![Tensor::fp32("x", &[rows, 16], &values)]);
        let [compiled, plain] = models.map(|(model, _)| {
            server.client().infer(model, &request).expect("the request is good").output("y").as_f32()
        });
        assert!(relative_error(&compiled, &plain) < 1e-5, "{rows} rows: {compiled:?}, {plain:?}");
    }
}

#[test]
fn what_is_asked_of_accelerators_and_not_honoured_is_refused() {
    let server = shared_server();
    for (kind, name, advice) in
        [("gpu", "tensorrt", "use auto_mixed_precision"), ("cpu", "openvino", "oneDNN")]
    {
        let line = format!(
            "optimization {{ execution_accelerators {{ {kind}_execution_accelerator: [ {{ name: \"{name}\" }} ] }} }}"
        );
        let config = add_one_config(&format!("accelerated_by_{name}"), 4).line(&line);
        let error = server.try_load(&config, SavedModel::Small("add_one")).expect_err("it is not supported");
        for part in [name, advice, "config.pbtxt"] {
            assert!(error.contains(part), "{error}");
        }
    }
    // Only where inputs are is asked for, so there is nothing to refuse.
    let accelerator = "gpu_execution_accelerator: [ { name: \"gpu_io\" } ]";
    let line = format!("optimization {{ execution_accelerators {{ {accelerator} }} }}");
    server.load(&add_one_config("accelerated_by_gpu_io", 4).line(&line), SavedModel::Small("add_one"));
    assert!(server.log().contains("gpu_io has no effect"));
}

#[test]
fn what_tensorflow_places_runs_where_there_is_no_gpu() {
    let server = shared_server();
    let model = "of_kind_model";
    let config = ModelConfig::new(model, 8).input("x", "FP32", &[16]).output("y", "FP32", &[4]);
    let config = config.line("instance_group [ { kind: KIND_MODEL } ]");
    server.load(&config, SavedModel::Small("weights"));
    let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 16], &[0.5; 16])]);
    server.client().infer(model, &request).expect("the request is good");
}

#[test]
fn a_part_of_a_gpu_s_memory_is_a_part() {
    let server = Server::start(Options::new().backend_config("gpu-memory-fraction", "1.5"));
    let message = server
        .try_load(&add_one_config("any", 8), SavedModel::Small("add_one"))
        .expect_err("there is no such part");
    let told = format!("{message}\n{}", server.log());
    for part in ["'gpu-memory-fraction'", "--backend-config", "expected a number from 0", "found '1.5'"] {
        assert!(told.contains(part), "'{part}' is missing in: {told}");
    }
}
