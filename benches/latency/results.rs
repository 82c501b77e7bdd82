//! The numbers of a run, and the aims that they miss.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::machine::Machine;

/// What a run found, and where and how thoroughly it did.
pub struct Results {
    pub machine: Machine,
    quick: bool,
    numbers: Map<String, Value>,
    missed: Vec<String>,
}

impl Results {
    pub fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, numbers: Map::new(), missed: Vec::new() }
    }

    /// How many rounds to measure: `full` ones, or `quick` ones where only the program itself is tried.
    pub fn rounds(&self, quick: usize, full: usize) -> usize {
        if self.quick { quick } else { full }
    }

    pub fn keep(&mut self, name: &str, value: f64) {
        self.numbers.insert(name.into(), json!((value * 1e4).round() / 1e4));
    }

    /// Keeps a number that is to be at least `aim`.
    pub fn at_least(&mut self, aim: f64, name: &str, value: f64) {
        self.keep(name, value);
        if value < aim {
            self.missed.push(format!("{name}: {value:.3}, the aim is {aim} or more"));
        }
    }

    /// Keeps a number that is to be at most `aim`.
    pub fn at_most(&mut self, aim: f64, name: &str, value: f64) {
        self.keep(name, value);
        if value > aim {
            self.missed.push(format!("{name}: {value:.3}, the aim is {aim} or less"));
        }
    }

    /// Notes an aim that is missed.
    pub fn miss(&mut self, what: String) {
        self.missed.push(what);
    }

    /// Writes the numbers down and tells which aims they miss: one is enough to fail.
    pub fn end(self, file: &str) -> ExitCode {
        let text = json!({
            "machine": self.machine.as_json(),
            "quick": self.quick,
            "numbers": self.numbers,
            "missed": self.missed,
        });
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        std::fs::write(folder.join(file), format!("{text:#}\n")).expect("the target folder can be written");
        println!("\nThe numbers: target/bench/{file}");
        if self.missed.is_empty() {
            println!("No aim was missed.");
            return ExitCode::SUCCESS;
        }
        println!("Missed:\n  {}", self.missed.join("\n  "));
        ExitCode::FAILURE
    }
}

/// Where the benchmarks keep what is to be found again.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}
