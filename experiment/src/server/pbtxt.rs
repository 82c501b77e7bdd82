//! A model's configuration as `config.pbtxt` has it: protobuf's text format.

use std::fmt::Write;

use anyhow::{Result, bail};
use serde_json::Value;

/// Fields of `ModelConfig` that are maps: their keys are data.
const MAPS: [&str; 6] =
    ["parameters", "cc_model_filenames", "metric_tags", "input_map", "output_map", "inputs"];

/// Fields whose strings are names of an enumeration, which stand without quotes.
const ENUMERATIONS: [&str; 6] =
    ["data_type", "format", "kind", "priority", "default_priority_level_kind", "timeout_action"];

/// Triton's JSON of a `ModelConfig` in protobuf's text format. What is empty is left out.
///
/// # Errors
/// The value is no object, or has a null within a list.
pub fn to_pbtxt(config: &Value) -> Result<String> {
    let Value::Object(fields) = config else { bail!("a configuration is a JSON object, found {config}") };
    let mut text = String::new();
    for (name, value) in fields {
        field(&mut text, name, value, "")?;
    }
    Ok(text)
}

fn field(text: &mut String, name: &str, value: &Value, indent: &str) -> Result<()> {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            for item in items {
                field(text, name, item, indent)?;
            }
        }
        Value::Object(entries) if MAPS.contains(&name) => {
            let deeper = format!("{indent}  ");
            for (key, value) in entries {
                writeln!(text, "{indent}{name} {{\n{deeper}key: {}", quoted(key))?;
                field(text, "value", value, &deeper)?;
                writeln!(text, "{indent}}}")?;
            }
        }
        // A message may be empty and still say something: `dynamic_batching {}`.
        Value::Object(fields) => {
            writeln!(text, "{indent}{name} {{")?;
            for (name, value) in fields {
                field(text, name, value, &format!("{indent}  "))?;
            }
            writeln!(text, "{indent}}}")?;
        }
        Value::String(string) if is_bare(name, string) => writeln!(text, "{indent}{name}: {string}")?,
        Value::String(string) if string.is_empty() => {}
        Value::String(string) => writeln!(text, "{indent}{name}: {}", quoted(string))?,
        Value::Bool(_) | Value::Number(_) => writeln!(text, "{indent}{name}: {value}")?,
    }
    Ok(())
}

/// Names of enumerations, and 64-bit integers that came as strings.
fn is_bare(name: &str, string: &str) -> bool {
    let enumeration = ENUMERATIONS.contains(&name) && !string.is_empty();
    let integer = name != "string_value" && name.ends_with("_microseconds") && string.parse::<u64>().is_ok();
    enumeration || integer
}

fn quoted(string: &str) -> String {
    let mut text = String::from("\"");
    for byte in string.bytes() {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            0x20..0x7f => text.push(byte.into()),
            other => write!(text, "\\{other:03o}").expect("a string takes what is written"),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_field_is_written_as_protobuf_has_it() {
        let config = json!({
            "name": "m \"1\"",
            "platform": "",
            "max_batch_size": 8,
            "input": [{ "name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3], "is_shape_tensor": false }],
            "output": [],
            "instance_group": [{ "kind": "KIND_CPU", "count": 2, "gpus": [] }],
            "dynamic_batching": {},
            "default_queue_policy": { "default_timeout_microseconds": "5", "timeout_action": "REJECT" },
            "parameters": { "a": { "string_value": "7" } },
            "metric_tags": { "k": "v" },
            "version_policy": null
        });
        let lines = [
            "default_queue_policy {",
            "  default_timeout_microseconds: 5",
            "  timeout_action: REJECT",
            "}",
            "dynamic_batching {",
            "}",
            "input {",
            "  data_type: TYPE_FP32",
            "  dims: -1",
            "  dims: 3",
            "  is_shape_tensor: false",
            "  name: \"x\"",
            "}",
            "instance_group {",
            "  count: 2",
            "  kind: KIND_CPU",
            "}",
            "max_batch_size: 8",
            "metric_tags {",
            "  key: \"k\"",
            "  value: \"v\"",
            "}",
            "name: \"m \\\"1\\\"\"",
            "parameters {",
            "  key: \"a\"",
            "  value {",
            "    string_value: \"7\"",
            "  }",
            "}",
        ];
        let text = to_pbtxt(&config).unwrap();
        let mut found: Vec<&str> = text.lines().collect();
        // The order of fields says nothing; within a block it follows the JSON's.
        let mut expected = lines.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn other_letters_are_escaped_byte_by_byte() {
        assert_eq!(quoted("ü\\\n"), r#""\303\274\\\n""#);
        assert!(to_pbtxt(&json!([])).is_err());
    }
}
