//! Generates the bindings from the headers in `include/`, with NVIDIA's types and numbers where `TRITON_INCLUDE_DIR` is
//! set.

use std::fmt::Write;
use std::path::Path;

#[path = "clang.rs"]
mod clang;
#[path = "marks.rs"]
mod marks;
#[path = "nvidia.rs"]
mod nvidia;

use marks::Function;

const MARKS: &[&str] = &["TRITON_SINCE_BACKEND", SERVER, ENTRY_POINT];
const SERVER: &str = "TRITON_SINCE_SERVER";
/// A function that the backend defines and the server looks up.
const ENTRY_POINT: &str = "TRITON_ENTRY_POINT";
const MISSING: &str = "this Triton server lacks a function; look at the field of that name before calling a function \
    that is newer than API 1.0";

pub fn run(package: &Path, out_dir: &Path) -> Result<(), String> {
    let include = package.join("include");
    let nvidia = nvidia::include_dir()?;
    let functions = marks::read(&clang::headers(&include)?, MARKS, &["TRITONBACKEND_", "TRITONSERVER_"])?;
    clang::write(&out_dir.join("functions.rs"), &tables(&functions))?;

    let mut builder = clang::builder(&include)?
        .header_contents("triton_sys_all.h", &everything(nvidia.is_some(), &functions))
        // Triton names its objects without `struct`, which only C++ allows.
        .clang_args(["-x", "c++", "-std=c++11"])
        .allowlist_type("TRITON(BACKEND|SERVER)_.*")
        .allowlist_var("TRITON(BACKEND|SERVER)_.*");
    for function in functions.iter().filter(|function| function.mark != ENTRY_POINT) {
        builder = builder.allowlist_function(&function.name);
    }
    if let Some(dir) = &nvidia {
        builder = builder.clang_arg(format!("-I{}", dir.display()));
    }
    let text = clang::generate(builder, MISSING).map_err(|e| explain(nvidia.as_deref(), &e))?;
    clang::write(&out_dir.join("bindings.rs"), &text)
}

/// The one header that bindgen reads.
///
/// With NVIDIA's headers, types and numbers are theirs and the functions stay those of this crate, whichever release the
/// headers are from; clang stops if the two disagree on a function.
fn everything(nvidia: bool, functions: &[Function]) -> String {
    let mut text = String::new();
    if nvidia {
        text.push_str("#include <triton/core/tritonbackend.h>\n#define TRITON_SYS_TYPES_H\n");
    }
    text.push_str("#include <triton_api.h>\n");
    // The types of the entry points, so that the compiler can check what a backend exports.
    for Function { name, .. } in functions.iter().filter(|function| function.mark == ENTRY_POINT) {
        let _ = writeln!(text, "/// The type of `{name}`.\ntypedef decltype({name})* {name}Fn;");
    }
    text
}

fn explain(nvidia: Option<&Path>, error: &str) -> String {
    let hint = match nvidia {
        Some(dir) => format!(
            "The headers in TRITON_INCLUDE_DIR ({}) do not match those of this crate; it needs headers of Triton 22.05 \
             or newer. Unset the variable to use the headers of this crate alone.",
            dir.display()
        ),
        None => "If a header such as stddef.h was not found, set CC to a C compiler.".to_owned(),
    };
    format!("{error}\n{hint}")
}

/// The tables `FUNCTIONS` and `ENTRY_POINTS`.
fn tables(functions: &[Function]) -> String {
    let mut table = String::new();
    let mut entry_points = String::new();
    for Function { name, mark, since: (major, minor) } in functions {
        let (list, api) = match *mark {
            SERVER => (&mut table, "Server"),
            ENTRY_POINT => (&mut entry_points, "Backend"),
            _ => (&mut table, "Backend"),
        };
        let _ = writeln!(
            list,
            "    Function {{ name: {name:?}, api: ApiKind::{api}, since: Version {{ major: {major}, minor: {minor} }} }},"
        );
    }
    format!(
        "/* generated from the headers by build/generate.rs */\n\n\
         /// Every function of the API that a backend can call, sorted by name.\n\
         pub const FUNCTIONS: &[Function] = &[\n{table}];\n\n\
         /// The functions that a backend can define and the server looks up, sorted by name.\n\
         pub const ENTRY_POINTS: &[Function] = &[\n{entry_points}];\n"
    )
}
