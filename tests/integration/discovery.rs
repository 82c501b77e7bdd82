//! Where the server finds the backend and the backend finds TensorFlow.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::*;

/// Links TensorFlow's main library into `folder` as `name`, and the library that it needs beside it.
pub fn link_tensorflow(folder: &Path, name: &str) {
    let from = &environment().tensorflow_dir;
    let framework = "libtensorflow_framework.so.2";
    symlink(from.join("libtensorflow_cc.so.2"), folder.join(name)).expect("the target folder can be written");
    symlink(from.join(framework), folder.join(framework)).expect("the target folder can be written");
}

/// Loads `add_one`, checks an answer, and finds `parts` in the line of the log that tells which library was
/// found.
fn assert_serves_with(server: &Server, parts: &[&str]) {
    server.load(&add_one_config("found", 8), SavedModel::Small("add_one"));
    assert_answers(server, "found");
    let log = server.log();
    let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    let line = line.unwrap_or_else(|| panic!("no line of the log holds all of {parts:?}"));
    println!("{line}");
}

fn assert_answers(server: &Server, model: &str) {
    let values = [1.5; 32];
    let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}

/// A folder that holds nothing but links to TensorFlow's libraries, removed at the end.
fn folder_with_links(name: &str) -> tempfile::TempDir {
    let folder =
        tempfile::TempDir::with_prefix_in("tensorflow-", scratch_folder()).expect("a folder can be made");
    link_tensorflow(folder.path(), name);
    folder
}

#[test]
fn tensorflow_is_found_by_the_backend_option() {
    let directory = environment().tensorflow_dir.to_string_lossy();
    let server = Server::start(Options::new());
    assert_serves_with(&server, &["TensorFlow", &directory, "tensorflow-dir"]);
}

#[test]
fn the_backend_option_comes_before_the_environment() {
    let directory = environment().tensorflow_dir.to_string_lossy();
    let server = Server::start(Options::new().environment("TENSORFLOW_DIR", "/nowhere"));
    assert_serves_with(&server, &["TensorFlow", &directory, "tensorflow-dir"]);
}

#[test]
fn tensorflow_is_found_by_the_environment_in_the_wheel_s_folder() {
    let directory = environment().tensorflow_dir.to_string_lossy();
    let options = Options::new().without_tensorflow_option().environment("TENSORFLOW_DIR", &directory);
    assert_serves_with(&Server::start(options), &["TensorFlow", &directory, "TENSORFLOW_DIR"]);
}

#[test]
fn tensorflow_is_found_under_the_name_of_the_c_library() {
    let folder = folder_with_links("libtensorflow.so");
    let directory = folder.path().to_string_lossy();
    let options = Options::new().without_tensorflow_option().environment("TENSORFLOW_DIR", &directory);
    assert_serves_with(
        &Server::start(options),
        &["TensorFlow", &directory, "libtensorflow.so", "TENSORFLOW_DIR"],
    );
}

#[test]
fn tensorflow_is_found_by_the_library_path() {
    let directory = environment().tensorflow_dir.to_string_lossy();
    let path = format!("/nowhere:{directory}");
    let options = Options::new().without_tensorflow_option().environment("LD_LIBRARY_PATH", &path);
    assert_serves_with(&Server::start(options), &["TensorFlow", &directory, "LD_LIBRARY_PATH"]);
}

#[test]
fn tensorflow_is_found_beside_the_backend() {
    let from = &environment().tensorflow_dir;
    let mut options = Options::new().without_tensorflow_option();
    for name in ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"] {
        options = options.link_beside_backend(&from.join(name), name);
    }
    assert_serves_with(&Server::start(options), &["TensorFlow", "backends/tensorflow_latency", "own folder"]);
}

#[test]
fn tensorflow_is_found_where_triton_s_containers_have_theirs() {
    if std::env::var_os("TL_IMAGE").is_none() {
        skipped("the server is not in a container");
        return;
    }
    let server = Server::start(Options::new().without_tensorflow_option().ships_tensorflow());
    assert_serves_with(&server, &["TensorFlow", "/opt/tritonserver/backends/tensorflow"]);
}

#[test]
fn the_backend_is_found_in_the_model_s_folder() {
    let server = Server::start(Options::new().without_backend());
    let config = add_one_config("in_model_folder", 8).latency_outputs();
    let folder = write_model(&server.repository(), &config, SavedModel::Small("add_one"));
    place_backend(&folder);
    server.client().load("in_model_folder").expect("the backend lies in the model's folder");
    assert_answers(&server, "in_model_folder");
}

#[test]
fn the_backend_is_found_in_the_version_s_folder() {
    let server = Server::start(Options::new().without_backend());
    let config = add_one_config("in_version_folder", 8);
    let folder = write_model(&server.repository(), &config, SavedModel::Small("add_one"));
    place_backend(&folder.join("1"));
    server.client().load("in_version_folder").expect("the backend lies in the version's folder");
    assert_answers(&server, "in_version_folder");
}

#[test]
fn copies_of_the_backend_serve_side_by_side() {
    let server = Server::start(Options::new());
    server.load(&add_one_config("from_directory", 8), SavedModel::Small("add_one"));
    for name in ["own_copy_1", "own_copy_2"] {
        let folder =
            write_model(&server.repository(), &add_one_config(name, 8), SavedModel::Small("add_one"));
        place_backend(&folder);
        server.client().load(name).expect("the backend lies in the model's folder");
    }
    for name in ["from_directory", "own_copy_1", "own_copy_2", "from_directory"] {
        assert_answers(&server, name);
    }
    server.client().unload("own_copy_1");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_answers(&server, "own_copy_2");
    assert_answers(&server, "from_directory");
    assert_eq!(server.stop(), 0, "the server ends in order");
}
