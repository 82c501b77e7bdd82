//! Clients that cancel requests, over gRPC: a script with the official library.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::record::{End, Record};
use crate::support::{Server, environment};

/// The script, while it runs.
pub struct Cancelling(Child);

impl Cancelling {
    pub fn start(server: &Server, model: &str, seed: u64) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/cancel_grpc.py");
        let child = Command::new(&environment().python)
            .arg(script)
            .args([&server.grpc_url(), model, &seed.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the project's Python runs");
        Self(child)
    }

    /// Ends it and counts its requests.
    pub fn finish(mut self, server: &Server, record: &Record) {
        // It goes on for as long as this is open.
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().expect("the script ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let Ok(ends) = serde_json::from_str::<Value>(text.lines().last().unwrap_or_default()) else {
            record.fault(
                server,
                format_args!("the script that cancels requests failed ({}): {text}", output.status),
            );
            return;
        };
        for (name, end) in
            [("answered", End::Answered), ("refused", End::Refused), ("given_up", End::GivenUp)]
        {
            (0..ends[name].as_u64().unwrap_or(0)).for_each(|_| record.count(server, &end, "over gRPC"));
        }
        for (name, end) in [("wrong", End::Wrong as fn(String) -> End), ("lost", End::Lost)] {
            for what in ends[name].as_array().into_iter().flatten() {
                record.count(server, &end(what.to_string()), "over gRPC");
            }
        }
    }
}
