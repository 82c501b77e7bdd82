//! Inference requests, made once and sent many times.

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Serialize;

/// An input of a request.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// Triton's name, for example "FP32".
    pub datatype: String,
    /// With the batch dimension.
    pub shape: Vec<i64>,
    /// Its contents.
    pub data: InputData,
}

/// The contents of an input.
#[derive(Clone, Debug)]
pub enum InputData {
    /// Little-endian and row-major, sent with every request.
    Binary(Bytes),
    /// In memory that the server has registered.
    Shared(SharedRange),
}

/// An output that a request asks for.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// Where the server writes it; none: into the response.
    pub shared: Option<SharedRange>,
}

/// A part of a shared memory region that the server has registered.
#[derive(Clone, Debug)]
pub struct SharedRange {
    /// The name under which it is registered.
    pub region: String,
    /// Offset from the start of the region, in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub byte_size: usize,
}

/// An inference request, ready for the wire. Cheap to clone: the body is shared.
#[derive(Clone, Debug)]
pub struct PreparedRequest {
    /// `/v2/models/NAME/infer` or `/v2/models/NAME/versions/VERSION/infer`.
    pub path: String,
    /// Bytes of JSON at the start of the body.
    pub header_length: usize,
    /// The JSON, followed by the inputs that are not in shared memory.
    pub body: Bytes,
}

impl PreparedRequest {
    /// A request to the model, or to one version of it. Without outputs, the server returns all of them.
    ///
    /// # Errors
    ///
    /// The name or version of the model is not valid in a URL.
    pub fn new(model: &str, version: Option<&str>, inputs: &[Input], outputs: &[Output]) -> Result<Self> {
        for part in [Some(model), version].into_iter().flatten() {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            ensure!(
                !part.is_empty() && part.chars().all(fits),
                "{part:?} is not valid in a URL: expected letters, digits, '-', '.', '_' or '~' in the name and the \
                 version of a model"
            );
        }
        let path = match version {
            Some(version) => format!("/v2/models/{model}/versions/{version}/infer"),
            None => format!("/v2/models/{model}/infer"),
        };
        let json = Json {
            parameters: outputs.is_empty().then_some(AllBinary { binary_data_output: true }),
            inputs: inputs.iter().map(JsonInput::new).collect(),
            outputs: outputs.iter().map(JsonOutput::new).collect(),
        };
        let mut body = serde_json::to_vec(&json)?;
        let header_length = body.len();
        for input in inputs {
            if let InputData::Binary(bytes) = &input.data {
                body.extend_from_slice(bytes);
            }
        }
        Ok(Self { path, header_length, body: body.into() })
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<AllBinary>,
    inputs: Vec<JsonInput<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<JsonOutput<'a>>,
}

#[derive(Serialize)]
struct AllBinary {
    binary_data_output: bool,
}

#[derive(Serialize)]
struct JsonInput<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [i64],
    parameters: Place<'a>,
}

impl<'a> JsonInput<'a> {
    fn new(input: &'a Input) -> Self {
        let parameters = match &input.data {
            InputData::Binary(bytes) => Place::Sent { binary_data_size: bytes.len() },
            InputData::Shared(range) => Place::shared(range),
        };
        Self { name: &input.name, datatype: &input.datatype, shape: &input.shape, parameters }
    }
}

#[derive(Serialize)]
struct JsonOutput<'a> {
    name: &'a str,
    parameters: Place<'a>,
}

impl<'a> JsonOutput<'a> {
    fn new(output: &'a Output) -> Self {
        let parameters = output.shared.as_ref().map_or(Place::Answered { binary_data: true }, Place::shared);
        Self { name: &output.name, parameters }
    }
}

/// The parameters of the binary tensor and of the system shared memory extension.
#[derive(Serialize)]
#[serde(untagged)]
enum Place<'a> {
    Sent { binary_data_size: usize },
    Answered { binary_data: bool },
    Shared { shared_memory_region: &'a str, shared_memory_offset: usize, shared_memory_byte_size: usize },
}

impl<'a> Place<'a> {
    fn shared(range: &'a SharedRange) -> Self {
        Self::Shared {
            shared_memory_region: &range.region,
            shared_memory_offset: range.offset,
            shared_memory_byte_size: range.byte_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn input(data: InputData) -> Input {
        Input { name: "x".to_owned(), datatype: "FP32".to_owned(), shape: vec![1, 2], data }
    }

    fn shared(region: &str, offset: usize) -> SharedRange {
        SharedRange { region: region.to_owned(), offset, byte_size: 8 }
    }

    fn json_of(request: &PreparedRequest) -> Value {
        serde_json::from_slice(&request.body[..request.header_length]).unwrap()
    }

    #[test]
    fn binary_inputs_follow_the_json_in_order() {
        let inputs = [
            input(InputData::Binary(Bytes::from_static(b"12345678"))),
            input(InputData::Binary(Bytes::from_static(b"abcdefgh"))),
        ];
        let request = PreparedRequest::new("m", None, &inputs, &[]).unwrap();
        assert_eq!(request.path, "/v2/models/m/infer");
        assert_eq!(request.body[request.header_length..], *b"12345678abcdefgh");
        let x =
            json!({"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}});
        assert_eq!(json_of(&request), json!({"parameters": {"binary_data_output": true}, "inputs": [x, x]}));
    }

    #[test]
    fn shared_memory_is_named_and_not_sent() {
        let outputs = [
            Output { name: "y".to_owned(), shared: Some(shared("out", 16)) },
            Output { name: "compute_latency_ns".to_owned(), shared: None },
        ];
        let inputs = [input(InputData::Shared(shared("in", 0)))];
        let request = PreparedRequest::new("m", Some("3"), &inputs, &outputs).unwrap();
        assert_eq!(request.path, "/v2/models/m/versions/3/infer");
        assert_eq!(request.header_length, request.body.len());
        let range = |region: &str, offset: usize| json!({"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": 8});
        assert_eq!(
            json_of(&request),
            json!({
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": range("in", 0)}],
                "outputs": [
                    {"name": "y", "parameters": range("out", 16)},
                    {"name": "compute_latency_ns", "parameters": {"binary_data": true}}
                ]
            })
        );
    }

    #[test]
    fn names_that_no_url_takes_are_refused() {
        for (model, version) in [("a b", None), ("", None), ("m", Some("1/2"))] {
            let message = format!("{:#}", PreparedRequest::new(model, version, &[], &[]).unwrap_err());
            assert!(message.contains("is not valid in a URL"), "{message}");
        }
    }
}
