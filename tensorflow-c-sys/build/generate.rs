//! Generates the bindings from the headers in `include/`.

use std::fmt::Write;
use std::path::Path;

#[path = "clang.rs"]
mod clang;
#[path = "marks.rs"]
mod marks;

const MARKS: &[&str] = &["TF_SINCE", EXPERIMENTAL];
const EXPERIMENTAL: &str = "TF_EXPERIMENTAL_SINCE";
const MISSING: &str = "this TensorFlow lacks a function; look at the field of that name before calling a function \
    that is newer than TensorFlow 2.4 or experimental";

pub fn run(package: &Path, out_dir: &Path) -> Result<(), String> {
    let include = package.join("include");
    let functions = marks::read(&clang::headers(&include)?, MARKS, &["TF_"])?;
    clang::write(&out_dir.join("functions.rs"), &table(&functions))?;

    let mut builder = clang::builder(&include)?
        .header(include.join("tensorflow_api.h").to_string_lossy())
        .clang_arg("-std=c11")
        .allowlist_type("TF_.*");
    for function in &functions {
        builder = builder.allowlist_function(&function.name);
    }
    clang::write(&out_dir.join("bindings.rs"), &clang::generate(builder, MISSING)?)
}

/// The table `FUNCTIONS`.
fn table(functions: &[marks::Function]) -> String {
    let mut text = String::from("/* generated from the headers by build/generate.rs */\n\n");
    text.push_str(
        "/// Every function of these bindings, sorted by name.\npub const FUNCTIONS: &[Function] = &[\n",
    );
    for marks::Function { name, mark, since: (major, minor) } in functions {
        let experimental = *mark == EXPERIMENTAL;
        let _ = writeln!(
            text,
            "    Function {{ name: {name:?}, since: Version {{ major: {major}, minor: {minor} }}, \
             experimental: {experimental} }},"
        );
    }
    text.push_str("];\n");
    text
}
