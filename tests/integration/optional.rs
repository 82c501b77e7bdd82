//! Inputs that a request may leave out, because the model has a default for them.

use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

const OPTIONAL: &str = "optional: true";

fn config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 8)
        .input("x", "FP32", &[4])
        .input_with("bias", "FP32", &[4], OPTIONAL)
        .input_with("word", "BYTES", &[1], OPTIONAL)
        .input_with("computed", "FP32", &[4], OPTIONAL)
        .output("y", "FP32", &[8])
        .output("text", "BYTES", &[1])
        .output("sum", "FP32", &[4])
}

/// Loads a model with optional inputs; false, and it is noted, where the server does not know any.
fn loads(server: &Server, config: &ModelConfig, model: SavedModel) -> bool {
    let Err(message) = server.try_load(config, model) else { return true };
    assert!(server.log().contains("has no field named \"optional\""), "{message}");
    skipped("this server's configurations have no 'optional'");
    false
}

/// A request that has these of the inputs `bias`, `word` and `computed`, and what they hold; the default for the others.
struct Made {
    rows: usize,
    x: Vec<f32>,
    bias: Option<Vec<f32>>,
    words: Option<Vec<String>>,
    computed: Option<Vec<f32>>,
}

impl Made {
    fn new(number: usize, has: [bool; 3]) -> Self {
        let mut random = Random::new(number as u64);
        let rows = 1 + number % 3;
        let x = random.floats(rows * 4);
        let (bias, computed) = (random.floats(rows * 4), random.floats(rows * 4));
        let words = (0..rows).map(|row| format!("{number}, {row}")).collect();
        Self {
            rows,
            x,
            bias: has[0].then_some(bias),
            words: has[1].then_some(words),
            computed: has[2].then_some(computed),
        }
    }

    fn shape(&self, width: i64) -> [i64; 2] {
        [self.rows as i64, width]
    }

    fn request(&self) -> InferRequest {
        let mut inputs = vec![Tensor::fp32("x", &self.shape(4), &self.x)];
        inputs.extend(self.bias.as_ref().map(|bias| Tensor::fp32("bias", &self.shape(4), bias)));
        inputs.extend(self.computed.as_ref().map(|values| Tensor::fp32("computed", &self.shape(4), values)));
        inputs.extend(self.words.as_ref().map(|words| {
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            Tensor::strings("word", &self.shape(1), &words)
        }));
        InferRequest::new(inputs)
    }

    /// `y` of a model that answers `factor` x and the bias, which is `default` where there is none.
    fn y(&self, factor: f32, default: [f32; 4]) -> Vec<f32> {
        let rows = self.x.chunks(4).enumerate();
        let both = rows.flat_map(|(row, x)| {
            let bias = self.bias.as_ref().map_or(&default[..], |bias| &bias[row * 4..][..4]);
            x.iter().map(|x| x * factor).chain(bias.iter().copied()).collect::<Vec<_>>()
        });
        both.collect()
    }

    fn text(&self, default: &str) -> Vec<String> {
        let word = |row: usize| self.words.as_ref().map_or(default, |words| &words[row]);
        (0..self.rows).map(|row| format!("<{}>", word(row))).collect()
    }

    fn sum(&self) -> Vec<f32> {
        let largest = |row: &[f32]| row.iter().copied().fold(f32::MIN, f32::max);
        let default = self.x.chunks(4).flat_map(|row| [largest(row); 4]).collect();
        self.x
            .iter()
            .zip(self.computed.as_ref().unwrap_or(&default))
            .map(|(x, computed)| x + computed)
            .collect()
    }
}

/// Requests that leave out each set of inputs, from several threads. Their answers do not depend on whom they share a batch with.
fn assert_served(server: &Server, model: &str, factor: f32, bias: [f32; 4], word: &str, has_computed: bool) {
    let before = server.client().statistics(model);
    let count = 480;
    let seen = in_parallel(8, count, |number| {
        let has = [number & 1 > 0, number & 2 > 0, has_computed && number & 4 > 0];
        let made = Made::new(number, has);
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &made.request()).expect("the request is good");
        let received = monotonic_ns();
        assert_eq!(answer.output("y").as_f32(), made.y(factor, bias), "{has:?}");
        let text = made.text(word);
        assert_eq!(answer.output("text").as_strings(), text.iter().map(String::as_bytes).collect::<Vec<_>>());
        if has_computed {
            assert_eq!(answer.output("sum").as_f32(), made.sum(), "{has:?}");
        }
        let rows = made.rows as i64;
        Seen { rows, sent, received, latency: Latency::of_outputs(&answer, Some(rows)) }
    });
    let after = server.client().statistics_of(model, before.success.count + count as u64);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);
}

#[test]
fn what_a_request_leaves_out_has_the_default_of_the_graph() {
    let server = shared_server();
    for (model, file) in [
        ("optional_saved_model", SavedModel::Small("optional")),
        ("optional_graph_def", SavedModel::Graph("optional_graph")),
    ] {
        let config = config(model).latency_outputs().dynamic_batching(300).instances(2);
        if !loads(&server, &config, file) {
            return;
        }
        assert_served(&server, model, 1.0, [2.0, 4.0, 6.0, 8.0], "none", true);
    }
}

/// The default of a function's argument is in the signature of the SavedModel. Frozen or not, it is the same.
#[test]
fn the_default_of_an_argument_is_one() {
    let server = shared_server();
    for freeze in ["auto", "false", "true"] {
        let model = format!("optional_argument_{freeze}");
        let config = ModelConfig::new(&model, 8)
            .input("x", "FP32", &[4])
            .input_with("bias", "FP32", &[4], OPTIONAL)
            .input_with("word", "BYTES", &[1], OPTIONAL)
            .output("y", "FP32", &[8])
            .output("text", "BYTES", &[1])
            .parameter("TF_FREEZE", freeze)
            .latency_outputs()
            .dynamic_batching(300);
        if !loads(&server, &config, SavedModel::Small("optional_argument")) {
            return;
        }
        assert_served(&server, &model, 2.0, [1.0, 2.0, 3.0, 4.0], "no\0ne", false);
    }
}

#[test]
fn batches_are_filled_up_with_defaults_too() {
    let server = shared_server();
    let model = "optional_buckets";
    let config = config(model).latency_outputs().dynamic_batching(300).buckets("4,8");
    if loads(&server, &config, SavedModel::Small("optional")) {
        let before = server.client().statistics(model);
        in_parallel(4, 60, |number| {
            let made = Made::new(number, [number & 1 > 0, number & 2 > 0, number & 4 > 0]);
            let answer = server.client().infer(model, &made.request()).expect("the request is good");
            assert_eq!(answer.output("y").as_f32(), made.y(1.0, [2.0, 4.0, 6.0, 8.0]));
            assert_eq!(answer.output("sum").as_f32(), made.sum());
        });
        server.client().statistics_of(model, before.success.count + 60);
    }
}

/// In one batch of a sequence batcher are requests with different inputs; the server does not look at that.
#[test]
fn sequences_side_by_side_may_differ_in_their_inputs() {
    let server = shared_server();
    let config = |name: &str, strategy: &str| config(name).instances(1).sequences(strategy);
    let direct = "direct { max_queue_delay_microseconds: 2000 minimum_slot_utilization: 1 }";
    for (model, strategy) in
        [("optional_direct", direct), ("optional_oldest", "oldest { max_candidate_sequences: 4 }")]
    {
        if !loads(&server, &config(model, strategy), SavedModel::Small("optional")) {
            return;
        }
        in_parallel(4, 24, |number| {
            for index in 0..8 {
                // A row, since batches of a sequence batcher are made of slots.
                let made =
                    Made::new(3 * (number * 8 + index), [index & 1 > 0, index & 2 > 0, number & 1 > 0]);
                let request =
                    made.request().of_sequence(serde_json::json!(number + 1), index == 0, index == 7);
                let answer = server.client().infer(model, &request).expect("the request is good");
                assert_eq!(answer.output("y").as_f32(), made.y(1.0, [2.0, 4.0, 6.0, 8.0]), "{model}");
                assert_eq!(answer.output("sum").as_f32(), made.sum(), "{model}");
            }
        });
    }
}

#[test]
fn an_output_may_be_an_input_that_was_left_out() {
    let server = shared_server();
    let model = "optional_passed_on";
    let config = config(model).output("given", "FP32", &[4]).output("given_computed", "FP32", &[4]);
    if !loads(&server, &config, SavedModel::Small("optional")) {
        return;
    }
    for has in [false, true] {
        let made = Made::new(5, [has, false, has]);
        let answer = server.client().infer(model, &made.request()).expect("the request is good");
        let given: Vec<f32> =
            made.y(1.0, [2.0, 4.0, 6.0, 8.0]).chunks(8).flat_map(|y| y[4..].to_vec()).collect();
        assert_eq!(answer.output("given").as_f32(), given);
        let computed = answer.output("given_computed").as_f32();
        assert_eq!(
            made.x.iter().zip(computed).map(|(x, computed)| x + computed).collect::<Vec<_>>(),
            made.sum()
        );
    }
}

#[test]
fn without_batches_a_default_has_any_shape() {
    let server = shared_server();
    let model = "optional_whole";
    let config = ModelConfig::new(model, 0)
        .input("x", "FP32", &[3])
        .input_with("factor", "FP32", &[1], OPTIONAL)
        .input_with("more", "FP32", &[-1], OPTIONAL)
        .output("y", "FP32", &[-1])
        .latency_outputs();
    if !loads(&server, &config, SavedModel::Small("optional_whole")) {
        return;
    }
    in_parallel(4, 60, |number| {
        let x = [1.0, 2.0, number as f32];
        let factor = (number & 1 > 0).then_some(0.5);
        let more = (number & 2 > 0).then(|| vec![number as f32; number % 5]);
        let mut inputs = vec![Tensor::fp32("x", &[3], &x)];
        inputs.extend(factor.map(|factor| Tensor::fp32("factor", &[1], &[factor])));
        inputs.extend(more.as_ref().map(|more| Tensor::fp32("more", &[more.len() as i64], more)));
        let answer = server.client().infer(model, &InferRequest::new(inputs)).expect("the request is good");
        let factor = factor.unwrap_or(2.0);
        let expected = x.iter().map(|x| x * factor).chain(more.unwrap_or(vec![7.0, 8.0]));
        assert_eq!(answer.output("y").as_f32(), expected.collect::<Vec<f32>>());
        assert!(Latency::of_outputs(&answer, None).total > 0);
    });
}

/// Whoever leaves an input out has its default, whatever the size of those that have it.
#[test]
fn a_default_may_have_another_size_than_what_others_send() {
    let server = shared_server();
    let model = "optional_open";
    let config = ModelConfig::new(model, 8)
        .input("x", "FP32", &[-1])
        .input_with("more", "FP32", &[-1], OPTIONAL)
        .output("y", "FP32", &[-1])
        .dynamic_batching(300);
    if !loads(&server, &config, SavedModel::Small("optional_open")) {
        return;
    }
    in_parallel(8, 160, |number| {
        let x = [number as f32; 3];
        let more = (number & 1 > 0).then(|| vec![0.5; 1 + number % 4]);
        let mut inputs = vec![Tensor::fp32("x", &[1, 3], &x)];
        inputs.extend(more.as_ref().map(|more| Tensor::fp32("more", &[1, more.len() as i64], more)));
        let answer = server.client().infer(model, &InferRequest::new(inputs)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), [&x[..], more.as_deref().unwrap_or(&[7.0, 8.0])].concat());
    });
}

#[test]
fn an_input_without_a_usable_default_is_not_optional() {
    let server = shared_server();
    let all = ["x", "two", "c0", "c1", "c2", "c3", "c4"];
    let with = |name: &str, optional: &[&str]| {
        let add = |config: ModelConfig, input: &&str| {
            let fields = if optional.contains(input) { OPTIONAL } else { "" };
            config.input_with(input, "FP32", &[4], fields)
        };
        all.iter().fold(ModelConfig::new(name, 4), add).output("y", "FP32", &[4])
    };
    for (model, optional, reasons) in [
        (
            "optional_none",
            &["x"][..],
            &["'optional' of input 'x'", "has no default", "placeholder_with_default"][..],
        ),
        ("optional_two_rows", &["two"], &["input 'two'", "expected a default of shape [1, 4]", "[2, 4]"]),
        (
            "optional_five",
            &["c0", "c1", "c2", "c3", "c4"],
            &["at most 4 inputs", "found 5: c0, c1, c2, c3, c4"],
        ),
    ] {
        let message = server
            .try_load(&with(model, optional), SavedModel::Small("optional_refused"))
            .expect_err("there is no default to use");
        if message.contains("has no field named \"optional\"") {
            return;
        }
        for reason in reasons {
            assert!(message.contains(reason), "{message}");
        }
    }
    // Four are not too many, and whoever sends all of them is served in any case.
    let config = with("optional_four", &["c0", "c1", "c2", "c3"]);
    if !loads(&server, &config, SavedModel::Small("optional_refused")) {
        return;
    }
    for sent in 0..16 {
        let is_sent = |index: usize| index == 4 || sent >> index & 1 > 0;
        let values = |index: usize| if is_sent(index) { [10.0; 4] } else { [2.0 + index as f32; 4] };
        let mut inputs = vec![Tensor::fp32("x", &[1, 4], &[2.0; 4]), Tensor::fp32("two", &[1, 4], &[0.0; 4])];
        let given = (0..5).filter(|&index| is_sent(index));
        inputs.extend(given.map(|index| Tensor::fp32(&format!("c{index}"), &[1, 4], &[10.0; 4])));
        let answer = server.client().infer("optional_four", &InferRequest::new(inputs)).expect("it is good");
        let sum = 2.0 + (0..5).map(|index| values(index)[0]).sum::<f32>();
        assert_eq!(answer.output("y").as_f32(), [sum; 4], "{sent:b}");
    }
}
