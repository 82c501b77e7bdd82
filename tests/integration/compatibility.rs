//! What this run is about: which server, which C library, which TensorFlow.

use serde_json::json;

use crate::support::*;

/// Also writes down what the table of what works where says about this run.
#[test]
fn the_server_says_what_it_is() {
    let found = capabilities();
    let server = shared_server();
    server.load(&add_one_config("says_what_it_is", 8), SavedModel::Small("add_one"));
    // `TensorFlow VERSION: FILE (from PLACE)`, quoted by newer servers.
    let log = server.log();
    let tensorflow = log
        .lines()
        .filter(|line| line.contains("(from the backend option tensorflow-dir)"))
        .find_map(|line| line.split_once("TensorFlow "))
        .and_then(|(_, rest)| rest.split_once(": "))
        .map(|(version, _)| version)
        .expect("the backend logs which TensorFlow it opened");
    let facts = json!({
        "server": found.server["version"],
        "extensions": found.server["extensions"],
        "backend_api": found.backend_api,
        "glibc": found.glibc,
        "tensorflow": tensorflow,
        "image": std::env::var("TL_IMAGE").ok(),
    });
    println!("{facts}");
    note("server", facts);
    assert!(found.backend_api.starts_with("1."), "the backend speaks API 1: {}", found.backend_api);
}
