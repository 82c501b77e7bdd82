//! Ragged batches: requests that differ in shape share a batch, the backend tells the model their sizes, and each gets its own
//! part of what the model answers.

use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

const RAGGED: &str = "allow_ragged_batch: true";

/// Inputs of the model `ragged` that the backend makes from its input `x`.
const MADE: [(&str, &[&str], &str); 6] = [
    ("BATCH_ELEMENT_COUNT", &["count", "count_again"], "INT32"),
    ("BATCH_ACCUMULATED_ELEMENT_COUNT", &["ends"], "INT32"),
    ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", &["offsets"], "FP32"),
    ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", &["widest"], "INT32"),
    ("BATCH_ITEM_SHAPE", &["shapes"], "INT32"),
    ("BATCH_ITEM_SHAPE_FLATTEN", &["flat"], "INT32"),
];

fn batch_input(kind: &str, targets: &[&str], datatype: &str) -> String {
    format!(
        "batch_input [ {{ kind: {kind} target_name: {targets:?} data_type: TYPE_{datatype} source_input: \"x\" }} ]"
    )
}

fn batch_output(target: &str) -> String {
    format!(
        "batch_output [ {{ target_name: \"{target}\" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: \"x\" }} ]"
    )
}

/// The model `ragged`, which answers each row with all that it was fed.
fn config(name: &str) -> ModelConfig {
    let all = ["elements", "counts", "counts_again", "all_ends", "all_flat", "request_sums"];
    let config =
        ModelConfig::new(name, 13).input_with("x", "INT32", &[-1], RAGGED).input("row", "FP32", &[1]);
    let config = all.iter().fold(config, |config, name| config.output(name, "INT32", &[-1]));
    let config = config.output("all_offsets", "FP32", &[-1]).output("all_widest", "INT32", &[2]);
    let config = config.output("row_sum", "INT32", &[1]);
    let config = config.output("shape", "INT32", &[1]).output("next", "FP32", &[1]).latency_outputs();
    MADE.iter()
        .fold(config, |config, (kind, targets, datatype)| config.line(&batch_input(kind, targets, datatype)))
}

/// Rows of numbers that no other request has; some have none.
struct Rows {
    rows: usize,
    width: usize,
    x: Vec<i32>,
}

impl Rows {
    fn new(number: usize) -> Self {
        let mut random = Random::new(number as u64);
        let (rows, width) = (1 + random.below(3) as usize, random.below(7) as usize);
        Self { rows, width, x: (0..rows * width).map(|index| (number * 100 + index) as i32).collect() }
    }

    fn tensor(&self) -> Tensor {
        Tensor::int32("x", &[self.rows as i64, self.width as i64], &self.x)
    }

    fn request(&self) -> InferRequest {
        let row: Vec<f32> = (0..self.rows).map(|row| row as f32).collect();
        InferRequest::new(vec![self.tensor(), Tensor::fp32("row", &[self.rows as i64, 1], &row)])
    }
}

fn ints(tensor: &Tensor) -> Vec<i32> {
    assert_eq!(tensor.datatype, "INT32", "the type of '{}'", tensor.name);
    tensor.bytes.chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// What each of the rows has, which is the same.
fn of_each_row(tensor: &Tensor, rows: usize) -> Vec<i32> {
    let all = ints(tensor);
    assert_eq!(tensor.shape, [rows as i64, (all.len() / rows) as i64], "the shape of '{}'", tensor.name);
    let first = all[..all.len() / rows].to_vec();
    assert_eq!(all, first.repeat(rows), "the rows of '{}'", tensor.name);
    first
}

/// Whether the answer is that to these rows in a batch of `executed` rows. Returns the widths of the batch's rows.
fn assert_answers(answer: &Answer, own: &Rows, executed: usize) -> Vec<i32> {
    let all = |name: &str| of_each_row(answer.output(name), own.rows);
    let (elements, counts) = (all("elements"), all("counts"));
    assert_eq!(counts, all("counts_again"), "both targets of one batch_input");
    let accumulate = |sum: &mut i32, count: &i32| {
        *sum += count;
        Some(*sum)
    };
    let ends: Vec<i32> = counts.iter().scan(0, accumulate).collect();
    assert_eq!(all("all_ends"), ends);
    assert_eq!(ends.last().copied(), Some(elements.len() as i32));
    let offsets = [&[0], &ends[..]].concat();
    let told: Vec<f32> = offsets.iter().map(|offset| *offset as f32).collect();
    assert_eq!(answer.output("all_offsets").as_f32(), told.repeat(own.rows));
    assert_eq!(all("all_widest"), [*counts.iter().max().unwrap(), 0], "a size, and zeros");

    let parts: Vec<&[i32]> =
        offsets.windows(2).map(|ends| &elements[ends[0] as usize..ends[1] as usize]).collect();
    assert!(parts.contains(&&own.x[..]), "{:?} is none of {parts:?}", own.x);
    assert_eq!(all("request_sums"), parts.iter().map(|part| part.iter().sum()).collect::<Vec<i32>>());

    let widths = all("all_flat");
    assert_eq!(widths.len(), executed, "the shape of each row, which has one dimension more");
    let sums: Vec<i32> =
        (0..own.rows).map(|row| own.x[row * own.width..][..own.width].iter().sum()).collect();
    let column = |name: &str, values: &[i32]| Tensor::int32(name, &[own.rows as i64, 1], values);
    assert_eq!(answer.output("row_sum"), &column("row_sum", &sums));
    assert_eq!(answer.output("shape"), &column("shape", &vec![own.width as i32; own.rows]));
    let next: Vec<f32> = (0..own.rows).map(|row| row as f32 + 1.0).collect();
    assert_eq!(answer.output("next"), &Tensor::fp32("next", &[own.rows as i64, 1], &next));
    widths
}

/// Requests of several threads; the sums of their latencies are the server's.
fn assert_served(server: &Server, model: &str) {
    let before = server.client().statistics(model);
    let count = 400;
    let seen = in_parallel(6, count, |number| {
        let own = Rows::new(number);
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &own.request()).expect("the request is good");
        let received = monotonic_ns();
        let rows = own.rows as i64;
        let latency = Latency::of_outputs(&answer, Some(rows));
        let mut widths = assert_answers(&answer, &own, latency.executed_batch_size as usize);
        widths.sort_unstable();
        widths.dedup();
        (Seen { rows, sent, received, latency }, widths.len() > 1)
    });
    let (seen, mixed): (Vec<Seen>, Vec<bool>) = seen.into_iter().unzip();
    let after = server.client().statistics_of(model, before.success.count + count as u64);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);
    let mixed = mixed.iter().filter(|&&mixed| mixed).count();
    assert!(mixed > 20, "only {mixed} requests shared an execution with one of another shape");
}

#[test]
fn requests_that_differ_in_shape_share_a_batch() {
    let server = shared_server();
    let model = "ragged_batched";
    server.load(&config(model).dynamic_batching(500), SavedModel::Small("ragged"));
    assert_served(&server, model);
}

#[test]
fn several_instances_have_ragged_batches() {
    let server = shared_server();
    let model = "ragged_instances";
    server.load(&config(model).dynamic_batching(1000).instances(3), SavedModel::Small("ragged"));
    assert_served(&server, model);
}

#[test]
fn the_backends_own_queue_has_ragged_batches() {
    let server = shared_server();
    let model = "ragged_adaptive";
    // Requests wait for others, and even on a busy machine none is rejected because it could not be answered in time.
    let config =
        config(model).adaptive().parameter("latency_target_ms", "60000").parameter("max_wait_ms", "3");
    server.load(&config, SavedModel::Small("ragged"));
    assert_served(&server, model);
}

/// As for a model on a GPU; see `gpu.rs`.
#[test]
fn ragged_batches_are_gathered_while_others_are_computed() {
    let server = shared_server();
    let model = "ragged_overlapping";
    let config = config(model).parameter("test_gpu", "true").parameter("batching", "triton");
    server.load(&config.dynamic_batching(500), SavedModel::Small("ragged"));
    assert_served(&server, model);
}

/// Of a model whose batches are ragged no batch can be made up.
#[test]
fn nothing_is_tried_at_load() {
    let server = shared_server();
    for (model, has) in [
        (
            "ragged_untried",
            &["inline execution not tried: requests of different shapes share its batches"][..],
        ),
        ("ragged_uncalibrated", &["inline execution not tried: requests", "not calibrated at load"]),
    ] {
        let config = config(model);
        let config = if has.len() > 1 { config.adaptive() } else { config.dynamic_batching(100) };
        server.load(&config, SavedModel::Small("ragged"));
        let told = |part: &&str| server.log().lines().any(|line| line.contains(model) && line.contains(part));
        assert!(has.iter().all(|part| eventually(|| told(part))), "{model}: {}", server.log());
    }
}

/// A row of the model `ragged_shapes`, of this shape.
fn of_shape(shape: [i64; 2]) -> InferRequest {
    let count = (shape[0] * shape[1]) as usize;
    InferRequest::new(vec![Tensor::fp32("x", &[&[1][..], &shape].concat(), &vec![0.5; count])])
}

#[test]
fn a_request_whose_sizes_no_int32_can_be_leaves_its_batch() {
    let server = shared_server();
    let model = "ragged_shapes";
    let config = ModelConfig::new(model, 8)
        .input_with("x", "FP32", &[-1, -1], RAGGED)
        .output("shape", "INT32", &[2])
        .line(&batch_input("BATCH_ITEM_SHAPE", &["shapes"], "INT32"))
        .latency_outputs();
    server.load(&config.dynamic_batching(3000), SavedModel::Small("ragged_shapes"));
    let shared = in_parallel(6, 300, |number| {
        if number % 5 == 0 {
            let refusal =
                server.client().infer(model, &of_shape([0, 1 << 40])).expect_err("too large for an INT32");
            assert_eq!(refusal.status, 400, "{}", refusal.message);
            for part in ["'shapes'", "at most 2147483647", "found 1099511627776"] {
                assert!(refusal.message.contains(part), "'{part}' is missing in: {}", refusal.message);
            }
            return false;
        }
        let shape = [number as i64 % 3, number as i64 % 4];
        let answer = server.client().infer(model, &of_shape(shape)).expect("the request is good");
        let expected = shape.map(|dim| dim as i32);
        assert_eq!(answer.output("shape"), &Tensor::int32("shape", &[1, 2], &expected));
        Latency::of_outputs(&answer, Some(1)).executed_batch_size > 1
    });
    let shared = shared.into_iter().filter(|&shared| shared).count();
    assert!(shared > 20, "only {shared} requests shared a batch");
}

/// A model whose outputs have the requests' parts one after the other.
fn parts_config(name: &str, target: &str, dims: &[i64]) -> ModelConfig {
    ModelConfig::new(name, 13)
        .input_with("x", "FP32", &[-1], RAGGED)
        .output(target, "FP32", dims)
        .line(&batch_output(target))
}

#[test]
fn each_request_gets_its_own_part_of_an_output() {
    let server = shared_server();
    let model = "ragged_parts";
    let config = parts_config(model, "product", &[-1]).output("pairs", "FP32", &[-1, 2]);
    let config = config.line(&batch_output("pairs")).latency_outputs().dynamic_batching(500).instances(2);
    server.load(&config, SavedModel::Small("ragged_parts"));
    let before = server.client().statistics(model);
    let seen = in_parallel(6, 400, |number| {
        let Rows { rows, width, x } = Rows::new(number);
        let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
        let shape = [rows as i64, width as i64];
        let request = InferRequest::new(vec![Tensor::fp32("x", &shape, &x)]);
        if number % 4 == 0 {
            let answer =
                server.client().infer(model, &request.clone().asking_for(&["pairs", "request_end_ns"]));
            assert_eq!(answer.expect("the request is good").names(), ["pairs", "request_end_ns"]);
        }
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &request).expect("the request is good");
        let received = monotonic_ns();
        let product: Vec<f32> = x.iter().map(|x| x * 2.0).collect();
        assert_eq!(answer.output("product"), &Tensor::fp32("product", &shape, &product));
        let pairs: Vec<f32> = x.iter().flat_map(|x| [*x, -*x]).collect();
        assert_eq!(answer.output("pairs"), &Tensor::fp32("pairs", &[shape[0], shape[1], 2], &pairs));
        let latency = Latency::of_outputs(&answer, Some(shape[0]));
        Seen { rows: shape[0], sent, received, latency }
    });
    let after = server.client().statistics_of(model, before.success.count + 500);
    assert_eq!(after.success.count - before.success.count, 500);
    let shared = seen.iter().filter(|seen| seen.latency.executed_batch_size > seen.rows).count();
    assert!(shared > 20, "only {shared} requests shared a batch");
}

#[test]
fn parts_that_are_not_the_whole_output_are_an_error_of_all() {
    let server = shared_server();
    let model = "ragged_short";
    server.load(&parts_config(model, "short", &[-1]), SavedModel::Small("ragged_parts"));
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 3], &[1.0; 6])]);
    let refusal = server.client().infer(model, &request).expect_err("the output has an element less");
    assert_eq!(refusal.status, capabilities().status(500), "{}", refusal.message);
    for part in ["'short'", "expected 6 elements", "the shapes [2, 3]", "returned [5]", "batch_output", "'x'"]
    {
        assert!(refusal.message.contains(part), "'{part}' is missing in: {}", refusal.message);
    }
    // With nothing in it, there is nothing to be cut off.
    let nothing = InferRequest::new(vec![Tensor::fp32("x", &[2, 0], &[])]);
    let answer = server.client().infer(model, &nothing).expect("the request is good");
    assert_eq!(answer.output("short"), &Tensor::fp32("short", &[2, 0], &[]));
}

/// The same buffer as for other models could be read in place, but its shape is not what the model takes.
#[test]
fn a_ragged_input_may_be_in_aligned_shared_memory() {
    let server = shared_server();
    let model = "ragged_shared_memory";
    server.load(&parts_config(model, "product", &[-1]), SavedModel::Small("ragged_parts"));
    let region = Region::new(&server, 4096);
    let values = Random::new(1).floats(12);
    region.write(0, &values);
    let body = serde_json::json!({
        "inputs": [region.input("x", &[3, 4], 0)],
        "outputs": [region.output_at("product", 1024, 48)],
    });
    let (status, text) = server.client().post(&format!("/v2/models/{model}/infer"), &body);
    assert_eq!(status, 200, "{text}");
    assert_eq!(region.read(1024, 12), values.iter().map(|value| value * 2.0).collect::<Vec<_>>());
}

#[test]
fn strings_are_ragged_too() {
    let server = shared_server();
    let model = "ragged_text";
    let config = ModelConfig::new(model, 13)
        .input_with("x", "BYTES", &[-1], RAGGED)
        .input("row", "BYTES", &[1])
        .output("upper", "BYTES", &[-1])
        .output("words", "BYTES", &[-1])
        .output("all_offsets", "INT32", &[-1])
        .line(&batch_input("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", &["offsets"], "INT32"))
        .line(&batch_output("upper"));
    server.load(&config.dynamic_batching(1000), SavedModel::Small("ragged_text"));
    in_parallel(6, 400, |number| {
        let Rows { rows, width, .. } = Rows::new(number);
        let shape = [rows as i64, width as i64];
        let words: Vec<String> = (0..rows * width)
            .map(|index| format!("word {index} ").repeat(index % 4) + &number.to_string())
            .collect();
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let row = Tensor::strings("row", &[shape[0], 1], &vec![&b"row"[..]; rows]);
        let mut x = Tensor::strings("x", &shape, &words);
        if number % 7 == 0 && !words.is_empty() {
            // Its data ends before its last word does.
            x.bytes.pop();
            let refusal =
                server.client().infer(model, &InferRequest::new(vec![x, row])).expect_err("it is cut off");
            assert_eq!(refusal.status, 400, "{}", refusal.message);
            assert!(refusal.message.contains("'x'"), "{}", refusal.message);
            return;
        }
        let answer =
            server.client().infer(model, &InferRequest::new(vec![x, row])).expect("the request is good");
        let upper: Vec<Vec<u8>> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        assert_eq!(answer.output("upper").shape, shape);
        assert_eq!(answer.output("upper").as_strings(), upper);
        let all = answer.output("words").as_strings();
        let all = &all[..all.len() / rows];
        let offsets = of_each_row(answer.output("all_offsets"), rows);
        assert_eq!(offsets.last(), Some(&(all.len() as i32)), "those that were refused are not counted");
        let parts: Vec<&[&[u8]]> =
            offsets.windows(2).map(|ends| &all[ends[0] as usize..ends[1] as usize]).collect();
        assert!(parts.contains(&&words[..]), "{words:?} is none of {parts:?}");
    });
}

#[test]
fn a_frozen_graph_has_ragged_batches() {
    let server = shared_server();
    let model = "ragged_graph";
    let config = ModelConfig::new(model, 8)
        .input_with("x", "INT32", &[-1], RAGGED)
        .output("double", "INT32", &[-1])
        .output("length", "INT32", &[1])
        .line(&batch_input("BATCH_ELEMENT_COUNT", &["count"], "FP32"))
        .line(&batch_output("double"));
    server.load(&config.dynamic_batching(1000), SavedModel::Graph("ragged_graph"));
    in_parallel(4, 100, |number| {
        let x: Vec<i32> = (0..number % 9).map(|index| (number + index) as i32).collect();
        let request = InferRequest::new(vec![Tensor::int32("x", &[1, x.len() as i64], &x)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let double: Vec<i32> = x.iter().map(|x| x * 2).collect();
        assert_eq!(answer.output("double"), &Tensor::int32("double", &[1, x.len() as i64], &double));
        assert_eq!(answer.output("length"), &Tensor::int32("length", &[1, 1], &[x.len() as i32]));
    });
}

#[test]
fn a_configuration_is_completed_without_what_the_backend_makes() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "ragged_completed";
    let config = ModelConfig::new(model, 8).input_with("x", "FP32", &[-1, -1], RAGGED).line(&batch_input(
        "BATCH_ITEM_SHAPE",
        &["shapes"],
        "INT32",
    ));
    server.load(&config, SavedModel::Small("ragged_shapes"));
    let completed = server.client().get(&format!("/v2/models/{model}/config")).expect("the server answers").1;
    let completed: serde_json::Value = serde_json::from_str(&completed).expect("a configuration is JSON");
    assert_eq!(completed["input"].as_array().map(Vec::len), Some(1), "{completed}");
    let answer = server.client().infer(model, &of_shape([3, 2])).expect("the request is good");
    assert_eq!(answer.output("shape"), &Tensor::int32("shape", &[1, 2], &[3, 2]));
    assert!(Latency::of_outputs(&answer, Some(1)).total > 0);
}

#[test]
fn wrong_ragged_configurations_are_refused() {
    let server = shared_server();
    let refused = |config: ModelConfig, model: &str, has: &[&str]| {
        let message = server.try_load(&config, SavedModel::Small(model)).expect_err("it is refused");
        for part in has {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    };
    let add_one = ModelConfig::new("ragged_rows", 8).output("y", "FP32", &[16]);
    refused(
        add_one.input_with("x", "FP32", &[-1], RAGGED),
        "add_one",
        &[
            "configuration expects model provides input with shape [-1]  for ragged input 'x', model provides [-1,16]",
            "Export the model",
        ],
    );
    // Where configurations are completed, a ragged input says that there are batches.
    if !executable().has_option("--disable-auto-complete-config") {
        let unbatched = ModelConfig::new("ragged_unbatched", 0).input_with("x", "FP32", &[-1], RAGGED);
        refused(
            unbatched.output("product", "FP32", &[-1]),
            "ragged_parts",
            &["'allow_ragged_batch' of input 'x'", "max_batch_size is 0: set max_batch_size"],
        );
    }
    refused(
        parts_config("ragged_buckets", "product", &[-1]).parameter("batch_size_buckets", "2,4"),
        "ragged_parts",
        &["batch_size_buckets", "requests of different shapes share its batches", "Remove"],
    );
    refused(
        parts_config("ragged_rank", "product", &[-1, -1]),
        "ragged_parts",
        &["output 'product'", "each -1 of its dims", "'x', which has 1 of them", "found [-1, -1]"],
    );
    refused(
        ModelConfig::new("ragged_output_type", 8)
            .input_with("x", "FP32", &[-1], RAGGED)
            .output("product", "INT32", &[-1])
            .line(&batch_output("product")),
        "ragged_parts",
        &["'product'", "TYPE_FP32", "TYPE_INT32"],
    );
    // A batch_output may be of another shape than the signature's; others may not.
    refused(
        ModelConfig::new("ragged_no_rows", 8).input_with("x", "FP32", &[-1], RAGGED).output(
            "product",
            "FP32",
            &[-1],
        ),
        "ragged_parts",
        &["output 'product'", "[-1]"],
    );
    let shapes = |name: &str, kind: &str, target: &str, datatype: &str| {
        ModelConfig::new(name, 8)
            .input_with("x", "FP32", &[-1, -1], RAGGED)
            .output("shape", "INT32", &[2])
            .line(&batch_input(kind, &[target], datatype))
    };
    for (name, kind, target, datatype, has) in [
        ("ragged_type", "BATCH_ITEM_SHAPE", "shapes", "FP32", &["'shapes'", "TYPE_INT32", "TYPE_FP32"]),
        (
            "ragged_kind_rank",
            "BATCH_ELEMENT_COUNT",
            "shapes",
            "INT32",
            &["'shapes'", "shape [-1]", "[-1, 2]"],
        ),
        (
            "ragged_target",
            "BATCH_ITEM_SHAPE",
            "sizes",
            "INT32",
            &["target_name 'sizes'", "it has:", "'shapes', 'x'"],
        ),
        // The last two of the server's own, on servers that look.
        ("ragged_other_type", "BATCH_ITEM_SHAPE", "shapes", "INT64", &["INT32", "FP32", "type"]),
        ("ragged_twice", "BATCH_ITEM_SHAPE", "x", "INT32", &["'x'", "more than once", "batch_input"]),
    ] {
        refused(shapes(name, kind, target, datatype), "ragged_shapes", has);
    }
}
