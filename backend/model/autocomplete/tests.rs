//! Configurations completed as the former backend did, and its words where they cannot be.

use super::*;
use crate::triton::{Code, DataType, Error};

fn endpoint(name: &str, datatype: Option<DataType>, dims: Option<&[i64]>) -> Endpoint {
    Endpoint {
        name: name.into(),
        datatype,
        type_name: "FP32".into(),
        dims: dims.map(<[i64]>::to_vec),
        place: (name.into(), 0),
        default: None,
    }
}

fn fp32(name: &str, dims: &[i64]) -> Endpoint {
    endpoint(name, Some(DataType::Fp32), Some(dims))
}

/// The options of the backend that Triton used to ship, in whose place this one is.
fn drop_in() -> BackendOptions {
    BackendOptions { is_drop_in: true, latency_outputs: false, ..BackendOptions::default() }
}

fn complete_by(options: &BackendOptions, of: [&[Endpoint]; 2], config: Value) -> Result<Option<Value>> {
    let mut json = config;
    let config = ModelConfig::from_json(&json, options)?;
    let signature = Signature { model: "m", inputs: of[0], outputs: of[1] };
    Ok(autocomplete(&mut json, &config, signature, options)?.then_some(json))
}

fn complete(of: [&[Endpoint]; 2], config: Value) -> Result<Option<Value>> {
    complete_by(&drop_in(), of, config)
}

fn tensor(name: &str, dims: &[i64]) -> Value {
    json!({ "name": name, "data_type": "TYPE_FP32", "dims": dims })
}

fn ab_to_c() -> [Vec<Endpoint>; 2] {
    [vec![fp32("a", &[-1, 16]), fp32("b", &[-1, 16])], vec![fp32("c", &[-1, 16]), fp32("d", &[-1, 4])]]
}

fn batched() -> Value {
    json!({
        "max_batch_size": 4,
        "input": [tensor("a", &[16]), tensor("b", &[16])],
        "output": [tensor("c", &[16]), tensor("d", &[4])],
        "dynamic_batching": {},
    })
}

fn whole() -> Value {
    json!({
        "max_batch_size": 0,
        "input": [tensor("a", &[-1, 16]), tensor("b", &[-1, 16])],
        "output": [tensor("c", &[-1, 16]), tensor("d", &[-1, 4])],
    })
}

#[test]
fn an_empty_configuration_has_all_of_the_signature() {
    let [inputs, outputs] = &ab_to_c();
    let of = [&inputs[..], outputs];
    for nothing in [json!({}), json!({"input": [], "output": [], "max_batch_size": 0})] {
        assert_eq!(complete(of, nothing).unwrap(), Some(batched()));
    }
    // What is whole stays as it is; so does who makes batches.
    assert_eq!(complete(of, batched()).unwrap(), None);
    let sequences = json!({"max_batch_size": 4, "sequence_batching": {}});
    let completed = complete(of, sequences).unwrap().unwrap();
    assert!(completed.get("dynamic_batching").is_none());
    let own = json!({"parameters": {"batching": {"string_value": "adaptive"}}});
    let completed = complete(of, own).unwrap().unwrap();
    assert_eq!((&completed["max_batch_size"], completed.get("dynamic_batching")), (&json!(4), None));
}

#[test]
fn what_is_declared_says_whether_there_are_batches() {
    let [inputs, outputs] = &ab_to_c();
    let of = [&inputs[..], outputs];
    let first = |declared: Value| complete(of, declared).map(|json| json.unwrap()["input"][0].clone());
    for declared in [
        json!({"input": [{"name": "a"}]}),
        json!({"input": [{"name": "a", "data_type": "TYPE_INVALID", "dims": []}]}),
        json!({"input": [tensor("a", &[16])]}),
        json!({"output": [{"name": "c"}]}),
        json!({"output": [{"name": "d", "dims": ["4"]}]}),
    ] {
        assert_eq!(first(declared.clone()).unwrap(), tensor("a", &[16]), "{declared}");
    }
    for declared in [
        json!({"input": [{"name": "a", "dims": [-1, 16]}]}),
        json!({"input": [{"name": "a"}, tensor("b", &[-1, 16])]}),
        json!({"output": [{"name": "c", "data_type": "TYPE_FP32"}, {"name": "d", "dims": [-1, 4]}]}),
    ] {
        let completed = complete(of, declared.clone()).unwrap().unwrap();
        assert_eq!(completed["input"], whole()["input"], "{declared}");
        assert_eq!((completed.get("dynamic_batching"), completed["max_batch_size"].as_i64()), (None, None));
    }
    let both = json!({"input": [tensor("a", &[16])], "output": [tensor("c", &[-1, 16])]});
    let error = complete(of, both).unwrap_err().message;
    assert!(error.contains("contradicting") && error.contains("'a'") && error.contains("'c'"), "{error}");
}

#[test]
fn fewer_inputs_are_completed_and_fewer_outputs_are_a_choice() {
    let [inputs, outputs] = &ab_to_c();
    let of = [&inputs[..], outputs];
    let declared = json!({"max_batch_size": 1, "input": [tensor("b", &[16])], "output": [tensor("d", &[4])]});
    let completed = complete(of, declared).unwrap().unwrap();
    assert_eq!(completed["input"], json!([tensor("b", &[16]), tensor("a", &[16])]));
    assert_eq!(completed["output"], json!([tensor("d", &[4])]));
    assert!(completed.get("dynamic_batching").is_none(), "one row needs no batcher");
    // Latency outputs are none of the model's.
    let latency = json!({"name": "compute_latency_ns", "data_type": "TYPE_INT64", "dims": [1]});
    let completed = complete(of, json!({ "output": [latency] })).unwrap().unwrap();
    assert_eq!(completed["output"], json!([latency, tensor("c", &[16]), tensor("d", &[4])]));
    assert_eq!(completed["max_batch_size"], 4);
    let half = complete(of, json!({"output": [{"name": "compute_latency_ns"}]})).unwrap().unwrap();
    assert_eq!(half["output"], completed["output"]);
    // A name that is none is told later, beside what there is.
    let unknown = json!({"input": [{"name": "z"}]});
    assert_eq!(complete(of, unknown).unwrap().unwrap()["input"][0], json!({"name": "z"}));
}

#[test]
fn a_signature_without_a_batch_dimension_has_no_batches() {
    let (inputs, outputs) = ([fp32("a", &[2, 3])], [fp32("c", &[-1])]);
    let of = [&inputs[..], &outputs[..]];
    let completed = complete(of, json!({})).unwrap().unwrap();
    assert_eq!(completed, json!({"input": [tensor("a", &[2, 3])], "output": [tensor("c", &[-1])]}));
    let error = complete(of, json!({"max_batch_size": 8})).unwrap_err();
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("configuration specified max-batch 8 but"), "{error}");
    // The same where nothing is left to complete; under our own name what is declared is held against the signature later.
    let declared = json!({"max_batch_size": 8, "input": [tensor("a", &[3])], "output": [tensor("c", &[1])]});
    let error = complete(of, declared.clone()).unwrap_err();
    assert!(error.message.contains("configuration specified max-batch 8 but"), "{error}");
    assert_eq!(complete_by(&BackendOptions::default(), of, declared).unwrap(), None);
    // An output that nobody declares may have what it likes.
    let (inputs, outputs) = ([fp32("a", &[-1, 3])], [fp32("c", &[-1, 1]), fp32("d", &[3])]);
    let declared = json!({"max_batch_size": 8, "input": [tensor("a", &[3])], "output": [tensor("c", &[1])]});
    complete([&inputs, &outputs], declared).unwrap();
    let no_batches = BackendOptions { default_max_batch_size: 0, ..drop_in() };
    let [inputs, outputs] = &ab_to_c();
    let completed = complete_by(&no_batches, [inputs, outputs], json!({})).unwrap().unwrap();
    assert_eq!((&completed["input"], completed.get("dynamic_batching")), (&whole()["input"], None));
}

#[test]
fn what_is_ragged_has_batches_and_inputs_of_the_backend_s_own() {
    let inputs = [fp32("a", &[-1]), fp32("b", &[-1, 4]), fp32("count", &[-1])];
    let outputs = [fp32("c", &[-1, 2])];
    let ragged = json!({
        "input": [{"name": "a", "dims": [-1], "allow_ragged_batch": true}],
        "batch_input": [{
            "kind": "BATCH_ELEMENT_COUNT", "target_name": ["count"], "data_type": "TYPE_FP32", "source_input": ["a"],
        }],
    });
    let completed = complete([&inputs, &outputs], ragged).unwrap().unwrap();
    assert_eq!(completed["max_batch_size"], 4);
    let a = json!({"name": "a", "dims": [-1], "allow_ragged_batch": true, "data_type": "TYPE_FP32"});
    assert_eq!(completed["input"], json!([a, tensor("b", &[4])]));
    assert_eq!(completed["output"], json!([tensor("c", &[2])]));
}

#[test]
fn a_row_without_dims_is_reshaped_to_nothing() {
    let (inputs, outputs) = ([fp32("a", &[-1])], [fp32("c", &[-1, 2])]);
    let completed = complete([&inputs, &outputs], json!({"input": [{"name": "a"}]})).unwrap().unwrap();
    let reshaped = json!({"name": "a", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}});
    assert_eq!(completed["input"], json!([reshaped]));
    // A reshape of the user's own stays.
    let own = json!({"max_batch_size": 8, "input": [
        {"name": "a", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}]});
    assert_eq!(complete([&inputs, &outputs], own.clone()).unwrap().unwrap()["input"], own["input"]);
}

#[test]
fn what_the_signature_leaves_open_has_to_be_declared() {
    let open = [endpoint("a", Some(DataType::Fp32), None)];
    let rows = [fp32("c", &[-1, 2])];
    let quantised = [endpoint("q", None, Some(&[-1]))];
    let refused = |of, config| -> Error { complete(of, config).unwrap_err() };
    let error = refused([&quantised[..], &rows], json!({}));
    assert_eq!(error.code, Code::Unsupported);
    let begins = "unable to autofill for 'm': the configuration cannot be completed";
    assert!(error.message.starts_with(begins) && error.message.contains("input 'q'"), "{error}");
    // The former backend's words for what has no rank, and for scalars.
    let own = BackendOptions { latency_outputs: false, ..BackendOptions::default() };
    for tensor in [&open[0], &fp32("a", &[])] {
        let begins =
            "Unable to autofill for 'm': the rank of model tensor 'a' is 0 and dimensions are not defined";
        let tensor = std::slice::from_ref(tensor);
        for (of, config) in [
            ([tensor, &rows], json!({})),
            ([tensor, &rows], json!({"input": [{"name": "a", "data_type": "TYPE_FP32"}]})),
            ([&rows, tensor], json!({"output": [{"name": "a"}]})),
        ] {
            let error = refused(of, config.clone());
            assert_eq!(error.code, Code::InvalidArg);
            assert!(error.message.starts_with(begins), "{error}");
            let is_scalar = tensor[0].dims.is_some();
            assert_eq!(
                complete_by(&own, of, config).is_ok(),
                is_scalar,
                "a scalar is completed under our own name"
            );
        }
        let error = refused([&rows, tensor], json!({}));
        let begins = "Unable to autofill for 'm': the rank of model tensor 'a' is 0 which is not supported";
        assert!(error.message.starts_with(begins), "{error}");
        complete_by(&own, [&rows, tensor], json!({})).unwrap();
    }
    let declared = json!({"input": [tensor("a", &[7])]});
    let completed = complete([&open, &rows], declared).unwrap().unwrap();
    assert_eq!(completed["output"], json!([tensor("c", &[-1, 2])]), "nothing says that there are batches");
    // A scalar has no rows.
    let (a, c) = ([fp32("a", &[])], [fp32("c", &[])]);
    let completed = complete_by(&own, [&a, &c], json!({})).unwrap().unwrap();
    assert_eq!(completed, json!({"input": [tensor("a", &[1])], "output": [tensor("c", &[1])]}));
    // An output is left out.
    let completed = complete([&rows, &quantised], json!({})).unwrap().unwrap();
    assert_eq!(completed["output"], json!([]));
}

#[test]
fn latency_outputs_come_where_no_output_is_declared() {
    let (inputs, outputs) = ([fp32("a", &[-1, 2])], [fp32("c", &[-1, 2])]);
    let own = BackendOptions::default();
    let names = |config| -> Vec<String> {
        let json = complete_by(&own, [&inputs, &outputs], config).unwrap().unwrap();
        tensors(&json, "output").iter().map(|output| output["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(json!({})).len() == 7 && names(json!({}))[0] == "c");
    assert_eq!(names(json!({"output": [{"name": "c"}]})), ["c"]);
    // A scheduler is added where the batches are.
    let declared = json!({"max_batch_size": 8, "input": [tensor("a", &[2])], "output": [tensor("c", &[2])]});
    assert_eq!(complete_by(&own, [&inputs, &outputs], declared).unwrap(), None);
}
