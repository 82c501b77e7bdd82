//! Batches of requests that differ in shape: holds `allow_ragged_batch`, `batch_input` and `batch_output` of the configuration
//! against the model's tensors.

use super::disagreements::shape;
use super::spec::{TensorSpec, describe, unservable};
use crate::config::{BatchInputKind, ModelConfig};
use crate::tensorflow::Endpoint;
use crate::triton::{Code, DataType, Error, Result};

/// What batches of requests that differ in shape take, besides the requests' own tensors.
#[derive(Debug, Default)]
pub struct Ragged {
    /// The inputs that the backend makes, in the order of the session's inputs.
    pub inputs: Vec<BatchInput>,
    /// The outputs that have the requests' parts one after the other: each with its index among the session's outputs, and the
    /// index in `Model::inputs` of the input of which a part has the sizes that the declaration leaves open.
    pub outputs: Vec<(usize, usize)>,
}

/// An input of the model that the backend makes for each batch.
#[derive(Debug)]
pub struct BatchInput {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: BatchInputKind,
    /// Its type, INT32 or FP32.
    pub datatype: DataType,
    /// Its index among the session's inputs.
    pub place: usize,
    /// The index in `Model::inputs` of the input from whose shapes it is made.
    pub source: usize,
}

impl Ragged {
    /// What `config` asks for, held against the inputs of the session, whose inputs from requests are `inputs`; nothing where
    /// only requests of equal shapes share a batch.
    ///
    /// # Errors
    /// A name is not that of a tensor, or a type or a shape is not the model's.
    pub fn new(
        config: &ModelConfig,
        (of, signature): (&str, &[Endpoint]),
        inputs: &[TensorSpec],
        outputs: &[Option<TensorSpec>],
    ) -> Result<Option<Box<Self>>> {
        if !config.is_ragged() {
            return Ok(None);
        }
        let mut ragged = Self::default();
        for batch_input in &config.batch_inputs {
            for name in &batch_input.targets {
                let source = source(inputs, &batch_input.source, name)?;
                let place = place((of, signature), name)?;
                let datatype = agree(
                    (of, &signature[place]),
                    batch_input.kind,
                    &batch_input.data_type,
                    &inputs[source],
                )?;
                ragged.inputs.push(BatchInput {
                    name: name.clone(),
                    kind: batch_input.kind,
                    datatype,
                    place,
                    source,
                });
            }
        }
        ragged.inputs.sort_by_key(|input| input.place);
        for batch_output in &config.batch_outputs {
            for name in &batch_output.targets {
                let source = source(inputs, &batch_output.source, name)?;
                let of_model =
                    |spec: &Option<TensorSpec>| spec.as_ref().is_some_and(|spec| spec.name == *name);
                let index = outputs.iter().position(of_model);
                let Some((index, spec)) =
                    index.and_then(|index| outputs[index].as_ref().map(|spec| (index, spec)))
                else {
                    return Err(Error::invalid(format!(
                        "batch_output of config.pbtxt has the target_name '{name}', which is no output of the model: expected \
                         one that the {of} has"
                    )));
                };
                check_part(spec, &inputs[source])?;
                ragged.outputs.push((index, source));
            }
        }
        Ok(Some(Box::new(ragged)))
    }
}

/// Refuses what has a meaning only with a batch dimension where there is none.
///
/// # Errors
/// One of these is there, and `max_batch_size` is 0, also after the configuration was completed.
pub fn check_batching(config: &ModelConfig) -> Result<()> {
    if config.max_batch_size > 0 {
        return Ok(());
    }
    let ragged = config.inputs.iter().find(|input| input.is_ragged);
    let asked_for = ragged
        .map(|input| format!("'allow_ragged_batch' of input '{}'", input.name))
        .or_else(|| (!config.batch_inputs.is_empty()).then(|| "'batch_input'".into()))
        .or_else(|| (!config.batch_outputs.is_empty()).then(|| "'batch_output'".into()));
    asked_for.map_or(Ok(()), |what| {
        Err(Error::invalid(format!(
            "config.pbtxt asks for {what}, which has a meaning only with a batch dimension, but max_batch_size is 0: set \
             max_batch_size, or remove it"
        )))
    })
}

/// The inputs of the signature that the backend does not make itself.
///
/// # Errors
/// It is to make one that is not there.
pub fn of_requests(config: &ModelConfig, (of, signature): (&str, &[Endpoint])) -> Result<Vec<Endpoint>> {
    let mut others = signature.to_vec();
    for name in config.batch_inputs.iter().flat_map(|batch_input| &batch_input.targets) {
        place((of, signature), name)?;
        others.retain(|endpoint| endpoint.name != *name);
    }
    Ok(others)
}

/// The index of the input that has the name of a target of `batch_input`.
fn place((of, signature): (&str, &[Endpoint]), name: &str) -> Result<usize> {
    signature.iter().position(|endpoint| endpoint.name == name).ok_or_else(|| {
        let known: Vec<_> = signature.iter().map(|endpoint| format!("'{}'", endpoint.name)).collect();
        Error::invalid(format!(
            "batch_input of config.pbtxt has the target_name '{name}', which is no input of the {of}; it has: {}",
            known.join(", ")
        ))
    })
}

/// Whether the model takes the elements of all requests one after the other, in place of a batch dimension.
///
/// # Errors
/// It does not, by its signature.
pub fn check_shape(model: &str, endpoint: &Endpoint) -> Result<()> {
    match &endpoint.dims {
        // It begins with the words of Triton's former TensorFlow backend, as those of `disagreements` do.
        Some(dims) if *dims != [-1] => Err(Error::whole(
            Code::InvalidArg,
            format!(
                "unable to load model '{model}', configuration expects model provides input with shape [-1]  for ragged input '{}', \
             model provides {}: with allow_ragged_batch the model has the elements of all requests one after the other, in one dimension. Export the \
             model with the shape [-1] for it, or remove allow_ragged_batch",
                endpoint.name,
                shape(dims)
            ),
        )),
        _ => Ok(()),
    }
}

/// The input that has the name of a `source_input`, for `target`.
fn source(inputs: &[TensorSpec], name: &str, target: &str) -> Result<usize> {
    let from_clients = || inputs.iter().filter(|spec| !spec.is_control);
    inputs.iter().position(|spec| spec.name == name && !spec.is_control).ok_or_else(|| {
        let known: Vec<_> = from_clients().map(|spec| format!("'{}'", spec.name)).collect();
        Error::invalid(format!(
            "for '{target}' config.pbtxt has the source_input '{name}': expected one of the inputs that it declares ({})",
            known.join(", ")
        ))
    })
}

/// Holds a batch input against the signature's input of the same name. Returns its type.
fn agree(
    (of, endpoint): (&str, &Endpoint),
    kind: BatchInputKind,
    data_type: &str,
    source: &TensorSpec,
) -> Result<DataType> {
    let (name, kind_name) = (&endpoint.name, kind.name());
    let disagree = |expected: String, found: String| {
        Error::invalid(format!(
            "'{name}', a target_name of batch_input in config.pbtxt ({kind_name}), disagrees with the {of} ({}): expected \
             {expected}, found {found}",
            describe(endpoint)
        ))
    };
    if let Some(reason) = unservable(endpoint) {
        return Err(Error::unsupported(format!("input '{name}' of the model cannot be served: {reason}")));
    }
    let found = DataType::from_config(data_type).filter(|found| endpoint.datatype == Some(*found));
    let Some(datatype) = found else {
        let model = endpoint.datatype.map_or("", |datatype| datatype.config_name());
        let advice = match endpoint.datatype {
            Some(DataType::Int32 | DataType::Fp32) => "",
            _ => ". A batch_input is INT32 or FP32: export the model with one of these for it",
        };
        return Err(disagree(format!("data_type TYPE_{model}"), format!("{data_type}{advice}")));
    };
    let item = [-1, source.dims.len() as i64];
    let expected = if kind == BatchInputKind::ItemShape { &item[..] } else { &item[..1] };
    let fits = |dims: &Vec<i64>| {
        dims.len() == expected.len()
            && dims.iter().zip(expected).all(|(dim, of_batch)| *dim == -1 || dim == of_batch)
    };
    if !endpoint.dims.as_ref().is_none_or(fits) {
        return Err(disagree(
            format!(
                "a model with the shape {expected:?} for it, as its source_input '{}' makes it",
                source.name
            ),
            format!("{:?}", endpoint.dims.as_deref().unwrap_or_default()),
        ));
    }
    Ok(datatype)
}

/// Whether each size that the declaration of a ragged output leaves open is one of its source's.
fn check_part(output: &TensorSpec, source: &TensorSpec) -> Result<()> {
    let open = output.dims.iter().skip(source.dims.len()).any(|&dim| dim == -1);
    if !open {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "output '{}' of config.pbtxt is a target_name of batch_output, so each -1 of its dims is the same dimension of its \
         source_input '{}', which has {} of them: expected no -1 behind those, found {:?}",
        output.name,
        source.name,
        source.dims.len(),
        output.dims
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::BackendOptions;

    fn endpoint(name: &str, datatype: DataType, dims: Option<&[i64]>) -> Endpoint {
        Endpoint {
            name: name.into(),
            datatype: Some(datatype),
            type_name: format!("DT_{datatype}"),
            dims: dims.map(<[i64]>::to_vec),
            place: (name.into(), 0),
            default: None,
        }
    }

    fn spec(name: &str, dims: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.into(),
            c_name: std::ffi::CString::new(name).unwrap(),
            datatype: DataType::Fp32,
            dims: dims.to_vec(),
            is_scalar: false,
            is_control: name == "control",
            is_ragged: true,
            default: None,
        }
    }

    fn signature() -> Vec<Endpoint> {
        vec![
            endpoint("count", DataType::Int32, Some(&[-1])),
            endpoint("ends", DataType::Fp32, None),
            endpoint("long", DataType::Int64, Some(&[-1])),
            endpoint("shapes", DataType::Int32, Some(&[-1, 2])),
            endpoint("x", DataType::Fp32, Some(&[-1])),
        ]
    }

    fn config(batch_input: &Value, batch_output: &Value) -> ModelConfig {
        let tensor = |name: &str| json!({"name": name, "data_type": "TYPE_FP32", "dims": [-1]});
        let config = json!({
            "max_batch_size": 4, "input": [tensor("x")], "output": [tensor("y"), tensor("executed_batch_size")],
            "batch_input": batch_input, "batch_output": batch_output,
        });
        ModelConfig::from_json(&config, &BackendOptions::default()).unwrap()
    }

    fn ragged(batch_input: &Value, batch_output: &Value, dims: &[i64]) -> Result<Option<Box<Ragged>>> {
        let config = config(batch_input, batch_output);
        let inputs = [spec("control", &[1]), spec("x", &[-1, -1])];
        let outputs = [None, Some(spec("y", dims))];
        Ragged::new(&config, ("SavedModel's signature", &signature()), &inputs, &outputs)
    }

    fn batch_input(kind: BatchInputKind, targets: &[&str], data_type: &str, source: &str) -> Value {
        json!({"kind": kind.name(), "target_name": targets, "data_type": data_type, "source_input": [source]})
    }

    #[test]
    fn what_the_backend_makes_is_in_the_order_of_the_sessions_inputs() {
        let made = json!([
            batch_input(BatchInputKind::ItemShape, &["shapes"], "TYPE_INT32", "x"),
            batch_input(BatchInputKind::ElementCount, &["count"], "TYPE_INT32", "x"),
            batch_input(BatchInputKind::AccumulatedElementCount, &["ends"], "TYPE_FP32", "x"),
        ]);
        let found =
            ragged(&made, &json!([{"target_name": ["y"], "source_input": ["x"]}]), &[-1]).unwrap().unwrap();
        let inputs: Vec<_> =
            found.inputs.iter().map(|input| (&*input.name, input.place, input.source)).collect();
        assert_eq!(inputs, [("count", 0, 1), ("ends", 1, 1), ("shapes", 3, 1)]);
        assert_eq!(found.outputs, [(1, 1)]);
        let left = of_requests(&config(&made, &json!([])), ("graph", &signature())).unwrap();
        assert_eq!(left.iter().map(|endpoint| &*endpoint.name).collect::<Vec<_>>(), ["long", "x"]);
        let odd = json!([batch_input(BatchInputKind::ItemShape, &["count", "n"], "TYPE_INT32", "x")]);
        let error = of_requests(&config(&odd, &json!([])), ("graph", &signature())).unwrap_err().message;
        assert!(
            error.contains("target_name 'n', which is no input of the graph; it has: 'count', 'ends'"),
            "{error}"
        );
        assert!(ragged(&json!([]), &json!([]), &[-1]).unwrap().is_none());
    }

    #[test]
    fn what_is_not_as_the_model_has_it_is_refused() {
        use BatchInputKind::{ElementCount, ItemShape};
        for (batch_input, parts) in [
            (batch_input(ElementCount, &["n"], "TYPE_INT32", "x"), ["'n', which is no input", "'count'"]),
            (
                batch_input(ElementCount, &["count"], "TYPE_FP32", "x"),
                ["data_type TYPE_INT32", "found TYPE_FP32"],
            ),
            (
                batch_input(ElementCount, &["long"], "TYPE_INT32", "x"),
                ["data_type TYPE_INT64", "INT32 or FP32"],
            ),
            (
                batch_input(ElementCount, &["count"], "TYPE_INT32", "z"),
                ["source_input 'z'", "declares ('x')"],
            ),
            (batch_input(ElementCount, &["count"], "TYPE_INT32", "control"), ["'control'", "declares ('x')"]),
            (
                batch_input(ElementCount, &["shapes"], "TYPE_INT32", "x"),
                ["the shape [-1] for it", "found [-1, 2]"],
            ),
            (
                batch_input(ItemShape, &["count"], "TYPE_INT32", "x"),
                ["the shape [-1, 2] for it", "found [-1]"],
            ),
        ] {
            let error = ragged(&json!([batch_input]), &json!([]), &[-1]).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg);
            for part in parts {
                assert!(error.message.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn the_open_sizes_of_a_part_are_its_sources() {
        let of = |target: &str, source: &str, dims: &[i64]| {
            ragged(&json!([]), &json!([{"target_name": [target], "source_input": [source]}]), dims)
        };
        for dims in [&[-1][..], &[-1, -1], &[3, -1, 5], &[]] {
            assert_eq!(of("y", "x", dims).unwrap().unwrap().outputs, [(1, 1)]);
        }
        let error = of("y", "x", &[-1, -1, -1]).unwrap_err().message;
        assert!(error.contains("which has 2 of them") && error.contains("found [-1, -1, -1]"), "{error}");
        let error = of("executed_batch_size", "x", &[-1]).unwrap_err().message;
        assert!(error.contains("'executed_batch_size', which is no output of the model"), "{error}");
        let error = of("y", "z", &[-1]).unwrap_err().message;
        assert!(error.contains("source_input 'z'"), "{error}");
    }

    #[test]
    fn without_a_batch_dimension_there_are_no_ragged_batches() {
        let tensor = |name: &str| json!({"name": name, "data_type": "TYPE_FP32", "dims": [-1]});
        let check = |config: &Value| {
            check_batching(&ModelConfig::from_json(config, &BackendOptions::default()).unwrap())
        };
        let mut ragged = tensor("x");
        ragged["allow_ragged_batch"] = json!(true);
        let made = batch_input(BatchInputKind::ElementCount, &["count"], "TYPE_INT32", "x");
        for (mut config, part) in [
            (json!({ "input": [ragged] }), "'allow_ragged_batch' of input 'x'"),
            (json!({ "input": [tensor("x")], "batch_input": [made] }), "'batch_input'"),
            (
                json!({"output": [tensor("y")], "batch_output": [{"target_name": ["y"], "source_input": ["x"]}]}),
                "'batch_output'",
            ),
        ] {
            let error = check(&config).unwrap_err().message;
            assert!(error.contains(part) && error.contains("max_batch_size is 0: set"), "{error}");
            config["max_batch_size"] = json!(1);
            assert!(check(&config).is_ok());
        }
        assert!(check(&json!({"input": [tensor("x")], "batch_input": null})).is_ok());
    }

    #[test]
    fn a_ragged_input_has_one_dimension() {
        let check = |dims: Option<&[i64]>| check_shape("m", &endpoint("x", DataType::Fp32, dims));
        assert!(check(Some(&[-1])).is_ok() && check(None).is_ok());
        for (dims, found) in [(&[-1, 16][..], "[-1,16]"), (&[], "[]"), (&[4], "[4]")] {
            let error = check(Some(dims)).unwrap_err().message;
            let expected = format!(
                "unable to load model 'm', configuration expects model provides input with shape [-1]  for ragged input 'x', \
                 model provides {found}: "
            );
            assert!(error.starts_with(&expected) && error.contains("Export"), "{error}");
        }
    }
}
