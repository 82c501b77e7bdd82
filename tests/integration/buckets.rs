//! Batches that are filled up to a bucket: nobody sees the copies, and the values tell of them.

use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

/// The most rows of the models here, which is no power of two.
const MOST: u32 = 11;
const SIZES: &str = "2,4,8";

/// The rows that are computed for a batch of so many.
fn padded(rows: i64) -> i64 {
    [2, 4, 8, i64::from(MOST)].into_iter().find(|&size| size >= rows).expect("a batch that is allowed")
}

/// `add_one` in buckets, with all values.
fn config(name: &str) -> ModelConfig {
    add_one_config(name, MOST).latency_outputs().buckets(SIZES)
}

/// The last line of the log that tells of the buckets of a model.
fn told(server: &Server, model: &str) -> Option<String> {
    let quoted = format!("'{model}'");
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains(&quoted) && line.contains("batches are filled up to"));
    line.map(str::to_owned)
}

fn padded_size(answer: &Answer) -> i64 {
    let values = answer.output(PADDED_OUTPUT).as_i64();
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    values[0]
}

/// Requests of 1 to `most` rows from several threads. Each gets its own rows and nothing else, and what it is told of its batch
/// is what the server has counted.
fn assert_filled_up(server: &Server, model: &str, most: usize) {
    let before = server.client().statistics(model);
    let count = 600;
    let seen = in_parallel(6, count, |number| {
        let rows = 1 + Random::new(number as u64).below(most as u64) as usize;
        let values = Random::new(number as u64 + 1).floats(rows * ADD_ONE_WIDTH as usize);
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        let received = monotonic_ns();
        assert_eq!(answer.output("y").shape, [rows as i64, ADD_ONE_WIDTH], "request {number}");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "request {number}");
        let latency = Latency::of_outputs(&answer, Some(rows as i64));
        assert_eq!(padded_size(&answer), padded(latency.executed_batch_size), "request {number}");
        Seen { rows: rows as i64, sent, received, latency }
    });
    let after = server.client().statistics_of(model, before.success.count + count as u64);
    assert_sums_equal(&seen, &before, &after);
    // Of the rows that were asked for: the statistics know no copies.
    assert_batches_agree(&seen, &before, &after);
    let merged = seen.iter().filter(|s| s.latency.executed_batch_size > s.rows).count();
    assert!(merged > 20, "only {merged} requests shared an execution; the test needs merged ones");
}

#[test]
fn batches_of_the_server_are_filled_up_and_nobody_sees_it() {
    let server = shared_server();
    let model = "buckets_dynamic";
    server.load(&config(model).dynamic_batching(500), SavedModel::Small("add_one"));
    assert_filled_up(&server, model, 5);
}

#[test]
fn batches_of_the_backend_are_filled_up_and_nobody_sees_it() {
    let server = shared_server();
    for (model, target) in [("buckets_adaptive", None), ("buckets_adaptive_target", Some("500"))] {
        let mut config = config(model).queue_outputs().adaptive();
        if let Some(ms) = target {
            config = config.parameter("latency_target_ms", ms);
        }
        server.load(&config, SavedModel::Small("add_one"));
        assert_filled_up(&server, model, 5);
    }
}

/// Matrix products with sums over 2048 numbers, which kernels add up in an order that depends on the number of rows: one row
/// differs by 1e-5 from the same row of two. Another row's answer would differ by far more.
#[test]
fn a_batch_that_is_filled_up_answers_as_it_does_without() {
    let server = shared_server();
    let config =
        |name: &str| ModelConfig::new(name, MOST).input("x", "FP32", &[16]).output("y", "FP32", &[4]);
    let (with, without) = ("buckets_weights", "no_buckets_weights");
    server.load(&config(with).buckets(SIZES), SavedModel::Small("weights"));
    server.load(&config(without), SavedModel::Small("weights"));
    for rows in 1..=i64::from(MOST) {
        let values = Random::new(rows as u64).floats(rows as usize * 16);
        let request = InferRequest::new(vec![Tensor::fp32("x", &[rows, 16], &values)]);
        let infer = |model| server.client().infer(model, &request).expect("the request is good");
        let (answer, expected) = (infer(with), infer(without));
        assert_eq!(padded_size(&answer), padded(rows));
        let error = relative_error(&answer.output("y").as_f32(), &expected.output("y").as_f32());
        assert!(error < 1e-4, "{rows} rows: relative error {error:e}");
    }
}

#[test]
fn a_request_alone_is_filled_up_unless_it_fills_a_bucket() {
    let server = shared_server();
    let model = "buckets_alone";
    server.load(&config(model), SavedModel::Small("add_one"));
    for rows in (1..=i64::from(MOST)).chain([1, 8, 3]) {
        let values = Random::new(rows as u64).floats((rows * ADD_ONE_WIDTH) as usize);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "{rows} rows");
        assert_eq!(Latency::of_outputs(&answer, Some(rows)).executed_batch_size, rows);
        assert_eq!(padded_size(&answer), padded(rows), "{rows} rows");
    }
    let statistics = server.client().statistics_of(model, 14);
    assert_eq!(statistics.inference_count, 66 + 12, "copies are no inferences");
}

/// From an aligned place, a batch that fills a bucket is lent; any other is copied. The output may go to the same place.
#[test]
fn inputs_in_shared_memory_are_filled_up() {
    let server = shared_server();
    let model = "buckets_shared";
    server.load(&config(model), SavedModel::Small("add_one"));
    let row = ADD_ONE_WIDTH as usize;
    let region = Region::new(&server, 4096);
    for (rows, offset, padded) in [(4, 0, 4), (3, 0, 4), (4, 4, 4), (1, 64, 2), (2, 64, 2), (11, 0, 11)] {
        let values = Random::new(rows as u64).floats(rows * row);
        region.write(offset, &values);
        let output = region.output_at("y", offset, rows * row * 4);
        let body = serde_json::json!({
            "inputs": [region.input("x", &[rows, row], offset)],
            "outputs": [output, { "name": PADDED_OUTPUT }],
        });
        let (status, text) = server.client().post(&format!("/v2/models/{model}/infer"), &body);
        assert_eq!(status, 200, "{text}");
        assert_eq!(region.read(offset, rows * row), add_one_answer(&values), "{rows} rows from {offset}");
        let answer: serde_json::Value = serde_json::from_str(&text).expect("the answer is JSON");
        let told = answer["outputs"].as_array().expect("a list").iter().find(|o| o["name"] == PADDED_OUTPUT);
        assert_eq!(told.expect("it was asked for")["data"][0], padded, "{answer}");
    }
}

#[test]
fn several_inputs_and_outputs_are_filled_up() {
    let server = shared_server();
    let model = "buckets_mixed";
    let config = ModelConfig::new(model, 9)
        .input("a", "FP32", &[4])
        .input("b", "INT32", &[2, 3])
        .output("sum", "FP32", &[1])
        .output("outer", "FP32", &[4, 6])
        .output("guarded", "FP32", &[4])
        .buckets("5")
        .dynamic_batching(1000);
    server.load(&config, SavedModel::Small("mixed"));
    in_parallel(4, 60, |number| {
        let rows = 1 + number % 4;
        let mut random = Random::new(number as u64);
        let a = random.floats(rows * 4);
        let b: Vec<i32> = (0..rows * 6).map(|_| random.below(2000) as i32 - 1000).collect();
        let mut request = InferRequest::new(vec![
            Tensor::fp32("a", &[rows as i64, 4], &a),
            Tensor::int32("b", &[rows as i64, 2, 3], &b),
        ]);
        if number % 3 == 0 {
            request = request.asking_for(&["guarded", "sum", PADDED_OUTPUT]);
        }
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("guarded").as_f32(), a, "request {number}");
        let sums: Vec<f32> = (0..rows)
            .map(|row| a[row * 4..][..4].iter().sum::<f32>() + b[row * 6..][..6].iter().sum::<i32>() as f32)
            .collect();
        assert_eq!(answer.output("sum").shape, [rows as i64, 1]);
        assert!(relative_error(&answer.output("sum").as_f32(), &sums) < 1e-6, "request {number}");
        assert!([5, 9].contains(&padded_size(&answer)), "request {number}");
        if number % 3 > 0 {
            let outer: Vec<f32> = (0..rows)
                .flat_map(|row| (0..24).map(move |i| (row, i / 6, i % 6)))
                .map(|(row, i, j)| a[row * 4 + i] * b[row * 6 + j] as f32)
                .collect();
            assert_eq!(answer.output("outer").shape, [rows as i64, 4, 6]);
            assert!(relative_error(&answer.output("outer").as_f32(), &outer) < 1e-6, "request {number}");
        }
    });
}

#[test]
fn a_request_that_is_refused_leaves_the_others_their_bucket() {
    let server = shared_server();
    let model = "buckets_small_buffer";
    let config = config(model).dynamic_batching_preferring(20_000_000, 3);
    server.load(&config, SavedModel::Small("add_one"));
    let small = Region::new(&server, 16);
    let together = requests_wait_for_others("that a small output buffer's neighbours are of its batch");
    for round in 0..5 {
        let answers = in_parallel(3, 3, |number| {
            let mut request = add_one_request(&[(round * 3 + number) as f32; 16]);
            if number == 1 {
                request.outputs = Some(vec![small.output("y", 16)]);
            }
            server.client().infer(model, &request)
        });
        for (number, answer) in answers.into_iter().enumerate() {
            if number == 1 {
                let refusal = answer.expect_err("16 bytes do not hold 16 values");
                assert!(refusal.message.contains("'y'"), "{refusal:?}");
                continue;
            }
            let answer = answer.unwrap_or_else(|refusal| panic!("request {number} is good: {refusal:?}"));
            assert_eq!(answer.output("y").as_f32(), [(round * 3 + number) as f32 + 1.0; 16]);
            let executed = Latency::of_outputs(&answer, Some(1)).executed_batch_size;
            assert!(!together || executed == 3, "all three ran together: {executed}");
            assert_eq!(padded_size(&answer), padded(executed));
        }
    }
    let statistics = server.client().statistics_of(model, 15);
    assert_eq!((statistics.success.count, statistics.fail.count), (10, 5), "{statistics:?}");
}

#[test]
fn a_request_without_rows_is_refused_as_ever() {
    let server = shared_server();
    let model = "buckets_no_rows";
    server.load(&config(model).dynamic_batching(500), SavedModel::Small("add_one"));
    let nothing = InferRequest::new(vec![Tensor::fp32("x", &[0, ADD_ONE_WIDTH], &[])]);
    let refusal = server.client().infer(model, &nothing).expect_err("there is nothing to compute");
    assert_eq!(refusal.status, 400, "{refusal:?}");
    let answer = server.client().infer(model, &add_one_request(&[0.5; 16])).expect("the request is good");
    assert_eq!((answer.output("y").as_f32(), padded_size(&answer)), (vec![1.5; 16], 2));
}

#[test]
fn an_output_without_a_row_for_each_row_of_the_bucket_is_an_error() {
    let server = shared_server();
    let model = "buckets_finds";
    let config =
        ModelConfig::new(model, 8).input("x", "FP32", &[4]).output("found", "FP32", &[4]).buckets("4");
    server.load(&config, SavedModel::Small("finds"));
    let infer = |values: &[f32]| {
        let rows = values.len() as i64 / 4;
        server.client().infer(model, &InferRequest::new(vec![Tensor::fp32("x", &[rows, 4], values)]))
    };
    // The last row is not found, and so are its copies.
    let refusal = infer(&[[1.0; 4], [2.0; 4], [-1.0; 4]].concat()).expect_err("two rows are found of three");
    for part in [model, "'found'", "[4, 4]", "[2, 4]", "3 rows", "bucket of 4", "max_batch_size: 0"] {
        assert!(refusal.message.contains(part), "'{part}' is missing in: {refusal:?}");
    }
    let answer = infer(&[[1.0; 4], [2.0; 4]].concat()).expect("all are found, the copies too");
    assert_eq!(answer.output("found").as_f32(), [[1.0; 4], [2.0; 4]].concat());
}

#[test]
fn without_buckets_the_padded_size_is_the_batch_s() {
    let server = shared_server();
    for (model, setting) in
        [("buckets_auto", None), ("buckets_off", Some("off")), ("buckets_false", Some("false"))]
    {
        let mut config = add_one_config(model, 8)
            .latency_outputs()
            .output(PADDED_OUTPUT, "INT64", &[1])
            .parameter("latency-parameters", "true")
            .dynamic_batching(0);
        if let Some(value) = setting {
            config = config.parameter("batch_size_buckets", value);
        }
        server.load(&config, SavedModel::Small("add_one"));
        let answer = server.client().infer(model, &add_one_request(&[0.5; 48])).expect("the request is good");
        assert_eq!((Latency::of_outputs(&answer, Some(3)).executed_batch_size, padded_size(&answer)), (3, 3));
        assert!(!answer.parameters.contains_key(PADDED_OUTPUT), "on CPUs: {:?}", answer.parameters);
        assert_eq!(told(&server, model), None, "nothing is filled up on CPUs");
    }
}

#[test]
fn the_padded_size_rides_as_a_parameter_where_batches_are_filled_up() {
    let server = shared_server();
    let model = "buckets_parameters";
    server.load(&config(model).parameter("latency-parameters", "true"), SavedModel::Small("add_one"));
    let answer = server.client().infer(model, &add_one_request(&[0.5; 48])).expect("the request is good");
    assert_eq!(Latency::of_outputs(&answer, Some(3)), Latency::of_parameters(&answer.parameters));
    assert_eq!(answer.parameters[PADDED_OUTPUT], padded_size(&answer));
}

#[test]
fn each_bucket_runs_at_load_or_the_log_says_why_not() {
    let server = shared_server();
    server.load(&config("buckets_warm"), SavedModel::Small("add_one"));
    let line = told(&server, "buckets_warm").expect("it is told");
    for part in ["up to 2, 4, 8, 11 rows; run at load in", "a batch of 2 takes", "11 takes"] {
        assert!(line.contains(part), "'{part}' is missing in: {line}");
    }

    let open = ModelConfig::new("buckets_open", 8)
        .input("x", "FP64", &[-1, -1, -1])
        .output("y", "FP64", &[-1, -1, -1])
        .buckets("2,4");
    server.load(&open, SavedModel::Small("any_shape"));
    let line = told(&server, "buckets_open").expect("it is told");
    assert!(line.contains("not run at load") && line.contains("'x' has a dimension of any size"), "{line}");
    for rows in [1, 3, 5] {
        let values: Vec<u8> = (0..rows * 6).flat_map(|value| f64::from(value).to_le_bytes()).collect();
        let doubled: Vec<u8> = (0..rows * 6).flat_map(|value| f64::from(2 * value).to_le_bytes()).collect();
        let x = Tensor::new("x", "FP64", &[rows.into(), 1, 2, 3], values);
        let answer = server.client().infer("buckets_open", &InferRequest::new(vec![x])).expect("a good one");
        assert_eq!(answer.output("y").bytes, doubled);
    }

    // A loop is computed for the copies too, but may not end on zeros.
    let looping =
        ModelConfig::new("buckets_loop", 8).input("x", "FP32", &[1]).output("y", "FP32", &[1]).buckets("2,4");
    server.load(&looping, SavedModel::Small("loop"));
    let line = told(&server, "buckets_loop").expect("it is told");
    assert!(line.contains("not run at load") && line.contains("While may never end"), "{line}");
    let x = Tensor::fp32("x", &[3, 1], &[1.0, 2.0, 3.0]);
    let answer = server.client().infer("buckets_loop", &InferRequest::new(vec![x])).expect("a good one");
    assert_eq!((answer.output("y").as_f32(), padded_size(&answer)), (vec![2.5, 3.5, 4.5], 4));

    // It fails on zeros, and serves other rows all the same.
    let failing = ModelConfig::new("buckets_no_zeros", 8)
        .input("x", "INT32", &[1])
        .output("y", "INT32", &[1])
        .buckets("2,4");
    server.load(&failing, SavedModel::Small("no_zeros"));
    let line = told(&server, "buckets_no_zeros").expect("it is told");
    assert!(line.contains("not run at load") && line.contains("a run of 2 rows failed"), "{line}");
    let log = server.log();
    assert!(log.contains("'buckets_no_zeros': a batch of 2 rows of zeros"), "a warning names the size");
    let x = Tensor::int32("x", &[3, 1], &[1, 2, 3]);
    let answer = server.client().infer("buckets_no_zeros", &InferRequest::new(vec![x])).expect("a good one");
    let expected = Tensor::int32("y", &[3, 1], &[12, 6, 4]);
    assert_eq!((answer.output("y"), padded_size(&answer)), (&expected, 4));
}
