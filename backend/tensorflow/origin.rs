//! Which TensorFlow wrote a SavedModel, and what that says about why this one cannot load it.

use std::fs;
use std::path::Path;

use prost::Message;
use tensorflow_c_sys::TF_Code;

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

    /// Of a graph without a SavedModel, which says no more than its version.
    pub fn of_graph(graph: &Graph) -> Self {
        let versions = graph.versions().ok().and_then(|versions| versions.decode::<VersionDef>().ok());
        Self { producer: versions.map_or(0, |versions| versions.producer), ..Self::default() }
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
            "TensorFlow {} cannot load the SavedModel at {} (tags '{tags}'): {}. {advice}",
            library::version(),
            folder.display(),
            failure.to_string().trim_end_matches(['.', ' '])
        ))
    }

    /// The error where a run failed.
    pub fn run_failed(&self, failure: &Failure) -> Error {
        let error = failure.during("TensorFlow failed");
        // Operations in functions are looked up when the function is called for the first time.
        match self.advice(failure) {
            Some(advice) => {
                Error::internal(format!("{}. {advice}", error.message.trim_end_matches(['.', ' '])))
            }
            None => error,
        }
    }

    /// What to do about a failure that is known.
    fn advice(&self, failure: &Failure) -> Option<String> {
        let (message, version, writer) = (&failure.message, library::version(), self.writer());
        if failure.code == TF_Code::TF_DEADLINE_EXCEEDED {
            return Some(
                "What runs while it is loaded (reading the variables, its own initialisation) does not end in time. If the \
                 model repository is slow, copy the folder to a local disk; otherwise export the model again"
                    .into(),
            );
        }
        if message.to_ascii_lowercase().contains("could not find meta graph") {
            let known: Vec<String> = self.tag_sets.iter().map(|tags| format!("'{tags}'")).collect();
            return Some(format!(
                "The file has the graphs {}. Choose one by its tags with the parameter TF_GRAPH_TAG, several tags of one \
                 graph separated by commas",
                known.join(" and ")
            ));
        }
        let too_new = format!(
            "The SavedModel is too new for this TensorFlow ({version}): {writer} wrote it. Give the server a newer one \
             (tensorflow-dir), or export the model with TensorFlow {version}"
        );
        let unknown_attribute = message.contains("NodeDef mentions attr") && message.contains("not in Op");
        if unknown_attribute || message.contains("min consumer version") {
            return Some(too_new);
        }
        let op = between(message, "Op type not registered '", "'")?;
        let way = format!(
            "name that library in config.pbtxt, built for TensorFlow {version}: model_operations {{ op_library_filename: [ \
             \"/FOLDER/LIBRARY.so\" ] }}"
        );
        // An operation whose name has a namespace is not one of TensorFlow's own.
        if self.is_newer() && !op.contains('>') {
            return Some(format!("{too_new}. If '{op}' is from a custom op library, {way}"));
        }
        Some(format!(
            "The operation '{op}' is unknown to this TensorFlow ({version}), which is no older than the one that wrote the \
             SavedModel ({writer}). So the operation is from a custom op library, such as TensorFlow Text: {way}, or export \
             the model without it"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_release_is_newer() {
        assert!(newer("2.20.0", "2.4.1") && newer("3.0.0", "2.21.0") && newer("2.21.0-rc1", "2.20.0"));
        assert!(
            !newer("2.20.1", "2.20.0") && !newer("2.9.0", "2.12.0"),
            "patch releases have the same operations"
        );
        assert!(!newer("", "2.20.0") && !newer("1.unknown", "2.20.0"));
    }

    /// Recent releases log the attribute and go on.
    #[test]
    fn an_attribute_that_an_old_tensorflow_does_not_know_is_of_a_newer_one() {
        library::open_for_tests();
        let failure = Failure {
            code: TF_Code::TF_INVALID_ARGUMENT,
            message: "NodeDef mentions attr 'debug_name' not in Op<name=VarHandleOp; signature= -> resource:resource>."
                .into(),
        };
        let origin = Origin { version: "2.99.0".into(), ..Origin::default() };
        let message = origin.not_loaded(Path::new("/model"), "serve", &failure).message;
        let version = library::version();
        let expected = format!(
            "TensorFlow {version} cannot load the SavedModel at /model (tags 'serve'): INVALID_ARGUMENT: NodeDef mentions attr \
             'debug_name' not in Op<name=VarHandleOp; signature= -> resource:resource>. The SavedModel is too new for this \
             TensorFlow ({version}): TensorFlow 2.99.0 wrote it. Give the server a newer one (tensorflow-dir), or export the \
             model with TensorFlow {version}"
        );
        assert_eq!(message, expected);
        assert!(origin.run_failed(&failure).message.contains("TensorFlow 2.99.0 wrote it"));
        let other = Failure { code: TF_Code::TF_ABORTED, message: "for another reason".into() };
        assert_eq!(origin.run_failed(&other).message, "TensorFlow failed: ABORTED: for another reason");
    }
}
