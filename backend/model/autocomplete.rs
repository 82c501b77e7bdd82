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
mod tests;
