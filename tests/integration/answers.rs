//! Right answers: equal to TensorFlow run directly, over every protocol, each request its own rows, and only
//! what was asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::*;

/// The measure's bound; see `relative_error`.
const TOLERANCE: f64 = 1e-5;

/// Runs the official client over all protocols and checks each answer.
fn assert_inception_answers(server: &Server, model: &str, rows: &str, manner: &str) -> serde_json::Value {
    let folder = inception_reference().folder.to_string_lossy();
    let answers = run_script(
        "client/inception_answers.py",
        &[&server.http_url(), &server.grpc_url(), model, &folder, rows, manner],
    );
    let list = answers.as_array().expect("a list of answers");
    assert_eq!(list.len(), 4 * rows.split(',').count(), "one answer for each protocol and request");
    for answer in list {
        println!("{answer}");
        let error = answer["error"].as_f64().expect("a relative error");
        assert!(error < TOLERANCE, "{answer}");
    }
    answers
}

#[test]
fn inception_equals_tensorflow_over_every_protocol() {
    let _turn = heavy_turn();
    let server = shared_server();
    let model = "inception_answers";
    server.load(&inception_config(model), SavedModel::Inception);
    let answers = assert_inception_answers(&server, model, "1,3,8", "alone");
    for answer in answers.as_array().unwrap() {
        assert_eq!(answer["executed_batch_size"], answer["rows"], "{answer}");
    }
    server.client().unload(model);
}

#[test]
fn merged_inception_requests_get_their_own_rows_over_every_protocol() {
    let _turn = heavy_turn();
    let server = shared_server();
    let model = "inception_merged";
    // Ten pictures fill the preferred batch, so the four requests run together at once, in whatever order
    // they come.
    server.load(&inception_config(model).dynamic_batching_preferring(30_000_000, 10), SavedModel::Inception);
    let answers = assert_inception_answers(&server, model, "1,4,2,3", "together");
    if !requests_wait_for_others("that four Inception requests run in one execution") {
        return;
    }
    for answer in answers.as_array().unwrap() {
        assert_eq!(answer["executed_batch_size"], 10, "all four requests run in one execution: {answer}");
    }
    server.client().unload(model);
}

#[test]
fn every_type_is_exact_over_every_protocol() {
    let types = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16",
        "FP32", "FP64",
    ];
    let server = shared_server();
    let model = "all_types";
    let mut config = ModelConfig::new(model, 8);
    for name in types {
        config = config.input(&format!("in_{name}"), name, &[3]).output(&format!("out_{name}"), name, &[3]);
    }
    if let Err(message) = server.try_load(&config, SavedModel::Small("all_types")) {
        // TensorFlow's SavedModel has them all, so there is no leaving out one of them.
        let log = server.log();
        let unknown = log.lines().any(|line| line.contains("Unknown enumeration value of \"TYPE_BF16\""));
        assert!(unknown, "the model '{model}' did not load: {message}");
        skipped("this server's configuration knows no TYPE_BF16");
        return;
    }
    let found = run_script("client/all_types.py", &[&server.http_url(), &server.grpc_url(), model]);
    assert_eq!(found["wrong"], serde_json::json!([]));
    assert_eq!(found["compared"], 4 * types.len());
}

/// The model with two inputs of different type and rank and three outputs.
fn mixed_config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 8)
        .input("a", "FP32", &[4])
        .input("b", "INT32", &[2, 3])
        .output("sum", "FP32", &[1])
        .output("outer", "FP32", &[4, 6])
        .output("guarded", "FP32", &[4])
}

fn mixed_request(a: &[f32], b: &[i32]) -> InferRequest {
    let rows = a.len() as i64 / 4;
    InferRequest::new(vec![Tensor::fp32("a", &[rows, 4], a), Tensor::int32("b", &[rows, 2, 3], b)])
}

#[test]
fn several_inputs_and_outputs_of_different_ranks_are_right() {
    let server = shared_server();
    let model = "mixed";
    server.load(&mixed_config(model).dynamic_batching(1000), SavedModel::Small("mixed"));
    in_parallel(4, 40, |number| {
        let rows = 1 + number % 3;
        let mut random = Random::new(number as u64);
        let a = random.floats(rows * 4);
        let b: Vec<i32> = (0..rows * 6).map(|_| random.below(2000) as i32 - 1000).collect();
        let mut request = mixed_request(&a, &b);
        if number % 2 == 1 {
            // The order in which a client names its inputs means nothing.
            request.inputs.reverse();
        }
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.names(), ["guarded", "outer", "sum"]);
        assert_eq!(answer.output("guarded").as_f32(), a);
        assert_eq!(answer.output("outer").shape, [rows as i64, 4, 6]);
        let outer: Vec<f32> = (0..rows)
            .flat_map(|row| (0..24).map(move |i| (row, i / 6, i % 6)))
            .map(|(row, i, j)| a[row * 4 + i] * b[row * 6 + j] as f32)
            .collect();
        assert!(relative_error(&answer.output("outer").as_f32(), &outer) < 1e-6, "request {number}");
        let sums: Vec<f32> = (0..rows)
            .map(|row| a[row * 4..][..4].iter().sum::<f32>() + b[row * 6..][..6].iter().sum::<i32>() as f32)
            .collect();
        assert!(relative_error(&answer.output("sum").as_f32(), &sums) < 1e-6, "request {number}");
    });
}

#[test]
fn only_requested_outputs_are_computed_and_returned() {
    let server = shared_server();
    let model = "mixed_some_outputs";
    server.load(&mixed_config(model).latency_outputs(), SavedModel::Small("mixed"));
    let client = server.client();
    // `guarded` fails for what is not a number, so an answer to the others shows that it was not computed.
    let poisoned = mixed_request(&[f32::NAN, 1.0, 2.0, 3.0], &[1, 2, 3, 4, 5, 6]);
    let answer =
        client.infer(model, &poisoned.clone().asking_for(&["sum"])).expect("`guarded` is not asked for");
    assert_eq!(answer.names(), ["sum"]);
    assert!(answer.output("sum").as_f32()[0].is_nan());
    let answer =
        client.infer(model, &poisoned.clone().asking_for(&["outer", "compute_infer_ns"])).expect("nor here");
    assert_eq!(answer.names(), ["compute_infer_ns", "outer"]);

    let refusal = client.infer(model, &poisoned.asking_for(&["guarded"])).expect_err("`guarded` refuses NaN");
    assert!(refusal.message.contains("guarded refuses"), "TensorFlow's own text is missing: {refusal:?}");

    let good = mixed_request(&[0.0, 1.0, 2.0, 3.0], &[1, 2, 3, 4, 5, 6]);
    let answer =
        client.infer(model, &good.clone().asking_for(&["guarded", "sum"])).expect("the request is good");
    assert_eq!(answer.names(), ["guarded", "sum"]);
    // Only times: nothing of the model comes back, but an inference has run, since it is an inference's time.
    let answer =
        client.infer(model, &good.clone().asking_for(&LATENCY_OUTPUTS)).expect("the request is good");
    assert_eq!(answer.outputs.len(), LATENCY_OUTPUTS.len(), "{:?}", answer.names());
    Latency::of_outputs(&answer, Some(1));
    let answer =
        client.infer(model, &good.clone().asking_for(&["request_end_ns"])).expect("the request is good");
    assert_eq!(answer.names(), ["request_end_ns"]);
    let answer = client.infer(model, &good).expect("the request is good");
    assert_eq!(answer.outputs.len(), 3 + 6, "a request that names no outputs gets all: {:?}", answer.names());
}

/// In one batch, too: of three requests one asks for an output that cannot be computed of its row.
#[test]
fn an_output_that_fails_fails_only_those_who_asked_for_it() {
    let server = shared_server();
    let model = "mixed_partly_failing";
    let config = mixed_config(model).latency_outputs().dynamic_batching_preferring(20_000_000, 3);
    server.load(&config, SavedModel::Small("mixed"));
    let before = server.client().statistics(model);
    let asked: [&[&str]; 3] = [&["sum", "executed_batch_size"], &["guarded"], &["outer", "sum"]];
    let answers = in_parallel(3, 3, |number| {
        let a = if number == 1 { f32::NAN } else { number as f32 };
        let request = mixed_request(&[a, 1.0, 2.0, 3.0], &[1, 2, 3, 4, 5, 6]).asking_for(asked[number]);
        server.client().infer(model, &request)
    });
    for number in [0, 2] {
        let answer = answers[number].as_ref().expect("it did not ask for what fails");
        assert_eq!(answer.output("sum").as_f32(), [number as f32 + 27.0]);
    }
    if requests_wait_for_others("that a batch is computed in parts where an output fails") {
        let executed = answers[0].as_ref().expect("as above").output("executed_batch_size").as_i64();
        assert_eq!(executed, [3], "the three were one batch");
    }
    let refusal = answers[1].as_ref().expect_err("`guarded` refuses NaN");
    assert!(refusal.message.contains("guarded refuses"), "{refusal:?}");
    let after = server.client().statistics_of(model, before.success.count + 2);
    assert_eq!(after.success.count, before.success.count + 2);
}

/// TensorFlow keeps a graph for each list of outputs that it is asked for. Whoever asks, it is not asked for any number of lists.
#[test]
fn any_subset_of_outputs_is_answered() {
    let server = shared_server();
    let model = "graph_in_parts";
    let whole = ["both", "x", "y", "z"];
    let config = ModelConfig::new(model, 4).input("x", "FP32", &[16]).input("z", "FP32", &[16]);
    let config = whole.iter().fold(config, |config, name| config.output(name, "FP32", &[16]));
    let config = config.output("parts", "FP32", &[8]).output("parts:1", "FP32", &[8]);
    server.load(&config, SavedModel::Graph("graph"));
    let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let inputs = || ["x", "z"].map(|name| Tensor::fp32(name, &[1, 16], &x)).to_vec();
    let add = |value: f32| x.iter().map(|x| x + value).collect::<Vec<f32>>();
    let twice: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    let all = [
        ("both", twice),
        ("parts", x[..8].to_vec()),
        ("parts:1", x[8..].to_vec()),
        ("x", x.clone()),
        ("y", add(1.0)),
        ("z", x.clone()),
    ];
    for bits in 1..1_usize << all.len() {
        let wanted: Vec<&(&str, Vec<f32>)> =
            all.iter().enumerate().filter(|(index, _)| bits & (1 << index) != 0).map(|(_, of)| of).collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let request = InferRequest::new(inputs()).asking_for(&names);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.names(), names);
        for (name, values) in wanted {
            assert_eq!(answer.output(name).as_f32(), *values, "{name} of {names:?}");
        }
    }
}

#[test]
fn merged_requests_may_ask_for_different_outputs() {
    let server = shared_server();
    let model = "mixed_merged";
    let config = mixed_config(model).latency_outputs().dynamic_batching_preferring(20_000_000, 4);
    server.load(&config, SavedModel::Small("mixed"));
    let asked: [&[&str]; 4] =
        [&["sum"], &["outer", "executed_batch_size"], &["guarded", "sum"], &["executed_batch_size"]];
    let answers = in_parallel(4, 4, |number| {
        let a = [number as f32; 4];
        let request = mixed_request(&a, &[number as i32; 6]).asking_for(asked[number]);
        server.client().infer(model, &request).expect("the request is good")
    });
    let together = requests_wait_for_others("that requests for different outputs run together");
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.outputs.len(), asked[number].len(), "{:?}", answer.names());
        for output in &answer.outputs {
            match output.name.as_str() {
                "sum" => assert_eq!(output.as_f32(), [10.0 * number as f32]),
                "outer" => assert_eq!(output.as_f32(), [(number * number) as f32; 24]),
                "guarded" => assert_eq!(output.as_f32(), [number as f32; 4]),
                _ => assert!(!together || output.as_i64() == [4], "all four ran together: {output:?}"),
            }
        }
    }
}

#[test]
fn models_without_a_batch_dimension_take_any_shape_the_configuration_allows() {
    let server = shared_server();
    let model = "no_batch";
    // The signature has a scalar output too, which is not asked for here.
    let config = ModelConfig::new(model, 0)
        .input("x", "FP32", &[-1, -1])
        .output("transposed", "FP32", &[-1, -1])
        .output("executed_batch_size", "INT64", &[1]);
    server.load(&config, SavedModel::Small("no_batch"));
    for (height, width) in [(1, 1), (2, 3), (5, 2), (0, 4)] {
        let values: Vec<f32> = (0..height * width).map(|v| v as f32).collect();
        let request = InferRequest::new(vec![Tensor::fp32("x", &[height, width], &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let transposed: Vec<f32> =
            (0..width).flat_map(|x| (0..height).map(move |y| (y * width + x) as f32)).collect();
        assert_eq!(answer.output("transposed").shape, [width, height]);
        assert_eq!(answer.output("transposed").as_f32(), transposed);
        assert_eq!(answer.output("executed_batch_size").as_i64(), [1]);
    }
}

/// Triton has no shape without dimensions: a scalar is `[1]` there.
#[test]
fn scalars_are_tensors_of_one_element() {
    let server = shared_server();
    let model = "scalars";
    let config = ModelConfig::new(model, 0)
        .input("a", "FP32", &[1])
        .input("x", "FP32", &[3])
        .input("name", "BYTES", &[1])
        .output("y", "FP32", &[3])
        .output("total", "FP32", &[1])
        .output("greeting", "BYTES", &[1])
        .output("executed_batch_size", "INT64", &[1]);
    let declared = ["declared", "completed"];
    for (name, config) in
        declared.into_iter().zip([config, ModelConfig::new(&format!("{model}_completed"), 0)])
    {
        if name == "completed" && !completes_configurations("completed scalars") {
            continue;
        }
        server.load(&config, SavedModel::Small("scalars"));
        let request = |a: Tensor| {
            let x = Tensor::fp32("x", &[3], &[1.0, 2.0, 3.0]);
            InferRequest::new(vec![a, x, Tensor::strings("name", &[1], &[b"Ada"])])
        };
        let good = request(Tensor::fp32("a", &[1], &[2.0]));
        let answer = server.client().infer(config.name(), &good).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), [2.0, 4.0, 6.0]);
        assert_eq!(answer.output("total"), &Tensor::fp32("total", &[1], &[12.0]));
        assert_eq!(answer.output("greeting"), &Tensor::strings("greeting", &[1], &[b"Hello, Ada"]));
        assert_eq!(answer.output("executed_batch_size").as_i64(), [1]);
        let two = request(Tensor::fp32("a", &[2], &[2.0, 2.0]));
        let refusal = server.client().infer(config.name(), &two).expect_err("two are no scalar");
        assert!(refusal.message.contains("[1]"), "{}", refusal.message);
    }
}

#[test]
fn a_fixed_shape_without_batches_is_right() {
    let server = shared_server();
    let model = "fixed";
    let config = ModelConfig::new(model, 0).input("x", "FP32", &[2, 3]).output("y", "FP32", &[3, 2]);
    server.load(&config, SavedModel::Small("fixed"));
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("y").shape, [3, 2]);
    assert_eq!(answer.output("y").as_f32(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn input_that_arrives_in_pieces_is_put_together() {
    let server = shared_server();
    let model = "add_one_pieces";
    server.load(&add_one_config(model, 2048), SavedModel::Small("add_one"));
    let rows = 2000;
    let values = Random::new(7).floats(rows * ADD_ONE_WIDTH as usize);
    let (json_length, body) = add_one_request(&values).binary_body();
    // The server hands the body on in the pieces in which it came. Those of a prime size end inside elements.
    let mut stream = TcpStream::connect(server.http_url()).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP option");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a TCP option");
    // In one write: the server's HTTP library does not put a path together that arrives in pieces.
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         {JSON_LENGTH_HEADER}: {json_length}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the server reads");
    for piece in body.chunks(1021) {
        write!(stream, "{:x}\r\n", piece.len()).expect("the server reads");
        stream.write_all(piece).expect("the server reads");
        stream.write_all(b"\r\n").expect("the server reads");
        std::thread::sleep(Duration::from_micros(300));
    }
    stream.write_all(b"0\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    let expected: Vec<u8> = add_one_answer(&values).iter().flat_map(|v| v.to_le_bytes()).collect();
    let head = String::from_utf8_lossy(&answer[..answer.len().min(400)]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        answer.ends_with(&expected),
        "the answer's last {} bytes are not the expected ones",
        expected.len()
    );
}

#[test]
fn instances_share_one_session() {
    let server = shared_server();
    let model = "stateful_instances";
    let config =
        ModelConfig::new(model, 8).input("x", "FP32", &[1]).output("count", "FP32", &[1]).instances(3);
    server.load(&config, SavedModel::Small("stateful"));
    // Were there a session for each instance, each would count on its own and the last total would be
    // smaller.
    let answers = in_parallel(6, 120, |_| {
        let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 1], &[1.0])]);
        server.client().infer(model, &request).expect("the request is good").output("count").as_f32()[0]
    });
    let last = answers.into_iter().fold(0.0, f32::max);
    assert_eq!(last, 120.0, "the counter after 120 requests that add one");
}

/// A variable may hold the very memory that was fed: nothing else may be written there.
#[test]
fn what_a_model_has_kept_of_its_inputs_stays() {
    let server = shared_server();
    let model = "remembers";
    let config = ModelConfig::new(model, 8).input("x", "FP32", &[4]).output("before", "FP32", &[4]);
    server.load(&config, SavedModel::Small("remembers"));
    let mut random = Random::new(11);
    let mut before: Option<Vec<f32>> = None;
    for _ in 0..20 {
        let values = random.floats(2 * 4);
        let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 4], &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        if let Some(before) = before.replace(values) {
            assert_eq!(answer.output("before").as_f32(), before);
        }
    }
}

#[test]
fn the_signature_can_be_chosen() {
    let server = shared_server();
    let config = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    let values = [1.0, 2.0, 3.0, -4.0];
    for (name, signature, expected) in [
        ("signature_default", None, [2.0, 3.0, 4.0, -3.0]),
        ("signature_named", Some("serving_default"), [2.0, 3.0, 4.0, -3.0]),
        ("signature_double", Some("double"), [2.0, 4.0, 6.0, -8.0]),
    ] {
        let mut config = config(name);
        if let Some(signature) = signature {
            config = config.parameter("TF_SIGNATURE_DEF", signature);
        }
        server.load(&config, SavedModel::Small("two_signatures"));
        let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &values)]);
        let answer = server.client().infer(name, &request).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), expected, "{name}");
    }
}

/// As the former backend did it; that took any, this one takes the first.
#[test]
fn a_signature_is_found_where_none_has_the_usual_name() {
    let server = shared_server();
    let config = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &[1.0, 2.0, 3.0, -4.0])]);
    for (name, signature, expected) in [
        ("unusual_first", None, [2.0, 4.0, 6.0, -8.0]),
        ("unusual_empty", Some(""), [2.0, 4.0, 6.0, -8.0]),
        ("unusual_second", Some("second"), [3.0, 6.0, 9.0, -12.0]),
    ] {
        let config = signature.iter().fold(config(name), |c, name| c.parameter("TF_SIGNATURE_DEF", name));
        server.load(&config, SavedModel::Small("unusual_names"));
        let answer = server.client().infer(name, &request).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), expected, "{name}");
    }
    assert!(server.log().contains("so 'first' is served, of first, second"));
    let named = config("unusual_named").parameter("TF_SIGNATURE_DEF", "serving_default");
    let message = server.try_load(&named, SavedModel::Small("unusual_names")).expect_err("it is not there");
    assert!(message.contains("'serving_default'") && message.contains("first, second"), "{message}");
}

#[test]
fn a_graph_of_tensorflow_1_is_served() {
    let server = shared_server();
    let model = "frozen_v1";
    let config = ModelConfig::new(model, 8).input("x", "FP32", &[4]).output("y", "FP32", &[2]);
    server.load(&config, SavedModel::Small("frozen_v1"));
    let request =
        InferRequest::new(vec![Tensor::fp32("x", &[2, 4], &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 1.0])]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    // x W + 1 with W = [[1,0],[0,1],[1,1],[2,-1]].
    assert_eq!(answer.output("y").as_f32(), [13.0, 2.0, 3.0, 0.0]);
}

#[test]
fn a_reshape_in_the_configuration_is_honoured() {
    let server = shared_server();
    let model = "add_one_reshaped";
    let config = ModelConfig::new(model, 8)
        .input_with("x", "FP32", &[4, 4], "reshape: { shape: [16] }")
        .output_with("y", "FP32", &[2, 8], "reshape: { shape: [16] }");
    server.load(&config, SavedModel::Small("add_one"));
    let values = Random::new(9).floats(32);
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 4, 4], &values)]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("y").shape, [2, 2, 8]);
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}

#[test]
fn thread_settings_are_accepted() {
    let server = shared_server();
    let model = "add_one_threads";
    let config = add_one_config(model, 8)
        .parameter("TF_NUM_INTRA_THREADS", "1")
        .parameter("TF_NUM_INTER_THREADS", "1")
        .parameter("TF_USE_PER_SESSION_THREADS", "1");
    server.load(&config, SavedModel::Small("add_one"));
    let values = Random::new(3).floats(32);
    let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}
