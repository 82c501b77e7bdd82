//! Triton's JSON of a model configuration as protobuf text, the language of `config.pbtxt`.
//!
//! JSON has lost which strings are names of an enumeration or 64-bit integers, and which objects are maps. The
//! field names tell, in all of Triton's `ModelConfig`.

use std::fmt::Write;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value};

/// Fields whose strings are names of an enumeration. `priority` is a number in a rate limiter.
const ENUMERATIONS: [&str; 5] = ["data_type", "kind", "format", "priority", "timeout_action"];

/// Fields of 64-bit integers, which protobuf's JSON writes as strings.
const INTEGERS: [&str; 11] = [
    "dims",
    "shape",
    "dim",
    "versions",
    "model_version",
    "device_id",
    "max_queue_delay_microseconds",
    "default_timeout_microseconds",
    "max_sequence_idle_microseconds",
    "priority_levels",
    "default_priority_level",
];

/// Fields that are maps. `input` is one in the specification of a CUDA graph, and a list elsewhere.
const MAPS: [&str; 8] = [
    "parameters",
    "cc_model_filenames",
    "metric_tags",
    "input_map",
    "output_map",
    "inputs",
    "input",
    NUMBERED_MAP,
];

/// The one map whose keys are numbers.
const NUMBERED_MAP: &str = "priority_queue_policy";

/// The text of a `config.pbtxt`, from the configuration as `GET v2/models/NAME/config` answers it. Empty lists and
/// maps are left out; an empty message stays, for there being one means something (`dynamic_batching { }`).
///
/// # Errors
///
/// When it is no object, or a list holds what no field of protobuf can.
pub fn to_pbtxt(config: &Value) -> Result<String> {
    let Value::Object(fields) = config else {
        bail!("a model's configuration is a JSON object, not {config}");
    };
    let mut text = String::new();
    write_fields(&mut text, fields, 0)?;
    Ok(text)
}

fn write_fields(text: &mut String, fields: &Map<String, Value>, depth: usize) -> Result<()> {
    for (name, value) in fields {
        ensure!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "'{name}' cannot be a field of a model's configuration; field names have letters, digits and '_' only"
        );
        match value {
            Value::Object(entries) if MAPS.contains(&name.as_str()) => {
                for (key, value) in entries {
                    write_entry(text, name, key, value, depth)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    write_field(text, name, item, depth)?;
                }
            }
            Value::Null => {}
            single => write_field(text, name, single, depth)?,
        }
    }
    Ok(())
}

fn write_entry(text: &mut String, map: &str, key: &str, value: &Value, depth: usize) -> Result<()> {
    let key = if map == NUMBERED_MAP { key.to_owned() } else { quoted(key) };
    line(text, depth, &format!("{map} {{"));
    line(text, depth + 1, &format!("key: {key}"));
    write_field(text, "value", value, depth + 1)?;
    line(text, depth, "}");
    Ok(())
}

fn write_field(text: &mut String, name: &str, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Object(fields) => {
            line(text, depth, &format!("{name} {{"));
            write_fields(text, fields, depth + 1)?;
            line(text, depth, "}");
        }
        Value::String(string) if is_bare(name, string) => line(text, depth, &format!("{name}: {string}")),
        Value::String(string) => line(text, depth, &format!("{name}: {}", quoted(string))),
        Value::Number(_) | Value::Bool(_) => line(text, depth, &format!("{name}: {value}")),
        Value::Array(_) | Value::Null => {
            bail!("the list '{name}' of a model's configuration holds {value}, which protobuf cannot express")
        }
    }
    Ok(())
}

/// Whether the string stands for something that is not written in quotes.
fn is_bare(name: &str, string: &str) -> bool {
    let is_name = !string.is_empty()
        && string.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    (ENUMERATIONS.contains(&name) && is_name) || (INTEGERS.contains(&name) && string.parse::<i128>().is_ok())
}

fn quoted(string: &str) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    text.push('"');
    for character in string.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            // Three octal digits, so that a digit that follows is not taken for one of them.
            control if control.is_ascii_control() => {
                write!(text, "\\{:03o}", u32::from(control)).expect("a string takes everything");
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

fn line(text: &mut String, depth: usize, content: &str) {
    writeln!(text, "{:1$}{content}", "", 2 * depth).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// On one line, for reading.
    fn text(config: Value) -> String {
        let text = to_pbtxt(&config).unwrap();
        text.split('\n').map(str::trim_start).collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    #[test]
    fn enumerations_and_numbers_are_bare_and_strings_quoted() {
        assert_eq!(text(json!({ "name": "KIND_CPU" })), r#"name: "KIND_CPU""#);
        assert_eq!(
            text(
                json!({ "input": [{ "data_type": "TYPE_FP32", "dims": ["-1", 16], "name": "x", "optional": false }] })
            ),
            r#"input { data_type: TYPE_FP32 dims: -1 dims: 16 name: "x" optional: false }"#
        );
        assert_eq!(
            text(
                json!({ "instance_group": [{ "count": 2, "gpus": [], "kind": "KIND_CPU", "profile": ["0"] }] })
            ),
            r#"instance_group { count: 2 kind: KIND_CPU profile: "0" }"#
        );
        assert_eq!(
            text(
                json!({ "optimization": { "priority": "PRIORITY_MAX" }, "rate_limiter": { "priority": 2 } })
            ),
            "optimization { priority: PRIORITY_MAX } rate_limiter { priority: 2 }"
        );
    }

    #[test]
    fn an_empty_message_stays_and_an_empty_list_or_map_goes() {
        let config = json!({
            "dynamic_batching": {}, "metric_tags": {}, "model_warmup": [], "sequence_batching": null,
            "version_policy": { "all": {} },
        });
        assert_eq!(text(config), "dynamic_batching { } version_policy { all { } }");
    }

    #[test]
    fn maps_are_entries() {
        assert_eq!(
            text(json!({ "parameters": { "kind": { "string_value": "DELAY" } } })),
            r#"parameters { key: "kind" value { string_value: "DELAY" } }"#
        );
        assert_eq!(
            text(json!({ "cc_model_filenames": { "7.5": "a.plan", "8.0": "b.plan" } })),
            r#"cc_model_filenames { key: "7.5" value: "a.plan" } cc_model_filenames { key: "8.0" value: "b.plan" }"#
        );
        assert_eq!(
            text(
                json!({ "priority_queue_policy": { "2": { "default_timeout_microseconds": "5", "timeout_action": "DELAY" } } })
            ),
            "priority_queue_policy { key: 2 value { default_timeout_microseconds: 5 timeout_action: DELAY } }"
        );
        assert_eq!(
            text(json!({ "graph_spec": [{ "batch_size": 4, "input": { "x": { "dim": ["3"] } } }] })),
            r#"graph_spec { batch_size: 4 input { key: "x" value { dim: 3 } } }"#
        );
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(text(json!({ "name": "a \"b\" \\ \n\u{1}2 ü" })), r#"name: "a \"b\" \\ \n\0012 ü""#);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let refusal = |config| to_pbtxt(&config).unwrap_err().to_string();
        assert!(refusal(json!([1])).contains("JSON object"));
        assert!(refusal(json!({ "dims": [[1]] })).contains("'dims'"));
        assert!(refusal(json!({ "x: 1 y": 1 })).contains("'x: 1 y'"));
    }
}
