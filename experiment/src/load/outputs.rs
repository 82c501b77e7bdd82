//! The outputs of a response, to be compared with what is expected.

use serde::Deserialize;
use serde_json::Value;

use crate::answers::Output;
use crate::elements::push_json;

/// The outputs of a response: its JSON, and the binary data behind it.
///
/// # Errors
///
/// What does not fit.
pub(super) fn outputs(text: &[u8], data: &[u8]) -> Result<Vec<Output>, String> {
    let json: Json =
        serde_json::from_slice(text).map_err(|error| format!("the outputs cannot be read: {error}"))?;
    let mut rest = data;
    let outputs = json.outputs.into_iter().map(|output| {
        let JsonOutput { name, datatype, shape, parameters, data } = output;
        let bytes = match (parameters.binary_data_size, data) {
            (Some(size), _) => {
                let (bytes, after) = rest.split_at_checked(size).ok_or("an output is not all there")?;
                rest = after;
                bytes.to_vec()
            }
            (None, Some(value)) => {
                let mut bytes = Vec::new();
                push_json(&mut bytes, &datatype, &value)
                    .map_err(|error| format!("output '{name}': {error:#}"))?;
                bytes
            }
            (None, None) => Vec::new(),
        };
        Ok(Output { name, datatype, shape, bytes })
    });
    outputs.collect()
}

#[derive(Deserialize)]
struct Json {
    outputs: Vec<JsonOutput>,
}

#[derive(Deserialize)]
struct JsonOutput {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_binary_or_json() {
        let text = r#"{"outputs":[
            {"name":"a","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}},
            {"name":"b","datatype":"INT16","shape":[1,2],"data":[[1,2]]},
            {"name":"c","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}},
            {"name":"d","datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}}]}"#;
        let found = outputs(text.as_bytes(), b"\x07\x08\x01\0\0\0z").unwrap();
        let bytes: Vec<&[u8]> = found.iter().map(|output| output.bytes.as_slice()).collect();
        assert_eq!(bytes, [&[7, 8][..], &[1, 0, 2, 0], b"\x01\0\0\0z", &[]]);
        assert_eq!((found[1].name.as_str(), found[1].shape.as_slice()), ("b", &[1, 2][..]));
        assert_eq!(outputs(text.as_bytes(), b"\x07\x08\x01").unwrap_err(), "an output is not all there");
        assert!(outputs(b"{}", b"").unwrap_err().contains("missing field `outputs`"));
    }
}
