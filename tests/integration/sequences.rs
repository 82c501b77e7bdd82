//! Sequences: the server tells the model where in its sequence a request is.

use serde_json::json;

use crate::latency::{Seen, assert_sums_equal};
use crate::support::*;

const CONTROLS: &str = r#"control_input [
    { name: "start" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "end" control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] } ] },
    { name: "ready" control [ { kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] } ] },
    { name: "id" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
]"#;

/// A model that adds up the x of each sequence, batched by this strategy.
fn config(name: &str, strategy: &str) -> ModelConfig {
    ModelConfig::new(name, 4)
        .input("x", "INT32", &[1])
        .output("sum", "INT32", &[1])
        .output("told", "BYTES", &[1])
        .latency_outputs()
        .instances(1)
        .sequences(&format!("{strategy} {CONTROLS}"))
}

/// Four sequences at once, many after one another, of 1 to 6 requests each.
fn assert_sequences(server: &Server, model: &str) {
    let before = server.client().statistics(model);
    let seen = in_parallel(4, 60, |number| {
        let length = 1 + number % 6;
        let mut sum = 0;
        let mut seen = Vec::new();
        for index in 0..length {
            let x = (number * 10 + index) as i32;
            sum += x;
            let (start, end) = (index == 0, index + 1 == length);
            let request = InferRequest::new(vec![Tensor::int32("x", &[1, 1], &[x])]);
            let request = request.of_sequence(json!(number + 1), start, end);
            let sent = monotonic_ns();
            let answer = server.client().infer(model, &request).expect("the request is good");
            let received = monotonic_ns();
            assert_eq!(answer.output("sum"), &Tensor::int32("sum", &[1, 1], &[sum]), "{number}, {index}");
            let told = format!("{}{}1", i32::from(start), i32::from(end));
            assert_eq!(answer.output("told").as_strings(), [told.as_bytes()], "{number}, {index}");
            seen.push(Seen { rows: 1, sent, received, latency: Latency::of_outputs(&answer, Some(1)) });
        }
        seen
    });
    let seen: Vec<Seen> = seen.into_iter().flatten().collect();
    let after = server.client().statistics_of(model, before.success.count + seen.len() as u64);
    assert_sums_equal(&seen, &before, &after);
}

#[test]
fn sequences_in_slots_keep_their_state() {
    let server = shared_server();
    let model = "sequence_direct";
    server.load(&config(model, "direct { }"), SavedModel::Small("sequence"));
    assert_sequences(&server, model);
}

#[test]
fn sequences_in_the_oldest_order_keep_their_state() {
    let server = shared_server();
    let model = "sequence_oldest";
    server.load(&config(model, "oldest { max_candidate_sequences: 4 }"), SavedModel::Small("sequence"));
    assert_sequences(&server, model);
}

#[test]
fn a_correlation_id_may_be_a_text() {
    let server = shared_server();
    let model = "sequence_names";
    let config = ModelConfig::new(model, 4).input("x", "INT32", &[1]).output("told", "BYTES", &[1]).sequences(
        "direct { } control_input [ { name: \"id\" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ] } ]",
    );
    server.load(&config, SavedModel::Small("sequence_names"));
    for (index, id) in ["a", "a rather longer id than fits", "grüße"].into_iter().enumerate() {
        let x = Tensor::int32("x", &[1, 1], &[index as i32]);
        let request = InferRequest::new(vec![x]).of_sequence(json!(id), true, true);
        let answer = server.client().infer(model, &request).expect("the request is good");
        assert_eq!(answer.output("told").as_strings(), [format!("{id} {index}").as_bytes()]);
    }
}

#[test]
fn a_correlation_id_may_be_any_whole_number() {
    let server = shared_server();
    for datatype in ["INT64", "UINT32", "INT32"] {
        let model = format!("sequence_id_{datatype}");
        let config = ModelConfig::new(&model, 4).input("x", "INT32", &[1]).output("told", "BYTES", &[1]).sequences(&format!(
            "direct {{ }} control_input [ {{ name: \"id\" control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_{datatype} }} ] \
             }} ]"
        ));
        server.load(&config, SavedModel::Small(&model));
        let largest = if datatype == "INT64" { i64::MAX as u64 } else { i32::MAX as u64 };
        for (index, id) in [1, 70_000, largest].into_iter().enumerate() {
            let x = Tensor::int32("x", &[1, 1], &[index as i32]);
            let request = InferRequest::new(vec![x]).of_sequence(json!(id), true, true);
            let answer = server.client().infer(&model, &request).expect("the request is good");
            assert_eq!(
                answer.output("told").as_strings(),
                [format!("{id} {index}").as_bytes()],
                "{datatype}"
            );
        }
    }
}

#[test]
fn inputs_that_the_server_makes_have_to_be_the_models() {
    let server = shared_server();
    let refused = |config: &ModelConfig, has: &[&str]| {
        let message = server.try_load(config, SavedModel::Small("sequence")).expect_err("it is refused");
        for part in has {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    };
    let with = |name: &str, from: &str, to: &str| {
        ModelConfig::new(name, 4)
            .input("x", "INT32", &[1])
            .output("sum", "INT32", &[1])
            .sequences(&format!("direct {{ }} {}", CONTROLS.replace(from, to)))
    };
    refused(&with("sequence_other", "\"end\"", "\"stop\""), &["'stop'", "'end' (FP32 [-1, 1])"]);
    refused(
        &with("sequence_type", "fp32_false_true", "int32_false_true"),
        &["'end'", "TYPE_FP32", "TYPE_INT32"],
    );
    let without =
        ModelConfig::new("sequence_without", 4).input("x", "INT32", &[1]).output("sum", "INT32", &[1]);
    let without = without.sequences("direct { }");
    if executable().has_option("--disable-auto-complete-config") {
        // Completed, they are inputs like others.
        server.load(&without, SavedModel::Small("sequence"));
        let x = InferRequest::new(vec![Tensor::int32("x", &[1, 1], &[1])]).of_sequence(json!(1), true, true);
        server.client().infer("sequence_without", &x).expect_err("the other inputs are missing");
    } else {
        refused(&without, &["no input", "'end'"]);
    }
}

/// Each instance has a slot of its own, and the model keeps a sum for each slot in a variable: one for each instance.
#[test]
fn instances_keep_their_sequences_apart() {
    let server = shared_server();
    let config = |name: &str, instances: u32, share: Option<&str>| {
        let config = ModelConfig::new(name, 0).input("x", "INT32", &[1]).output("sum", "INT32", &[1]);
        let controls = "control_input [ { name: \"start\" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } \
                        ] } ]";
        let config = config.instances(instances).sequences(&format!("direct {{ }} {controls}"));
        share.iter().fold(config, |config, share| config.parameter("MAX_SESSION_SHARE_COUNT", share))
    };
    let add = |model: &str, id: u64, x: i32, start: bool, end: bool| {
        let request =
            InferRequest::new(vec![Tensor::int32("x", &[1], &[x])]).of_sequence(json!(id), start, end);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let bytes = &answer.output("sum").bytes;
        i32::from_le_bytes(bytes[..].try_into().expect("one INT32"))
    };
    let keeps_apart = |model: &str, instances: u32| {
        for round in 0..3 {
            let ids: Vec<u64> = (1..=u64::from(instances)).map(|id| round * 10 + id).collect();
            for &id in &ids {
                assert_eq!(add(model, id, id as i32, true, false), id as i32, "{model}");
            }
            for &id in &ids {
                assert_eq!(add(model, id, 100, false, false), id as i32 + 100, "{model}");
            }
            for &id in ids.iter().rev() {
                assert_eq!(add(model, id, 1000, false, true), id as i32 + 1100, "{model}");
            }
        }
    };
    for (model, instances, share, sessions) in [
        ("slots_three", 3, None, 3),
        ("slots_apart", 3, Some("1"), 3),
        ("slots_in_pairs", 4, Some("2"), 2),
        ("slots_one", 1, None, 1),
    ] {
        server.load(&config(model, instances, share), SavedModel::Small("slot"));
        let told = format!("model '{model}': {sessions} sessions");
        assert_eq!(server.log().contains(&told), sessions > 1, "{told}");
        if share == Some("2") {
            // Who asks for instances to share a session has their sequences mixed.
            assert_eq!(add(model, 1, 5, true, true), 5);
            continue;
        }
        keeps_apart(model, instances);
    }
    // Newer servers add instances to the loaded model, or take some away, and do not load it again.
    server.load(&config("slots_one", 3, None), SavedModel::Small("slot"));
    keeps_apart("slots_one", 3);
    server.load(&config("slots_one", 2, None), SavedModel::Small("slot"));
    keeps_apart("slots_one", 2);
    assert!(server.log().contains("model 'slots_one': 3 sessions"));
}

#[test]
fn a_sequence_model_is_completed_without_what_the_server_makes() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "sequence_completed";
    let config = ModelConfig::new(model, 4).sequences(&format!("direct {{ }} {CONTROLS}"));
    server.load(&config.instances(1), SavedModel::Small("sequence"));
    assert_sequences(&server, model);
}
