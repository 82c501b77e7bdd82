//! Models with operations that are not TensorFlow's own, out of libraries that config.pbtxt names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

const MODEL: SavedModel = SavedModel::Small("custom_op");

/// The library that has the model's operation.
fn library() -> PathBuf {
    environment().test_models.join("custom_op").join("libcustom_op.so")
}

fn config(name: &str, library: Option<&Path>) -> ModelConfig {
    let config = ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    match library {
        Some(file) => {
            config.line(&format!("model_operations {{ op_library_filename: [ \"{}\" ] }}", file.display()))
        }
        None => config,
    }
}

fn assert_serves(server: &Server, model: &str) {
    let x = [1.0, -2.0, 0.5, 0.0, 3.0, 4.0, 5.0, 6.0];
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 4], &x)]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), x.map(|x| x + 1.0));
}

/// What a library adds stays as long as the process lives, so the order matters.
#[test]
fn the_operations_of_a_library_are_known_once_it_is_named() {
    let server = Server::start(Options::new());
    let refused = |name: &str, library: Option<&Path>, parts: &[&str]| {
        let message = server.try_load(&config(name, library), MODEL).expect_err("it is refused");
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    };
    refused("custom_unnamed", None, &["LatencyTestPlusOne", "model_operations", "op_library_filename"]);
    refused("custom_missing", Some(Path::new("/nowhere/ops.so")), &["'/nowhere/ops.so'", "not there"]);
    refused(
        "custom_relative_missing",
        Some(Path::new("ops.so")),
        &["'ops.so'", "1/ops.so", "model's folder"],
    );
    let broken = scratch_folder().join("no_library.so");
    fs::write(&broken, "this is no library").expect("the target folder can be written");
    refused("custom_broken", Some(&broken), &["no_library.so", "cannot be loaded"]);

    server.load(&config("custom_named", Some(&library())), MODEL);
    assert_serves(&server, "custom_named");
    // Named once more, by another model and by another name of the file.
    let copy = scratch_folder().join("custom_op_again.so");
    let _ = fs::remove_file(&copy);
    std::os::unix::fs::symlink(library(), &copy).expect("the target folder can be written");
    server.load(&config("custom_again", Some(&copy)), MODEL);
    assert_serves(&server, "custom_again");
    server.unload("custom_named");
    assert_serves(&server, "custom_again");
    // It is known now, whoever asks.
    server.load(&config("custom_known", None), MODEL);
    assert_serves(&server, "custom_known");
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn a_library_may_be_in_the_model_s_folder() {
    let server = Server::start(Options::new());
    let config = config("custom_beside", Some(Path::new("ops.so")));
    let _ = server.try_load(&config, MODEL);
    let folder = server.repository().join("custom_beside");
    fs::copy(library(), folder.join("ops.so")).expect("the repository can be written");
    server.client().load("custom_beside").expect("it is there now");
    assert_serves(&server, "custom_beside");
}
