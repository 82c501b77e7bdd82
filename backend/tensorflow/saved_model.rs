//! Loads a SavedModel: one of its graphs with its variables, and the tensors of one of its signatures.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::defaults;
use super::endpoint::{Endpoint, Place};
use super::files::{self, VARIABLES_INDEX, has_variables};
use super::graph::Graph;
use super::operation::Operation;
use super::origin::Origin;
use super::proto::config::ConfigProto;
use super::proto::saved_model::{MetaGraphDef, SignatureDef, TensorInfo};
use super::raw_session::RawSession;
use super::types;
use super::variables::{self, ModelSession};
use crate::config::MAX_RANK;
use crate::triton::{Code, Error, Result};

/// A graph that can be run, and the tensors of a signature in it.
#[derive(Debug)]
pub struct Loaded {
    /// The session.
    pub session: ModelSession,
    /// The signature's inputs, sorted by name.
    pub inputs: Vec<Endpoint>,
    /// The signature's outputs, sorted by name.
    pub outputs: Vec<Endpoint>,
    /// What wrote the SavedModel.
    pub origin: Origin,
}

/// The tags that `tags` lists, separated by commas.
pub fn split(tags: &str) -> Vec<&str> {
    tags.split(',').map(str::trim).collect()
}

/// What is served of a SavedModel.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Which of its graphs: its tags, separated by commas.
    pub tags: &'a str,
    /// Which of its signatures, if not the usual one.
    pub signature: Option<&'a str>,
    /// It is loaded even if the values of its variables are not there.
    pub may_lack_values: bool,
}

/// Loads these parts of the SavedModel in `folder`, to open with `config`.
///
/// # Errors
/// TensorFlow cannot load it; or there is no such graph or signature; or the signature does not fit the graph.
pub fn load(folder: &Path, file: Parts<'_>, config: &ConfigProto) -> Result<Loaded> {
    let Parts { tags, signature, .. } = file;
    let split = split(tags);
    let time = files::load_time(folder);
    let (session, meta_graph) = RawSession::load(folder, &split, config, time).map_err(|failure| {
        Origin::of_file(&folder.join(files::GRAPHS), &split).not_loaded(folder, tags, &failure)
    })?;
    let session = ModelSession::new(session);
    let place = folder.display();
    let meta_graph: MetaGraphDef = meta_graph
        .decode()
        .map_err(|e| Error::internal(format!("the SavedModel at {place} cannot be read: {e}")))?;
    let endpoints = || {
        let signature = find_signature(&meta_graph, signature)?;
        let mut inputs = endpoints(session.graph(), "input", &signature.inputs)?;
        let outputs = endpoints(session.graph(), "output", &signature.outputs)?;
        one_name_each(&inputs)?;
        defaults::find(&session, &mut inputs, &signature.defaults);
        Ok((inputs, outputs))
    };
    let (inputs, outputs) =
        endpoints().map_err(|e: Error| e.context(format!("the SavedModel at {place}")))?;
    if !has_variables(folder)
        && let Some(variable) = needed_variable(session.graph(), &outputs)
    {
        let error = without_values(folder, &variable);
        if !file.may_lack_values {
            return Err(error);
        }
        log::warn!("every run will fail: {}", error.message);
    }
    Ok(Loaded { session, inputs, outputs, origin: Origin::of(&meta_graph) })
}

/// A variable that some of the outputs need.
fn needed_variable(graph: &Graph, outputs: &[Endpoint]) -> Option<String> {
    let mut seen = HashSet::new();
    let mut open: Vec<Operation<'_>> =
        outputs.iter().filter_map(|output| graph.operation(&output.place.0)).collect();
    while let Some(operation) = open.pop() {
        if [variables::HANDLE, "VariableV2"].contains(&&*operation.op_type()) {
            return Some(operation.name().into_owned());
        }
        if seen.insert(operation.name().into_owned()) {
            open.extend(operation.needs());
        }
    }
    None
}

/// TensorFlow loads a SavedModel without the values of its variables all the same, and then every run fails.
fn without_values(folder: &Path, variable: &str) -> Error {
    Error::new(
        Code::NotFound,
        format!(
            "the SavedModel at {} has variables ('{variable}' is one) but no {VARIABLES_INDEX} with their values. Copy the whole \
             folder, or export the model again",
            folder.display()
        ),
    )
}

/// The signature that exporters give a model for serving.
const USUAL_SIGNATURE: &str = "serving_default";

/// Two inputs of a signature may be one tensor of the graph, but that can be fed only once.
pub fn one_name_each(inputs: &[Endpoint]) -> Result<()> {
    let mut names = HashMap::new();
    for input in inputs {
        if let Some(other) = names.insert(&input.place, &input.name) {
            return Err(Error::unsupported(format!(
                "the inputs '{other}' and '{}' are one tensor of the graph ({}): export the model, or declare it, with one of \
                 them",
                input.name, input.place.0
            )));
        }
    }
    Ok(())
}

/// The signature of this name. Without one it is the usual one or, where there is none, the first by name.
fn find_signature<'m>(meta_graph: &'m MetaGraphDef, name: Option<&str>) -> Result<&'m SignatureDef> {
    let signatures = &meta_graph.signature_def;
    if let Some(signature) = signatures.get(name.unwrap_or(USUAL_SIGNATURE)) {
        return Ok(signature);
    }
    // Names with two underscores are TensorFlow's own, such as __saved_model_init_op.
    let names: Vec<&str> =
        signatures.keys().map(String::as_str).filter(|name| !name.starts_with("__")).collect();
    match (name, names.first()) {
        (None, Some(first)) => {
            log::warn!(
                "a SavedModel has no signature '{USUAL_SIGNATURE}', so '{first}' is served, of {}; the parameter \
                 TF_SIGNATURE_DEF chooses another",
                names.join(", ")
            );
            Ok(&signatures[*first])
        }
        (name, _) => Err(Error::new(
            Code::NotFound,
            format!(
                "expected '{}' signature, which is not there; it has: {}. Choose one with the parameter TF_SIGNATURE_DEF",
                name.unwrap_or(USUAL_SIGNATURE),
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ),
        )),
    }
}

fn endpoints(graph: &Graph, kind: &str, infos: &BTreeMap<String, TensorInfo>) -> Result<Vec<Endpoint>> {
    let endpoint = |(name, info): (&String, &TensorInfo)| {
        endpoint(graph, name, info).map_err(|e| e.context(format!("{kind} '{name}' of the signature")))
    };
    infos.iter().map(endpoint).collect()
}

fn endpoint(graph: &Graph, name: &str, info: &TensorInfo) -> Result<Endpoint> {
    let tensor = info.name.as_deref().filter(|tensor| !tensor.is_empty()).ok_or_else(|| {
        Error::unsupported(
            "a sparse or composite tensor; this backend takes dense ones: export the model with a signature of dense \
             tensors",
        )
    })?;
    let place = parse(tensor)?;
    let broken =
        |e: Error| e.context(format!("'{tensor}' is not in the graph")).context("export the model again");
    let found = graph.type_of(&place).map_err(broken)?;
    if types::of_values(found) != types::of_values(info.dtype) {
        return Err(Error::invalid(format!(
            "the signature says {}, but '{tensor}' of the graph is {}. Export the model again",
            types::name(info.dtype),
            types::name(found)
        )));
    }
    let shape = info.tensor_shape.clone().unwrap_or_default();
    if shape.dim.len() > MAX_RANK {
        return Err(Error::unsupported(format!(
            "expected at most {MAX_RANK} dimensions, as TensorFlow's tensors have them, found {}. Export the model with \
             fewer",
            shape.dim.len()
        )));
    }
    let dims = shape.dim.iter().map(|dim| dim.size.max(-1)).collect();
    Ok(Endpoint {
        name: name.into(),
        datatype: types::from_number(info.dtype),
        type_name: types::name(info.dtype),
        dims: (!shape.unknown_rank).then_some(dims),
        place,
        default: None,
    })
}

/// The place that `operation:index` names; without an index it is output 0.
fn parse(tensor: &str) -> Result<Place> {
    let Some((operation, index)) = tensor.split_once(':') else { return Ok((tensor.into(), 0)) };
    match index.parse() {
        Ok(index) => Ok((operation.into(), index)),
        Err(_) => {
            Err(Error::invalid(format!("expected operation:index, found '{tensor}'. Export the model again")))
        }
    }
}
