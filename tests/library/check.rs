//! `tools/check_library.py` passes what is as it should be, and sees each fault. The faults are planted in a small C
//! library with the entry points of a backend.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::compiler::{compile, named, work_folder};

const ENTRY_POINTS: [&str; 9] = [
    "Initialize",
    "Finalize",
    "ModelInitialize",
    "ModelFinalize",
    "ModelInstanceInitialize",
    "ModelInstanceFinalize",
    "ModelInstanceExecute",
    "GetBackendAttribute",
    "ModelInstanceReady",
];

/// Of no C library at all, so that whatever is planted is all there is.
const PLAIN: [&str; 3] = ["-shared", "-fPIC", "-nostdlib"];

/// A backend's exports, with more source after them.
fn backend_with(more: &str) -> String {
    let mut text = String::new();
    for name in ENTRY_POINTS {
        text.push_str(&format!("void *TRITONBACKEND_{name}(void *object) {{ (void)object; return 0; }}\n"));
    }
    text + more
}

/// What the check says, and whether it passes.
fn check(library: &Path, options: &[&str]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/check_library.py");
    let output = Command::new(named("TL_PYTHON"))
        .arg(script)
        .arg(library)
        .args(options)
        .output()
        .expect("TL_PYTHON is a Python");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[track_caller]
fn assert_passes(library: &Path, options: &[&str], part: &str) {
    let (passes, text) = check(library, options);
    assert!(passes && text.contains(part), "expected to pass and say {part:?}:\n{text}");
}

/// Asserts that the check fails for this one reason.
#[track_caller]
fn assert_fails(library: &Path, options: &[&str], reason: &str) {
    let (passes, text) = check(library, options);
    assert!(!passes && text.contains(reason), "expected to fail with {reason:?}:\n{text}");
    assert_eq!(text.lines().count(), 1, "expected one fault only:\n{text}");
}

/// Plants `more` in a plain backend.
fn plant(name: &str, more: &str, arguments: &[&str]) -> std::path::PathBuf {
    compile(&work_folder(name), "backend.so", &backend_with(more), &[&PLAIN, arguments].concat())
}

#[test]
fn the_library_of_make_dist_passes() {
    assert_passes(&named("TL_BACKEND"), &["--glibc", "2.31"], "is as it should be");
}

#[test]
fn the_planted_backend_passes_without_a_fault() {
    assert_passes(&plant("no_fault", "", &[]), &[], "exports  9 entry points");
}

#[test]
fn an_export_too_many() {
    let library = plant("export", "int helper(void) { return 1; }", &[]);
    assert_fails(&library, &[], "exports helper, which is no entry point");
    // A name of the API that is not the backend's would stand in the server's way.
    let library = plant("api_export", "void *TRITONBACKEND_RequestId(void) { return 0; }", &[]);
    assert_fails(&library, &[], "exports TRITONBACKEND_RequestId, which is no entry point");
}

#[test]
fn an_entry_point_missing() {
    for (name, reason) in [
        ("ModelFinalize", "exports no TRITONBACKEND_ModelFinalize, which a Triton server of API 1.0 calls"),
        ("ModelInstanceReady", "exports no TRITONBACKEND_ModelInstanceReady, which servers of API 1.19 call"),
    ] {
        let source = backend_with("")
            .replace(&format!("*TRITONBACKEND_{name}("), "*TRITONBACKEND_ModelBatcherFinalize(");
        assert_fails(&compile(&work_folder("missing"), "backend.so", &source, &PLAIN), &[], reason);
    }
}

#[test]
fn a_library_of_triton_or_tensorflow_is_linked() {
    for needed in ["libtritonserver.so", "libtensorflow_cc.so.2", "libstdc++.so.6"] {
        let folder = work_folder("needed");
        let soname = format!("-Wl,-soname,{needed}");
        compile(&folder, needed, "int there(void) { return 1; }", &[&PLAIN[..], &[&soname]].concat());
        let file = format!("-l:{needed}");
        let linked = [&PLAIN[..], &["-Wl,--no-as-needed", "-L.", &file]].concat();
        let library = compile(&folder, "backend.so", &backend_with(""), &linked);
        assert_fails(&library, &[], &format!("needs the library {needed}"));
    }
}

#[test]
fn a_symbol_is_needed_and_no_library_named() {
    let uses = "const char *TF_Version(void);\n\
                __attribute__((visibility(\"hidden\"))) const char *used(void) { return TF_Version(); }";
    assert_fails(&plant("symbol", uses, &[]), &[], "needs the symbol TF_Version");
}

#[test]
fn a_search_path_of_the_build_machine() {
    for tag in ["--enable-new-dtags", "--disable-new-dtags"] {
        let library = plant("path", "", &[&format!("-Wl,{tag},-rpath,/somebody/s/folder")]);
        assert_fails(&library, &[], "has the search path /somebody/s/folder");
    }
}

#[test]
fn a_glibc_too_new() {
    // A library that says it is glibc and has a function of that version: so the build machine's does not matter.
    for (version, reason) in [
        ("GLIBC_2.32", "needs glibc 2.32 (GLIBC_2.32 of libc.so.6), but 2.31 has to do"),
        ("GLIBC_2.100", "needs glibc 2.100"),
        ("GLIBC_PRIVATE", "needs GLIBC_PRIVATE of libc.so.6, which not every glibc has"),
    ] {
        let library = of_glibc(version);
        assert_fails(&library, &["--glibc", "2.31"], reason);
    }
    let library = of_glibc("GLIBC_2.31");
    assert_passes(&library, &["--glibc", "2.31"], "glibc    2.31 or newer");
    assert_fails(&library, &["--glibc", "2.4"], "needs glibc 2.31");
}

fn of_glibc(version: &str) -> std::path::PathBuf {
    let folder = work_folder("glibc");
    fs::write(folder.join("versions"), format!("{version} {{ global: planted; local: *; }};"))
        .expect("the target folder can be written");
    let glibc = ["-Wl,-soname,libc.so.6", "-Wl,--version-script=versions"];
    compile(&folder, "libc.so.6", "int planted(void) { return 1; }", &[&PLAIN[..], &glibc].concat());
    let uses =
        "int planted(void);\n__attribute__((visibility(\"hidden\"))) int used(void) { return planted(); }";
    compile(&folder, "backend.so", &backend_with(uses), &[&PLAIN[..], &["-L.", "-l:libc.so.6"]].concat())
}

#[test]
fn a_later_function_is_called_without_asking() {
    let library = plant("calls", "", &[]);
    let folder = work_folder("sources");
    let sources = folder.to_str().expect("a plain path");
    let with = |body: &str| {
        fs::write(
            folder.join("calls.rs"),
            format!("fn id() {{\n    api().TRITONBACKEND_RequestId(raw);\n}}\n{body}"),
        )
        .expect("the target folder can be written");
    };

    with("");
    assert_passes(&library, &["--sources", sources], "API      1 functions of 1.0");
    with("fn cancelled() {\n    // is_ok()\n    api().TRITONBACKEND_RequestIsCancelled(raw);\n}\n");
    let reason = "calls TRITONBACKEND_RequestIsCancelled (calls.rs:6) of API 1.16: ask for it first";
    assert_fails(&library, &["--sources", sources], reason);
    with(
        "fn cancelled() {\n    if api().TRITONBACKEND_RequestIsCancelled.is_ok() {\n        \
         api().TRITONBACKEND_RequestIsCancelled(raw);\n    }\n}\n",
    );
    assert_passes(&library, &["--sources", sources], "has it: TRITONBACKEND_RequestIsCancelled");
    with("fn invented() {\n    api().TRITONBACKEND_Invented(raw);\n}\n");
    let reason = "calls TRITONBACKEND_Invented (calls.rs:5), which triton-sys/include does not know";
    assert_fails(&library, &["--sources", sources], reason);
}

#[test]
fn no_library_at_all() {
    let folder = work_folder("none");
    let text = folder.join("text.so");
    fs::write(&text, "not an ELF file").expect("the target folder can be written");
    assert_fails(&text, &[], "cannot be read as a shared library");
    assert_fails(&folder.join("nothing.so"), &[], "cannot be read as a shared library");
}
