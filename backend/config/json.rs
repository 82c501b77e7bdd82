//! The server's JSON of a configuration: Triton's protobuf messages as far as this backend reads them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

/// What `TRITONBACKEND_BackendConfig` returns.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BackendConfig {
    /// The options of `--backend-config` for this backend, and some that the server adds.
    pub cmdline: BTreeMap<String, Value>,
}

/// A `ModelConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    #[serde(deserialize_with = "integer")]
    pub max_batch_size: i64,
    #[serde(deserialize_with = "nullable")]
    pub input: Vec<Tensor>,
    #[serde(deserialize_with = "nullable")]
    pub output: Vec<Tensor>,
    #[serde(deserialize_with = "nullable")]
    pub instance_group: Vec<InstanceGroup>,
    #[serde(deserialize_with = "nullable")]
    pub parameters: BTreeMap<String, Parameter>,
    #[serde(deserialize_with = "nullable")]
    pub platform: String,
    #[serde(deserialize_with = "nullable")]
    pub default_model_filename: String,
    #[serde(deserialize_with = "nullable")]
    pub cc_model_filenames: BTreeMap<String, Value>,
    #[serde(deserialize_with = "nullable")]
    pub response_cache: ResponseCache,
    #[serde(deserialize_with = "nullable")]
    pub model_transaction_policy: TransactionPolicy,
    pub dynamic_batching: Option<Value>,
    pub sequence_batching: Option<SequenceBatching>,
    pub ensemble_scheduling: Option<Value>,
    #[serde(deserialize_with = "nullable")]
    pub batch_input: Vec<BatchInput>,
    #[serde(deserialize_with = "nullable")]
    pub batch_output: Vec<BatchOutput>,
    #[serde(deserialize_with = "nullable")]
    pub optimization: Optimization,
    #[serde(deserialize_with = "nullable")]
    pub model_operations: Operations,
}

/// A `ModelInput` or `ModelOutput`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tensor {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub data_type: String,
    #[serde(deserialize_with = "integers")]
    pub dims: Vec<i64>,
    pub reshape: Option<Reshape>,
    #[serde(deserialize_with = "nullable")]
    pub allow_ragged_batch: bool,
    #[serde(deserialize_with = "nullable")]
    pub optional: bool,
    #[serde(deserialize_with = "nullable")]
    pub is_shape_tensor: bool,
}

/// A `ModelTensorReshape`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reshape {
    #[serde(deserialize_with = "integers")]
    pub shape: Vec<i64>,
}

/// A `BatchInput`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BatchInput {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub target_name: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub data_type: String,
    #[serde(deserialize_with = "nullable")]
    pub source_input: Vec<String>,
}

/// A `BatchOutput`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BatchOutput {
    #[serde(deserialize_with = "nullable")]
    pub target_name: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub source_input: Vec<String>,
}

/// A `ModelSequenceBatching`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SequenceBatching {
    #[serde(deserialize_with = "nullable")]
    pub control_input: Vec<ControlInput>,
    #[serde(deserialize_with = "nullable")]
    pub state: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub iterative_sequence: bool,
}

/// A `ModelSequenceBatching.ControlInput`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ControlInput {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub control: Vec<Control>,
}

/// A `ModelSequenceBatching.Control`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Control {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub int32_false_true: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub fp32_false_true: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub bool_false_true: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub data_type: String,
}

/// A `ModelInstanceGroup`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct InstanceGroup {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "integer")]
    pub count: i64,
    #[serde(deserialize_with = "integers")]
    pub gpus: Vec<i64>,
}

/// A `ModelOptimizationPolicy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Optimization {
    #[serde(deserialize_with = "nullable")]
    pub graph: GraphOptimization,
    #[serde(deserialize_with = "nullable")]
    pub execution_accelerators: ExecutionAccelerators,
}

/// A `ModelOptimizationPolicy.Graph`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GraphOptimization {
    #[serde(deserialize_with = "integer")]
    pub level: i64,
}

/// A `ModelOptimizationPolicy.ExecutionAccelerators`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExecutionAccelerators {
    #[serde(deserialize_with = "nullable")]
    pub gpu_execution_accelerator: Vec<Accelerator>,
    #[serde(deserialize_with = "nullable")]
    pub cpu_execution_accelerator: Vec<Accelerator>,
}

/// A `ModelOptimizationPolicy.ExecutionAccelerators.Accelerator`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Accelerator {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

/// A `ModelParameter`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameter {
    #[serde(deserialize_with = "nullable")]
    pub string_value: String,
}

/// A `ModelOperations`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operations {
    #[serde(deserialize_with = "nullable")]
    pub op_library_filename: Vec<String>,
}

/// A `ModelResponseCache`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResponseCache {
    pub enable: bool,
}

/// A `ModelTransactionPolicy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TransactionPolicy {
    pub decoupled: bool,
}

/// Whether a message is there and says something.
pub fn is_set(message: Option<&Value>) -> bool {
    match message {
        None | Some(Value::Null) => false,
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

/// A field that is null reads as if it were not there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(field: D) -> Result<T, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

/// Protobuf's JSON may write a 64-bit integer as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Integer {
    Number(i64),
    Text(String),
}

impl Integer {
    fn value<E: Error>(self) -> Result<i64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => {
                text.parse().map_err(|_| E::custom(format!("'{text}' is not a whole number")))
            }
        }
    }
}

fn integer<'de, D: Deserializer<'de>>(field: D) -> Result<i64, D::Error> {
    Option::<Integer>::deserialize(field)?.map_or(Ok(0), Integer::value)
}

fn integers<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<i64>, D::Error> {
    let numbers = Option::<Vec<Integer>>::deserialize(field)?.unwrap_or_default();
    numbers.into_iter().map(Integer::value).collect()
}
