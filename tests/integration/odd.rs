//! Odd graphs and impossible shapes: answered rightly or refused with the reason, and never the server's end.

use crate::support::*;

fn any_shape_request(shape: &[i64], bytes: Vec<u8>) -> InferRequest {
    InferRequest::new(vec![Tensor::new("x", "FP64", shape, bytes)])
}

/// The number of bytes wraps around in 64 bits, so that a huge shape looks like a small one; and TensorFlow
/// itself ends the process over a shape whose product does not fit, even with a 0 in it.
#[test]
fn a_shape_that_no_tensor_can_have_is_refused() {
    let server = shared_server();
    let model = "impossible_shapes";
    let config = ModelConfig::new(model, 8)
        .input("x", "FP64", &[-1, -1, -1])
        .output("y", "FP64", &[-1, -1, -1])
        .dynamic_batching_preferring(200_000, 8);
    server.load(&config, SavedModel::Small("any_shape"));
    let cases: [(&[i64], usize); 4] = [
        (&[1, (1 << 61) + 1, 1, 1], 8),
        (&[1, 1 << 62, 2, 0], 0),
        (&[1, 1 << 40, 1 << 40, 0], 0),
        (&[1, i64::MAX, 0, 1], 0),
    ];
    for (shape, bytes) in cases {
        let refusal = server
            .client()
            .infer(model, &any_shape_request(shape, vec![0; bytes]))
            .expect_err("there is no such tensor");
        assert_eq!(refusal.status, 400, "{refusal:?}");
        assert!(refusal.message.contains("'x'"), "{refusal:?}");
    }
    assert_any_shape_answers(&server, model);
}

/// Each of these fits alone, but not the four of them in one batch.
#[test]
fn shapes_that_are_too_large_only_together_are_refused_and_the_server_lives() {
    let server = shared_server();
    let model = "impossible_batch";
    let config = ModelConfig::new(model, 8)
        .input("x", "UINT8", &[-1, -1, -1])
        .output("y", "UINT8", &[-1, -1, -1])
        .latency_outputs()
        .dynamic_batching_preferring(500_000, 8);
    server.load(&config, SavedModel::Small("any_bytes"));
    let infer = |shape: &[i64], bytes: Vec<u8>| {
        let request = InferRequest::new(vec![Tensor::new("x", "UINT8", shape, bytes)]);
        server.client().infer(model, &request)
    };
    let answers = in_parallel(4, 4, |_| infer(&[2, 1 << 60, 0, 1], Vec::new()));
    let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    for refusal in &refusals {
        assert_eq!(refusal.status, 400, "{refusal:?}");
        assert!(refusal.message.contains("2^63 bytes"), "{refusal:?}");
    }
    for answer in answers.iter().flatten() {
        assert_eq!(answer.output("y").shape, [2, 1 << 60, 0, 1]);
    }
    assert!(refusals.len() <= 1, "three of them fit together: {refusals:?}");
    assert_eq!(infer(&[1, 1, 2, 1], vec![1, 2]).expect("a good one").output("y").bytes, [2, 3]);
}

fn assert_any_shape_answers(server: &Server, model: &str) {
    let bytes: Vec<u8> = [1.5_f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let doubled: Vec<u8> = [3.0_f64, -4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let answer = server.client().infer(model, &any_shape_request(&[1, 1, 2, 1], bytes)).expect("a good one");
    assert_eq!(answer.output("y").bytes, doubled);
}

#[test]
fn an_output_that_is_the_input_itself_is_handed_back() {
    let server = shared_server();
    let model = "passthrough";
    let config = ModelConfig::new(model, 8)
        .input("x", "FP32", &[4])
        .output("y", "FP32", &[4])
        .output("same", "FP32", &[4])
        .latency_outputs();
    server.load(&config, SavedModel::Small("passthrough"));
    let values = Random::new(21).floats(8);
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 4], &values)]);
    let all = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(all.output("same").as_f32(), values);
    assert_eq!(all.output("y").as_f32(), add_one_answer(&values));
    let one = server.client().infer(model, &request.asking_for(&["same"])).expect("the request is good");
    assert_eq!((one.output("same").as_f32(), one.names()), (values, vec!["same"]));
}

#[test]
fn signatures_that_cannot_be_served_are_refused_with_the_reason() {
    let server = shared_server();
    let config = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    let cases =
        [
            (config("sparse_input"), "sparse", "'x' of the signature: a sparse or composite tensor"),
            (
                ModelConfig::new("one_input_twice", 8)
                    .input("a", "FP32", &[4])
                    .input("b", "FP32", &[4])
                    .output("y", "FP32", &[4]),
                "one_input_twice",
                "'a' and 'b' are one tensor of the graph",
            ),
            (
                ModelConfig::new("scalar_output", 0)
                    .input("x", "FP32", &[3])
                    .output("y", "FP32", &[3])
                    .output("total", "FP32", &[2]),
                "scalar",
                "expected dims [1], which stand for a scalar, found [2]",
            ),
        ];
    for (config, saved_model, reason) in cases {
        let message = server.try_load(&config, SavedModel::Small(saved_model)).expect_err("it is refused");
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_library_that_is_not_tensorflow_is_named_as_such() {
    let folder = tempfile::TempDir::new_in(scratch_folder()).expect("the target folder can be written");
    // The backend itself will do for a library without TensorFlow's C API.
    std::fs::copy(&environment().backend, folder.path().join("libtensorflow.so"))
        .expect("the backend can be copied");
    let directory = folder.path().to_string_lossy().into_owned();
    let options = Options::new().without_tensorflow_option().backend_config("tensorflow-dir", &directory);
    let server = Server::start(options);
    let message = server
        .try_load(&add_one_config("without_tensorflow", 8), SavedModel::Small("add_one"))
        .expect_err("there is no TensorFlow");
    assert!(message.contains("is not a TensorFlow library") && message.contains("TF_Version"), "{message}");
    assert!(server.is_running());
}
