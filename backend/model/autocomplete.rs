//! Completes a configuration that leaves inputs and outputs to the backend, from the SavedModel's
//! signature. The latency outputs are declared with them.

use serde_json::{Value, json};

use super::measure::Measure;
use super::spec::{describe, has_batch_dimension, unservable};
use crate::config::{BackendOptions, BatchSizeBuckets, Batching, ModelConfig};
use crate::tensorflow::{Endpoint, Session};
use crate::triton::{Error, Result};

/// Fills in what `config`, whose JSON is `json`, leaves out. Returns whether there was something to fill in.
///
/// # Errors
/// An input of the signature cannot be served, or only with dims that the user has to choose.
pub fn autocomplete(
    json: &mut Value,
    config: &ModelConfig,
    session: &Session,
    options: &BackendOptions,
) -> Result<bool> {
    if !config.inputs.is_empty() && !config.outputs.is_empty() {
        return Ok(false);
    }
    let nothing_declared = config.inputs.is_empty() && config.outputs.is_empty();
    let mut batching = config.max_batch_size > 0;
    let batchable = session.inputs.iter().chain(&session.outputs).all(has_batch_dimension);
    if !batching && nothing_declared && batchable && options.default_max_batch_size > 0 {
        batching = true;
        json["max_batch_size"] = options.default_max_batch_size.into();
        if options.default_max_batch_size > 1 && config.batching == Batching::Triton && !config.server_batches
        {
            json["dynamic_batching"] = json!({});
        }
    }
    if config.inputs.is_empty() {
        let is_control =
            |endpoint: &&Endpoint| config.controls.iter().any(|control| control.name == endpoint.name);
        json["input"] = inputs(session.inputs.iter().filter(|input| !is_control(input)), batching)?;
    }
    if config.outputs.is_empty() {
        let adaptive = config.batching != Batching::Triton;
        let in_buckets = matches!(config.batch_size_buckets, BatchSizeBuckets::Sizes(_));
        let measures = Measure::unasked(adaptive, in_buckets).iter().map(|measure| {
            let name = measure.name().to_string_lossy();
            json!({ "name": name, "data_type": "TYPE_INT64", "dims": [1] })
        });
        let outputs = session.outputs.iter().filter_map(|endpoint| {
            declare("output", endpoint, batching)
                .inspect_err(|reason| {
                    log::warn!(
                        "the completed configuration of a model leaves out its output '{}' ({}): {reason}",
                        endpoint.name,
                        describe(endpoint)
                    );
                })
                .ok()
        });
        json["output"] = outputs.chain(measures).collect();
    }
    Ok(true)
}

/// The declarations of these inputs, or the reasons of all that cannot be declared.
fn inputs<'e>(signature: impl Iterator<Item = &'e Endpoint>, batching: bool) -> Result<Value> {
    let mut declarations = Vec::new();
    let mut reasons = Vec::new();
    for endpoint in signature {
        match declare("input", endpoint, batching) {
            Ok(declaration) => declarations.push(declaration),
            Err(reason) => {
                reasons.push(format!("input '{}' ({}): {reason}", endpoint.name, describe(endpoint)))
            }
        }
    }
    if reasons.is_empty() {
        return Ok(declarations.into());
    }
    Err(Error::unsupported(format!(
        "the configuration cannot be completed from the SavedModel's signature: {}",
        reasons.join("; ")
    )))
}

/// The declaration of a tensor, or why there is none.
fn declare(kind: &str, endpoint: &Endpoint, batching: bool) -> std::result::Result<Value, String> {
    if let Some(reason) = unservable(endpoint) {
        return Err(reason);
    }
    let datatype = endpoint.datatype.map_or("", |datatype| datatype.config_name());
    let name = &endpoint.name;
    let Some(dims) = &endpoint.dims else {
        return Err(format!(
            "its rank is unknown, so write its shape into config.pbtxt: {kind} [ {{ name: \"{name}\" data_type: \
             TYPE_{datatype} dims: [ ... ] }} ]"
        ));
    };
    let Some(dims) = dims.get(usize::from(batching)..) else {
        return Err("it is a scalar and so has no batch dimension: set max_batch_size: 0, or export the model with a \
                    shape of [-1] for it"
            .into());
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
