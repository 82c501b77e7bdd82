//! Which servers the library accepts, and what it tells the others.

use super::host::Host;

/// The message that comes once the server's API is accepted: the next step looks for TensorFlow, and the
/// stand-in has none.
const ACCEPTED: &str = "Initialize: no TensorFlow library: looked for libtensorflow.so";

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

#[test]
fn a_server_with_exactly_the_functions_of_api_1_0_is_accepted() {
    let text = Host::new("first").initialize();
    assert_says(&text, &[ACCEPTED, "log: backend 'stand_in': tensorflow_latency "]);
}

#[test]
fn a_newer_server_is_accepted() {
    let text = Host { backend: (1, 99), server: (1, 99), later: true, ..Host::new("newer") }.initialize();
    assert_says(&text, &[ACCEPTED]);
}

#[test]
fn a_server_that_lacks_a_function_of_api_1_0_is_told_which() {
    let without = &["TRITONBACKEND_ResponseSend", "TRITONSERVER_LogMessage"];
    let text = Host { without, ..Host::new("incomplete") }.initialize();
    assert_says(
        &text,
        &[
            "Initialize: the Triton server",
            "lacks 2 functions",
            "TRITONBACKEND_ResponseSend, TRITONSERVER_LogMessage",
        ],
    );
}

#[test]
fn a_server_of_another_major_version_is_told_both_versions() {
    let text = Host { backend: (2, 0), ..Host::new("backend_major") }.initialize();
    assert_says(
        &text,
        &[
            "Initialize: the Triton server speaks backend API 2.0",
            "built for backend API 1.",
            "must be equal",
        ],
    );

    let text = Host { server: (2, 3), later: true, ..Host::new("server_major") }.initialize();
    assert_says(&text, &["Initialize: the Triton server speaks server API 2.3"]);
}

/// Servers ask this since 25.12.
#[test]
fn an_instance_is_ready_once_it_is_there() {
    let text =
        Host { backend: (1, 19), server: (1, 19), later: true, ..Host::new("ready") }.serve_one_instance();
    // UNAVAILABLE is 4.
    let before = "ModelInstanceReady: the instance is not ready: its Initialize has failed, or has not returned yet, code 4";
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("{before} is missing in:\n{text}"));
    let lines: Vec<&str> = after.lines().filter(|line| line.starts_with("Model")).collect();
    let expected = ["InstanceInitialize", "InstanceReady", "InstanceFinalize", "Finalize"];
    assert_eq!(lines, expected.map(|name| format!("Model{name}: success")), "{text}");
}

#[test]
fn another_major_version_is_told_before_what_is_missing() {
    let without = &["TRITONBACKEND_RequestId"];
    let text = Host { backend: (2, 0), without, ..Host::new("other_and_less") }.initialize();
    assert_says(&text, &["speaks backend API 2.0"]);
}
