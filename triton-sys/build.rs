//! Tells the tests which target they run on and, with the feature `bindgen`, generates the bindings anew.

#[cfg(feature = "bindgen")]
#[path = "build/generate.rs"]
mod generate;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Cargo prints the stderr of a failed script last.
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|e| format!("{name}: {e}; run this through cargo"));
    // The tests run the C compiler for this target.
    println!("cargo::rustc-env=BINDINGS_TARGET={}", variable("TARGET")?);
    #[cfg(feature = "bindgen")]
    generate::run(variable("CARGO_MANIFEST_DIR")?.as_ref(), variable("OUT_DIR")?.as_ref())?;
    Ok(())
}
