//! Completes a configuration that leaves inputs and outputs to the backend, from the SavedModel's
//! signature. The latency outputs are declared with them.

use serde_json::{Value, json};

use crate::config::{BackendOptions, Batching, ModelConfig};
use crate::tensorflow::{Endpoint, Session};
use crate::timing::Measure;

/// Fills in what `config` (which `json` says too) does not have; tells whether there was something to
/// fill in.
pub fn complete(json: &mut Value, config: &ModelConfig, session: &Session, options: &BackendOptions) -> bool {
    if !config.inputs.is_empty() && !config.outputs.is_empty() {
        return false;
    }
    let nothing_declared = config.inputs.is_empty() && config.outputs.is_empty();
    let mut batching = config.max_batch_size > 0;
    let batchable = session.inputs.iter().chain(&session.outputs).all(has_batch_dimension);
    if !batching && nothing_declared && batchable && options.default_max_batch_size > 0 {
        batching = true;
        json["max_batch_size"] = options.default_max_batch_size.into();
        if options.default_max_batch_size > 1
            && config.batching == Batching::Triton
            && json.get("dynamic_batching").is_none()
        {
            json["dynamic_batching"] = json!({});
        }
    }
    if config.inputs.is_empty() {
        json["input"] = session.inputs.iter().filter_map(|endpoint| declare(endpoint, batching)).collect();
    }
    if config.outputs.is_empty() {
        let adaptive = config.batching != Batching::Triton;
        let measures = Measure::available(adaptive).iter().map(|measure| {
            let name = measure.name().to_string_lossy();
            json!({ "name": name, "data_type": "TYPE_INT64", "dims": [1] })
        });
        let outputs = session.outputs.iter().filter_map(|endpoint| {
            let declared = declare(endpoint, batching);
            if declared.is_none() {
                log::warn!(
                    "a model's completed configuration goes without its output '{}' ({} {:?}), which cannot be \
                     served",
                    endpoint.name,
                    endpoint.type_name,
                    endpoint.dims
                );
            }
            declared
        });
        json["output"] = outputs.chain(measures).collect();
    }
    true
}

fn has_batch_dimension(endpoint: &Endpoint) -> bool {
    endpoint.dims.as_ref().is_some_and(|dims| dims.first() == Some(&-1))
}

/// Nothing for a tensor that cannot be served: of another type, of any rank, or a scalar where there is no
/// batch dimension. A missing input is told when the configuration is held against the signature.
fn declare(endpoint: &Endpoint, batching: bool) -> Option<Value> {
    let data_type = format!("TYPE_{}", endpoint.datatype?);
    let dims = endpoint.dims.as_ref()?.get(usize::from(batching)..)?;
    let mut tensor = json!({ "name": endpoint.name, "data_type": data_type, "dims": dims });
    if dims.is_empty() {
        if !batching {
            return None;
        }
        // A configuration has no empty dims.
        tensor["dims"] = json!([1]);
        tensor["reshape"] = json!({ "shape": [] });
    }
    Some(tensor)
}
