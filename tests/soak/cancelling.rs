//! Clients that cancel requests, over gRPC: a script with the official library, and a server of its own for it.
//!
//! Servers before 25.04 have faults of their own there: where a call is cancelled just as it ends, they lose count of the
//! model's users, so that the model is never unloaded (of 448 requests the backend had released all, counted at
//! `TRITONBACKEND_RequestRelease`), or they crash in a thread of their gRPC endpoint
//! (<https://github.com/triton-inference-server/server/issues/8034>). So the script cancels long before a call ends, and what
//! comes of these two all the same is told, and no fault of the backend.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::record::{End, Log, Record};
use crate::support::*;

const MODEL: &str = "cancelled";

/// Cancels requests until it is to stop.
pub fn run(record: &Record, stop: &AtomicBool) {
    for start in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let server = Server::start(Options::new());
        let mut log = Log::of(&server);
        server.load(&slow_config(MODEL, 2).adaptive(), SavedModel::Small("slow"));
        let script = Script::start(&server, record.seed().wrapping_add(start));
        while !stop.load(Ordering::Relaxed) && server.is_running() {
            std::thread::sleep(Duration::from_millis(200));
        }
        if server.is_running() {
            script.finish(&server, record);
            let statistics = server.client().statistics(MODEL);
            println!(
                "Cancelling over gRPC: {} requests of '{MODEL}' answered, {} failed",
                statistics.success.count, statistics.fail.count
            );
        } else {
            script.give_up();
        }
        let code = server.stop();
        judge(record, code, &log.text());
    }
}

fn judge(record: &Record, code: i32, log: &str) {
    if code == 0 {
        return;
    }
    if code == 128 + 11 && !is_in_trace(log, "libtriton_tensorflow_latency") {
        println!(
            "The server for cancelled calls crashed in a thread of its own (issue 8034); another one is started"
        );
    } else if code == 1 && kept_at_the_end(log) == [MODEL] {
        println!(
            "The server for cancelled calls kept their model at its end, whose requests are all released"
        );
    } else {
        record.note(format_args!("the server for cancelled calls ended with exit code {code}"), Some(log));
    }
}

/// Whether the server's trace of the stack when it crashed has a frame in this library.
fn is_in_trace(log: &str, library: &str) -> bool {
    let is_frame = |line: &str| {
        line.trim_start().split_once("# ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    log.lines().any(|line| is_frame(line) && line.contains(library))
}

/// The models that the server did not unload when it was told to end.
fn kept_at_the_end(log: &str) -> Vec<&str> {
    fn named<'l>(line: &'l str, begins: &str) -> Option<&'l str> {
        line.split_once(begins)?.1.split_once('\'').map(|(name, _)| name)
    }
    let mut there = Vec::new();
    for line in log.lines() {
        if let Some(name) = named(line, "successfully loaded '") {
            there.push(name);
        } else if let Some(name) = named(line, "successfully unloaded '") {
            there.retain(|other| *other != name);
        }
    }
    there
}

/// The script, while it runs.
struct Script(Child);

impl Script {
    fn start(server: &Server, seed: u64) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/cancel_grpc.py");
        let child = Command::new(&environment().python)
            .arg(script)
            .args([&server.grpc_url(), MODEL, &seed.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the project's Python runs");
        Self(child)
    }

    /// Ends it, without looking at what it found.
    fn give_up(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Ends it and counts its requests.
    fn finish(mut self, server: &Server, record: &Record) {
        // It goes on for as long as this is open.
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().expect("the script ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let Ok(ends) = serde_json::from_str::<Value>(text.lines().last().unwrap_or_default()) else {
            let status = output.status;
            record.fault(server, format_args!("the script that cancels requests failed ({status}): {text}"));
            return;
        };
        for (name, end) in [("answered", End::Answered), ("given_up", End::GivenUp)] {
            (0..ends[name].as_u64().unwrap_or(0)).for_each(|_| record.count(server, &end, "over gRPC"));
        }
        for (name, end) in [("wrong", End::Wrong as fn(String) -> End), ("lost", End::Lost)] {
            for what in ends[name].as_array().into_iter().flatten() {
                record.count(server, &end(what.to_string()), "over gRPC");
            }
        }
    }
}
