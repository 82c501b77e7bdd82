//! The configuration as types: what the server's JSON says of the backend and of a model, every value
//! that this backend acts on checked.

mod batching;

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value};

pub use batching::{Adaptive, Batching};

use crate::triton::{Error, Result};

/// The option and model parameter that puts the latency values into the response's parameters.
const LATENCY_PARAMETERS: &str = "latency-parameters";

/// The model parameters that this backend knows; others are the user's own and only logged.
const MODEL_PARAMETERS: [&str; 13] = [
    LATENCY_PARAMETERS,
    "batching",
    "latency_target_ms",
    "latency_percentile",
    "max_queue_size",
    "TF_GRAPH_TAG",
    "TF_SIGNATURE_DEF",
    "TF_NUM_INTRA_THREADS",
    "TF_NUM_INTER_THREADS",
    "TF_USE_PER_SESSION_THREADS",
    "TF_RUN_IN_CALLING_THREAD",
    "TF_FREEZE",
    // For this project's own tests: panics in the named step for a request whose id is "panic".
    "test_panic",
];

/// Configuration keys whose meaning this backend does not honour: better refused than ignored.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("sequence_batching", "use dynamic_batching or neither"),
    ("batch_input", "remove it: every input has to be a tensor of the SavedModel"),
    ("batch_output", "remove it: every output has its own batch dimension"),
    ("ensemble_scheduling", "an ensemble needs no backend: remove the backend from it"),
];

/// What `--backend-config` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BackendOptions {
    /// Where TensorFlow's library is (`tensorflow-dir`).
    pub tensorflow_dir: Option<PathBuf>,
    /// Latency values as response parameters, for models that do not say (`latency-parameters`).
    pub latency_parameters: bool,
    /// The `max_batch_size` of a model that leaves it to the backend (the server's own option
    /// `default-max-batch-size`).
    pub default_max_batch_size: u32,
    /// How oneDNN computes FP32 models (`fpmath-mode`); `None`: as the server's environment says.
    pub math_mode: Option<MathMode>,
}

/// `fpmath-mode`: oneDNN's math mode, one for all models of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathMode {
    /// FP32 as it is.
    Strict,
    /// FP32 models may be computed in BF16.
    Bf16,
}

impl BackendOptions {
    /// Reads the server's JSON of the backend's configuration.
    ///
    /// # Errors
    /// A value that is not one of its option's.
    pub fn from_json(config: &Value) -> Result<Self> {
        let mut options = Self::default();
        let Some(cmdline) = config.get("cmdline").and_then(Value::as_object) else {
            return Ok(options);
        };
        for (name, value) in cmdline {
            let option = Setting { place: "--backend-config", name, value: text(value) };
            match name.as_str() {
                "tensorflow-dir" => options.tensorflow_dir = Some(PathBuf::from(option.value)),
                LATENCY_PARAMETERS => options.latency_parameters = option.boolean()?,
                "default-max-batch-size" => options.default_max_batch_size = option.count()?,
                "fpmath-mode" => {
                    options.math_mode = Some(match option.value.to_ascii_lowercase().as_str() {
                        "strict" => MathMode::Strict,
                        "bf16" => MathMode::Bf16,
                        _ => return Err(option.wrong("strict or bf16")),
                    });
                }
                _ => {} // the server's own options come here too
            }
        }
        Ok(options)
    }
}

/// TensorFlow's thread counts; what is not set is TensorFlow's own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// `TF_NUM_INTRA_THREADS`: threads within one operation.
    pub intra: Option<u32>,
    /// `TF_NUM_INTER_THREADS`: operations that run at the same time.
    pub inter: Option<u32>,
    /// `TF_USE_PER_SESSION_THREADS`: threads of the model's own, in place of the process's.
    pub per_session: bool,
}

/// `TF_RUN_IN_CALLING_THREAD`: whether operations run in the thread that the server calls with, in place of
/// TensorFlow's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallingThread {
    /// As is faster when both are tried at load.
    Measured,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// A tensor as config.pbtxt declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorConfig {
    /// The name.
    pub name: String,
    /// The type as written, such as `TYPE_FP32`.
    pub data_type: String,
    /// The shape that the model sees (`reshape` applied), without the batch dimension; -1 is any size.
    pub dims: Vec<i64>,
}

/// The steps in which [`ModelConfig::test_panic`] can make the backend panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before anything else.
    Execute,
    /// While the inputs are gathered.
    Gather,
    /// While the outputs are written.
    Scatter,
}

/// A model's configuration.
#[derive(Debug, PartialEq)]
pub struct ModelConfig {
    /// 0: the model has no batch dimension.
    pub max_batch_size: u32,
    /// The inputs.
    pub inputs: Vec<TensorConfig>,
    /// The outputs, the latency outputs among them.
    pub outputs: Vec<TensorConfig>,
    /// The SavedModel's folder within the version's folder.
    pub file_name: String,
    /// `TF_GRAPH_TAG`: which of the SavedModel's graphs.
    pub graph_tag: String,
    /// `TF_SIGNATURE_DEF`: which of its signatures.
    pub signature: String,
    /// The thread counts.
    pub threads: Threads,
    /// Whether operations run in the calling thread.
    pub calling_thread: CallingThread,
    /// Who makes the batches.
    pub batching: Batching,
    /// `TF_FREEZE`: variables become constants at load, where that can be done.
    pub freeze: bool,
    /// The latency values go into the response's parameters too.
    pub latency_parameters: bool,
    /// All instances are of kind KIND_CPU.
    pub cpu_only: bool,
    /// Responses may come out of the server's cache.
    pub response_cache: bool,
    /// Where to panic for a request with the id "panic".
    pub test_panic: Option<Step>,
    /// Parameters that mean nothing here.
    pub unknown_parameters: Vec<String>,
}

impl ModelConfig {
    /// Reads the server's JSON of a model's configuration.
    ///
    /// # Errors
    /// A setting that this backend does not honour, or a value that is not one of its parameter's.
    pub fn from_json(config: &Value, options: &BackendOptions) -> Result<Self> {
        for (key, advice) in UNSUPPORTED {
            if config.get(key).is_some_and(|value| !is_empty(value)) {
                return Err(unsupported(&format!("'{key}'"), advice));
            }
        }
        if flag(config.get("model_transaction_policy"), "decoupled") {
            let advice = "every request has exactly one response here";
            return Err(unsupported("a decoupled 'model_transaction_policy'", advice));
        }
        let mut model = Self {
            max_batch_size: integer(config.get("max_batch_size")).unwrap_or(0).try_into().unwrap_or(0),
            inputs: tensors(config, "input")?,
            outputs: tensors(config, "output")?,
            file_name: "model.savedmodel".into(),
            graph_tag: "serve".into(),
            signature: "serving_default".into(),
            threads: Threads::default(),
            calling_thread: CallingThread::Measured,
            batching: Batching::Triton,
            freeze: true,
            latency_parameters: options.latency_parameters,
            cpu_only: cpu_only(config),
            response_cache: flag(config.get("response_cache"), "enable"),
            test_panic: None,
            unknown_parameters: Vec::new(),
        };
        if let Some(name) = config.get("default_model_filename").map(text).filter(|name| !name.is_empty()) {
            model.file_name = name.to_string();
        }
        let empty = Map::new();
        let parameters = config.get("parameters").and_then(Value::as_object).unwrap_or(&empty);
        for (name, value) in parameters {
            let value = value.get("string_value").map_or("", text);
            model.set(&Setting { place: "the parameters of config.pbtxt", name, value })?;
        }
        model.batching = Batching::from_json(config, parameters)?;
        Ok(model)
    }

    fn set(&mut self, setting: &Setting<'_>) -> Result<()> {
        match setting.name {
            LATENCY_PARAMETERS => self.latency_parameters = setting.boolean()?,
            "TF_GRAPH_TAG" => self.graph_tag = setting.value.to_string(),
            "TF_SIGNATURE_DEF" => self.signature = setting.value.to_string(),
            "TF_NUM_INTRA_THREADS" => self.threads.intra = Some(setting.count()?),
            "TF_NUM_INTER_THREADS" => self.threads.inter = Some(setting.count()?),
            "TF_USE_PER_SESSION_THREADS" => self.threads.per_session = setting.boolean()?,
            "TF_RUN_IN_CALLING_THREAD" => {
                self.calling_thread = match (setting.value.to_ascii_lowercase().as_str(), setting.boolean()) {
                    ("auto", _) => CallingThread::Measured,
                    (_, Ok(true)) => CallingThread::Always,
                    (_, Ok(false)) => CallingThread::Never,
                    _ => return Err(setting.wrong("auto, true or false")),
                };
            }
            // These four belong together, see [`Batching`].
            "batching" | "latency_target_ms" | "latency_percentile" | "max_queue_size" => {}
            "TF_INIT_OPS_FILE" => {
                let advice = "export a SavedModel whose main op initialises it";
                return Err(unsupported("the parameter 'TF_INIT_OPS_FILE'", advice));
            }
            "TF_FREEZE" => {
                self.freeze = match (setting.value.to_ascii_lowercase().as_str(), setting.boolean()) {
                    ("auto", _) => true,
                    (_, Ok(false)) => false,
                    _ => return Err(setting.wrong("auto or false")),
                };
            }
            "test_panic" => {
                self.test_panic = Some(match setting.value {
                    "execute" => Step::Execute,
                    "gather" => Step::Gather,
                    "scatter" => Step::Scatter,
                    _ => return Err(setting.wrong("execute, gather or scatter")),
                });
            }
            unknown => self.unknown_parameters.push(unknown.to_string()),
        }
        Ok(())
    }

    /// The parameters there are, for the one who mistyped one.
    pub fn known_parameters() -> String {
        MODEL_PARAMETERS[..MODEL_PARAMETERS.len() - 1].join(", ")
    }
}

/// A named value that somebody typed.
struct Setting<'a> {
    place: &'a str,
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn boolean(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn count(&self) -> Result<u32> {
        // TensorFlow reads the number as a signed one.
        i32::from_str(self.value)
            .ok()
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| self.wrong("a whole number, 0 (TensorFlow's own choice) or more"))
    }

    /// A number that is above 0 and below `limit`.
    fn number_below(&self, limit: f64, expected: &str) -> Result<f64> {
        let number = f64::from_str(self.value).ok().filter(|&number| number > 0.0 && number < limit);
        number.ok_or_else(|| self.wrong(expected))
    }

    fn wrong(&self, expected: &str) -> Error {
        let Self { place, name, value } = self;
        Error::invalid(format!("'{name}' in {place}: expected {expected}, found '{value}'"))
    }
}

fn unsupported(what: &str, advice: &str) -> Error {
    Error::unsupported(format!("config.pbtxt asks for {what}, which this backend does not do: {advice}"))
}

fn tensors(config: &Value, key: &str) -> Result<Vec<TensorConfig>> {
    let list = config.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().map(|tensor| tensor_config(tensor, key)).collect()
}

fn tensor_config(tensor: &Value, key: &str) -> Result<TensorConfig> {
    let name = tensor.get("name").map_or("", text).to_string();
    for (option, advice) in [
        ("allow_ragged_batch", "only requests of equal shapes share a batch"),
        ("optional", "a SavedModel needs all of its inputs"),
        ("is_shape_tensor", "that is a setting of TensorRT's"),
    ] {
        if flag(Some(tensor), option) {
            return Err(unsupported(&format!("'{option}' of {key} '{name}'"), advice));
        }
    }
    let data_type = tensor.get("data_type").map_or("", text).to_string();
    let reshape = tensor.get("reshape").map(|reshape| dims(reshape.get("shape")));
    let dims = reshape.unwrap_or_else(|| dims(tensor.get("dims")));
    Ok(TensorConfig { name, data_type, dims })
}

fn dims(value: Option<&Value>) -> Vec<i64> {
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().map(|dim| integer(Some(dim)).unwrap_or(-1)).collect()
}

fn cpu_only(config: &Value) -> bool {
    let groups = config.get("instance_group").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let kind = |group: &Value| group.get("kind").map_or("", text).to_string();
    !groups.is_empty() && groups.iter().all(|group| kind(group) == "KIND_CPU")
}

/// Protobuf's JSON may write a 64-bit integer as a string.
fn integer(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(object: Option<&Value>, key: &str) -> bool {
    object.and_then(|object| object.get(key)).and_then(Value::as_bool).unwrap_or(false)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(config: &Value) -> Result<ModelConfig> {
        ModelConfig::from_json(config, &BackendOptions::default())
    }

    fn parameter(name: &str, value: &str) -> Value {
        json!({"parameters": {name: {"string_value": value}}})
    }

    #[test]
    fn reads_what_the_server_sends() {
        let config = model(&json!({
            "max_batch_size": 32,
            "input": [{"name": "input", "data_type": "TYPE_FP32", "dims": [299, "299", 3], "optional": false}],
            "output": [{"name": "p", "data_type": "TYPE_FP32", "dims": [10], "reshape": {"shape": [-1, 5]}}],
            "instance_group": [{"kind": "KIND_CPU", "count": 2}],
            "batch_input": [],
            "parameters": {"TF_NUM_INTRA_THREADS": {"string_value": "2"}, "mine": {"string_value": "x"}},
        }))
        .unwrap();
        assert_eq!(config.max_batch_size, 32);
        assert_eq!(config.inputs[0].dims, [299, 299, 3]);
        assert_eq!(config.outputs[0].dims, [-1, 5], "the model sees the reshaped output");
        assert_eq!(config.threads.intra, Some(2));
        assert!(config.cpu_only);
        assert_eq!(config.unknown_parameters, ["mine"]);
        assert_eq!(config.file_name, "model.savedmodel");
    }

    #[test]
    fn the_model_overrules_the_backend_option() {
        let options = BackendOptions::from_json(&json!({"cmdline": {"latency-parameters": "true"}})).unwrap();
        assert!(ModelConfig::from_json(&json!({}), &options).unwrap().latency_parameters);
        let off = parameter("latency-parameters", "false");
        assert!(!ModelConfig::from_json(&off, &options).unwrap().latency_parameters);
    }

    #[test]
    fn wrong_values_are_named() {
        for (name, value, expected) in [
            ("latency-parameters", "maybe", "expected true or false, found 'maybe'"),
            ("TF_NUM_INTRA_THREADS", "-1", "expected a whole number"),
            ("TF_NUM_INTER_THREADS", "4.5", "expected a whole number"),
            ("TF_USE_PER_SESSION_THREADS", "", "expected true or false, found ''"),
            ("TF_RUN_IN_CALLING_THREAD", "maybe", "expected auto, true or false, found 'maybe'"),
            ("TF_FREEZE", "true", "expected auto or false, found 'true'"),
            ("test_panic", "never", "expected execute, gather or scatter"),
        ] {
            let error = model(&parameter(name, value)).unwrap_err().message;
            assert!(error.contains(&format!("'{name}'")) && error.contains(expected), "{error}");
        }
        let options = json!({"cmdline": {"latency-parameters": "si"}});
        assert!(BackendOptions::from_json(&options).unwrap_err().message.contains("--backend-config"));
    }

    #[test]
    fn the_math_mode_is_only_what_somebody_asked_for() {
        let mode = |value: &str| BackendOptions::from_json(&json!({"cmdline": {"fpmath-mode": value}}));
        let without = BackendOptions::from_json(&json!({"cmdline": {"tensorflow-dir": "/x"}})).unwrap();
        assert_eq!(without.math_mode, None);
        for (value, expected) in
            [("strict", MathMode::Strict), ("bf16", MathMode::Bf16), ("BF16", MathMode::Bf16)]
        {
            assert_eq!(mode(value).unwrap().math_mode, Some(expected), "{value}");
        }
        for value in ["", "fp16", "true"] {
            let error = mode(value).unwrap_err().message;
            let expected =
                format!("'fpmath-mode' in --backend-config: expected strict or bf16, found '{value}'");
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn freezing_can_be_turned_off() {
        assert!(model(&json!({})).unwrap().freeze);
        for (value, expected) in [("auto", true), ("AUTO", true), ("false", false), ("Off", false)] {
            assert_eq!(model(&parameter("TF_FREEZE", value)).unwrap().freeze, expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_honoured_is_refused() {
        for config in [
            json!({"sequence_batching": {"max_sequence_idle_microseconds": 5}}),
            json!({"batch_input": [{"kind": "BATCH_ELEMENT_COUNT"}]}),
            json!({"model_transaction_policy": {"decoupled": true}}),
            json!({"input": [{"name": "x", "allow_ragged_batch": true}]}),
            json!({"input": [{"name": "x", "optional": true}]}),
            parameter("TF_INIT_OPS_FILE", "ops.json"),
        ] {
            let error = model(&config).unwrap_err().message;
            assert!(error.contains("this backend does not do"), "{error}");
        }
    }
}
