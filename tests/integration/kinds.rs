//! What few SavedModels have: files of their own, init operations of TensorFlow 1, ranks that are left open, rows without dims,
//! outputs that fail apart.

use crate::support::*;

#[test]
fn a_table_may_be_filled_from_a_file_of_the_saved_model() {
    let server = shared_server();
    let model = "assets";
    let config = ModelConfig::new(model, 4).input("x", "BYTES", &[1]).output("id", "INT64", &[1]);
    server.load(&config, SavedModel::Small(model));
    let x = Tensor::strings("x", &[4, 1], &[b"one", b"two", b"zero", b"three"]);
    let answer = server.client().infer(model, &InferRequest::new(vec![x])).expect("the request is good");
    assert_eq!(answer.output("id").as_i64(), [1, 2, 0, -1]);
}

#[test]
fn a_legacy_init_operation_runs_before_the_first_request() {
    let server = shared_server();
    let model = "legacy_init";
    let config = ModelConfig::new(model, 4).input("x", "INT64", &[1]).output("y", "FP32", &[1]);
    server.load(&config, SavedModel::Small(model));
    let bytes = [1i64, 2, 3].into_iter().flat_map(i64::to_le_bytes).collect();
    let x = Tensor::new("x", "INT64", &[3, 1], bytes);
    let answer = server.client().infer(model, &InferRequest::new(vec![x])).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), [10.0, 20.0, -1.0]);
}

#[test]
fn a_rank_that_the_signature_leaves_open_is_that_of_the_configuration() {
    let server = shared_server();
    for (model, batch, shape) in [
        ("open_rank_batched", 4, [2, 3, 2].as_slice()),
        ("open_rank_whole", 0, &[3, 2, 2]),
        ("open_rank_row", 0, &[12]),
    ] {
        let dims = &shape[usize::from(batch > 0)..];
        let config = ModelConfig::new(model, batch).input("x", "FP32", dims).output("y", "FP32", dims);
        server.load(&config, SavedModel::Small("open_rank"));
        let values = Random::new(5).floats(12);
        let request = InferRequest::new(vec![Tensor::fp32("x", shape, &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("y").shape, shape);
        assert_eq!(answer.output("y").as_f32(), values.iter().map(|value| value * 2.0).collect::<Vec<_>>());
    }
    // Nothing but the configuration can say it.
    if completes_configurations("the completion of an open rank") {
        let config = ModelConfig::new("open_rank_undeclared", 4).output("y", "FP32", &[2]);
        let message = server.try_load(&config, SavedModel::Small("open_rank")).expect_err("it is refused");
        assert!(message.contains("'x'"), "{message}");
    }
}

/// Exporters that do not know a shape write one without dimensions, and the configuration says which it is.
#[test]
fn a_shape_that_the_exporter_did_not_know_is_that_of_the_configuration() {
    let server = shared_server();
    for (model, batch, shape) in [
        ("no_shape_batched", 4, [2, 3].as_slice()),
        ("no_shape_whole", 0, &[2, 3]),
        ("no_shape_scalar", 0, &[]),
    ] {
        let dims = match shape {
            [] => &[1],
            shape => &shape[usize::from(batch > 0)..],
        };
        let of_y = if batch > 0 { &[3][..] } else { &[-1, 3] };
        let config = ModelConfig::new(model, batch)
            .input("x", "FP32", dims)
            .input("y", "FP32", of_y)
            .output("twice", "FP32", dims)
            .output("both", "FP32", of_y)
            .latency_outputs();
        server.load(&config, SavedModel::Small("no_shape"));
        let values = if shape.is_empty() { vec![4.0] } else { Random::new(5).floats(6) };
        let shape = if shape.is_empty() { &[1] } else { shape };
        let y = Random::new(6).floats(6);
        let request =
            InferRequest::new(vec![Tensor::fp32("x", shape, &values), Tensor::fp32("y", &[2, 3], &y)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("twice").shape, shape, "{model}");
        assert_eq!(answer.output("twice").as_f32(), values.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        let x = |index: usize| values[index % values.len()];
        let both: Vec<f32> = y.iter().enumerate().map(|(index, y)| x(index) + y).collect();
        assert_eq!(answer.output("both").as_f32(), both);
    }
    let config = ModelConfig::new("no_shape_wrong", 4).input("x", "FP32", &[3]).input("y", "FP32", &[2]);
    let config = config.output("both", "FP32", &[3]);
    let message = server.try_load(&config, SavedModel::Small("no_shape")).expect_err("y is known");
    assert!(message.contains("'y'"), "{message}");
}

/// A tensor of the signature has the shape [-1], that of its batch; a request has one element in each row.
#[test]
fn a_row_without_dims_is_reshaped_to_nothing() {
    let server = shared_server();
    let model = "no_dims";
    let config = ModelConfig::new(model, 8)
        .input_with("x", "FP32", &[1], "reshape: { shape: [ ] }")
        .output_with("y", "FP32", &[1], "reshape: { shape: [ ] }")
        .latency_outputs()
        .dynamic_batching(1000);
    server.load(&config, SavedModel::Small("identity"));
    in_parallel(4, 40, |number| {
        let rows = 1 + number % 3;
        let values = Random::new(number as u64).floats(rows);
        let request = InferRequest::new(vec![Tensor::fp32("x", &[rows as i64, 1], &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("y").shape, [rows as i64, 1]);
        assert_eq!(answer.output("y").as_f32(), values);
        assert!(Latency::of_outputs(&answer, Some(rows as i64)).total > 0);
    });
}

/// A TensorFlow 2 signature is one function call. Still, what a request does not ask for is not computed, checks included.
#[test]
fn outputs_of_a_function_are_computed_apart() {
    let server = shared_server();
    for (saved_model, freeze) in [
        ("separate_plain", "auto"),
        ("separate_variable", "auto"),
        ("separate_variable", "verify"),
        ("separate_variable", "false"),
        ("separate_table", "auto"),
    ] {
        let model = format!("{saved_model}_{freeze}");
        let outputs = ["cheap", "log", "root", "divided"];
        let config = ModelConfig::new(&model, 4).input("x", "FP32", &[4]).parameter("TF_FREEZE", freeze);
        let config = outputs.iter().fold(config, |config, output| config.output(output, "FP32", &[4]));
        server.load(&config, SavedModel::Small(saved_model));
        let ask = |x: f32, names: &[&str]| {
            let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &[x, 3.0, 4.0, 5.0])]);
            server.client().infer(&model, &request.asking_for(names))
        };
        let value = |x: f32, name: &str| ask(x, &[name]).map(|answer| answer.output(name).as_f32()[0]);
        // All together, and each where others fail.
        let answer = ask(9.0, &outputs).expect("the request is good");
        let first = outputs.map(|name| answer.output(name).as_f32()[0]);
        for (name, (found, expected)) in
            outputs.iter().zip(first.into_iter().zip([10.0, 12f32.ln(), 3.0, 6.0]))
        {
            assert!((found - expected).abs() < 1e-5, "{model}, {name}: {found}, not {expected}");
        }
        for (x, name, expected) in [
            (7.0, "cheap", 8.0),
            (-100.0, "cheap", -99.0),
            (-200.0, "cheap", -199.0),
            (7.0, "log", 10f32.ln()),
            (200.0, "log", 203f32.ln()),
            (7.0, "root", 7f32.sqrt()),
            (-16.0, "root", 4.0),
            (-205.0, "divided", -1.0),
        ] {
            let found = value(x, name).unwrap_or_else(|e| panic!("{model}, {name} of {x}: {e:?}"));
            assert!((found - expected).abs() < 1e-5, "{model}, {name} of {x}: {found}, not {expected}");
        }
        for (x, name, words) in [
            (-5.0, "log", "log is refused"),
            (200.0, "root", "root is not below ten"),
            (7.0, "divided", "zero"),
            (2e6, "cheap", "x is not below a million"),
            (2e6, "log", "x is not below a million"),
            (2e6, "divided", "x is not below a million"),
        ] {
            let refusal = value(x, name).expect_err("it fails");
            assert!(refusal.message.contains(words), "{model}, {name} of {x}: {}", refusal.message);
        }
        ask(7.0, &["cheap", "divided"]).expect_err("one of them fails");
        let frozen = server.log().contains(&format!("model '{model}': 1 variables"));
        assert_eq!(frozen, saved_model == "separate_variable" && freeze != "false", "{model}");
    }
}
