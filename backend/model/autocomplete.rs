//! Completes a configuration from the SavedModel's signature: what it leaves out of its inputs and outputs, whether there are
//! batches, and who makes them. The result is that of Triton's former TensorFlow backend, and the latency outputs.

use serde_json::{Value, json};

use super::disagreements;
use super::measure::Measure;
use super::spec::{describe, has_batch_dimension, unservable};
use crate::config::{BackendOptions, BatchSizeBuckets, Batching, ModelConfig, TensorConfig};
use crate::tensorflow::Endpoint;
use crate::triton::Result;

/// What a model is known to have.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// The model's name.
    pub model: &'a str,
    /// Its inputs.
    pub inputs: &'a [Endpoint],
    /// Its outputs.
    pub outputs: &'a [Endpoint],
}

/// Fills in what `config`, whose JSON is `json`, leaves out. Returns whether there was something to fill in.
///
/// # Errors
/// An input of the signature cannot be served, or only with dims that the user has to choose; or what is declared
/// contradicts itself or the signature.
pub fn autocomplete(
    json: &mut Value,
    config: &ModelConfig,
    signature: Signature<'_>,
    options: &BackendOptions,
) -> Result<bool> {
    let Signature { model, .. } = signature;
    let declared_outputs: Vec<&TensorConfig> =
        config.outputs.iter().filter(|output| Measure::from_name(&output.name).is_none()).collect();
    let targets = || config.batch_inputs.iter().flat_map(|batch_input| &batch_input.targets);
    let made_for_it = |name: &str| {
        config.controls.iter().any(|control| control.name == name) || targets().any(|made| made == name)
    };
    let missing_inputs: Vec<&Endpoint> = signature
        .inputs
        .iter()
        .filter(|input| !declares(&config.inputs, &input.name) && !made_for_it(&input.name))
        .collect();
    let missing_outputs = if declared_outputs.is_empty() { signature.outputs } else { &[] };
    let is_whole = ["input", "output"].iter().all(|field| tensors(json, field).iter().all(is_whole));

    if options.is_drop_in && !config.is_ragged() {
        contradictions(config, &declared_outputs, signature)?;
    }
    let before = json.clone();
    let mut max_batch_size = config.max_batch_size;
    let is_open = !is_whole || !missing_inputs.is_empty() || !missing_outputs.is_empty();
    if is_open || max_batch_size == 0 {
        let undeclared: Vec<&str> = missing_inputs.iter().map(|input| input.name.as_str()).collect();
        refuse_without_shape(json, &undeclared, missing_outputs, signature, options)?;
        if batches(config, &declared_outputs, signature)? && max_batch_size == 0 {
            max_batch_size = options.default_max_batch_size;
            json["max_batch_size"] = max_batch_size.into();
        }
        let batching = max_batch_size > 0;
        let mut reasons = fill_in(json, "input", signature.inputs, batching);
        reasons.extend(fill_in(json, "output", signature.outputs, batching));
        let (inputs, of_inputs) = declare_all("input", missing_inputs.into_iter(), batching);
        reasons.extend(of_inputs);
        if !reasons.is_empty() {
            return Err(disagreements::cannot_complete(model, &reasons));
        }
        append(json, "input", inputs);
        let (outputs, reasons) = declare_all("output", missing_outputs.iter(), batching);
        for reason in reasons {
            log::warn!("model '{model}': its completed configuration leaves out an {reason}");
        }
        append(json, "output", outputs);
        if config.outputs.is_empty() && options.latency_outputs {
            append(json, "output", latency_outputs(config));
        }
    }
    let completed_batches = max_batch_size != config.max_batch_size;
    if max_batch_size > 1
        && (completed_batches || options.is_drop_in)
        && config.batching == Batching::Triton
        && !config.server_batches
    {
        json["dynamic_batching"] = json!({});
    }
    Ok(*json != before)
}

/// What the former backend looked for whether something was left out or not: dims or a `max_batch_size` that cannot be.
fn contradictions(config: &ModelConfig, outputs: &[&TensorConfig], signature: Signature<'_>) -> Result<()> {
    let has_none = |endpoint: &&Endpoint| endpoint.dims.is_some() && !has_batch_dimension(endpoint);
    let all = || signature.inputs.iter().chain(signature.outputs);
    if !all().any(|endpoint| has_none(&endpoint)) {
        return declared_batches(config, outputs, signature).map(drop);
    }
    let is_used = |endpoint: &&Endpoint| {
        let is_output = signature.outputs.iter().any(|output| std::ptr::eq(output, *endpoint));
        !is_output || outputs.iter().any(|output| output.name == endpoint.name)
    };
    match all().filter(is_used).find(has_none) {
        Some(endpoint) if config.max_batch_size > 0 => {
            Err(disagreements::cannot_batch(signature.model, config.max_batch_size, endpoint))
        }
        _ => Ok(()),
    }
}

/// Whether the model has a batch dimension that the configuration uses or may use. Where `max_batch_size` is left open, what is
/// declared says so, or else the signature.
fn batches(config: &ModelConfig, outputs: &[&TensorConfig], signature: Signature<'_>) -> Result<bool> {
    let Signature { model, .. } = signature;
    // What has no known rank says nothing.
    let has_none = |endpoint: &&Endpoint| endpoint.dims.is_some() && !has_batch_dimension(endpoint);
    if let Some(endpoint) = signature.inputs.iter().chain(signature.outputs).find(has_none) {
        return match config.max_batch_size {
            0 => Ok(false),
            size => Err(disagreements::cannot_batch(model, size, endpoint)),
        };
    }
    if config.max_batch_size > 0 || config.is_ragged() {
        return Ok(true);
    }
    Ok(declared_batches(config, outputs, signature)?
        .unwrap_or(config.inputs.is_empty() && outputs.is_empty()))
}

/// Whether what is declared has a batch dimension, by its dims: the model's have one more then. Nothing where none of it says so.
///
/// # Errors
/// Some has one, and some has none.
fn declared_batches(
    config: &ModelConfig,
    outputs: &[&TensorConfig],
    signature: Signature<'_>,
) -> Result<Option<bool>> {
    let declared = config.inputs.iter().map(|input| (input, signature.inputs));
    let declared = declared.chain(outputs.iter().map(|output| (*output, signature.outputs)));
    let (mut with, mut without, mut left_open) = (None, None, None);
    for (tensor, endpoints) in declared {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.name == tensor.name);
        let Some(dims) = endpoint.and_then(|endpoint| endpoint.dims.as_ref()) else { continue };
        if tensor.dims.is_empty() {
            left_open = Some(true);
        } else if tensor.dims.len() + 1 == dims.len() {
            with.get_or_insert(&tensor.name);
        } else {
            without.get_or_insert(&tensor.name);
        }
    }
    match (with, without) {
        (Some(with), Some(without)) => Err(disagreements::contradiction(signature.model, with, without)),
        (Some(_), None) => Ok(Some(true)),
        (None, Some(_)) => Ok(Some(false)),
        (None, None) => Ok(left_open),
    }
}

/// What has no shape in the SavedModel has to have one in the configuration.
///
/// The former backend took scalars for such, too. Elsewhere they are completed, and outputs that nobody has declared left out.
fn refuse_without_shape(
    json: &Value,
    inputs: &[&str],
    outputs: &[Endpoint],
    signature: Signature<'_>,
    options: &BackendOptions,
) -> Result<()> {
    let has_none = |endpoint: &&Endpoint| match &endpoint.dims {
        None => true,
        Some(dims) => dims.is_empty() && options.is_drop_in,
    };
    let is_open = |field: &str, name: &str| {
        tensors(json, field).iter().any(|tensor| tensor["name"] == name && !has_dims(tensor))
    };
    let refused = |kind: &str, declared, endpoint| {
        Err(disagreements::no_shape(kind, declared, signature.model, endpoint))
    };
    let Signature { inputs: all_inputs, outputs: all_outputs, .. } = signature;
    // To declare a shape would not help then; what would is told with the others.
    if all_inputs.iter().any(|input| inputs.contains(&input.name.as_str()) && unservable(input).is_some()) {
        return Ok(());
    }
    for input in all_inputs.iter().filter(has_none) {
        if inputs.contains(&input.name.as_str()) || is_open("input", &input.name) {
            return refused("input", true, input);
        }
    }
    for output in all_outputs.iter().filter(has_none) {
        if is_open("output", &output.name) {
            return refused("output", true, output);
        }
    }
    match outputs.iter().find(has_none).filter(|_| options.is_drop_in) {
        Some(output) => refused("output", false, output),
        None => Ok(()),
    }
}

fn declares(tensors: &[TensorConfig], name: &str) -> bool {
    tensors.iter().any(|tensor| tensor.name == name)
}

/// The declarations of this field of a configuration.
fn tensors<'j>(json: &'j Value, field: &str) -> &'j [Value] {
    json[field].as_array().map_or(&[], Vec::as_slice)
}

/// Whether a declaration has a type and dims.
fn is_whole(tensor: &Value) -> bool {
    has_type(tensor) && has_dims(tensor)
}

fn has_type(tensor: &Value) -> bool {
    !matches!(tensor["data_type"].as_str(), None | Some("" | "TYPE_INVALID"))
}

fn has_dims(tensor: &Value) -> bool {
    tensor["dims"].as_array().is_some_and(|dims| !dims.is_empty())
}

/// Fills in what the declarations leave out. Returns why that cannot be done.
fn fill_in(json: &mut Value, field: &str, endpoints: &[Endpoint], batching: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    let Some(tensors) = json[field].as_array_mut() else { return reasons };
    for tensor in tensors.iter_mut().filter(|tensor| !is_whole(tensor)) {
        let endpoint = endpoints.iter().find(|endpoint| tensor["name"] == endpoint.name);
        let measure = tensor["name"].as_str().and_then(Measure::from_name);
        let declaration = match (endpoint, measure) {
            (Some(endpoint), _) => declare(field, endpoint, batching),
            (None, Some(measure)) => Ok(declare_measure(measure)),
            // One that the model does not have is found out about later.
            (None, None) => continue,
        };
        match declaration {
            Ok(declaration) => {
                if !has_type(tensor) {
                    tensor["data_type"] = declaration["data_type"].clone();
                }
                if !has_dims(tensor) {
                    tensor["dims"] = declaration["dims"].clone();
                    if let Some(reshape) = declaration.get("reshape") {
                        tensor["reshape"] = reshape.clone();
                    }
                }
            }
            Err(reason) => reasons.push(reason),
        }
    }
    reasons
}

/// Adds declarations to those that are there.
fn append(json: &mut Value, field: &str, declarations: Vec<Value>) {
    match json[field].as_array_mut() {
        Some(tensors) => tensors.extend(declarations),
        None => json[field] = declarations.into(),
    }
}

/// The declarations of these, and why there is none for some.
fn declare_all<'e>(
    kind: &str,
    endpoints: impl Iterator<Item = &'e Endpoint>,
    batching: bool,
) -> (Vec<Value>, Vec<String>) {
    let (mut declarations, mut reasons) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        match declare(kind, endpoint, batching) {
            Ok(declaration) => declarations.push(declaration),
            Err(reason) => reasons.push(reason),
        }
    }
    (declarations, reasons)
}

/// The declaration of a tensor, or why there is none.
fn declare(kind: &str, endpoint: &Endpoint, batching: bool) -> std::result::Result<Value, String> {
    let name = &endpoint.name;
    let told = |reason: String| format!("{kind} '{name}' ({}): {reason}", describe(endpoint));
    if let Some(reason) = unservable(endpoint) {
        return Err(told(reason));
    }
    let datatype = endpoint.datatype.map_or("", |datatype| datatype.config_name());
    let Some(dims) = &endpoint.dims else {
        return Err(told(format!(
            "its rank is unknown, so write its shape into config.pbtxt: {kind} [ {{ name: \"{name}\" data_type: \
             TYPE_{datatype} dims: [ ... ] }} ]"
        )));
    };
    let Some(dims) = dims.get(usize::from(batching)..) else {
        return Err(told(
            "it is a scalar and so has no batch dimension: set max_batch_size: 0, or export the model with a shape of [-1] \
             for it"
                .into(),
        ));
    };
    let mut tensor = json!({ "name": name, "data_type": format!("TYPE_{datatype}"), "dims": dims });
    if dims.is_empty() {
        // A configuration has no empty dims. Without a batch dimension it has no reshape to nothing, either.
        tensor["dims"] = json!([1]);
        if batching {
            tensor["reshape"] = json!({ "shape": [] });
        }
    }
    Ok(tensor)
}

/// The latency outputs of a model that declares none.
fn latency_outputs(config: &ModelConfig) -> Vec<Value> {
    let adaptive = config.batching != Batching::Triton;
    let in_buckets = matches!(config.batch_size_buckets, BatchSizeBuckets::Sizes(_));
    Measure::unasked(adaptive, in_buckets).iter().copied().map(declare_measure).collect()
}

fn declare_measure(measure: Measure) -> Value {
    json!({ "name": measure.name().to_string_lossy(), "data_type": "TYPE_INT64", "dims": [1] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::{Code, DataType, Error};

    fn endpoint(name: &str, datatype: Option<DataType>, dims: Option<&[i64]>) -> Endpoint {
        Endpoint {
            name: name.into(),
            datatype,
            type_name: "FP32".into(),
            dims: dims.map(<[i64]>::to_vec),
            place: (name.into(), 0),
        }
    }

    fn fp32(name: &str, dims: &[i64]) -> Endpoint {
        endpoint(name, Some(DataType::Fp32), Some(dims))
    }

    /// The options of the backend that Triton used to ship, in whose place this one is.
    fn drop_in() -> BackendOptions {
        BackendOptions { is_drop_in: true, latency_outputs: false, ..BackendOptions::default() }
    }

    fn complete_by(options: &BackendOptions, of: [&[Endpoint]; 2], config: Value) -> Result<Option<Value>> {
        let mut json = config;
        let config = ModelConfig::from_json(&json, options)?;
        let signature = Signature { model: "m", inputs: of[0], outputs: of[1] };
        Ok(autocomplete(&mut json, &config, signature, options)?.then_some(json))
    }

    fn complete(of: [&[Endpoint]; 2], config: Value) -> Result<Option<Value>> {
        complete_by(&drop_in(), of, config)
    }

    fn tensor(name: &str, dims: &[i64]) -> Value {
        json!({ "name": name, "data_type": "TYPE_FP32", "dims": dims })
    }

    fn ab_to_c() -> [Vec<Endpoint>; 2] {
        [vec![fp32("a", &[-1, 16]), fp32("b", &[-1, 16])], vec![fp32("c", &[-1, 16]), fp32("d", &[-1, 4])]]
    }

    fn batched() -> Value {
        json!({
            "max_batch_size": 4,
            "input": [tensor("a", &[16]), tensor("b", &[16])],
            "output": [tensor("c", &[16]), tensor("d", &[4])],
            "dynamic_batching": {},
        })
    }

    fn whole() -> Value {
        json!({
            "max_batch_size": 0,
            "input": [tensor("a", &[-1, 16]), tensor("b", &[-1, 16])],
            "output": [tensor("c", &[-1, 16]), tensor("d", &[-1, 4])],
        })
    }

    #[test]
    fn an_empty_configuration_has_all_of_the_signature() {
        let [inputs, outputs] = &ab_to_c();
        let of = [&inputs[..], outputs];
        for nothing in [json!({}), json!({"input": [], "output": [], "max_batch_size": 0})] {
            assert_eq!(complete(of, nothing).unwrap(), Some(batched()));
        }
        // What is whole stays as it is; so does who makes batches.
        assert_eq!(complete(of, batched()).unwrap(), None);
        let sequences = json!({"max_batch_size": 4, "sequence_batching": {}});
        let completed = complete(of, sequences).unwrap().unwrap();
        assert!(completed.get("dynamic_batching").is_none());
        let own = json!({"parameters": {"batching": {"string_value": "adaptive"}}});
        let completed = complete(of, own).unwrap().unwrap();
        assert_eq!((&completed["max_batch_size"], completed.get("dynamic_batching")), (&json!(4), None));
    }

    #[test]
    fn what_is_declared_says_whether_there_are_batches() {
        let [inputs, outputs] = &ab_to_c();
        let of = [&inputs[..], outputs];
        let first = |declared: Value| complete(of, declared).map(|json| json.unwrap()["input"][0].clone());
        for declared in [
            json!({"input": [{"name": "a"}]}),
            json!({"input": [{"name": "a", "data_type": "TYPE_INVALID", "dims": []}]}),
            json!({"input": [tensor("a", &[16])]}),
            json!({"output": [{"name": "c"}]}),
            json!({"output": [{"name": "d", "dims": ["4"]}]}),
        ] {
            assert_eq!(first(declared.clone()).unwrap(), tensor("a", &[16]), "{declared}");
        }
        for declared in [
            json!({"input": [{"name": "a", "dims": [-1, 16]}]}),
            json!({"input": [{"name": "a"}, tensor("b", &[-1, 16])]}),
            json!({"output": [{"name": "c", "data_type": "TYPE_FP32"}, {"name": "d", "dims": [-1, 4]}]}),
        ] {
            let completed = complete(of, declared.clone()).unwrap().unwrap();
            assert_eq!(completed["input"], whole()["input"], "{declared}");
            assert_eq!(
                (completed.get("dynamic_batching"), completed["max_batch_size"].as_i64()),
                (None, None)
            );
        }
        let both = json!({"input": [tensor("a", &[16])], "output": [tensor("c", &[-1, 16])]});
        let error = complete(of, both).unwrap_err().message;
        assert!(error.contains("contradicting") && error.contains("'a'") && error.contains("'c'"), "{error}");
    }

    #[test]
    fn fewer_inputs_are_completed_and_fewer_outputs_are_a_choice() {
        let [inputs, outputs] = &ab_to_c();
        let of = [&inputs[..], outputs];
        let declared =
            json!({"max_batch_size": 1, "input": [tensor("b", &[16])], "output": [tensor("d", &[4])]});
        let completed = complete(of, declared).unwrap().unwrap();
        assert_eq!(completed["input"], json!([tensor("b", &[16]), tensor("a", &[16])]));
        assert_eq!(completed["output"], json!([tensor("d", &[4])]));
        assert!(completed.get("dynamic_batching").is_none(), "one row needs no batcher");
        // Latency outputs are none of the model's.
        let latency = json!({"name": "compute_latency_ns", "data_type": "TYPE_INT64", "dims": [1]});
        let completed = complete(of, json!({ "output": [latency] })).unwrap().unwrap();
        assert_eq!(completed["output"], json!([latency, tensor("c", &[16]), tensor("d", &[4])]));
        assert_eq!(completed["max_batch_size"], 4);
        let half = complete(of, json!({"output": [{"name": "compute_latency_ns"}]})).unwrap().unwrap();
        assert_eq!(half["output"], completed["output"]);
        // A name that is none is told later, beside what there is.
        let unknown = json!({"input": [{"name": "z"}]});
        assert_eq!(complete(of, unknown).unwrap().unwrap()["input"][0], json!({"name": "z"}));
    }

    #[test]
    fn a_signature_without_a_batch_dimension_has_no_batches() {
        let (inputs, outputs) = ([fp32("a", &[2, 3])], [fp32("c", &[-1])]);
        let of = [&inputs[..], &outputs[..]];
        let completed = complete(of, json!({})).unwrap().unwrap();
        assert_eq!(completed, json!({"input": [tensor("a", &[2, 3])], "output": [tensor("c", &[-1])]}));
        let error = complete(of, json!({"max_batch_size": 8})).unwrap_err();
        assert_eq!(error.code, Code::Internal);
        assert!(error.message.contains("configuration specified max-batch 8 but"), "{error}");
        // The same where nothing is left to complete; under our own name what is declared is held against the signature later.
        let declared =
            json!({"max_batch_size": 8, "input": [tensor("a", &[3])], "output": [tensor("c", &[1])]});
        let error = complete(of, declared.clone()).unwrap_err();
        assert!(error.message.contains("configuration specified max-batch 8 but"), "{error}");
        assert_eq!(complete_by(&BackendOptions::default(), of, declared).unwrap(), None);
        // An output that nobody declares may have what it likes.
        let (inputs, outputs) = ([fp32("a", &[-1, 3])], [fp32("c", &[-1, 1]), fp32("d", &[3])]);
        let declared =
            json!({"max_batch_size": 8, "input": [tensor("a", &[3])], "output": [tensor("c", &[1])]});
        complete([&inputs, &outputs], declared).unwrap();
        let no_batches = BackendOptions { default_max_batch_size: 0, ..drop_in() };
        let [inputs, outputs] = &ab_to_c();
        let completed = complete_by(&no_batches, [inputs, outputs], json!({})).unwrap().unwrap();
        assert_eq!((&completed["input"], completed.get("dynamic_batching")), (&whole()["input"], None));
    }

    #[test]
    fn what_is_ragged_has_batches_and_inputs_of_the_backend_s_own() {
        let inputs = [fp32("a", &[-1]), fp32("b", &[-1, 4]), fp32("count", &[-1])];
        let outputs = [fp32("c", &[-1, 2])];
        let ragged = json!({
            "input": [{"name": "a", "dims": [-1], "allow_ragged_batch": true}],
            "batch_input": [{
                "kind": "BATCH_ELEMENT_COUNT", "target_name": ["count"], "data_type": "TYPE_FP32", "source_input": ["a"],
            }],
        });
        let completed = complete([&inputs, &outputs], ragged).unwrap().unwrap();
        assert_eq!(completed["max_batch_size"], 4);
        let a = json!({"name": "a", "dims": [-1], "allow_ragged_batch": true, "data_type": "TYPE_FP32"});
        assert_eq!(completed["input"], json!([a, tensor("b", &[4])]));
        assert_eq!(completed["output"], json!([tensor("c", &[2])]));
    }

    #[test]
    fn a_row_without_dims_is_reshaped_to_nothing() {
        let (inputs, outputs) = ([fp32("a", &[-1])], [fp32("c", &[-1, 2])]);
        let completed = complete([&inputs, &outputs], json!({"input": [{"name": "a"}]})).unwrap().unwrap();
        let reshaped = json!({"name": "a", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}});
        assert_eq!(completed["input"], json!([reshaped]));
        // A reshape of the user's own stays.
        let own = json!({"max_batch_size": 8, "input": [
            {"name": "a", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}]});
        assert_eq!(complete([&inputs, &outputs], own.clone()).unwrap().unwrap()["input"], own["input"]);
    }

    #[test]
    fn what_the_signature_leaves_open_has_to_be_declared() {
        let open = [endpoint("a", Some(DataType::Fp32), None)];
        let rows = [fp32("c", &[-1, 2])];
        let quantised = [endpoint("q", None, Some(&[-1]))];
        let refused = |of, config| -> Error { complete(of, config).unwrap_err() };
        let error = refused([&quantised[..], &rows], json!({}));
        assert_eq!(error.code, Code::Unsupported);
        let begins = "unable to autofill for 'm': the configuration cannot be completed";
        assert!(error.message.starts_with(begins) && error.message.contains("input 'q'"), "{error}");
        // The former backend's words for what has no rank, and for scalars.
        let own = BackendOptions { latency_outputs: false, ..BackendOptions::default() };
        for tensor in [&open[0], &fp32("a", &[])] {
            let begins = "Unable to autofill for 'm': the rank of model tensor 'a' is 0 and dimensions are not defined";
            let tensor = std::slice::from_ref(tensor);
            for (of, config) in [
                ([tensor, &rows], json!({})),
                ([tensor, &rows], json!({"input": [{"name": "a", "data_type": "TYPE_FP32"}]})),
                ([&rows, tensor], json!({"output": [{"name": "a"}]})),
            ] {
                let error = refused(of, config.clone());
                assert_eq!(error.code, Code::InvalidArg);
                assert!(error.message.starts_with(begins), "{error}");
                let is_scalar = tensor[0].dims.is_some();
                assert_eq!(
                    complete_by(&own, of, config).is_ok(),
                    is_scalar,
                    "a scalar is completed under our own name"
                );
            }
            let error = refused([&rows, tensor], json!({}));
            let begins =
                "Unable to autofill for 'm': the rank of model tensor 'a' is 0 which is not supported";
            assert!(error.message.starts_with(begins), "{error}");
            complete_by(&own, [&rows, tensor], json!({})).unwrap();
        }
        let declared = json!({"input": [tensor("a", &[7])]});
        let completed = complete([&open, &rows], declared).unwrap().unwrap();
        assert_eq!(
            completed["output"],
            json!([tensor("c", &[-1, 2])]),
            "nothing says that there are batches"
        );
        // A scalar has no rows.
        let (a, c) = ([fp32("a", &[])], [fp32("c", &[])]);
        let completed = complete_by(&own, [&a, &c], json!({})).unwrap().unwrap();
        assert_eq!(completed, json!({"input": [tensor("a", &[1])], "output": [tensor("c", &[1])]}));
        // An output is left out.
        let completed = complete([&rows, &quantised], json!({})).unwrap().unwrap();
        assert_eq!(completed["output"], json!([]));
    }

    #[test]
    fn latency_outputs_come_where_no_output_is_declared() {
        let (inputs, outputs) = ([fp32("a", &[-1, 2])], [fp32("c", &[-1, 2])]);
        let own = BackendOptions::default();
        let names = |config| -> Vec<String> {
            let json = complete_by(&own, [&inputs, &outputs], config).unwrap().unwrap();
            tensors(&json, "output")
                .iter()
                .map(|output| output["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert!(names(json!({})).len() == 7 && names(json!({}))[0] == "c");
        assert_eq!(names(json!({"output": [{"name": "c"}]})), ["c"]);
        // A scheduler is added where the batches are.
        let declared =
            json!({"max_batch_size": 8, "input": [tensor("a", &[2])], "output": [tensor("c", &[2])]});
        assert_eq!(complete_by(&own, [&inputs, &outputs], declared).unwrap(), None);
    }
}
