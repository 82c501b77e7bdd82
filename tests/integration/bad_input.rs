//! Requests that cannot be answered: each gets its own error with a readable message, its neighbours their
//! answers, and the server goes on.

use serde_json::{Value, json};

use crate::support::*;

/// A request for the model of [`config`] that is wrong in one way.
struct Case {
    name: &'static str,
    /// The status from a server that tells kinds of errors apart.
    status: u16,
    body: Body,
    /// What the message must tell.
    tells: &'static [&'static str],
    /// The inputs that it must name as well where the server names inputs.
    names: &'static [&'static str],
}

impl Case {
    fn names(mut self, names: &'static [&'static str]) -> Self {
        self.names = names;
        self
    }

    /// What is wrong with a refusal, if anything.
    fn fault(&self, refusal: &Refusal) -> Option<String> {
        let names = if capabilities().names_inputs { self.names } else { &[] };
        let tells: Vec<_> = self.tells.iter().chain(names).collect();
        let status = capabilities().status(self.status);
        let told = tells.iter().all(|part| refusal.message.contains(**part));
        (refusal.status != status || !told)
            .then(|| format!("{}: {refusal:?} should be a {status} that tells {tells:?}", self.name))
    }
}

/// The model's name as messages write it.
const MODEL: &str = "'refusals'";

enum Body {
    /// Binary tensors.
    Binary(InferRequest),
    /// JSON as it stands.
    Json(Value),
    /// JSON of this length and other bytes.
    Raw(usize, Vec<u8>),
}

/// Two inputs, so that one can be missing or disagree with the other.
fn config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 8)
        .input("a", "FP32", &[4])
        .input("b", "INT32", &[2, 3])
        .output("sum", "FP32", &[1])
        .output("outer", "FP32", &[4, 6])
}

fn a(shape: &[i64]) -> Tensor {
    Tensor::fp32("a", shape, &vec![1.0; shape.iter().map(|d| d.unsigned_abs() as usize).product()])
}

fn b(shape: &[i64]) -> Tensor {
    Tensor::int32("b", shape, &vec![2; shape.iter().map(|d| d.unsigned_abs() as usize).product()])
}

fn good_request() -> InferRequest {
    InferRequest::new(vec![a(&[1, 4]), b(&[1, 2, 3])])
}

fn assert_good_answer(answer: Result<Answer, Refusal>) {
    let answer = answer.expect("the request is good");
    assert_eq!(answer.output("sum").as_f32(), [16.0]);
    assert_eq!(answer.output("outer").as_f32(), [2.0; 24]);
}

fn binary(inputs: Vec<Tensor>) -> Body {
    Body::Binary(InferRequest::new(inputs))
}

/// A binary body whose tensor `a` has `bytes` bytes, as the body says, and whose shape says four elements.
fn with_bytes(bytes: usize) -> Body {
    let mut tensor = a(&[1, 4]);
    tensor.bytes.resize(bytes, 0);
    binary(vec![tensor, b(&[1, 2, 3])])
}

/// A good binary body, longer or shorter than its head says.
fn with_body_changed(change: isize) -> Body {
    let (json_length, mut body) = good_request().binary_body();
    body.resize(body.len().checked_add_signed(change).expect("a short change"), 0);
    Body::Raw(json_length, body)
}

/// A JSON body, good but for one field of one input.
fn json_input(input: usize, field: &str, value: Value) -> Body {
    let mut body = json!({ "inputs": [
        { "name": "a", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1] },
        { "name": "b", "datatype": "INT32", "shape": [1, 2, 3], "data": [2, 2, 2, 2, 2, 2] },
    ] });
    if value.is_null() {
        body["inputs"][input].as_object_mut().expect("an input is an object").remove(field);
    } else {
        body["inputs"][input][field] = value;
    }
    Body::Json(body)
}

/// What is wrong, the status, and what the message tells. The server finds these before the backend sees the
/// request, and answers in its own words and codes: 500 where its HTTP part cannot read the JSON.
fn cases() -> Vec<Case> {
    let case = |name, status, body, tells| Case { name, status, body, tells, names: &[] };
    vec![
        case("wrong size", 400, binary(vec![a(&[1, 5]), b(&[1, 2, 3])]), &[MODEL, "'a'", "[-1,4]", "[1,5]"]),
        case("wrong rank", 400, binary(vec![a(&[4]), b(&[4, 2, 3])]), &[MODEL, "'a'", "[-1,4]", "[4]"]),
        case("negative size", 500, binary(vec![a(&[1, -4]), b(&[1, 2, 3])]), &["'shape'", "unsigned"]),
        case(
            "wrong type",
            400,
            binary(vec![Tensor::int32("a", &[1, 4], &[1; 4]), b(&[1, 2, 3])]),
            &[MODEL, "INT32", "FP32"],
        )
        .names(&["'a'"]),
        case("missing input", 400, binary(vec![a(&[1, 4])]), &[MODEL, "expected 2 inputs"]).names(&["'b'"]),
        case("no inputs", 400, binary(vec![]), &[MODEL, "expected 2 inputs"]).names(&["'a'", "'b'"]),
        case(
            "one input more",
            400,
            binary(vec![a(&[1, 4]), b(&[1, 2, 3]), Tensor::fp32("c", &[1, 1], &[0.0])]),
            &[MODEL, "expected 2 inputs", "got 3"],
        )
        .names(&["'c'"]),
        case(
            "unknown input",
            400,
            binary(vec![a(&[1, 4]), Tensor::int32("c", &[1, 2, 3], &[0; 6])]),
            &[MODEL, "'c'"],
        ),
        case("input given twice", 400, binary(vec![a(&[1, 4]), a(&[1, 4])]), &["'a'"]),
        case(
            "unknown output",
            400,
            Body::Binary(good_request().asking_for(&["product"])),
            &[MODEL, "'product'"],
        ),
        case("batch over the limit", 400, binary(vec![a(&[9, 4]), b(&[9, 2, 3])]), &[MODEL, "<= 8"]),
        case(
            "different batch sizes",
            400,
            binary(vec![a(&[2, 4]), b(&[1, 2, 3])]),
            &[MODEL, "'a'", "batch size"],
        ),
        case("too few bytes", 400, with_bytes(12), &[MODEL, "'a'", "16", "12"]),
        case("too many bytes", 400, with_bytes(20), &[MODEL, "'a'", "16", "20"]),
        case("body ends early", 400, with_body_changed(-5), &[MODEL, "'b'", "5"]),
        case("body goes on", 400, with_body_changed(5), &[MODEL, "additional input data"]),
        case("too few JSON values", 500, json_input(0, "data", json!([1, 1, 1])), &["'data'", "shape"]),
        case(
            "too many JSON values",
            500,
            json_input(0, "data", json!([1, 1, 1, 1, 1])),
            &["'data'", "shape"],
        ),
        case("JSON values of another type", 500, json_input(0, "data", json!(vec!["x"; 4])), &["'data'"]),
        case("JSON without a shape", 500, json_input(0, "shape", Value::Null), &["'shape'"]),
        case("JSON wrong size", 400, json_input(0, "shape", json!([1, 2, 2])), &[MODEL, "'a'", "[1,2,2]"]),
        case("JSON wrong type", 400, json_input(0, "datatype", json!("INT32")), &[MODEL, "INT32", "FP32"])
            .names(&["'a'"]),
        case("JSON unknown type", 400, json_input(0, "datatype", json!("FP33")), &["datatype", "a"]),
        case("JSON unknown input", 400, json_input(1, "name", json!("c")), &[MODEL, "'c'"]),
        case("no JSON", 500, Body::Raw(9, b"{\"inputs\"".to_vec()), &["JSON"]),
    ]
}

fn send(client: &Client, model: &str, body: &Body) -> Result<Answer, Refusal> {
    match body {
        Body::Binary(request) => client.infer(model, request),
        Body::Json(value) => client.infer_body(model, None, value.to_string().as_bytes()),
        Body::Raw(json_length, bytes) => client.infer_body(model, Some(*json_length), bytes),
    }
}

#[test]
fn bad_requests_over_http_are_refused_with_a_reason() {
    let server = shared_server();
    let model = "refusals";
    server.load(&config(model).dynamic_batching(500), SavedModel::Small("mixed"));
    let mut faults = Vec::new();
    let mut reached_backend = 0;
    for (number, case) in cases().into_iter().enumerate() {
        match send(server.client(), model, &case.body) {
            Ok(answer) => faults.push(format!("{}: answered with {:?}", case.name, answer.names())),
            Err(refusal) => {
                println!("{}: {} {}", case.name, refusal.status, refusal.message);
                faults.extend(case.fault(&refusal));
            }
        }
        assert_good_answer(server.client().infer(model, &good_request()));
        // Requests that the backend has to refuse are counted. One more is the good one, or the bad one before
        // it.
        let failed = server.client().statistics_of(model, number as u64 + 1 + reached_backend).fail.count;
        if failed > reached_backend {
            reached_backend = failed;
            if LEFT_TO_THE_BACKEND.contains(&case.name) && !capabilities().names_inputs {
                left_out(
                    &format!("{} refused by the server", case.name),
                    "this server leaves it to the backend",
                );
            } else {
                faults.push(format!("{}: the server finds it before the backend", case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What older servers do not look at, those that name no inputs in their messages either.
const LEFT_TO_THE_BACKEND: [&str; 2] = ["too few bytes", "too many bytes"];

/// Who finds it differs: newer servers do; older ones hand the request to the backend, which counts it.
#[test]
fn a_request_without_rows_is_refused_by_the_server_or_by_the_backend() {
    let server = shared_server();
    let model = "no_rows";
    server.load(&config(model), SavedModel::Small("mixed"));
    let client = server.client();
    let refusal = client
        .infer(model, &InferRequest::new(vec![a(&[0, 4]), b(&[0, 2, 3])]))
        .expect_err("there is nothing to compute");
    println!("{refusal:?}");
    assert_eq!(refusal.status, 400, "{refusal:?}");
    assert_good_answer(client.infer(model, &good_request()));
    let by_backend = client.statistics_of(model, 1).fail.count;
    let tells: &[&str] = if by_backend == 0 {
        &["'no_rows'", "Expected", "got 0"]
    } else {
        left_out("a request without rows refused by the server", "this server leaves it to the backend");
        &["'no_rows'", "'a'"]
    };
    assert!(tells.iter().all(|part| refusal.message.contains(part)), "{refusal:?} should tell {tells:?}");
}

#[test]
fn bad_requests_over_grpc_are_refused_with_a_reason() {
    let server = shared_server();
    let model = "refusals_grpc";
    server.load(&config(model), SavedModel::Small("mixed"));
    let answers = run_script("client/bad_requests_grpc.py", &[&server.grpc_url(), model]);
    let mut faults = Vec::new();
    for answer in answers.as_array().expect("a list of answers") {
        println!("{answer}");
        let message = answer["message"].as_str().expect("a message");
        let tells = answer["tells"].as_array().expect("a list");
        let may_name_none = ["wrong type", "missing input", "one input more"].map(Value::from);
        let names_none = !capabilities().names_inputs && may_name_none.contains(&answer["case"]);
        let told = tells.iter().map(|part| part.as_str().expect("a text")).all(|part| {
            let is_name = part.starts_with('\'');
            message.contains(part) || (is_name && names_none)
        });
        if answer["code"] != "INVALID_ARGUMENT"
            || !told
            || !message.contains(model)
            || answer["then"] != "right"
        {
            faults.push(answer.to_string());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_unknown_model_or_version_is_refused() {
    let server = shared_server();
    let refusal =
        server.client().infer("there_is_no_such_model", &good_request()).expect_err("it is not there");
    assert!((400..500).contains(&refusal.status), "{refusal:?}");
    assert!(refusal.message.contains("there_is_no_such_model"), "{refusal:?}");
}

#[test]
fn a_request_whose_output_buffer_is_too_small_does_not_harm_its_neighbours() {
    let server = shared_server();
    let model = "small_buffer";
    let config = add_one_config(model, 64).latency_outputs().dynamic_batching_preferring(20_000_000, 4);
    server.load(&config, SavedModel::Small("add_one"));
    let small = Region::new(&server, 16);
    let large = Region::new(&server, 64);
    let together = requests_wait_for_others("that a small output buffer's neighbours are of its batch");
    for round in 0..5 {
        let answers = in_parallel(4, 4, |number| {
            let mut request = add_one_request(&[(round * 4 + number) as f32; 16]);
            let output = |name: &str| OutputRequest { name: name.to_owned(), shared_memory: None };
            match number {
                1 => request.outputs = Some(vec![small.output("y", 16)]),
                2 => request.outputs = Some(vec![large.output("y", 64), output("executed_batch_size")]),
                _ => request.outputs = Some(vec![output("y"), output("executed_batch_size")]),
            }
            server.client().infer(model, &request)
        });
        for (number, answer) in answers.into_iter().enumerate() {
            let expected = [(round * 4 + number) as f32 + 1.0; 16];
            if number == 1 {
                let refusal = answer.expect_err("16 bytes do not hold 16 values");
                if round == 0 {
                    println!("{refusal:?}");
                }
                assert!(refusal.message.contains("'y'"), "{refusal:?}");
                continue;
            }
            let answer = answer.unwrap_or_else(|refusal| panic!("request {number} is good: {refusal:?}"));
            let size = answer.output("executed_batch_size").as_i64();
            assert!(!together || size == [4], "all four ran together: {size:?}");
            if number == 2 {
                let bytes: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
                assert_eq!(large.bytes(), bytes);
            } else {
                assert_eq!(answer.output("y").as_f32(), expected);
            }
        }
        assert_eq!(small.bytes(), [0; 16], "nothing is written into a buffer that is too small");
    }
    let statistics = server.client().statistics_of(model, 20);
    assert_eq!((statistics.success.count, statistics.fail.count), (15, 5), "{statistics:?}");
}

#[test]
fn a_latency_output_whose_buffer_is_too_small_gives_an_error() {
    let server = shared_server();
    let model = "small_latency_buffer";
    server.load(&add_one_config(model, 8).latency_outputs(), SavedModel::Small("add_one"));
    let region = Region::new(&server, 8);
    let mut request = add_one_request(&[0.0; 32]);
    // Two rows need 16 bytes.
    request.outputs = Some(vec![region.output("compute_latency_ns", 8)]);
    let refusal = server.client().infer(model, &request).expect_err("8 bytes do not hold two values");
    assert!(refusal.message.contains("'compute_latency_ns'"), "{refusal:?}");
    let answer = server.client().infer(model, &add_one_request(&[0.0; 32])).expect("the request is good");
    Latency::of_outputs(&answer, Some(2));
}

#[test]
fn a_failed_execution_is_counted_as_failed_and_the_next_one_works() {
    let server = shared_server();
    let model = "failing";
    let config =
        ModelConfig::new(model, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]).latency_outputs();
    server.load(&config, SavedModel::Small("failing"));
    let request = |value: f32| InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &[0.0, value, 2.0, 3.0])]);
    let client = server.client();
    let before = client.statistics(model);
    let mut reported = Vec::new();
    for round in 0..3u64 {
        let refusal =
            client.infer(model, &request(f32::NAN)).expect_err("the model refuses what is not a number");
        println!("{refusal:?}");
        assert!(refusal.message.contains("planted failure"), "TensorFlow's own text is missing: {refusal:?}");
        assert!(refusal.message.contains(model), "the model's name is missing: {refusal:?}");
        let answer = client.infer(model, &request(1.0)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), [0.0, 1.0, 2.0, 3.0]);
        reported.push(Latency::of_outputs(&answer, Some(1)));
        let after = client.statistics_of(model, 2 * (round + 1));
        assert_eq!(after.fail.count - before.fail.count, round + 1, "{after:?}");
        assert_eq!(after.success.count - before.success.count, round + 1, "{after:?}");
        // Failures do not enter the sums that the responses must equal.
        let sum = reported.iter().map(|latency| latency.infer).sum::<i64>() as u64;
        assert_eq!(after.compute_infer.ns - before.compute_infer.ns, sum);
    }
}

#[test]
fn a_failed_execution_fails_the_requests_of_its_batch_only() {
    let server = shared_server();
    let model = "failing_batch";
    // A batch is what makes the failure common; `adaptive_faults` has the like for those of this backend.
    let config = ModelConfig::new(model, 8)
        .input("x", "FP32", &[4])
        .output("y", "FP32", &[4])
        .parameter("batching", "triton");
    server.load(&config.dynamic_batching_preferring(20_000_000, 2), SavedModel::Small("failing"));
    for round in 0..4 {
        let value = if round % 2 == 0 { f32::NAN } else { 5.0 };
        let answers = in_parallel(2, 2, |number| {
            let first = if number == 0 { value } else { 1.0 };
            let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &[first, 0.0, 0.0, 0.0])]);
            server.client().infer(model, &request)
        });
        for answer in answers {
            if value.is_nan() {
                let refusal = answer.expect_err("TensorFlow refuses the whole batch");
                assert!(refusal.message.contains("planted failure"), "{refusal:?}");
            } else {
                answer.expect("this batch is good");
            }
        }
    }
    let statistics = server.client().statistics_of(model, 8);
    assert_eq!((statistics.success.count, statistics.fail.count), (4, 4), "{statistics:?}");
}

#[test]
fn bad_requests_among_good_ones_harm_nobody_and_leave_no_memory_behind() {
    // A server of its own, since other tests would move the memory too.
    let server = Server::start(Options::new());
    let model = "bad_among_good";
    let config = add_one_config(model, 4096).latency_outputs().dynamic_batching(500);
    server.load(&config, SavedModel::Small("add_one"));
    let failing = ModelConfig::new("bad_failing", 4096).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    server.load(&failing, SavedModel::Small("failing"));
    let small = Region::new(&server, 16);
    let rows = 2048;
    let values = Random::new(11).floats(rows * 16);
    let good = add_one_request(&values);
    // A failed execution of 128 KiB, a too small buffer and malformed bytes, beside a good request of 128
    // KiB.
    let poisoned =
        InferRequest::new(vec![Tensor::fp32("x", &[rows as i64 * 4, 4], &vec![f32::NAN; rows * 16])]);
    let mut unanswerable = good.clone();
    unanswerable.outputs = Some(vec![small.output("y", 16)]);
    let mut truncated = good.clone();
    truncated.inputs[0].bytes.truncate(100);
    let round = |count: usize| {
        in_parallel(4, count, |number| match number % 4 {
            0 => {
                let answer = server.client().infer(model, &good).expect("the request is good");
                assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "request {number}");
            }
            1 => drop(server.client().infer("bad_failing", &poisoned).expect_err("the model refuses NaN")),
            2 => drop(server.client().infer(model, &unanswerable).expect_err("the buffer is too small")),
            _ => drop(server.client().infer(model, &truncated).expect_err("the data is cut off")),
        });
    };
    // Allocators and connection pools fill first.
    round(200);
    let before = server.resident_bytes();
    round(800);
    let after = server.resident_bytes();
    let grown = after.saturating_sub(before) / 1024;
    println!("resident: {} MiB, then {} MiB", before >> 20, after >> 20);
    // 200 leaked inputs or outputs of any of the four kinds would be 25 MiB.
    assert!(grown < 16 * 1024, "the server's resident memory grew by {grown} KiB over 600 bad requests");
    assert!(server.is_running());
}
