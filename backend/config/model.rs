//! A model's configuration.

use serde::Deserialize;
use serde_json::Value;

use super::backend::BackendOptions;
use super::batching::Batching;
use super::energy::EnergyScope;
use super::json::{self, is_set};
use super::parameters::Parameters;
use super::ragged;
use super::sequences;
use super::setting::{Setting, is_inside};
use super::values::{
    BatchInput, BatchOutput, BatchSizeBuckets, Format, Freeze, InlineExecution, Optimization, Step,
    TensorConfig, Threads,
};
use crate::triton::{Error, Result};

/// The largest rank of a tensor (`TensorShape::MaxDimensions` of TensorFlow), which ends the process at a larger one.
pub const MAX_RANK: usize = 254;

/// A model's configuration.
#[derive(Debug, PartialEq)]
pub struct ModelConfig {
    /// 0: the model has no batch dimension.
    pub max_batch_size: u32,
    /// The inputs.
    pub inputs: Vec<TensorConfig>,
    /// The inputs that the server makes itself, for a model of sequences.
    pub controls: Vec<TensorConfig>,
    /// The outputs, the latency outputs among them.
    pub outputs: Vec<TensorConfig>,
    /// The inputs that this backend makes itself, for ragged batches.
    pub batch_inputs: Vec<BatchInput>,
    /// Which of the outputs have the requests' parts one after the other.
    pub batch_outputs: Vec<BatchOutput>,
    /// How the model is stored; nothing where `platform` does not say it.
    pub format: Option<Format>,
    /// The model's name within the version's folder, if it is not the usual one.
    pub file_name: Option<String>,
    /// `TF_INIT_OPS_FILE`: the file that lists what is run once, in the version's folder or the model's.
    pub init_ops_file: Option<String>,
    /// The libraries with operations that are not TensorFlow's own.
    pub op_libraries: Vec<String>,
    /// `TF_GRAPH_TAG`: which of the SavedModel's graphs.
    pub graph_tag: String,
    /// `TF_SIGNATURE_DEF`: which of its signatures; nothing where that is left to the SavedModel.
    pub signature: Option<String>,
    /// The server keeps requests of a sequence together (`sequence_batching`).
    pub has_sequences: bool,
    /// So many instances share a session, where a model keeps the state of sequences (`MAX_SESSION_SHARE_COUNT`).
    pub session_share_count: usize,
    /// The thread counts.
    pub threads: Threads,
    /// Whether operations run inline.
    pub inline: InlineExecution,
    /// Who makes the batches.
    pub batching: Batching,
    /// The server puts requests into batches, dynamic ones or of sequences.
    pub server_batches: bool,
    /// The sizes that batches are filled up to.
    pub batch_size_buckets: BatchSizeBuckets,
    /// `TF_FREEZE`: variables become constants at load, where that can be done.
    pub freeze: Freeze,
    /// The latency values go into the response's parameters too.
    pub latency_parameters: bool,
    /// Whose energy goes into responses; `None`: that of what the model computes on.
    pub energy_scope: Option<EnergyScope>,
    /// All instances are of kind KIND_CPU.
    pub cpu_only: bool,
    /// The GPUs that instances of kind KIND_GPU name.
    pub gpus: Vec<i64>,
    /// What `optimization` asks for.
    pub optimization: Optimization,
    /// Responses may come out of the server's cache.
    pub response_cache: bool,
    /// Where to panic for a request with the id "panic".
    pub test_panic: Option<Step>,
    /// Whether to treat the model as one on a GPU.
    pub test_gpu: bool,
    /// Parameters that mean nothing here.
    pub unknown_parameters: Vec<String>,
}

impl ModelConfig {
    /// Reads the server's JSON of a model's configuration.
    ///
    /// # Errors
    /// A setting that this backend does not honour, or a value that its parameter does not take.
    pub fn from_json(config: &Value, options: &BackendOptions) -> Result<Self> {
        let config = json::ModelConfig::deserialize(config)
            .map_err(|e| Error::internal(format!("the server's JSON of the model's configuration: {e}")))?;
        refuse_unsupported(&config)?;
        if !config.cc_model_filenames.is_empty() {
            log::warn!(
                "cc_model_filenames of config.pbtxt has no effect: default_model_filename names the model's file"
            );
        }
        if config.model_transaction_policy.decoupled {
            log::warn!(
                "a decoupled model_transaction_policy of config.pbtxt has no effect here: every request has exactly one response, \
                 which the server gives to streaming clients only"
            );
        }
        let mut parameters = Parameters::default();
        for (name, json::Parameter { string_value }) in &config.parameters {
            parameters.set(&Setting {
                place: "the parameters of config.pbtxt",
                name,
                value: string_value,
            })?;
        }
        let batcher = match (&config.sequence_batching, &config.dynamic_batching) {
            (Some(_), _) => Some("sequence_batching"),
            (None, Some(value)) if !value.is_null() => Some("dynamic_batching"),
            _ => None,
        };
        let controls = config.sequence_batching.as_ref().map_or(Ok(Vec::new()), sequences::controls)?;
        let of_gpus = config.instance_group.iter().filter(|group| group.kind == "KIND_GPU");
        let gpus = of_gpus.flat_map(|group| group.gpus.iter().copied()).collect();
        let is_cpu = |group: &json::InstanceGroup| group.kind == "KIND_CPU";
        let inputs = tensors("input", config.input, config.max_batch_size > 0)?;
        let earlier = |index: usize| inputs.iter().chain(&controls[..index]);
        let twice =
            |(index, control): (usize, &TensorConfig)| earlier(index).any(|other| other.name == control.name);
        if let Some((_, control)) = controls.iter().enumerate().find(|&control| twice(control)) {
            return Err(Error::invalid(format!(
                "config.pbtxt declares the input '{}', a control_input of sequence_batching, more than once: keep one of the \
                 declarations",
                control.name
            )));
        }
        let batch_inputs = ragged::batch_inputs(&config.batch_input, &[&inputs[..], &controls].concat())?;
        let mut outputs = tensors("output", config.output, config.max_batch_size > 0)?;
        let batch_outputs = ragged::batch_outputs(&config.batch_output, &mut outputs)?;
        Ok(Self {
            max_batch_size: config.max_batch_size.try_into().unwrap_or(0),
            inputs,
            controls,
            outputs,
            batch_inputs,
            batch_outputs,
            format: Format::from_platform(&config.platform),
            file_name: file_name(config.default_model_filename)?,
            init_ops_file: parameters.init_ops_file,
            op_libraries: config.model_operations.op_library_filename,
            batching: parameters.batching.read(batcher)?,
            server_batches: batcher.is_some(),
            batch_size_buckets: parameters.batch_size_buckets,
            graph_tag: parameters.graph_tag,
            signature: parameters.signature,
            has_sequences: config.sequence_batching.is_some(),
            session_share_count: parameters.session_share_count,
            threads: parameters.threads,
            inline: parameters.inline,
            freeze: parameters.freeze,
            latency_parameters: parameters.latency_parameters.unwrap_or(options.latency_parameters),
            energy_scope: parameters.energy_scope.or(options.energy_scope),
            cpu_only: !config.instance_group.is_empty() && config.instance_group.iter().all(is_cpu),
            gpus,
            optimization: optimization(&config.optimization)?,
            response_cache: config.response_cache.enable,
            test_panic: parameters.test_panic,
            test_gpu: parameters.test_gpu,
            unknown_parameters: parameters.unknown,
        })
    }

    /// Whether requests of different shapes may share a batch, or it has more than their tensors.
    pub fn is_ragged(&self) -> bool {
        self.inputs.iter().any(|input| input.is_ragged)
            || !self.batch_inputs.is_empty()
            || !self.batch_outputs.is_empty()
    }

    /// Such a parameter, with the one that may have been meant.
    pub fn nearest_parameter(unknown: &str) -> String {
        Parameters::nearest(unknown)
    }
}

/// Refuses the messages of a configuration that this backend does not honour: better than to ignore them.
fn refuse_unsupported(config: &json::ModelConfig) -> Result<()> {
    if is_set(config.ensemble_scheduling.as_ref()) {
        let advice = "an ensemble needs no backend: remove the backend from it";
        return Err(unsupported("'ensemble_scheduling'", advice));
    }
    Ok(())
}

/// What `optimization` says of the graph. The rest of it is the server's own.
fn optimization(asked: &json::Optimization) -> Result<Optimization> {
    let json::ExecutionAccelerators { gpu_execution_accelerator, cpu_execution_accelerator } =
        &asked.execution_accelerators;
    if let Some(accelerator) = cpu_execution_accelerator.first() {
        return Err(unsupported(
            &format!("the cpu_execution_accelerator '{}'", accelerator.name),
            "remove it: TensorFlow computes with oneDNN on CPUs",
        ));
    }
    let mut auto_mixed_precision = false;
    for json::Accelerator { name } in gpu_execution_accelerator {
        match name.as_str() {
            "auto_mixed_precision" => auto_mixed_precision = true,
            "gpu_io" => log::warn!(
                "the gpu_execution_accelerator gpu_io has no effect: inputs go to the GPU through page-locked memory, and \
                 outputs come back the same way"
            ),
            other => {
                return Err(unsupported(
                    &format!("the gpu_execution_accelerator '{other}'"),
                    "remove it or use auto_mixed_precision; XLA is optimization { graph { level: 1 } }",
                ));
            }
        }
    }
    Ok(Optimization { xla: asked.graph.level > 0, auto_mixed_precision })
}

/// The model's name within the version's folder. A name that leads out of that would open whatever the server may
/// read. What links inside the folder lead to is the choice of whoever made them.
fn file_name(name: String) -> Result<Option<String>> {
    if name.is_empty() {
        return Ok(None);
    }
    if !is_inside(&name) {
        return Err(Error::invalid(format!(
            "'default_model_filename' of config.pbtxt: expected the model's name inside the model's version folder, \
             without a leading / and without .., found {name:?}. Move the model there, or make a link there that leads \
             to it"
        )));
    }
    Ok(Some(name))
}

fn unsupported(what: &str, advice: &str) -> Error {
    Error::unsupported(format!("config.pbtxt asks for {what}, which this backend does not support: {advice}"))
}

fn tensors(kind: &str, declared: Vec<json::Tensor>, batching: bool) -> Result<Vec<TensorConfig>> {
    let tensors: Vec<TensorConfig> =
        declared.into_iter().map(|tensor| tensor_config(kind, tensor)).collect::<Result<_>>()?;
    for (index, TensorConfig { name, dims, .. }) in tensors.iter().enumerate() {
        let rank = dims.len() + usize::from(batching);
        if rank > MAX_RANK {
            let batch = if batching { ", the batch dimension among them" } else { "" };
            return Err(Error::invalid(format!(
                "{kind} '{name}' of config.pbtxt: expected at most {MAX_RANK} dimensions, as TensorFlow's tensors have \
                 them, found {rank}{batch}. Export the model with fewer"
            )));
        }
        if let Some(dim) = dims.iter().find(|&&dim| dim < -1) {
            return Err(Error::invalid(format!(
                "{kind} '{name}' of config.pbtxt: expected dimensions of 0 or more, or -1 for any size, found {dim}"
            )));
        }
        // An input that is there twice is one too many, which is told when the model's are known.
        if kind == "output" && tensors[..index].iter().any(|earlier| earlier.name == *name) {
            return Err(Error::invalid(format!(
                "config.pbtxt declares the {kind} '{name}' more than once: keep one of the declarations"
            )));
        }
    }
    Ok(tensors)
}

fn tensor_config(kind: &str, tensor: json::Tensor) -> Result<TensorConfig> {
    let name = tensor.name;
    if tensor.is_shape_tensor {
        return Err(unsupported(
            &format!("'is_shape_tensor' of {kind} '{name}'"),
            "that is a setting of TensorRT's",
        ));
    }
    let dims = tensor.reshape.map_or(tensor.dims, |reshape| reshape.shape);
    // Triton's outputs have no such field: `batch_output` names those that are ragged.
    let is_ragged = kind == "input" && tensor.allow_ragged_batch;
    let is_optional = kind == "input" && tensor.optional;
    Ok(TensorConfig { name, data_type: tensor.data_type, dims, is_ragged, is_optional })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::triton::Code;

    fn model(config: &Value) -> Result<ModelConfig> {
        ModelConfig::from_json(config, &BackendOptions::default())
    }

    #[test]
    fn reads_what_the_server_sends() {
        let config = model(&json!({
            "max_batch_size": 32,
            "input": [{"name": "input", "data_type": "TYPE_FP32", "dims": [299, "299", 3], "optional": false}],
            "output": [{"name": "p", "data_type": "TYPE_FP32", "dims": [10], "reshape": {"shape": [-1, 5]}}],
            "instance_group": [{"kind": "KIND_CPU", "count": 2}],
            "batch_input": [],
            "dynamic_batching": {},
            "parameters": {
                "TF_NUM_INTRA_THREADS": {"string_value": "2"},
                "batch_size_buckets": {"string_value": "1,8"},
                "mine": {"string_value": "x"},
            },
        }))
        .unwrap();
        assert_eq!(config.max_batch_size, 32);
        assert_eq!(config.inputs[0].dims, [299, 299, 3]);
        assert_eq!(config.outputs[0].dims, [-1, 5], "the model sees the reshaped output");
        assert_eq!(config.threads.intra, Some(2));
        assert!(config.cpu_only && config.gpus.is_empty());
        let on_two = json!([{"kind": "KIND_GPU", "gpus": [0, 2]}, {"kind": "KIND_CPU"}]);
        let on_two = model(&json!({ "instance_group": on_two })).unwrap();
        assert_eq!((on_two.cpu_only, on_two.gpus), (false, vec![0, 2]));
        assert!(config.cpu_only && config.server_batches && config.controls.is_empty());
        assert_eq!(config.batch_size_buckets, BatchSizeBuckets::Sizes(vec![1, 8]));
        assert_eq!(config.unknown_parameters, ["mine"]);
        assert_eq!((config.format, config.file_name), (None, None));
        for (platform, format) in [
            ("tensorflow_savedmodel", Some(Format::SavedModel)),
            ("tensorflow_graphdef", Some(Format::GraphDef)),
            ("", None),
        ] {
            assert_eq!(model(&json!({ "platform": platform })).unwrap().format, format);
        }
    }

    #[test]
    fn a_null_is_nothing() {
        let config = model(&json!({
            "max_batch_size": null, "input": null, "parameters": null, "default_model_filename": null,
            "dynamic_batching": null, "sequence_batching": null, "instance_group": null, "response_cache": null,
        }));
        assert_eq!(config, model(&json!({})));
    }

    #[test]
    fn the_model_overrules_the_backend_option() {
        let options = BackendOptions { latency_parameters: true, ..BackendOptions::default() };
        assert!(ModelConfig::from_json(&json!({}), &options).unwrap().latency_parameters);
        let off = json!({"parameters": {"latency-parameters": {"string_value": "false"}}});
        assert!(!ModelConfig::from_json(&off, &options).unwrap().latency_parameters);
    }

    #[test]
    fn what_is_not_honoured_is_refused() {
        for config in [
            json!({"sequence_batching": {"state": [{"input_name": "s"}]}}),
            json!({"input": [{"name": "x", "is_shape_tensor": true}]}),
            json!({"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}}}),
            json!({"optimization": {"execution_accelerators": {"cpu_execution_accelerator": [{"name": "openvino"}]}}}),
        ] {
            let error = model(&config).unwrap_err().message;
            assert!(error.contains("this backend does not support"), "{error}");
        }
    }

    #[test]
    fn ragged_tensors_are_marked() {
        let tensor = |name: &str| json!({"name": name, "data_type": "TYPE_FP32", "dims": [-1]});
        let mut ragged = tensor("x");
        ragged["allow_ragged_batch"] = true.into();
        let count = json!({
            "kind": "BATCH_ELEMENT_COUNT", "target_name": ["n"], "data_type": "TYPE_INT32", "source_input": ["x"],
        });
        let parts = json!({"target_name": ["y"], "source_input": ["x"]});
        let config = json!({
            "max_batch_size": 8, "input": [ragged, tensor("z")], "output": [tensor("y"), tensor("x")],
            "batch_input": [count], "batch_output": [parts],
        });
        let marked =
            |tensors: &[TensorConfig]| tensors.iter().map(|tensor| tensor.is_ragged).collect::<Vec<_>>();
        let read = model(&config).unwrap();
        assert_eq!((marked(&read.inputs), marked(&read.outputs)), (vec![true, false], vec![true, false]));
        assert_eq!((read.batch_inputs.len(), read.batch_outputs.len(), read.is_ragged()), (1, 1, true));
        assert_eq!(read.inputs.len(), 2, "nobody sends what the backend makes");
        assert!(!model(&json!({"max_batch_size": 8, "input": [tensor("x")]})).unwrap().is_ragged());
        let mut wrong = config;
        wrong["batch_input"] = json!([{}]);
        assert_eq!(model(&wrong).unwrap_err().code, Code::InvalidArg);
    }

    #[test]
    fn the_graph_is_optimised_as_asked_for() {
        let read = |optimization| model(&json!({ "optimization": optimization })).unwrap().optimization;
        let with = |xla, auto_mixed_precision| Optimization { xla, auto_mixed_precision };
        assert_eq!(model(&json!({})).unwrap().optimization, with(false, false));
        for (level, xla) in [(-1, false), (0, false), (1, true), (2, true)] {
            assert_eq!(
                read(json!({"graph": {"level": level}, "input_pinned_memory": {"enable": true}})),
                with(xla, false)
            );
        }
        let mixed = json!([{"name": "auto_mixed_precision", "parameters": {}}]);
        let mixed = json!({"execution_accelerators": {"gpu_execution_accelerator": mixed}, "graph": null});
        assert_eq!(read(mixed), with(false, true));
        let at_hand = json!({"execution_accelerators": {"gpu_execution_accelerator": [{"name": "gpu_io"}]}});
        assert_eq!(read(at_hand), with(false, false));
    }

    #[test]
    fn the_model_is_inside_the_version_folder() {
        let named = |name: &str| model(&json!({ "default_model_filename": name }));
        let ops = |name: &str| model(&json!({"parameters": {"TF_INIT_OPS_FILE": {"string_value": name}}}));
        assert_eq!(ops("ops.json").unwrap().init_ops_file.as_deref(), Some("ops.json"));
        assert!(ops("../ops.json").unwrap_err().message.contains("TF_INIT_OPS_FILE"));
        for (name, expected) in [
            ("other", "other"),
            ("a/b", "a/b"),
            ("./a//b/", "./a//b/"),
            // The version's folder itself.
            (".", "."),
            ("..a", "..a"),
            ("a..", "a.."),
            ("...", "..."),
        ] {
            assert_eq!(named(name).unwrap().file_name.as_deref(), Some(expected));
        }
        assert_eq!(named("").unwrap().file_name, None);
        for name in ["/", "/abs", "//abs", "..", "../x", "a/..", "a/../b", "a/../../x", "./..", "a\0b"] {
            let error = named(name).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg, "{name:?}");
            for part in ["default_model_filename", "inside the model's version folder", &format!("{name:?}")]
            {
                assert!(error.message.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_rank_is_one_that_tensorflow_has() {
        let dims = |rank: usize, batch: i64| {
            let tensor = json!({"name": "x", "data_type": "TYPE_FP32", "dims": vec![1; rank]});
            move |kind: &str| model(&json!({ "max_batch_size": batch, kind: [tensor] }))
        };
        for kind in ["input", "output"] {
            assert!(dims(254, 0)(kind).is_ok() && dims(253, 8)(kind).is_ok());
            for (rank, batch, found) in [(255, 0, 255), (254, 8, 255), (300, 0, 300), (70_000, 1, 70_001)] {
                let error = dims(rank, batch)(kind).unwrap_err();
                let expected = format!("{kind} 'x' of config.pbtxt: expected at most 254 dimensions");
                assert!(error.message.contains(&expected), "{error}");
                assert!(error.message.contains(&format!("found {found}")), "{error}");
                assert!(error.message.len() < 300, "{error}");
            }
        }
        // What counts is what the model sees.
        let reshaped = |shape: usize| {
            let reshape = json!({ "shape": vec![1; shape] });
            model(
                &json!({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1], "reshape": reshape}]}),
            )
        };
        assert!(reshaped(254).is_ok() && reshaped(255).is_err());
    }

    /// The server refuses them too, those that check configurations.
    #[test]
    fn a_dimension_is_a_size_or_open() {
        for kind in ["input", "output"] {
            let tensor = |dim: i64| json!({"name": "x", "data_type": "TYPE_FP32", "dims": [4, dim]});
            let read = |dim| model(&json!({ "max_batch_size": 1, kind: [tensor(dim)] }));
            assert!(read(-1).is_ok() && read(0).is_ok() && read(i64::MAX).is_ok());
            for dim in [-2, i64::MIN] {
                let error = read(dim).unwrap_err();
                let expected = format!(
                    "{kind} 'x' of config.pbtxt: expected dimensions of 0 or more, or -1 for any size, found {dim}"
                );
                assert_eq!((error.code, error.message), (Code::InvalidArg, expected));
            }
        }
    }

    #[test]
    fn a_tensor_is_declared_once() {
        let x = |dims: i64| json!({"name": "x", "data_type": "TYPE_FP32", "dims": [dims]});
        for second in [1, 2] {
            let error = model(&json!({ "output": [x(1), x(second)] })).unwrap_err().message;
            assert!(error.contains("declares the output 'x' more than once"), "{error}");
            assert_eq!(model(&json!({ "input": [x(1), x(second)] })).unwrap().inputs.len(), 2);
        }
        assert!(model(&json!({"input": [x(1)], "output": [x(1)]})).is_ok(), "an input may be an output, too");
        let control =
            |name| json!({"name": name, "control": [{"kind": "START", "int32_false_true": [0, 1]}]});
        let with = |controls: Value| {
            model(&json!({"input": [x(1)], "sequence_batching": {"control_input": controls}}))
        };
        assert_eq!(with(json!([control("start"), control("end")])).unwrap().controls.len(), 2);
        for controls in [json!([control("x")]), json!([control("start"), control("start")])] {
            assert!(with(controls).unwrap_err().message.contains("more than once"));
        }
    }
}
