//! The library in a stand-in for a server whose functions fail (`model_host.c`): whatever fails, each request is answered
//! once and given back once, nothing that failed is sent as a success, and nothing of the backend's is left behind.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use triton_sys::FUNCTIONS;

use super::compiler::{compile, named, work_folder};

/// Who makes the batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Batching {
    Triton,
    Adaptive,
}

const BOTH: [Batching; 2] = [Batching::Triton, Batching::Adaptive];

/// What the stand-in prints while it does `steps`, words in the language of `model_host.c`.
fn play(name: &str, batching: Batching, steps: &str) -> String {
    let folder = work_folder(name);
    let program =
        compile(&folder, "host", &source(), &["-rdynamic", "-ldl", "-lpthread", "-Wall", "-Wextra"]);
    let model = named("TL_TEST_MODELS").join("add_one");
    std::fs::create_dir_all(folder.join("1")).expect("the target folder can be written");
    std::os::unix::fs::symlink(model.join("model.savedmodel"), folder.join("1/model.savedmodel"))
        .expect("the target folder can be written");
    run(&program, &folder, batching, steps)
}

fn run(program: &Path, folder: &Path, batching: Batching, steps: &str) -> String {
    let batching = match batching {
        Batching::Triton => "",
        Batching::Adaptive => r#""batching": {"string_value": "adaptive"}"#,
    };
    let config = format!(
        r#"{{"max_batch_size": 8, "input": [{{"name": "x", "data_type": "TYPE_FP32", "dims": [16]}}],
             "output": [{{"name": "y", "data_type": "TYPE_FP32", "dims": [16]}}], "parameters": {{{batching}}}}}"#
    );
    let output = Command::new(program)
        .args([&named("TL_BACKEND"), &named("TL_TENSORFLOW_DIR"), folder])
        .arg(config)
        .args(steps.split_whitespace())
        .env("TF_CPP_MIN_LOG_LEVEL", "3")
        .output()
        .expect("the stand-in runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{steps}: {}\n{text}\n{errors}", output.status);
    text
}

/// The stand-in, with the other functions of API 1.0, which answer null.
fn source() -> String {
    let mut text = include_str!("model_host.c").to_owned();
    for api in ["BACKEND", "SERVER"] {
        let body = "*major = 1; *minor = 0; return 0;";
        writeln!(text, "void *TRITON{api}_ApiVersion(unsigned *major, unsigned *minor) {{ {body} }}")
            .unwrap();
    }
    for function in FUNCTIONS.iter().filter(|function| function.is_required()) {
        let name = function.name;
        // The names of those with a state are put together by a macro.
        if !text.contains(&format!("{name}(")) && !name.ends_with("State") {
            writeln!(text, "void *{name}(void) {{ return 0; }}").unwrap();
        }
    }
    text
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

/// Each request has one answer, is given back once, and no success is without its outputs; and nothing is left behind.
#[track_caller]
fn assert_in_order(text: &str, requests: usize) {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("request ")).collect();
    assert_eq!(lines.len(), requests, "{text}");
    for line in lines {
        assert!(line.contains("1 answers, 1 releases") && !line.contains(", A "), "{line}, in:\n{text}");
    }
    assert_says(text, &["left: 0 workers, 0 responses"]);
}

const SERVE: &str = "start load instance";

#[test]
fn requests_are_answered_where_nothing_fails() {
    for batching in BOTH {
        let text = play("nothing_fails", batching, &format!("{SERVE} execute g execute gbg execute bb end"));
        assert_in_order(&text, 6);
        assert_says(&text, &["request 0: 1 answers, 1 releases, 1 reports, answered well"]);
        assert_says(&text, &["request 2: 1 answers, 1 releases, 1 reports, model 'model', input 'x'"]);
        assert!(!text.contains("log E"), "{text}");
    }
}

#[test]
fn a_response_is_asked_for_again() {
    for batching in BOTH {
        for (what, count) in [("fail", 1), ("fail", 2), ("none", 1), ("none", 2)] {
            for requests in ["b", "g"] {
                let steps = format!("{SERVE} {what} ResponseNew 1 {count} execute {requests} end");
                let text = play("response_again", batching, &steps);
                assert_in_order(&text, 1);
                assert_says(&text, &["Execute: success", "1 reports, "]);
                assert!(!text.contains("answered well"), "it is too late for a success:\n{text}");
            }
        }
    }
}

#[test]
fn without_any_response_execute_returns_the_error_and_the_server_answers() {
    for (what, requests) in [("fail", "b"), ("fail", "g"), ("fail", "bb"), ("fail", "gb"), ("none", "bg")] {
        let steps = format!("{SERVE} {what} ResponseNew 1 1000 execute {requests} heal execute g end");
        let text = play("no_response", Batching::Triton, &steps);
        assert_in_order(&text, requests.len() + 1);
        assert_says(
            &text,
            &["request 0: 1 answers, 1 releases, 0 reports, by the server: ", "answered well"],
        );
    }
    // A request that waits in the queue is the backend's. The worker has nobody to return the error to, but whoever
    // unloads the model does not wait for it.
    let steps = format!("{SERVE} fail ResponseNew 1 1000 execute gg end");
    let text = play("no_response_queued", Batching::Adaptive, &steps);
    assert_says(
        &text,
        &["Execute: success", "ModelInstanceFinalize: success", "request 0: 0 answers, 1 releases"],
    );
    assert_says(&text, &["log E: the server made no response to a request in 3 attempts", "left: 0 workers"]);
}

#[test]
fn once_a_request_is_answered_execute_succeeds() {
    // The bad one is refused first, for want of a response in vain; the good one has the fourth. A last attempt follows.
    let steps = format!("{SERVE} fail ResponseNew 1 3 execute gb end");
    let text = play("answered_once", Batching::Triton, &steps);
    assert_in_order(&text, 2);
    assert_says(
        &text,
        &["Execute: success", "1 reports, answered well", "1 reports, model 'model', input 'x'"],
    );

    let steps = format!("{SERVE} fail ResponseNew 1 3 fail ResponseNew 5 1000 execute gb end");
    let text = play("answered_once", Batching::Triton, &steps);
    assert_says(&text, &["Execute: success", "request 0: 1 answers, 1 releases, 1 reports, answered well"]);
    assert_says(&text, &["request 1: 0 answers, 1 releases, 1 reports", "left: 0 workers, 0 responses"]);
}

#[test]
fn without_error_objects_nothing_that_failed_counts_as_a_success() {
    let spare = "the backend failed, and the server made no error with the reason; its log has the reason";
    for batching in BOTH {
        let steps =
            format!("{SERVE} fail ErrorNew 1 1000 execute b execute gb execute bb heal execute b end");
        let text = play("no_error", batching, &steps);
        assert_in_order(&text, 6);
        assert_eq!(text.matches(&format!("reports, {spare}")).count(), 4, "{text}");
        assert_says(
            &text,
            &["log E: the server makes no error object; it would say: model 'model', input 'x'"],
        );
        // Where one attempt fails, the second has the whole text.
        let steps = format!("{SERVE} fail ErrorNew 1 1 execute b end");
        assert_says(&play("no_error", batching, &steps), &["1 reports, model 'model', input 'x'"]);
    }
    let steps = "start fail ErrorNew 1 1000 fail ModelConfig 1 1 load load end";
    let text = play("no_error_at_load", Batching::Triton, steps);
    assert_says(&text, &[&format!("ModelInitialize: {spare}"), "ModelInitialize: success"]);
    // A server that never makes one.
    let steps = format!("fail ErrorNew 1 1000 {SERVE} execute b heal execute b end");
    let text = play("never_an_error", Batching::Triton, &steps);
    assert!(!text.contains("A SUCCESS"), "{text}");
}

#[test]
fn what_is_known_from_initialize_is_taken_back_whatever_the_server_says() {
    for batching in BOTH {
        for what in ["fail", "none", "late"] {
            for state in ["ModelInstanceState", "ModelState", "BackendState"] {
                let steps = format!("{SERVE} execute g {what} {state} 1 1000 execute gb end");
                let text = play("state", batching, &steps);
                assert_in_order(&text, 3);
                assert_eq!(text.matches("answered well").count(), 2, "{text}");
                assert_says(
                    &text,
                    &["ModelInstanceFinalize: success", "ModelFinalize: success", "\nFinalize: success"],
                );
            }
        }
    }
}

#[test]
fn what_failed_to_initialize_has_one_error() {
    for batching in BOTH {
        for (steps, said) in [
            ("start load fail ModelInstanceModel 1 1 instance end", "planted in ModelInstanceModel"),
            ("start load fail ModelInstanceSetState 1 1 instance end", "planted in ModelInstanceSetState"),
            ("start load late ModelInstanceSetState 1 1 instance end", "planted in ModelInstanceSetState"),
            ("start fail ModelConfig 1 1 load end", "planted in ModelConfig"),
            ("start fail ModelSetState 1 1 load end", "planted in ModelSetState"),
            ("start late ModelSetState 1 1 load end", "planted in ModelSetState"),
            ("fail BackendSetState 1 1 start end", "planted in BackendSetState"),
            ("late BackendSetState 1 1 start end", "planted in BackendSetState"),
        ] {
            let text = play("initialize", batching, steps);
            assert_eq!(text.matches("planted").count(), 1, "{steps}:\n{text}");
            assert_says(&text, &[said, "ModelInstanceFinalize: success", "ModelFinalize: success"]);
            assert_says(&text, &["\nFinalize: success", "left: 0 workers, 0 responses"]);
            assert!(!text.contains("log E"), "{steps}:\n{text}");
        }
    }
}

/// Everything that an execution calls, failing before its effect and after it.
#[test]
fn whichever_call_of_an_execution_fails_each_request_is_answered_once() {
    const CALLED: [&str; 13] = [
        "ModelInstanceState",
        "RequestInput",
        "InputProperties",
        "InputBuffer",
        "RequestOutputCount",
        "ResponseNew",
        "ResponseOutput",
        "OutputBuffer",
        "ResponseSend",
        "ResponseDelete",
        "RequestRelease",
        "ModelInstanceReportStatistics",
        "ModelInstanceReportBatchStatistics",
    ];
    for batching in BOTH {
        let mut steps = SERVE.to_owned();
        let mut requests = 0;
        for function in CALLED {
            for what in ["fail", "late"] {
                // A response that is made after all is nobody's. A release fails before its effect only.
                if what == "late" && ["ResponseNew", "RequestRelease"].contains(&function) {
                    continue;
                }
                for first in 1..=4 {
                    write!(steps, " {what} {function} {first} 1 execute gbg heal").unwrap();
                    requests += 3;
                }
            }
        }
        let text = play("any_call", batching, &format!("{steps} end"));
        assert_in_order(&text, requests);
        assert!(text.matches("answered well").count() > requests / 3, "{text}");
        assert!(!text.contains("Execute: planted"), "{text}");
    }
}
