//! What the backend costs and what it gains: the server with this backend against the bare TensorFlow.
//!
//! Every figure compares things that were measured in turn within this one run, so that a machine whose
//! speed drifts does not favour one of them. The parts, each with a file and servers of its own:
//!
//! - `inception`: Inception-v3, images/s, against the session of its SavedModel, against the session of its
//!   frozen graph, and against the machine's own rate of matrix multiplication
//! - `batching`: adaptive batching without a target against Triton's dynamic batcher, throughput and latency
//! - `targets`: adaptive batching with a target, for a tiny model: late answers of open loads, latency in closed ones
//! - `overload`: ten minutes of 150 % of what Inception-v3 can do, with a target
//! - `bf16`: the same model where TensorFlow may compute in BF16, against FP32
//! - `instances`: how many instances and threads suit a model
//! - `one-op`: what the backend adds to the run of a small model, and what the calling thread saves
//! - `energy`: what the energy of each request costs it, and the thread that reads the meter
//! - `strings`: many strings in a request, against the bare session
//! - `heap`: the heap requests of the backend itself
//! - `memory`: the resident memory of a server with one and with four instances
//! - `load`: how long a load takes that turns variables into constants
//!
//! With `--against LIBRARY` it is this backend against an earlier one, in parts of their own: see `against`.
//!
//! Run by `make bench` and `make bench-against`, which hand on `ARGS`: `--only PART,PART` measures these parts, `--quick` is for trying
//! the program itself. The numbers and the machine's description go to `target/bench/latency.json` too. It ends
//! with exit code 1 when one misses its aim.

mod against;
mod batching;
mod bf16;
mod energy;
mod heap;
mod inception;
mod instances;
mod load;
mod machine;
mod memory;
mod one_op;
mod open_load;
mod overload;
mod raw;
mod results;
mod served;
mod strings;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/integration/support/mod.rs"]
mod support;
mod targets;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;

use machine::Machine;
use results::Results;

/// What measures a part.
type Measure = fn(&mut Results);

const PARTS: [(&str, Measure); 12] = [
    ("inception", inception::measure),
    ("batching", batching::measure),
    ("targets", targets::measure),
    ("overload", overload::measure),
    ("bf16", bf16::measure),
    ("instances", instances::measure),
    ("one-op", one_op::measure),
    ("energy", energy::measure),
    ("strings", strings::measure),
    ("heap", heap::measure),
    ("memory", memory::measure),
    ("load", load::measure),
];

fn main() -> ExitCode {
    let Arguments { quick, against, parts } = match arguments() {
        Ok(given) => given,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    raw::link_tensorflow();
    let machine = Machine::found();
    machine.print();
    let mut results = Results::new(machine, quick);
    if let Some(library) = against {
        against::measure(&mut results, library, &parts);
        return results.end("against.json");
    }
    PARTS.iter().filter(|(name, _)| chosen(&parts, name)).for_each(|(_, measure)| measure(&mut results));
    results.end("latency.json")
}

/// What to measure.
struct Arguments {
    quick: bool,
    /// The earlier backend, where it is to be compared with one.
    against: Option<PathBuf>,
    /// The parts; all where none is named.
    parts: Vec<String>,
}

fn chosen(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| part == name)
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { quick: false, against: None, parts: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => found.quick = true,
            "--only" => {
                found.parts = arguments.next().unwrap_or_default().split(',').map(str::to_owned).collect();
            }
            "--against" => {
                let library = PathBuf::from(arguments.next().unwrap_or_default());
                if !library.is_file() {
                    return Err(format!("--against '{}': there is no such library", library.display()));
                }
                found.against = Some(library);
            }
            // Cargo's own.
            "--bench" => {}
            other => {
                return Err(format!("'{other}': expected --quick, --against LIBRARY or --only PART,PART"));
            }
        }
    }
    let names = match found.against {
        Some(_) => against::PARTS.map(|(name, _)| name).to_vec(),
        None => PARTS.map(|(name, _)| name).to_vec(),
    };
    match found.parts.iter().find(|part| !names.contains(&part.as_str())) {
        Some(unknown) => Err(format!("there is no part '{unknown}'; the parts are {}", names.join(", "))),
        None => Ok(found),
    }
}
