//! What the backend costs and what it gains: the server with this backend against the bare TensorFlow.
//!
//! Every figure compares things that were measured in turn within this one run, so that a machine whose
//! speed drifts does not favour one of them. The parts, each with a file and servers of its own:
//!
//! - `inception`: Inception-v3, images/s, against the session of its SavedModel, against the session of its
//!   frozen graph, and against the machine's own rate of matrix multiplication
//! - `batching`: adaptive batching without a target against Triton's dynamic batcher, throughput and latency
//! - `bf16`: the same model where TensorFlow may compute in BF16, against FP32
//! - `instances`: how many instances and threads suit a model
//! - `one-op`: what the backend adds to the run of a small model, and what the calling thread saves
//! - `heap`: the heap requests of the backend itself
//! - `memory`: the resident memory of a server with one and with four instances
//! - `load`: how long a load takes that turns variables into constants
//!
//! Run by `make bench`, which hands on `ARGS`: `--only PART,PART` measures these parts, `--quick` is for trying
//! the program itself. The numbers and the machine's description go to `target/bench/latency.json` too. It ends
//! with exit code 1 when one misses its aim.

mod batching;
mod bf16;
mod heap;
mod inception;
mod instances;
mod load;
mod machine;
mod memory;
mod one_op;
mod raw;
mod results;
mod served;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/integration/support/mod.rs"]
mod support;
mod turns;

use std::process::ExitCode;

use machine::Machine;
use results::Results;

/// What measures a part.
type Measure = fn(&mut Results);

const PARTS: [(&str, Measure); 8] = [
    ("inception", inception::measure),
    ("batching", batching::measure),
    ("bf16", bf16::measure),
    ("instances", instances::measure),
    ("one-op", one_op::measure),
    ("heap", heap::measure),
    ("memory", memory::measure),
    ("load", load::measure),
];

fn main() -> ExitCode {
    let (quick, parts) = match arguments() {
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
    for measure in parts {
        measure(&mut results);
    }
    results.end()
}

/// Whether it is a quick run, and the parts to measure, in their order.
fn arguments() -> Result<(bool, Vec<Measure>), String> {
    let names = PARTS.map(|(name, _)| name);
    let (mut quick, mut chosen) = (false, names.map(str::to_owned).to_vec());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--only" => chosen = arguments.next().unwrap_or_default().split(',').map(str::to_owned).collect(),
            // Cargo's own.
            "--bench" => {}
            other => return Err(format!("'{other}': expected --quick or --only PART,PART")),
        }
    }
    if let Some(unknown) = chosen.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no part '{unknown}'; the parts are {}", names.join(", ")));
    }
    let parts = PARTS.into_iter().filter(|(name, _)| chosen.iter().any(|chosen| chosen == name));
    Ok((quick, parts.map(|(_, measure)| measure).collect()))
}
