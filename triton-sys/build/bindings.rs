//! How bindgen is run.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use bindgen::{EnumVariation, Formatter};

use crate::headers::Headers;
use crate::marks::{Function, Kind};

pub fn generate(headers: &Headers, functions: &[Function], out_file: &Path) -> Result<(), String> {
    find_libclang()?;
    // bindgen adds these to the arguments below.
    println!("cargo::rerun-if-env-changed=BINDGEN_EXTRA_CLANG_ARGS");

    let mut builder = bindgen::Builder::default()
        .header_contents("triton_sys_all.h", &everything(headers, functions))
        // Triton names its objects without `struct`, which only C++ allows.
        .clang_args(["-x", "c++", "-std=c++11"])
        .clang_arg(format!("-I{}", headers.own_dir.display()))
        .allowlist_type("TRITON(BACKEND|SERVER)_.*")
        .allowlist_var("TRITON(BACKEND|SERVER)_.*")
        // The server may answer with a number that these headers do not know: never a Rust enum.
        .default_enum_style(EnumVariation::NewType { is_bitfield: false, is_global: false })
        .dynamic_library_name("Symbols")
        .dynamic_link_require_all(false)
        .layout_tests(false)
        .formatter(Formatter::Prettyplease);
    for function in functions.iter().filter(|function| function.kind != Kind::EntryPoint) {
        builder = builder.allowlist_function(&function.name);
    }
    if let Some(dir) = &headers.nvidia_dir {
        builder = builder.clang_arg(format!("-I{}", dir.display()));
    }
    if let Some(dir) = compiler_headers() {
        // After all others: a complete clang has its own, and must not get those of another compiler.
        builder = builder.clang_args(["-idirafter", &dir]);
    }

    let bindings = builder.generate().map_err(|e| explain(headers, &e.to_string()))?.to_string();
    let text = bindings.replace(BINDGEN_PANIC, MISSING_PANIC);
    fs::write(out_file, text).map_err(|e| format!("cannot write {}: {e}", out_file.display()))
}

/// With what the generated methods panic when a function is missing; the linker's words, which hold the
/// function's name, follow. Should bindgen change its text, only the message gets worse.
const BINDGEN_PANIC: &str = "\"Expected function, got error.\"";
const MISSING_PANIC: &str = "\"this Triton server lacks a function; look at the field of that name \
    before calling what is newer than API 1.0\"";

/// The one header that bindgen reads.
///
/// With NVIDIA's headers, types and numbers are theirs, and this crate's declarations follow: clang
/// stops where the two disagree on a function, and the functions are the same whichever release the
/// headers are of.
fn everything(headers: &Headers, functions: &[Function]) -> String {
    let mut text = String::new();
    if headers.nvidia_dir.is_some() {
        text.push_str("#include <triton/core/tritonbackend.h>\n#define TRITON_SYS_TYPES_H\n");
    }
    text.push_str("#include <triton_api.h>\n");
    // The types of the entry points, so that a backend can have its exports checked by the compiler.
    for Function { name, .. } in functions.iter().filter(|function| function.kind == Kind::EntryPoint) {
        let _ = writeln!(text, "/// The type of `{name}`.\ntypedef decltype({name})* {name}Fn;");
    }
    text
}

/// Loads libclang, as bindgen will, so that its absence ends in one message instead of a panic.
fn find_libclang() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    clang_sys::load().map_err(|reason| {
        format!(
            "triton-sys needs libclang (9 or newer) to make its bindings, and none was found.\n\
             Without root: `pip install libclang`, then set LIBCLANG_PATH to the absolute path of \
             the folder of its libclang.so (SITE-PACKAGES/clang/native). Or install your system's package \
             (Debian: libclang-dev). In this project, `make build` does it.\n\
             LIBCLANG_PATH is {}. What was tried: {}",
            env::var("LIBCLANG_PATH").map_or_else(|_| "not set".to_owned(), |path| format!("{path:?}")),
            reason.replace('\n', " "),
        )
    })
}

/// The folder of the C compiler's own headers (stddef.h, stdbool.h). The libclang of PyPI comes without.
fn compiler_headers() -> Option<String> {
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next()?).args(words).arg("-print-file-name=include").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    // A compiler without such a folder answers with the bare word.
    (output.status.success() && Path::new(&dir).is_absolute()).then_some(dir)
}

fn explain(headers: &Headers, error: &str) -> String {
    let hint = match &headers.nvidia_dir {
        Some(dir) => format!(
            "The headers in TRITON_INCLUDE_DIR ({}) do not fit those of triton-sys; headers of Triton 22.05 or \
             newer are needed. Unset the variable to build with the headers of triton-sys alone.",
            dir.display()
        ),
        None => "If a header such as stddef.h was not found: a C compiler is needed too; set CC to one."
            .to_owned(),
    };
    format!("bindgen cannot read the headers of the Triton API: {error}\n{hint}")
}
