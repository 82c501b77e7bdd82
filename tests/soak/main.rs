//! A soak of the backend in a real Triton server: `make soak`.
//!
//! First some minutes of mixed load ([`traffic`]): models with both ways to batch, models that are loaded and unloaded,
//! failing batches, planted panics, requests that time out, are cancelled or refused, clients that go away, shared memory, and
//! Inception-v3. Every answer's values are checked. [`watch`] records the server's memory, threads and file descriptors.
//! Then servers that are told to end, and servers that are killed, both under load ([`ends`]).
//!
//! It prints a table, and ends with exit code 1 if a request had no answer or a wrong one, if the server grew beyond what
//! [`watch`] allows, or if a server did not end as it should. What it takes to look into a fault is kept in
//! `target/soak/`: the seed, each fault with time, model and request, and the end of the server's log.

mod cancelling;
mod ends;
mod kinds;
mod record;
#[path = "../integration/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
mod traffic;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use record::Record;

/// What the soak is asked for.
struct Arguments {
    minutes: f64,
    /// Servers that are told to end.
    terms: usize,
    /// Servers that are killed.
    kills: usize,
    seed: u64,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut read = Self { minutes: 30.0, terms: 40, kills: 5, seed: since_1970 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let wrong = |_| format!("{name}: expected a number, found '{value}'");
            match name.as_str() {
                "--minutes" => read.minutes = value.parse().map_err(|_| wrong(()))?,
                "--terms" => read.terms = value.parse().map_err(|_| wrong(()))?,
                "--kills" => read.kills = value.parse().map_err(|_| wrong(()))?,
                "--seed" => read.seed = value.parse().map_err(|_| wrong(()))?,
                _ => return Err(format!("expected --minutes, --terms, --kills or --seed, found '{name}'")),
            }
        }
        if !(read.minutes >= 0.0 && read.minutes < 1e5) {
            return Err(format!("--minutes: expected 0 to 100000, found {}", read.minutes));
        }
        Ok(read)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let Arguments { minutes, terms, kills, seed } = arguments;
    let record = Record::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak"), seed);
    println!("Soak: {minutes} minutes of mixed load, {terms} x SIGTERM, {kills} x SIGKILL; seed {seed}");
    if minutes > 0.0 {
        traffic::run(&record, Duration::from_secs_f64(minutes * 60.0));
    }
    ends::told_to_end(&record, terms);
    ends::killed(&record, kills);
    record.finish()
}
