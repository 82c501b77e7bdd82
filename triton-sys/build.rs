//! Makes the bindings. Three questions, one file each:
//! which headers (`build/headers.rs`), which functions they declare (`build/marks.rs`), and how bindgen
//! is run (`build/bindings.rs`).

#[path = "build/bindings.rs"]
mod bindings;
#[path = "build/headers.rs"]
mod headers;
#[path = "build/marks.rs"]
mod marks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Cargo shows a failed script's stderr last, so this is what stands at the end.
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; run this through cargo")?);
    let headers = headers::find()?;
    let functions = marks::read(&headers.own_files)?;
    write(out_dir.join("functions.rs"), &marks::to_rust(&functions))?;
    // The tests run the C compiler too, and it is chosen by the target.
    let target = env::var("TARGET").map_err(|e| format!("TARGET: {e}"))?;
    println!("cargo::rustc-env=TRITON_SYS_TARGET={target}");
    bindings::generate(&headers, &functions, &out_dir.join("bindings.rs"))
}

fn write(path: PathBuf, text: &str) -> Result<(), String> {
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
