//! What `make test` hands to the tests: where the server, TensorFlow, the backend and the models are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Everything the tests need from outside, checked once.
pub struct Environment {
    /// The Python of the project's virtual environment (numpy, tritonclient, tensorflow).
    pub python: PathBuf,
    /// The `tritonserver` executable.
    pub tritonserver: PathBuf,
    /// The folder that holds `libtensorflow_cc.so.2`.
    pub tensorflow_dir: PathBuf,
    /// The backend under test.
    pub backend: PathBuf,
    /// `model_repository/inception_v3`, with the SavedModel made.
    pub inception_dir: PathBuf,
    /// The folder of the small SavedModels made by `tests/models/make_models.py`.
    pub test_models: PathBuf,
    /// Whether models that do not say who makes their batches have adaptive batching in this run.
    pub adaptive_batching: bool,
}

/// The environment of this run.
///
/// # Panics
///
/// When a variable is missing or names a path that is not there: a test that needs the server fails, it never
/// skips.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Environment {
        python: path("TL_PYTHON", "the Python of the project's virtual environment"),
        tritonserver: path("TL_TRITONSERVER", "the tritonserver executable"),
        tensorflow_dir: path("TL_TENSORFLOW_DIR", "the folder of TensorFlow's libraries"),
        backend: path("TL_BACKEND", "the built backend library"),
        inception_dir: path("TL_INCEPTION_DIR", "the Inception-v3 model folder"),
        test_models: path("TL_TEST_MODELS", "the folder of the small test models"),
        adaptive_batching: match std::env::var("TL_BATCHING").ok().as_deref() {
            None | Some("" | "triton") => false,
            Some("adaptive") => true,
            Some(other) => panic!("TL_BATCHING is '{other}', expected adaptive or triton"),
        },
    })
}

/// The folder `tests` of the repository, where the client scripts and the reference script lie.
pub fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn path(variable: &str, what: &str) -> PathBuf {
    let help = "`make test` sets everything up and runs the tests";
    let value = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("the environment variable {variable} ({what}) is not set; {help}"));
    let path = PathBuf::from(value);
    assert!(
        path.exists(),
        "{variable} is '{}', which should be {what} but is not there; {help}",
        path.display()
    );
    // The server runs in a folder of its own, so relative paths would no longer fit.
    std::path::absolute(path).expect("the current folder is readable")
}
