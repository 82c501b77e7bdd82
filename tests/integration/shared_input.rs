//! Inputs in system shared memory. Where the graph keeps nothing, TensorFlow reads an aligned one in place.

use serde_json::{Value, json};

use crate::support::*;

/// A model that hands its input through, in an operation of its own.
fn identity_config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 0).input("x", "FP32", &[-1]).output("y", "FP32", &[-1]).latency_outputs()
}

/// Asks for `outputs` of the model; what the answer has by value, by name.
fn infer(server: &Server, model: &str, input: &Value, outputs: &[Value]) -> Result<Value, String> {
    let body = json!({ "inputs": [input], "outputs": outputs });
    let (status, text) = server.client().post(&format!("/v2/models/{model}/infer"), &body);
    if status != 200 {
        return Err(text);
    }
    let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
    let outputs = answer["outputs"].as_array().expect("a list of outputs");
    let by_name =
        outputs.iter().map(|output| (output["name"].as_str().unwrap().into(), output["data"].clone()));
    Ok(Value::Object(by_name.collect()))
}

fn by_value(name: &str) -> Value {
    json!({ "name": name })
}

fn floats(data: &Value) -> Vec<f32> {
    data.as_array().expect("numbers").iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// The same request from an aligned place and from one that is not: only the second has to be copied. The output goes
/// into shared memory as well.
#[test]
fn an_aligned_input_is_not_copied() {
    const COUNT: usize = 4 << 20;
    let _turn = heavy_turn();
    let server = shared_server();
    let model = "shared_identity";
    server.load(&identity_config(model), SavedModel::Small("identity"));
    let (input, output) = (Region::new(&server, COUNT * 4 + 64), Region::new(&server, COUNT * 4));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..7 {
        for (offset, times) in [0, 4].into_iter().zip(&mut times) {
            let values = Random::new(round * 2 + offset as u64).floats(COUNT);
            input.write(offset, &values);
            let wanted = [output.output_at("y", 0, COUNT * 4), by_value("compute_input_ns")];
            let answer =
                infer(&server, model, &input.input("x", &[COUNT], offset), &wanted).expect("it is good");
            assert!(output.read(0, COUNT) == values, "from {offset}, round {round}");
            times.push(answer["compute_input_ns"][0].as_i64().expect("a number"));
        }
    }
    let [aligned, copied] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    assert!(aligned * 10 < copied, "{aligned} ns without a copy, {copied} ns with one");
}

/// With a pass-through the output's tensor is the input's memory, which may be where the client wants the output.
#[test]
fn an_output_may_go_where_the_input_is() {
    const COUNT: usize = 1 << 10;
    let server = shared_server();
    let model = "shared_in_place";
    server.load(&identity_config(model), SavedModel::Small("identity"));
    let region = Region::new(&server, COUNT * 8);
    for (round, offset) in [0, 64, 4, COUNT * 2, COUNT * 4 - 4].into_iter().enumerate() {
        for (from, to) in [(0, offset), (offset, 0)] {
            let values = Random::new(round as u64).floats(COUNT);
            region.write(from, &values);
            let wanted = [region.output_at("y", to, COUNT * 4)];
            infer(&server, model, &region.input("x", &[COUNT], from), &wanted).expect("it is good");
            assert!(region.read(to, COUNT) == values, "from {from} to {to}");
        }
    }
}

/// What a graph keeps of a request must be its own: the client uses the memory for its next request.
#[test]
fn what_a_graph_keeps_does_not_change_with_the_client_s_memory() {
    let server = shared_server();
    for (saved_model, width) in
        [("remembers", 4), ("keeps_in_queue", 16), ("keeps_in_stage", 16), ("keeps_in_table", 16)]
    {
        let model = format!("shared_{saved_model}");
        let config =
            ModelConfig::new(&model, 8).input("x", "FP32", &[width]).output("before", "FP32", &[width]);
        server.load(&config, SavedModel::Small(saved_model));
        // As many as `remembers` holds before its first run.
        let rows = 2;
        let count = rows * width as usize;
        let region = Region::new(&server, 4096);
        let mut before = None;
        for round in 0..5 {
            let values = Random::new(round).floats(count);
            region.write(0, &values);
            let input = region.input("x", &[rows, width as usize], 0);
            let answer = infer(&server, &model, &input, &[by_value("before")]).expect("the request is good");
            // Whoever still reads the client's memory now would find these.
            region.write(0, &vec![-1.0; count]);
            if let Some(before) = before.replace(values) {
                assert_eq!(floats(&answer["before"]), before, "{saved_model}, round {round}");
            }
        }
    }
}

/// Requests from one region at the same time; it is taken away and the model unloaded as soon as they are answered.
#[test]
fn memory_that_was_lent_is_given_back_with_the_answer() {
    const COUNT: usize = 1 << 18;
    let server = Server::start(Options::new());
    for round in 0..5 {
        let model = "shared_for_a_while";
        server.load(&identity_config(model), SavedModel::Small("identity"));
        let input = Region::new(&server, COUNT * 4);
        let values = Random::new(round).floats(COUNT);
        input.write(0, &values);
        in_parallel(4, 20, |_| {
            let output = Region::new(&server, COUNT * 4);
            let wanted = [output.output_at("y", 0, COUNT * 4)];
            infer(&server, model, &input.input("x", &[COUNT], 0), &wanted).expect("it is good");
            assert!(output.read(0, COUNT) == values, "round {round}");
        });
        input.unregister();
        server.client().unload(model);
        assert!(eventually(|| server
            .client()
            .get(&format!("/v2/models/{model}/ready"))
            .is_ok_and(|(s, _)| s != 200)));
    }
    assert!(server.is_running());
    assert_eq!(server.stop(), 0);
}

/// The times of requests without a copy add up as those of others do.
#[test]
fn sums_equal_the_statistics_without_a_copy() {
    const COUNT: usize = 1 << 12;
    const REQUESTS: u64 = 200;
    let server = shared_server();
    let model = "shared_sums";
    server.load(&identity_config(model).instances(2), SavedModel::Small("identity"));
    let region = Region::new(&server, COUNT * 4);
    region.write(0, &Random::new(1).floats(COUNT));
    let before = server.client().statistics(model);
    let parts = ["compute_input_ns", "compute_infer_ns", "compute_output_ns"];
    let wanted: Vec<Value> = parts.into_iter().chain(["y"]).map(by_value).collect();
    let times = in_parallel(4, REQUESTS as usize, |_| {
        let answer = infer(&server, model, &region.input("x", &[COUNT], 0), &wanted).expect("it is good");
        parts.map(|part| answer[part][0].as_i64().expect("a number") as u64)
    });
    let sums = times.iter().fold([0; 3], |sums, times| [0, 1, 2].map(|part| sums[part] + times[part]));
    let after = server.client().statistics_of(model, REQUESTS);
    let growth = [
        after.compute_input.ns - before.compute_input.ns,
        after.compute_infer.ns - before.compute_infer.ns,
        after.compute_output.ns - before.compute_output.ns,
    ];
    assert_eq!(sums, growth);
}
