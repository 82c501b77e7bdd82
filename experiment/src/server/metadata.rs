//! What a server says about itself and its models.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// `GET v2`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerMetadata {
    /// "triton", unless it was started with another `--id`.
    pub name: String,
    /// Of the server, for instance "2.51.0".
    pub version: String,
    /// Protocol extensions it offers.
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// `GET v2/models/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelMetadata {
    /// Its name.
    pub name: String,
    /// Versions that are ready.
    pub versions: Vec<String>,
    /// Backend or framework; may be empty.
    pub platform: String,
    /// In the server's order.
    pub inputs: Vec<TensorMetadata>,
    /// In the server's order.
    pub outputs: Vec<TensorMetadata>,
    /// All of it, as the server wrote it.
    pub raw: Value,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// The protocol's name, for instance "FP32" or "BYTES".
    pub datatype: String,
    /// With the batch dimension, if the model has one; -1 is any size.
    pub shape: Vec<i64>,
}

impl ModelMetadata {
    pub(super) fn parse(raw: Value) -> Result<Self> {
        let strings = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let tensors = |field: &str| -> Result<Vec<TensorMetadata>> {
            let all = raw[field].as_array().with_context(|| format!("it has no list '{field}'"))?;
            all.iter().map(|one| TensorMetadata::parse(one, field)).collect()
        };
        Ok(Self {
            name: raw["name"].as_str().context("it has no 'name'")?.to_owned(),
            versions: strings(&raw["versions"]),
            platform: raw["platform"].as_str().unwrap_or_default().to_owned(),
            inputs: tensors("inputs")?,
            outputs: tensors("outputs")?,
            raw,
        })
    }
}

impl TensorMetadata {
    fn parse(raw: &Value, field: &str) -> Result<Self> {
        let text = |key: &str| {
            raw[key].as_str().map(str::to_owned).with_context(|| format!("one of its {field} has no '{key}'"))
        };
        let name = text("name")?;
        let shape =
            raw["shape"].as_array().with_context(|| format!("'{name}' in its {field} has no 'shape'"))?;
        let shape = shape.iter().map(integer).collect::<Option<_>>();
        let shape =
            shape.with_context(|| format!("the shape of '{name}' in its {field} holds no integers"))?;
        Ok(Self { name, datatype: text("datatype")?, shape })
    }
}

/// An integer. Protobuf's JSON has 64-bit integers as strings, and some servers pass that on.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_read_in_full() {
        let raw = json!({
            "name": "add_one", "versions": ["1", "3"], "platform": "",
            "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, "16"] }],
            "outputs": [],
        });
        let model = ModelMetadata::parse(raw.clone()).unwrap();
        assert_eq!((model.name.as_str(), model.platform.as_str()), ("add_one", ""));
        assert_eq!(model.versions, ["1", "3"]);
        let x = TensorMetadata { name: "x".into(), datatype: "FP32".into(), shape: vec![-1, 16] };
        assert_eq!(model.inputs, [x]);
        assert!(model.outputs.is_empty());
        assert_eq!(model.raw, raw);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |raw| ModelMetadata::parse(raw).unwrap_err().to_string();
        assert!(error(json!({ "inputs": [], "outputs": [] })).contains("'name'"));
        assert!(error(json!({ "name": "m", "outputs": [] })).contains("'inputs'"));
        let no_shape = json!({ "name": "m", "inputs": [{ "name": "x", "datatype": "FP32" }], "outputs": [] });
        assert!(error(no_shape).contains("'x' in its inputs has no 'shape'"));
    }
}
