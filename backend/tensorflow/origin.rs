//! Which TensorFlow wrote a SavedModel, and what that says about why this one cannot load it.

use std::fs;
use std::path::Path;

use prost::Message;

use super::graph::Graph;
use super::library;
use super::proto::saved_model::{MetaGraphDef, SavedModel, VersionDef};
use super::status::Failure;
use crate::triton::Error;

/// What the file says about its graph.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The version of the TensorFlow that wrote it; empty where that is not known.
    version: String,
    /// Its graph version, which grows with each change of TensorFlow's operations; 0 where that is not known.
    producer: i32,
    /// The tags of each graph of the file, where a graph was not found.
    tag_sets: Vec<String>,
}

impl Origin {
    /// Of a graph that was loaded.
    pub fn of(meta_graph: &MetaGraphDef) -> Self {
        let versions = meta_graph.graph_def.as_ref().and_then(|graph| graph.versions.as_ref());
        Self {
            version: meta_graph.meta_info_def.as_ref().map_or("", |info| &info.tensorflow_version).into(),
            producer: versions.map_or(0, |versions| versions.producer),
            tag_sets: Vec::new(),
        }
    }

    /// Of the graph with these tags in a saved_model.pb that cannot be loaded; nothing is known where it cannot be read
    /// either.
    pub fn of_file(file: &Path, tags: &[&str]) -> Self {
        let saved_model = fs::read(file).ok().and_then(|bytes| SavedModel::decode(&bytes[..]).ok());
        let meta_graphs = saved_model.unwrap_or_default().meta_graphs;
        let tags_of = |meta_graph: &MetaGraphDef| {
            meta_graph.meta_info_def.as_ref().map_or_else(Vec::new, |info| info.tags.clone())
        };
        let is_it = |meta_graph: &&MetaGraphDef| {
            let has = tags_of(meta_graph);
            has.len() == tags.len() && tags.iter().all(|tag| has.iter().any(|has| has == tag))
        };
        let found = meta_graphs.iter().find(is_it).or(meta_graphs.first());
        let tag_sets = meta_graphs.iter().map(|meta_graph| tags_of(meta_graph).join(",")).collect();
        Self { tag_sets, ..found.map(Self::of).unwrap_or_default() }
    }

    /// Whether it was written by a newer TensorFlow than the one that is open.
    fn is_newer(&self) -> bool {
        newer(&self.version, library::version())
            || own_producer().is_some_and(|producer| self.producer > producer)
    }

    /// Who wrote it, for a message.
    fn writer(&self) -> String {
        match self.version.as_str() {
            "" => "another TensorFlow".into(),
            version => format!("TensorFlow {version}"),
        }
    }

    /// The error where the SavedModel in `folder` cannot be loaded: TensorFlow's reason, and what to do.
    pub fn not_loaded(&self, folder: &Path, tags: &str, failure: &Failure) -> Error {
        let advice = self.advice(failure).unwrap_or_else(|| {
            "Is the folder complete, and was it not written by a newer TensorFlow? If in doubt, export the model again"
                .into()
        });
        Error::internal(format!(
            "TensorFlow {} cannot load the SavedModel at {} (tags '{tags}'): {failure}. {advice}",
            library::version(),
            folder.display()
        ))
    }

    /// The error where a run failed.
    pub fn run_failed(&self, failure: &Failure) -> Error {
        let error = failure.during("TensorFlow failed");
        // Operations in functions are looked up when the function is called for the first time.
        match self.advice(failure) {
            Some(advice) => Error::internal(format!("{error}. {advice}")),
            None => error,
        }
    }

    /// What to do about a failure that is known.
    fn advice(&self, failure: &Failure) -> Option<String> {
        let (message, version) = (&failure.message, library::version());
        if message.contains("could not find meta graph") || message.contains("Could not find meta graph") {
            let known: Vec<String> = self.tag_sets.iter().map(|tags| format!("'{tags}'")).collect();
            return Some(format!(
                "The file has the graphs {}; choose one by its tags with the parameter TF_GRAPH_TAG (several tags of one \
                 graph are separated by commas)",
                known.join(", ")
            ));
        }
        let too_new = || {
            format!(
                "The SavedModel is too new for this TensorFlow: {} wrote it, and this is TensorFlow {version}. Give the \
                 server a newer one (tensorflow-dir), or export the model with TensorFlow {version}",
                self.writer()
            )
        };
        if message.contains("min consumer version") {
            return Some(too_new());
        }
        if message.contains("NodeDef mentions attr") && message.contains("not in Op") {
            // Where the versions are equal, operation and model are of two builds.
            return Some(too_new());
        }
        let op = between(message, "Op type not registered '", "'")?;
        // A name with a namespace is never one of TensorFlow's own.
        if self.is_newer() && !op.contains('>') {
            return Some(format!(
                "{}, which wrote the SavedModel, may know the operation '{op}'; otherwise it is from a custom op library",
                self.writer()
            ))
            .map(|guess| format!("{}. {guess}", too_new()));
        }
        Some(format!(
            "The operation '{op}' is unknown to this TensorFlow ({version}), which is not older than the one that wrote \
             the SavedModel ({}): it is from a custom op library, such as TensorFlow Text's, and this backend cannot load \
             those yet. Export the model without the operation, and do in the client what it does",
            self.writer()
        ))
    }
}

/// The graph version of the TensorFlow that is open.
fn own_producer() -> Option<i32> {
    let versions: VersionDef = Graph::new().versions().ok()?.decode().ok()?;
    Some(versions.producer)
}

/// Whether version `a`, such as `2.20.0-rc1`, is newer than `b`; patch releases and what follows them do not count.
fn newer(a: &str, b: &str) -> bool {
    let release = |version: &str| -> Option<(u32, u32)> {
        let mut numbers = version.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    matches!((release(a), release(b)), (Some(a), Some(b)) if a > b)
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
