//! Variables that become constants when a model is loaded: that the answers stay, and when it is not done.

use crate::support::*;

/// What the log says of a model's variables, once at most.
fn told(server: &Server, model: &str) -> Option<String> {
    let of_model = format!("model '{model}': ");
    let log = server.log();
    let of_variables = |line: &&str| line.contains(&of_model) && line.contains("turned into constants");
    let lines: Vec<&str> = log.lines().filter(of_variables).collect();
    assert!(lines.len() <= 1, "one line tells of the variables of {model}: {lines:?}");
    lines.first().map(|line| (*line).to_owned())
}

/// One of the models whose only input is `x` and whose only output is `y`.
fn config(name: &str, input: (&str, &[i64]), output: &[i64]) -> ModelConfig {
    ModelConfig::new(name, 8).input("x", input.0, input.1).output("y", "FP32", output).instances(1)
}

fn row(x: Tensor) -> InferRequest {
    InferRequest::new(vec![x])
}

/// The answer's `y`.
fn infer(server: &Server, model: &str, request: &InferRequest) -> Vec<f32> {
    let answer = server.client().infer(model, request);
    answer.unwrap_or_else(|refusal| panic!("{model}: {refusal:?}")).output("y").as_f32()
}

#[test]
fn nested_functions_with_variables_answer_the_same() {
    let server = shared_server();
    let [frozen, as_it_is] =
        [("freeze_weights", "auto"), ("freeze_weights_not", "false")].map(|(model, value)| {
            let config = config(model, ("FP32", &[16]), &[4]).parameter("TF_FREEZE", value);
            server.load(&config, SavedModel::Small("weights"));
            model
        });
    for rows in [1, 3, 8] {
        let values = Random::new(rows as u64).floats(rows as usize * 16);
        let request = row(Tensor::fp32("x", &[rows, 16], &values));
        let expected = infer(&server, as_it_is, &request);
        assert!(expected.iter().any(|value| *value != expected[0]), "this says nothing: {expected:?}");
        let error = relative_error(&infer(&server, frozen, &request), &expected);
        assert!(error < 1e-5, "a relative error of {error}");
    }
    let line = told(&server, frozen).expect("it is told");
    assert!(line.contains("3 variables (0.2 MB) turned into constants in "), "{line}");
    assert_eq!(told(&server, as_it_is), None, "nobody asked for it");
}

/// Weights that are multiplied at load, by this backend or by TensorFlow, and those that must not be.
#[test]
fn weights_that_meet_what_scales_them_answer_the_same() {
    const OUTPUTS: [(&str, usize); 10] = [
        ("scaled", 64),
        ("fused", 64),
        ("deep", 2048),
        ("volume", 32),
        ("dense", 64),
        ("residual", 64),
        ("shared", 64),
        ("twice", 64),
        ("turned", 64),
        ("sum", 64),
    ];
    let server = shared_server();
    let [frozen, as_it_is] =
        [("freeze_folds", "auto"), ("freeze_folds_not", "false")].map(|(model, value)| {
            let config = ModelConfig::new(model, 8).input("x", "FP32", &[4, 4, 64]).instances(1);
            let config = config.parameter("TF_FREEZE", value);
            let with_output = |config: ModelConfig, (name, channels): &(&str, usize)| {
                config.output(name, "FP32", &[*channels as i64])
            };
            server.load(&OUTPUTS.iter().fold(config, with_output), SavedModel::Small("folds"));
            model
        });
    for rows in [1, 5] {
        let x = Random::new(rows as u64).floats(rows as usize * 1024);
        let request = row(Tensor::fp32("x", &[rows, 4, 4, 64], &x));
        let [found, expected] = [frozen, as_it_is]
            .map(|model| server.client().infer(model, &request).unwrap_or_else(|e| panic!("{model}: {e:?}")));
        for (name, channels) in OUTPUTS {
            let [found, expected] = [&found, &expected].map(|answer| answer.output(name).as_f32());
            assert_eq!(found.len(), rows as usize * channels);
            let error = relative_error(&found, &expected);
            assert!(error < 1e-5, "{name}: a relative error of {error}");
        }
    }
    let line = told(&server, frozen).expect("it is told");
    assert!(line.contains("42 variables") && line.contains("turned into constants in "), "{line}");
}

#[test]
fn looking_up_rows_of_a_variable_answers_the_same() {
    let server = shared_server();
    let model = "freeze_embedding";
    server.load(
        &config(model, ("INT32", &[3]), &[3, 8]).output("wide", "FP32", &[1]),
        SavedModel::Small("embedding"),
    );
    let rows = [0, 9, 4, 4, 1, 7];
    let request = row(Tensor::int32("x", &[2, 3], &rows));
    let expected: Vec<f32> =
        rows.iter().flat_map(|row| (0..8).map(move |column| (row * 8 + column) as f32)).collect();
    assert_eq!(infer(&server, model, &request), expected);
    let wide = server.client().infer(model, &request.asking_for(&["wide"])).expect("the request is good");
    assert_eq!(wide.output("wide").as_f32(), [8.0; 2]);
    let line = told(&server, model).expect("it is told");
    assert!(line.contains("1 variables (0.0 MB) turned into constants"), "{line}");
}

#[test]
fn what_cannot_be_frozen_is_served_as_it_is_and_the_log_says_why() {
    let server = shared_server();
    for (name, input, x, expected, reason) in [
        ("table", "INT32", 2.0, 40.0, "needs a lookup table"),
        ("loop", "FP32", 2.0, 3.5, "While may never end"),
        ("picks", "FP32", 2.0, 6.0, "takes a variable"),
        // Its loop never ends on zeros.
        ("endless", "FP32", 20.0, 120.0, "While may never end"),
    ] {
        let model = format!("freeze_{name}");
        server.load(&config(&model, (input, &[1]), &[1]), SavedModel::Small(name));
        let x = if input == "INT32" {
            Tensor::int32("x", &[1, 1], &[x as i32])
        } else {
            Tensor::fp32("x", &[1, 1], &[x])
        };
        assert_eq!(infer(&server, &model, &row(x)), [expected], "{name}");
        let line =
            told(&server, &model).unwrap_or_else(|| panic!("nothing tells of the variables of {name}"));
        assert!(line.contains("served as it is") && line.contains(reason), "{line}");
    }
}

#[test]
fn a_variable_that_a_request_changes_stays_one() {
    let server = shared_server();
    let model = "freeze_counts";
    let config =
        ModelConfig::new(model, 8).input("x", "FP32", &[1]).output("runs", "FP32", &[1]).instances(1);
    server.load(&config, SavedModel::Small("counts_runs"));
    for expected in [1.0, 2.0, 3.0] {
        let answer = server.client().infer(model, &row(Tensor::fp32("x", &[1, 1], &[0.0])));
        assert_eq!(answer.expect("the request is good").output("runs").as_f32(), [expected]);
    }
    let line = told(&server, model).expect("it is told");
    assert!(line.contains("the operation AssignAddVariableOp may have side effects"), "{line}");
}

#[test]
fn a_model_without_variables_needs_no_line() {
    let server = shared_server();
    server.load(&add_one_config("freeze_nothing", 8), SavedModel::Small("add_one"));
    assert_eq!(told(&server, "freeze_nothing"), None);
}

#[test]
fn another_value_is_refused() {
    let server = shared_server();
    let config = add_one_config("freeze_maybe", 8).parameter("TF_FREEZE", "perhaps");
    let error = server.try_load(&config, SavedModel::Small("add_one")).expect_err("no such value");
    assert!(error.contains("expected auto, verify, true or false, found 'perhaps'"), "{error}");
}

#[test]
fn answers_are_compared_when_that_is_asked_for_and_only_then() {
    let server = shared_server();
    for (value, expected) in [
        ("verify", "; verified on random rows, where answers differ by "),
        ("true", "; not verified on random rows: "),
    ] {
        for (name, input, output) in [
            ("weights", ("FP32", &[16][..]), &[4][..]),
            // The larger of the indices that are tried are in its table.
            ("embedding", ("INT32", &[3]), &[3, 8]),
        ] {
            let model = format!("freeze_{value}_{name}");
            let config = config(&model, input, output).parameter("TF_FREEZE", value);
            server.load(&config, SavedModel::Small(name));
            let line = told(&server, &model).expect("it is told");
            assert!(line.contains(expected), "{line}");
        }
    }
    // Its rows change the sum that it has: it is neither frozen nor run.
    let config =
        ModelConfig::new("freeze_verify_stateful", 8).input("x", "FP32", &[1]).output("count", "FP32", &[1]);
    let config = config.instances(1).parameter("TF_FREEZE", "verify");
    server.load(&config, SavedModel::Small("stateful"));
    let request = row(Tensor::fp32("x", &[1, 1], &[5.0]));
    let answer = server.client().infer(config.name(), &request).expect("the request is good");
    assert_eq!(answer.output("count").as_f32(), [5.0]);
    let line = told(&server, config.name()).expect("it is told");
    assert!(line.contains("served as it is") && !line.contains("random rows"), "{line}");
}

/// TensorFlow's optimizer adds the model's constants 1e8 and -1e8 before it adds x, which then is not rounded away.
#[test]
fn a_model_that_would_answer_otherwise_is_served_as_it_is_with_a_warning() {
    let server = shared_server();
    let request = row(Tensor::fp32("x", &[1, 4], &[0.5; 4]));
    for (value, expected) in [("false", 0.0), ("verify", 0.0), ("true", 0.5)] {
        let model = format!("freeze_{value}_cancels");
        let config = config(&model, ("FP32", &[4]), &[4]).parameter("TF_FREEZE", value);
        server.load(&config, SavedModel::Small("cancels"));
        assert_eq!(infer(&server, &model, &request), [expected; 4], "TF_FREEZE {value}");
        let line = told(&server, &model).unwrap_or_default();
        if value == "verify" {
            assert!(
                line.contains("served as it is: ") && line.contains("output 'y': 8 of 8 values differ"),
                "{line}"
            );
            let is_warning = |level: &str| level.starts_with('W') || level.contains("[WARN");
            assert!(is_warning(&line), "{line}");
        }
    }
}

/// By default, comparing takes a twentieth of the load at most.
#[test]
fn by_default_the_log_says_whether_answers_were_compared() {
    let server = shared_server();
    let model = "freeze_compared_or_not";
    server.load(&config(model, ("FP32", &[16]), &[4]), SavedModel::Small("weights"));
    let line = told(&server, model).expect("it is told");
    let compared = line.contains("; verified on random rows, where answers differ by ");
    let late = line.contains("; not verified on random rows: ") && line.contains("a twentieth of the load");
    assert!(compared || late, "{line}");
}

/// The same weights as a session of the SavedModel has, once: a second copy would be 95 MB more.
#[test]
fn inception_keeps_its_answers_and_one_copy_of_its_weights() {
    const COPY: u64 = 95 << 20;
    let _turn = heavy_turn();
    let picture = Random::new(1).floats(299 * 299 * 3);
    let request = inception_request(&picture);
    let measure = |value: &str, instances: u32| {
        let server = Server::start(Options::new());
        // What TensorFlow's library and its threads take is not the model's.
        server.load(&add_one_config("freeze_first", 8), SavedModel::Small("add_one"));
        infer(&server, "freeze_first", &add_one_request(&[0.0; 16]));
        let before = server.resident_bytes();
        let model = "freeze_inception";
        let config = inception_config(model).parameter("TF_FREEZE", value).instances(instances);
        server.load(&config, SavedModel::Inception);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let bytes = server.resident_bytes() - before;
        println!("TF_FREEZE {value}, {instances} instances: {} MB", bytes >> 20);
        assert_eq!(told(&server, model).is_some(), value == "auto");
        (answer.output("predictions").as_f32(), bytes)
    };
    let (expected, as_it_is) = measure("false", 1);
    let (found, frozen) = measure("auto", 1);
    let error = relative_error(&found, &expected);
    assert!(error < 1e-4, "a relative error of {error}");
    assert!(frozen < as_it_is + COPY, "{frozen} bytes, {as_it_is} as it is");
    // What the allocator keeps after a load depends on how its threads happened to run.
    in_one_of_three(|_| {
        let (_, with_four) = measure("auto", 4);
        let one_copy = with_four < frozen + COPY / 2;
        check(one_copy, || format!("{with_four} bytes with four instances, {frozen} with one"))
    });
}
