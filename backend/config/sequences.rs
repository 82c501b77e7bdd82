//! `sequence_batching`: the inputs that the server makes itself, to tell a model where in its sequence a request is.

use super::json::{ControlInput, SequenceBatching};
use super::values::TensorConfig;
use crate::triton::{Error, Result};

const CORRELATION_ID: &str = "CONTROL_SEQUENCE_CORRID";

/// The inputs that `sequences` declares. Of each, a request has one element.
///
/// # Errors
/// It asks for what this backend does not honour, or leaves open what an input is.
pub fn controls(sequences: &SequenceBatching) -> Result<Vec<TensorConfig>> {
    for (is_set, what, advice) in [
        (
            !sequences.state.is_empty(),
            "'state'",
            "keep the state in variables of the model, by the correlation id",
        ),
        (
            sequences.iterative_sequence,
            "'iterative_sequence'",
            "remove it: each request is one run of the model",
        ),
    ] {
        if is_set {
            return Err(Error::unsupported(format!(
                "config.pbtxt asks for {what} of 'sequence_batching', which this backend does not support: {advice}"
            )));
        }
    }
    sequences.control_input.iter().map(control).collect()
}

fn control(input: &ControlInput) -> Result<TensorConfig> {
    let name = &input.name;
    let [control] = &input.control[..] else {
        return Err(Error::invalid(format!(
            "the control_input '{name}' of config.pbtxt: expected one control, found {}",
            input.control.len()
        )));
    };
    let values = [
        ("TYPE_INT32", control.int32_false_true.len()),
        ("TYPE_FP32", control.fp32_false_true.len()),
        ("TYPE_BOOL", control.bool_false_true.len()),
    ];
    let data_type = if control.kind == CORRELATION_ID {
        control.data_type.as_str()
    } else {
        values.into_iter().find(|(_, count)| *count > 0).map_or("", |(data_type, _)| data_type)
    };
    if data_type.is_empty() {
        return Err(Error::invalid(format!(
            "the control_input '{name}' of config.pbtxt ({}) has no type: expected int32_false_true, fp32_false_true or \
             bool_false_true, or data_type for {CORRELATION_ID}",
            control.kind
        )));
    }
    Ok(TensorConfig {
        name: name.clone(),
        data_type: data_type.into(),
        dims: vec![1],
        ..TensorConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn read(sequences: serde_json::Value) -> Result<Vec<TensorConfig>> {
        controls(&SequenceBatching::deserialize(sequences).expect("the server's JSON"))
    }

    fn input(control: serde_json::Value) -> serde_json::Value {
        json!({"control_input": [{"name": "c", "control": [control]}]})
    }

    #[test]
    fn controls_are_inputs_of_one_element() {
        for (control, data_type) in [
            (json!({"kind": "CONTROL_SEQUENCE_START", "int32_false_true": [0, 1]}), "TYPE_INT32"),
            (json!({"kind": "CONTROL_SEQUENCE_END", "fp32_false_true": [0, 1.5]}), "TYPE_FP32"),
            (json!({"kind": "CONTROL_SEQUENCE_READY", "bool_false_true": [false, true]}), "TYPE_BOOL"),
            (json!({"kind": "CONTROL_SEQUENCE_CORRID", "data_type": "TYPE_UINT64"}), "TYPE_UINT64"),
            (json!({"kind": "CONTROL_SEQUENCE_CORRID", "data_type": "TYPE_STRING"}), "TYPE_STRING"),
        ] {
            let expected = TensorConfig {
                name: "c".into(),
                data_type: data_type.into(),
                dims: vec![1],
                ..TensorConfig::default()
            };
            assert_eq!(read(input(control)).unwrap(), [expected]);
        }
        assert_eq!(read(json!({})).unwrap(), []);
        assert_eq!(read(json!({"direct": {}, "control_input": null, "state": null})).unwrap(), []);
    }

    #[test]
    fn what_is_not_honoured_or_has_no_type_is_refused() {
        for (sequences, part) in [
            (json!({"state": [{"input_name": "s"}]}), "'state'"),
            (json!({"iterative_sequence": true}), "'iterative_sequence'"),
            (input(json!({"kind": "CONTROL_SEQUENCE_START"})), "(CONTROL_SEQUENCE_START) has no type"),
            (input(json!({"kind": "CONTROL_SEQUENCE_CORRID", "int32_false_true": [0, 1]})), "has no type"),
            (json!({"control_input": [{"name": "c"}]}), "expected one control, found 0"),
        ] {
            let error = read(sequences).unwrap_err().message;
            assert!(error.contains(part), "{error}");
        }
    }
}
