//! The files of a SavedModel, or of a GraphDef, before TensorFlow opens them.

use std::fs::{self, File, Metadata};
use std::io::{self, Cursor};
use std::path::Path;
use std::time::Duration;

use super::outline::{GraphOutline, Outline};
use super::{calls, text, wire};
use crate::triton::{Code, Error, Result};

/// The file of a SavedModel that has its graphs.
pub const GRAPHS: &str = "saved_model.pb";
/// The same as text. TensorFlow reads it where the other one is missing.
const GRAPHS_AS_TEXT: &str = "saved_model.pbtxt";
/// The file of a SavedModel that lists the values of its variables.
pub const VARIABLES_INDEX: &str = "variables/variables.index";
/// The folders of a SavedModel with files that are read while it is loaded.
const READ_AT_LOAD: [&str; 2] = ["variables", "assets"];

/// For what runs while a SavedModel is loaded, however small it is.
const LEAST_TIME: Duration = Duration::from_secs(60);
/// And for reading its files: a tenth of what a slow network storage delivers.
const LEAST_BYTES_PER_SECOND: u64 = 10_000_000;

/// Whether the SavedModel in `folder` has values of variables.
pub fn has_variables(folder: &Path) -> bool {
    folder.join(VARIABLES_INDEX).is_file()
}

/// Checks that there is a SavedModel in `folder`, and that TensorFlow can follow the calls of its graph with these tags.
///
/// # Errors
/// There is none, its file is no SavedModel's or not whole, or its functions call one another without an end.
pub fn check(folder: &Path, tags: &[&str]) -> Result<()> {
    let place = folder.display();
    let found = |file: &&str| folder.join(file).symlink_metadata().is_ok();
    let Some(file) = [GRAPHS, GRAPHS_AS_TEXT].into_iter().find(found) else {
        return Err(Error::new(
            Code::NotFound,
            format!(
                "no SavedModel at {place}: expected a folder with a saved_model.pb, as `model.export()` or \
                 `tf.saved_model.save()` write it (another name can be set with default_model_filename)"
            ),
        ));
    };
    let broken = |what: String| {
        Error::invalid(format!(
            "the SavedModel at {place} cannot be loaded: its {file} {what}. Copy the folder again, or export the model again"
        ))
    };
    let path = folder.join(file);
    let length = length(path.metadata()).map_err(&broken)?;
    let outline = read(&path, file == GRAPHS_AS_TEXT);
    let outline = outline.map_err(|e| broken(unread(&e, length, "SavedModel's")))?;
    if outline.graphs.is_empty() {
        return Err(broken(format!("({length} bytes) has no graph")));
    }
    // Where no graph has these tags, TensorFlow says so.
    let is_chosen = |has: &[String]| {
        tags.iter().all(|tag| has.iter().any(|has| has == tag))
            && has.iter().all(|has| tags.contains(&has.as_str()))
    };
    for graph in outline.graphs.iter().filter(|graph| is_chosen(&graph.tags)) {
        calls::check(graph).map_err(|e| e.context(format!("the SavedModel at {place} cannot be loaded")))?;
    }
    Ok(())
}

/// Checks that there is a `GraphDef` in `file`, and that TensorFlow can follow the calls of its graph.
///
/// # Errors
/// There is none, it is not whole, or its functions call one another without an end.
pub fn check_graph(file: &Path) -> Result<()> {
    let place = file.display();
    let broken = |what: String| {
        Error::invalid(format!(
            "the GraphDef at {place} cannot be loaded: it {what}. Copy the file again, or export the model again"
        ))
    };
    let metadata = file.metadata();
    if metadata.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Err(Error::new(
            Code::NotFound,
            format!(
                "no GraphDef at {place}: expected a file with a frozen graph (another name can be set with \
                 default_model_filename)"
            ),
        ));
    }
    let bytes = length(metadata).map_err(broken)?;
    let graph = File::open(file).and_then(|mut file| {
        let length = wire::length(&mut file)?;
        GraphOutline::read(file, length)
    });
    let graph = graph.map_err(|e| broken(unread(&e, bytes, "GraphDef")))?;
    calls::check(&graph).map_err(|e| e.context(format!("the GraphDef at {place} cannot be loaded")))
}

/// The bytes of a file that is one and not empty.
///
/// # Errors
/// It is not; what is wrong.
fn length(metadata: io::Result<Metadata>) -> std::result::Result<u64, String> {
    let metadata = metadata.map_err(|e| format!("cannot be read: {e}"))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a folder" } else { "a device or a pipe" };
        return Err(format!("is {kind} where a file is expected"));
    }
    if metadata.len() == 0 { Err("is empty (0 bytes)".into()) } else { Ok(metadata.len()) }
}

/// What is wrong with a file of so many bytes that cannot be read as what it is expected to be.
fn unread(error: &io::Error, length: u64, expected: &str) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            format!("({length} bytes) is no {expected}, or not whole: {error}")
        }
        _ => format!("cannot be read: {error}"),
    }
}

fn read(path: &Path, is_text: bool) -> io::Result<Outline> {
    if is_text {
        let bytes = text::bytes_of(&String::from_utf8_lossy(&fs::read(path)?))?;
        let length = bytes.len() as u64;
        return Outline::read(Cursor::new(bytes), length);
    }
    let mut file = File::open(path)?;
    let length = wire::length(&mut file)?;
    Outline::read(file, length)
}

/// How long what runs while the SavedModel in `folder` is loaded may take: restoring its variables, and its own
/// initialisation.
pub fn load_time(folder: &Path) -> Duration {
    let size = |part: &str| -> u64 {
        let files = fs::read_dir(folder.join(part)).into_iter().flatten().flatten();
        files.filter_map(|file| file.path().metadata().ok()).map(|file| file.len()).sum()
    };
    let bytes: u64 = READ_AT_LOAD.map(size).iter().sum();
    LEAST_TIME + Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND)
}
