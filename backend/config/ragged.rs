//! Ragged batches: `batch_input`, an input that the backend makes for each batch from the shapes of its requests, and
//! `batch_output`, an output that has the requests' parts one after the other. Both go with `allow_ragged_batch`.

use super::json;
use super::values::{BatchInput, BatchInputKind, BatchOutput, TensorConfig};
use crate::triton::{Error, Result};

const SCATTER_WITH_INPUT_SHAPE: &str = "BATCH_SCATTER_WITH_INPUT_SHAPE";

/// The inputs that the backend makes; `inputs` are those that clients and the server make.
///
/// # Errors
/// One is of an unknown kind or type, or it is not said for what or from what it is made.
pub fn batch_inputs(declared: &[json::BatchInput], inputs: &[TensorConfig]) -> Result<Vec<BatchInput>> {
    let mut names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let mut batch_inputs = Vec::new();
    for batch_input in declared {
        let json::BatchInput { kind, target_name: targets, data_type, source_input } = batch_input;
        let place = place("batch_input", targets)?;
        // Protobuf's JSON may leave out the first value of an enum.
        let kind = if kind.is_empty() { BatchInputKind::ALL[0].name() } else { kind };
        let kind = BatchInputKind::from_name(kind).ok_or_else(|| {
            let known: Vec<_> = BatchInputKind::ALL.iter().map(|kind| kind.name()).collect();
            Error::unsupported(format!("{place}: expected a kind of {}, found '{kind}'", known.join(", ")))
        })?;
        if !["TYPE_INT32", "TYPE_FP32"].contains(&data_type.as_str()) {
            return Err(Error::invalid(format!(
                "{place}: expected data_type TYPE_INT32 or TYPE_FP32, found '{data_type}'"
            )));
        }
        let source = source(&place, source_input)?;
        for target in targets {
            if names.contains(&target.as_str()) {
                return Err(Error::invalid(format!(
                    "{place}: the input '{target}' is declared more than once, as a target_name or otherwise: keep one of \
                     the declarations"
                )));
            }
            names.push(target);
        }
        batch_inputs.push(BatchInput {
            kind,
            targets: targets.clone(),
            data_type: data_type.clone(),
            source,
        });
    }
    Ok(batch_inputs)
}

/// The outputs that have the requests' parts one after the other. Marks those of `outputs` as ragged.
///
/// # Errors
/// One is of an unknown kind or no output, or it is not said which input has the sizes of its parts.
pub fn batch_outputs(
    declared: &[json::BatchOutput],
    outputs: &mut [TensorConfig],
) -> Result<Vec<BatchOutput>> {
    let mut batch_outputs = Vec::new();
    for json::BatchOutput { kind, target_name: targets, source_input } in declared {
        let place = place("batch_output", targets)?;
        if !["", SCATTER_WITH_INPUT_SHAPE].contains(&kind.as_str()) {
            return Err(Error::unsupported(format!(
                "{place}: expected the kind {SCATTER_WITH_INPUT_SHAPE}, found '{kind}'"
            )));
        }
        let source = source(&place, source_input)?;
        for target in targets {
            // Of such an output nothing can be completed: its shape is not the signature's.
            let output = outputs.iter_mut().find(|output| output.name == *target).ok_or_else(|| {
                Error::invalid(format!(
                    "{place}: expected outputs that config.pbtxt declares, found '{target}': declare it, with the shape \
                     that a request's part has behind the batch dimension"
                ))
            })?;
            if std::mem::replace(&mut output.is_ragged, true) {
                return Err(Error::invalid(format!(
                    "{place}: '{target}' is a target_name more than once: keep one of them"
                )));
            }
        }
        batch_outputs.push(BatchOutput { targets: targets.clone(), source });
    }
    Ok(batch_outputs)
}

/// What a message of this field is called.
fn place(field: &str, targets: &[String]) -> Result<String> {
    if targets.is_empty() {
        return Err(Error::invalid(format!(
            "a {field} of config.pbtxt has no target_name: name the tensors of the model that it is for"
        )));
    }
    Ok(format!("the {field} of config.pbtxt for '{}'", targets.join("', '")))
}

fn source(place: &str, sources: &[String]) -> Result<String> {
    match sources {
        [source] => Ok(source.clone()),
        _ => Err(Error::invalid(format!("{place}: expected one source_input, found {}", sources.len()))),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn tensor(name: &str) -> TensorConfig {
        TensorConfig {
            name: name.into(),
            data_type: "TYPE_FP32".into(),
            dims: vec![-1],
            ..TensorConfig::default()
        }
    }

    fn inputs(declared: Value) -> Result<Vec<BatchInput>> {
        batch_inputs(&Vec::deserialize(declared).expect("the server's JSON"), &[tensor("x"), tensor("z")])
    }

    fn outputs(declared: Value) -> Result<(Vec<BatchOutput>, [TensorConfig; 2])> {
        let mut outputs = [tensor("y"), tensor("other")];
        let read = batch_outputs(&Vec::deserialize(declared).expect("the server's JSON"), &mut outputs)?;
        Ok((read, outputs))
    }

    #[test]
    fn every_kind_of_batch_input_is_read() {
        for &kind in BatchInputKind::ALL {
            let declared = json!([{
                "kind": kind.name(), "target_name": ["a", "b"], "data_type": "TYPE_INT32", "source_input": ["x"],
            }]);
            let expected = BatchInput {
                kind,
                targets: vec!["a".into(), "b".into()],
                data_type: "TYPE_INT32".into(),
                source: "x".into(),
            };
            assert_eq!(inputs(declared).unwrap(), [expected]);
        }
        let first = json!([{"target_name": ["a"], "data_type": "TYPE_FP32", "source_input": ["x"]}]);
        assert_eq!(inputs(first).unwrap()[0].kind, BatchInputKind::ElementCount);
        assert_eq!(inputs(json!([])).unwrap(), []);
    }

    #[test]
    fn a_wrong_batch_input_is_refused_with_what_was_expected() {
        let kind = "BATCH_ELEMENT_COUNT";
        let good =
            || json!({"kind": kind, "target_name": ["a"], "data_type": "TYPE_INT32", "source_input": ["x"]});
        let with = |field: &str, value: Value| {
            let mut input = good();
            input[field] = value;
            json!([input])
        };
        for (declared, parts) in [
            (with("kind", json!("BATCH_ODD")), ["BATCH_ITEM_SHAPE_FLATTEN", "found 'BATCH_ODD'"]),
            (with("data_type", json!("TYPE_INT64")), ["TYPE_INT32 or TYPE_FP32", "found 'TYPE_INT64'"]),
            (with("source_input", json!([])), ["'a'", "one source_input, found 0"]),
            (with("source_input", json!(["x", "z"])), ["'a'", "one source_input, found 2"]),
            (with("source_input", Value::Null), ["'a'", "found 0"]),
            (with("target_name", json!([])), ["a batch_input of config.pbtxt", "no target_name"]),
            (with("target_name", json!(["z"])), ["for 'z'", "the input 'z' is declared more than once"]),
            (with("target_name", json!(["a", "a"])), ["for 'a', 'a'", "more than once"]),
            (json!([good(), good()]), ["for 'a'", "more than once"]),
        ] {
            let error = inputs(declared).unwrap_err().message;
            for part in parts {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn batch_outputs_are_ragged() {
        for kind in [json!(SCATTER_WITH_INPUT_SHAPE), Value::Null] {
            let (read, [y, other]) =
                outputs(json!([{"kind": kind, "target_name": ["y"], "source_input": ["x"]}])).unwrap();
            assert_eq!(read, [BatchOutput { targets: vec!["y".into()], source: "x".into() }]);
            assert!(y.is_ragged && !other.is_ragged);
        }
    }

    #[test]
    fn a_wrong_batch_output_is_refused_with_what_was_expected() {
        let good = || json!({"kind": SCATTER_WITH_INPUT_SHAPE, "target_name": ["y"], "source_input": ["x"]});
        let with = |field: &str, value: Value| {
            let mut output = good();
            output[field] = value;
            json!([output])
        };
        for (declared, parts) in [
            (with("kind", json!("BATCH_ODD")), ["BATCH_SCATTER_WITH_INPUT_SHAPE", "found 'BATCH_ODD'"]),
            (with("target_name", json!(["n"])), ["outputs that config.pbtxt declares", "found 'n'"]),
            (with("target_name", json!([])), ["a batch_output of config.pbtxt", "no target_name"]),
            (with("source_input", json!(["x", "z"])), ["for 'y'", "found 2"]),
            (json!([good(), good()]), ["for 'y'", "more than once"]),
        ] {
            let error = outputs(declared).unwrap_err().message;
            for part in parts {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
