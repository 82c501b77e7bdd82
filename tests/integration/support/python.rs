//! The scripts of `tests/client`, which use the official Python client, and TensorFlow's own answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::environment::{environment, tests_folder};
use super::repository::scratch_folder;

/// Runs `tests/SCRIPT` with the project's Python and returns the JSON that it prints on its last line.
///
/// # Panics
///
/// When the script fails; the message holds all that it wrote.
pub fn run_script(script: &str, arguments: &[&str]) -> Value {
    let output = run(script, arguments);
    let last = output.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("the last line of {script} is not JSON ({error}): {output}"))
}

fn run(script: &str, arguments: &[&str]) -> String {
    let path = tests_folder().join(script);
    let output = Command::new(&environment().python)
        .arg(&path)
        .args(arguments)
        // TensorFlow's banners say nothing about the tests.
        .env("TF_CPP_MIN_LOG_LEVEL", "3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("{} could not be started: {error}", environment().python.display()));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script} {arguments:?} failed ({}):\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// Inputs and TensorFlow's own answers to them, one row for each image or element.
pub struct Reference {
    /// Where the rows lie for the client scripts: `input.npz` and `expected.npz`.
    pub folder: PathBuf,
    pub rows: usize,
    input: Vec<f32>,
    expected: Vec<f32>,
}

impl Reference {
    /// The input values of `count` rows from row `first` on; rows follow each other in a ring.
    pub fn input(&self, first: usize, count: usize) -> Vec<f32> {
        ring(&self.input, self.rows, first, count)
    }

    /// TensorFlow's answers to the same rows.
    pub fn expected(&self, first: usize, count: usize) -> Vec<f32> {
        ring(&self.expected, self.rows, first, count)
    }
}

fn ring(values: &[f32], rows: usize, first: usize, count: usize) -> Vec<f32> {
    let row = values.len() / rows;
    (first..first + count).flat_map(|i| &values[(i % rows) * row..][..row]).copied().collect()
}

/// Sixteen seeded pictures and what TensorFlow, run directly, makes of them with the Inception-v3 SavedModel.
pub fn inception_reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let saved_model = environment().inception_dir.join("1/model.savedmodel");
        reference(&saved_model, "inception", 16)
    })
}

fn reference(saved_model: &Path, kind: &str, rows: usize) -> Reference {
    // The folder is small and serves every test of this process; the system clears its temporary files.
    let folder = scratch_folder().join(format!("reference-{kind}"));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    run_script(
        "client/make_reference.py",
        &[&saved_model.to_string_lossy(), &folder.to_string_lossy(), &rows.to_string()],
    );
    let read = |name: &str| -> Vec<f32> {
        let bytes = std::fs::read(folder.join(name)).expect("the script wrote the file");
        bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
    };
    let (input, expected) = (read("input.bin"), read("expected.bin"));
    Reference { folder, rows, input, expected }
}
