//! What the server under test is and can do, found out by asking it and never by its version number.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::config::ModelConfig;
use super::environment::environment;
use super::http::InferRequest;
use super::models::add_one_config;
use super::notes::left_out;
use super::repository::{SavedModel, write_model};
use super::server::Server;
use super::shared::shared_server;
use super::tensor::Tensor;

/// What the server under test says about itself and how it words its answers.
pub struct Capabilities {
    /// The server's version and extensions as its protocol tells them.
    pub server: Value,
    /// `MAJOR.MINOR` of its backend API, as it tells a backend.
    pub backend_api: String,
    /// The version of the C library that it runs with.
    pub glibc: String,
    /// Whether the HTTP status tells kinds of errors apart. Older servers answer every error with 400.
    pub tells_errors_apart: bool,
    /// Whether the server's own messages name the input of which they speak, in each case.
    pub names_inputs: bool,
}

impl Capabilities {
    /// The status that this server gives an error for which servers that tell errors apart give `status`.
    pub fn status(&self, status: u16) -> u16 {
        if self.tells_errors_apart { status } else { 400 }
    }

    /// Whether the server's backend API is 1.`minor` or newer; where not, it is noted that `what` is not
    /// tested.
    pub fn has_backend_api(&self, minor: u32, what: &str) -> bool {
        let found = self.backend_api.split_once('.').and_then(|(_, found)| found.parse().ok());
        let has = found.is_some_and(|found: u32| found >= minor);
        if !has {
            left_out(what, &format!("it needs backend API 1.{minor}, this server has {}", self.backend_api));
        }
        has
    }
}

/// Asks the server, the first time.
pub fn capabilities() -> &'static Capabilities {
    static CAPABILITIES: OnceLock<Capabilities> = OnceLock::new();
    CAPABILITIES.get_or_init(|| {
        let server = shared_server();
        let text = server.client().get("/v2").expect("the server answers").1;
        let mut about: Value = serde_json::from_str(&text).expect("the server tells of itself in JSON");
        // The name is the test's.
        about.as_object_mut().expect("an object").remove("name");
        let (backend_api, glibc) = ask_from_inside(&server);
        let (status, _) =
            server.client().get("/v2/models/there_is_no_such_model").expect("the server answers");
        let tells_errors_apart = status != 400;
        if !tells_errors_apart {
            left_out("the HTTP status of each kind of error", "this server answers every error with 400");
        }
        let names_inputs = names_inputs_of(&server);
        if !names_inputs {
            left_out(
                "that the server's own message names the input",
                "this server names none where the type or the number of inputs is wrong",
            );
        }
        Capabilities { server: about, backend_api, glibc, tells_errors_apart, names_inputs }
    })
}

/// Has the server open a backend of ours that looks around in its process.
fn ask_from_inside(server: &Server) -> (String, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/probe.c");
    let folder = server.backends().join("probe");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.join("libtriton_probe.so"))
        .arg(&source)
        .output()
        .expect("Rust links with cc, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let config = ModelConfig::of_backend("probe", "probe", 0)
        .input("x", "FP32", &[1])
        .output("y", "FP32", &[1])
        .instances(1);
    write_model(&server.repository(), &config, SavedModel::Small("add_one"));
    // The probe refuses to work once it has told what it saw.
    let _ = server.client().load("probe");
    let log = server.log();
    let line = log.lines().find_map(|line| line.split_once("tensorflow_latency_probe "));
    let (_, found) = line.unwrap_or_else(|| panic!("the server did not open the probe: {log}"));
    let found: Value = serde_json::from_str(found).expect("the probe tells JSON");
    let text = |key: &str| found[key].as_str().expect("a text").to_owned();
    (text("backend_api"), text("glibc"))
}

fn names_inputs_of(server: &Server) -> bool {
    let model = "asked_for_its_words";
    server.load(&add_one_config(model, 8), SavedModel::Small("add_one"));
    let wrong_type = InferRequest::new(vec![Tensor::int32("x", &[1, 16], &[0; 16])]);
    let refusal = server.client().infer(model, &wrong_type).expect_err("the type is wrong");
    refusal.message.contains("'x'")
}

/// Whether requests wait for others as `dynamic_batching` says. With adaptive batching none does without a
/// target; it is noted that `what` is not tested.
pub fn requests_wait_for_others(what: &str) -> bool {
    if environment().adaptive_batching {
        left_out(what, "with adaptive batching and no target, requests wait for no others");
    }
    !environment().adaptive_batching
}
