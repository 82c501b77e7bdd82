//! `Api::from_process` in several kinds of processes.
//!
//! Loading a library into a process cannot be undone, so each case runs in its own process: this test program again, with
//! an environment variable that makes it report only. A small C library stands in for a server (`stand_in.rs`).

#[path = "../compiler/mod.rs"]
mod compiler;
mod stand_in;

use std::env;
use std::path::Path;
use std::process::Command;

use stand_in::StandIn;
use triton_sys::Api;

/// Tells `report` which library to open with RTLD_LOCAL; empty for none.
const OPEN: &str = "TRITON_SYS_TEST_OPEN";

/// No test by itself: prints the result of `from_process` in the child process.
#[test]
fn report() {
    let Ok(open) = env::var(OPEN) else { return };
    // SAFETY: the library is a stand-in without initializers. It stays open to the end.
    let _library = (!open.is_empty())
        .then(|| unsafe { libloading::Library::new(&open) }.expect("cannot open the stand-in"));
    // SAFETY: the stand-in's functions that are called have the right signatures.
    match unsafe { Api::from_process() } {
        Ok(api) => {
            println!("REPORT version {} and {}", api.version(), api.server_api_version());
            for name in ["TRITONBACKEND_RequestId", "TRITONBACKEND_RequestIsCancelled", "no_such_name"] {
                println!("REPORT has {name}: {}", api.has(name));
            }
            println!("REPORT field: {}", api.TRITONBACKEND_RequestIsCancelled.is_ok());
            println!("REPORT missing: {}", api.missing().count());
            if !api.has("TRITONBACKEND_RequestIsCancelled") {
                let call = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    // SAFETY: the function is missing, so nothing is called.
                    unsafe {
                        api.TRITONBACKEND_RequestIsCancelled(std::ptr::null_mut(), std::ptr::null_mut())
                    }
                }));
                let panic = call.expect_err("a missing function cannot be called");
                println!("REPORT panic: {}", panic.downcast_ref::<String>().expect("not a text"));
            }
        }
        Err(error) => {
            println!("REPORT error: {error}");
            println!("REPORT variant: {error:?}");
            // SAFETY: as above.
            println!("REPORT to_server: {}", unsafe { error.to_server() }.is_some());
        }
    }
}

/// Runs `report` in a process with `preload` in the global scope.
fn run(preload: Option<&Path>, open: Option<&Path>) -> String {
    let program = env::current_exe().expect("no path of this program");
    let mut command = Command::new(program);
    command.args(["--exact", "report", "--nocapture", "--test-threads=1"]);
    command.env(OPEN, open.unwrap_or(Path::new("")));
    if let Some(preload) = preload {
        command.env("LD_PRELOAD", preload);
    }
    let output = command.output().expect("cannot run the test program again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

#[test]
fn outside_a_server() {
    let text = run(None, None);
    assert_says(
        &text,
        &[
            "not a Triton server",
            "TRITONBACKEND_ApiVersion",
            "no libtritonserver.so is loaded",
            "variant: NotInServer",
        ],
    );
    assert_says(&text, &["to_server: false"]);
}

#[test]
fn in_a_server_of_the_first_version() {
    let server = StandIn { backend: (1, 0), server: (1, 0), ..StandIn::new("first") }.build();
    let text = run(Some(&server), None);
    assert_says(
        &text,
        &[
            "version 1.0 and 1.0",
            "has TRITONBACKEND_RequestId: true",
            "has TRITONBACKEND_RequestIsCancelled: false",
            "has no_such_name: false",
            "field: false",
            "panic: this Triton server lacks a function",
            "undefined symbol: TRITONBACKEND_RequestIsCancelled",
        ],
    );
}

#[test]
fn in_a_server_with_everything() {
    let server = StandIn { only_required: false, ..StandIn::new("newest") }.build();
    let text = run(Some(&server), None);
    assert_says(
        &text,
        &[
            "has TRITONBACKEND_RequestIsCancelled: true",
            "has no_such_name: false",
            "field: true",
            "missing: 0",
        ],
    );
}

#[test]
fn in_a_newer_server() {
    let server = StandIn { backend: (1, 99), ..StandIn::new("newer") }.build();
    assert_says(&run(Some(&server), None), &["version 1.99"]);
}

#[test]
fn a_server_library_opened_with_rtld_local() {
    let server = StandIn::new("private").build();
    assert_says(&run(None, Some(&server)), &["version 1.19 and 1.34"]);
}

#[test]
fn another_major_version() {
    let server = StandIn { backend: (2, 3), ..StandIn::new("major") }.build();
    let text = run(Some(&server), None);
    assert_says(
        &text,
        &["backend API 2.3", "built for backend API 1.", "variant: WrongMajor", "to_server: true"],
    );

    let server = StandIn { server: (2, 0), ..StandIn::new("server_major") }.build();
    assert_says(&run(Some(&server), None), &["server API 2.0", "variant: WrongMajor"]);
}

#[test]
fn a_function_of_the_first_version_is_missing() {
    let without = &["TRITONBACKEND_ResponseSend", "TRITONSERVER_LogMessage"];
    let server = StandIn { without, ..StandIn::new("incomplete") }.build();
    let text = run(Some(&server), None);
    assert_says(
        &text,
        &["lacks 2 functions", "TRITONBACKEND_ResponseSend, TRITONSERVER_LogMessage", "variant: Missing"],
    );

    let without = &["TRITONSERVER_ApiVersion"];
    let server = StandIn { without, ..StandIn::new("no_version") }.build();
    assert_says(
        &run(Some(&server), None),
        &["lacks 1 function that", "TRITONSERVER_ApiVersion", "variant: Missing"],
    );
}

#[test]
fn the_server_returns_an_error_instead_of_its_version() {
    let server = StandIn { error: true, ..StandIn::new("error") }.build();
    let text = run(Some(&server), None);
    assert_says(
        &text,
        &[
            "instead of the version of its backend API",
            "stand-in says no",
            "error code 4",
            "variant: Version",
        ],
    );
}
