//! What is wrong where config.pbtxt and the model disagree, in words.
//!
//! A message begins with what Triton's former TensorFlow backend said in the same case, since there are scripts that look
//! for it, and goes on with what was expected, what was found, and what to do.

use std::fmt::Display;

use super::spec::describe;
use crate::config::TensorConfig;
use crate::tensorflow::Endpoint;
use crate::triton::{Code, Error};

/// The model that a configuration is held against.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The model's name.
    pub model: &'a str,
    /// What its tensors are declared in: a signature, or a graph.
    pub of: &'a str,
    /// Whether tensors have a batch dimension (`max_batch_size` above 0).
    pub batching: bool,
}

fn invalid(message: String) -> Error {
    Error::whole(Code::InvalidArg, message)
}

/// Config.pbtxt declares a tensor that the model does not have.
pub fn unknown(kind: &str, name: &str, side: Side<'_>, known: &[Endpoint]) -> Error {
    let mut names: Vec<&str> = known.iter().map(|endpoint| endpoint.name.as_str()).collect();
    names.sort_unstable();
    let Side { model, of, .. } = side;
    invalid(format!(
        "unexpected inference {kind} '{name}', allowed {kind}s are: {}. Model '{model}': config.pbtxt declares {kind} '{name}', \
         which the {of} does not have; it has: {}",
        names.join(", "),
        all(known)
    ))
}

/// A control input of sequence_batching is none of the model's inputs.
pub fn unknown_control(name: &str, side: Side<'_>, known: &[Endpoint]) -> Error {
    let Side { model, of, .. } = side;
    invalid(format!(
        "configuration specified sequence control '{name}', but model does not provide that input. Model '{model}': \
         config.pbtxt declares input '{name}', which the {of} does not have; it has: {}",
        all(known)
    ))
}

/// Config.pbtxt declares so many inputs, and the model has one more, at least.
pub fn missing(declared: usize, missing: &Endpoint, side: Side<'_>, known: usize) -> Error {
    let Side { model, of, .. } = side;
    invalid(format!(
        "unable to load model '{model}', configuration expects {declared} inputs, model provides {known}. config.pbtxt has no \
         input '{}', which the {of} needs ({})",
        missing.name,
        describe(missing)
    ))
}

/// Config.pbtxt declares an input more than once.
pub fn declared_twice(declared: usize, name: &str, side: Side<'_>, known: usize) -> Error {
    let Side { model, .. } = side;
    invalid(format!(
        "unable to load model '{model}', configuration expects {declared} inputs, model provides {known}. config.pbtxt declares \
         the input '{name}' more than once: keep one of the declarations"
    ))
}

/// A tensor has another type.
pub fn other_type(kind: &str, tensor: &TensorConfig, side: Side<'_>, endpoint: &Endpoint) -> Error {
    let TensorConfig { name, data_type, .. } = tensor;
    let Side { model, of, .. } = side;
    let expected = endpoint
        .datatype
        .map_or_else(|| endpoint.type_name.clone(), |datatype| format!("TYPE_{}", datatype.config_name()));
    invalid(format!(
        "unable to load model '{model}', configuration expects datatype {data_type} for {kind} '{name}', model provides \
         {expected}. In config.pbtxt {kind} '{name}' disagrees with the {of} ({}): expected data_type {expected}, found \
         {data_type}",
        describe(endpoint)
    ))
}

/// A tensor has no dimension for the batch, or not one of any size.
pub fn no_batch_dimension(
    kind: &str,
    tensor: &TensorConfig,
    side: Side<'_>,
    endpoint: &Endpoint,
    dims: &[i64],
) -> Error {
    let TensorConfig { name, .. } = tensor;
    let Side { model, of, .. } = side;
    invalid(format!(
        "model '{model}', tensor '{name}': for the model to support batching the shape should have at least 1 dimension and \
         the first dimension must be -1; but shape expected by the model is {}. In config.pbtxt {kind} '{name}' disagrees \
         with the {of} ({}): expected max_batch_size: 0, because its first dimension is not a batch of any size, found a \
         max_batch_size above 0",
        shape(dims),
        describe(endpoint)
    ))
}

/// A tensor has other dimensions; `expected` are those to write.
pub fn other_dims(
    kind: &str,
    tensor: &TensorConfig,
    side: Side<'_>,
    endpoint: &Endpoint,
    expected: impl Display,
) -> Error {
    let TensorConfig { name, dims: found, .. } = tensor;
    let Side { model, of, batching } = side;
    let dims = endpoint.dims.as_deref().unwrap_or_default();
    let specified = if batching {
        let whole: Vec<i64> = [-1].iter().chain(found).copied().collect();
        format!(
            "{} dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, \
             making complete shape {})",
            whole.len(),
            shape(&whole)
        )
    } else {
        format!("{} dimensions (shape {})", found.len(), shape(found))
    };
    invalid(format!(
        "model '{model}', tensor '{name}': the model expects {} dimensions (shape {}) but the model configuration specifies \
         {specified}. In config.pbtxt {kind} '{name}' disagrees with the {of} ({}): expected {expected}, found {found:?}",
        dims.len(),
        shape(dims),
        describe(endpoint)
    ))
}

/// A control input of sequence_batching is not what the model takes.
pub fn of_control(name: &str, model: &str, error: Error) -> Error {
    Error::whole(
        error.code,
        format!("unable to load model '{model}', sequence control '{name}': {}", error.message),
    )
}

/// The configuration asks for batches, and the model has none.
pub fn cannot_batch(model: &str, max_batch_size: u32, endpoint: &Endpoint) -> Error {
    Error::whole(
        Code::Internal,
        format!(
            "unable to autofill for '{model}', configuration specified max-batch {max_batch_size} but model signature does not \
             support batching: expected -1 as the first dimension of each tensor, found '{}' ({}). Set max_batch_size: 0, or \
             declare all inputs and the outputs that have a batch dimension",
            endpoint.name,
            describe(endpoint)
        ),
    )
}

/// One declared tensor has a batch dimension and another has none.
pub fn contradiction(model: &str, with: &str, without: &str) -> Error {
    Error::whole(
        Code::Internal,
        format!(
            "unable to autofill for '{model}', model tensor configurations are contradicting each other in terms of whether \
             batching is supported: the dims of '{with}' leave out the batch dimension, those of '{without}' do not. Leave it \
             out of all or of none, with max_batch_size: 0"
        ),
    )
}

/// The shape of a tensor that has none in the SavedModel has to be declared, and is not. `declared`: it is to be filled in
/// where it stands, or it is an input; otherwise an output of the model, none of which is declared.
pub fn no_shape(kind: &str, declared: bool, model: &str, endpoint: &Endpoint) -> Error {
    let name = &endpoint.name;
    let why = if declared { "and dimensions are not defined" } else { "which is not supported" };
    let datatype = endpoint.datatype.map_or("", |datatype| datatype.config_name());
    invalid(format!(
        "Unable to autofill for '{model}': the rank of model tensor '{name}' is 0 {why}. The SavedModel's signature has {kind} \
         '{name}' ({}), so write its shape into config.pbtxt: {kind} [ {{ name: \"{name}\" data_type: TYPE_{datatype} dims: [ \
         ... ] }} ]{}",
        describe(endpoint),
        if endpoint.dims.is_some() { "; a scalar has dims: [ 1 ] and max_batch_size: 0" } else { "" }
    ))
}

/// The signature does not say enough to complete a configuration.
pub fn cannot_complete(model: &str, reasons: &[String]) -> Error {
    Error::whole(
        Code::Unsupported,
        format!(
            "unable to autofill for '{model}': the configuration cannot be completed from the SavedModel's signature: {}",
            reasons.join("; ")
        ),
    )
}

fn all(known: &[Endpoint]) -> String {
    let named = |endpoint: &Endpoint| format!("'{}' ({})", endpoint.name, describe(endpoint));
    known.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// A shape without blanks.
pub fn shape(dims: &[i64]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::DataType;

    fn endpoint(name: &str, dims: &[i64]) -> Endpoint {
        Endpoint {
            name: name.into(),
            datatype: Some(DataType::Fp32),
            type_name: "FP32".into(),
            dims: Some(dims.to_vec()),
            place: (name.into(), 0),
            default: None,
        }
    }

    fn declared(name: &str, data_type: &str, dims: &[i64]) -> TensorConfig {
        TensorConfig {
            name: name.into(),
            data_type: data_type.into(),
            dims: dims.to_vec(),
            ..TensorConfig::default()
        }
    }

    /// The words of the backend that Triton used to ship, and what follows them.
    #[test]
    fn a_message_begins_with_the_words_that_scripts_look_for() {
        let side = Side { model: "m", of: "signature", batching: true };
        let x = endpoint("x", &[-1, 16]);
        let known = [endpoint("y", &[-1]), x.clone()];
        for (error, begins, has) in [
            (
                unknown("input", "z", side, &known),
                "unexpected inference input 'z', allowed inputs are: x, y",
                "'y' (FP32 [-1]), 'x' (FP32 [-1, 16])",
            ),
            (
                unknown("output", "z", side, &known),
                "unexpected inference output 'z', allowed outputs are: x, y",
                "Model 'm'",
            ),
            (
                unknown_control("start", side, &known),
                "configuration specified sequence control 'start', but model does not provide that input",
                "'x' (FP32 [-1, 16])",
            ),
            (
                missing(1, &x, side, 2),
                "unable to load model 'm', configuration expects 1 inputs, model provides 2",
                "has no input 'x', which the signature needs (FP32 [-1, 16])",
            ),
            (
                other_type("input", &declared("x", "TYPE_INT32", &[16]), side, &x),
                "unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'x', model provides TYPE_FP32",
                "expected data_type TYPE_FP32, found TYPE_INT32",
            ),
            (
                no_batch_dimension(
                    "input",
                    &declared("f", "TYPE_FP32", &[3]),
                    side,
                    &endpoint("f", &[2, 3]),
                    &[2, 3],
                ),
                "model 'm', tensor 'f': for the model to support batching the shape should have at least 1 dimension and the \
                 first dimension must be -1; but shape expected by the model is [2,3]",
                "expected max_batch_size: 0",
            ),
            (
                other_dims("input", &declared("x", "TYPE_FP32", &[16, 1]), side, &x, "dims [16]"),
                "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 3 \
                 dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, \
                 making complete shape [-1,16,1])",
                "expected dims [16], found [16, 1]",
            ),
            (
                other_dims(
                    "output",
                    &declared("x", "TYPE_FP32", &[16]),
                    Side { batching: false, ..side },
                    &x,
                    "dims [-1, 16]",
                ),
                "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 1 \
                 dimensions (shape [16])",
                "expected dims [-1, 16], found [16]",
            ),
            (
                of_control("start", "m", Error::invalid("why")),
                "unable to load model 'm', sequence control 'start': why",
                "why",
            ),
            (
                cannot_batch("m", 8, &endpoint("f", &[2, 3])),
                "unable to autofill for 'm', configuration specified max-batch 8 but model signature does not support batching",
                "'f' (FP32 [2, 3])",
            ),
            (
                contradiction("m", "a", "b"),
                "unable to autofill for 'm', model tensor configurations are contradicting each other in terms of whether \
                 batching is supported",
                "the dims of 'a' leave out the batch dimension, those of 'b' do not",
            ),
        ] {
            // Nothing is put in front of them.
            let message = error.context("somewhere").message;
            assert!(message.starts_with(begins), "{message}");
            assert!(message.contains(has), "{message}");
        }
    }
}
