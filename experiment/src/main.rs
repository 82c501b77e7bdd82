//! The command `triton-experiment`.

use std::process::ExitCode;

fn main() -> ExitCode {
    triton_experiment::cli::main()
}
