//! What is not tested with the server under test, and why.
//!
//! Where a server cannot do what a test needs, the test says so with [`left_out`] or, when nothing is left of
//! it, [`skipped`]: that is printed, and written where the table of what works where is made from.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};

/// Notes, once for each pair, that `what` was not tested and why.
pub fn left_out(what: &str, why: &str) {
    static TOLD: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let told = TOLD.lock().map(|mut told| told.insert((what.to_owned(), why.to_owned())));
    if told.unwrap_or(true) {
        eprintln!("left out: {what}: {why}");
        note("left_out", json!({ "what": what, "why": why }));
    }
}

/// Notes that the calling test ends here, with nothing tested, and why.
pub fn skipped(why: &str) {
    // The test runner names the threads by the tests.
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has a name");
    eprintln!("skipped: {test}: {why}");
    note("skipped", json!({ "what": test, "why": why }));
}

/// Adds a line of JSON to the file `TL_RESULTS`, where there is one.
pub fn note(kind: &str, value: Value) {
    let Some(file) = std::env::var_os("TL_RESULTS").map(PathBuf::from) else { return };
    let line = format!("{}\n", json!({ "kind": kind, "value": value }));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("the results file '{}': {error}", file.display()));
}
