//! What the log says of adaptive batching when a model is loaded: what was tried, and what cannot be kept.

use crate::adaptive::slow_adaptive_config;
use crate::support::*;

/// The lines of the log about the model that have `part`.
fn told(server: &Server, model: &str, part: &str) -> Vec<String> {
    let name = format!("model '{model}': ");
    let lines = server.log();
    lines.lines().filter(|line| line.contains(&name) && line.contains(part)).map(str::to_owned).collect()
}

/// `any_bytes` with inputs of so many MiB for each row.
fn bytes_config(name: &str, max_batch_size: u32, mebibytes: i64) -> ModelConfig {
    let dims = [mebibytes, 1024, 1024];
    ModelConfig::new(name, max_batch_size).input("x", "UINT8", &dims).output("y", "UINT8", &dims).adaptive()
}

#[test]
fn the_log_tells_which_sizes_were_tried_and_why_others_were_not() {
    let server = shared_server();
    // With 4 rows the input takes 256 MiB, as much as is made.
    server.load(&bytes_config("large_batches", 6, 64), SavedModel::Small("any_bytes"));
    let lines = told(&server, "large_batches", "calibrated");
    println!("{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    if lines[0].contains(" s for this are over") {
        left_out("that a batch is not tried because of its size", "this machine is too slow to come to it");
    } else {
        for size in [1, 2, 4] {
            assert!(lines[0].contains(&format!(" {size} takes ")), "{lines:?}");
        }
        let why = "; not known of batches of 6 rows: input 'x' takes 384 MiB with a batch size of 6, and no more than 256 MiB";
        assert!(lines[0].contains(why), "{lines:?}");
    }
    assert!(!lines[0].contains("not calibrated"), "{lines:?}");

    server.load(&bytes_config("large_rows", 4, 300), SavedModel::Small("any_bytes"));
    let lines = told(&server, "large_rows", "calibrated");
    println!("{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let why = "not calibrated at load, so the first batches are made without knowing how long they take: input 'x' takes \
               300 MiB with a batch size of 1";
    assert!(lines[0].contains(why), "{lines:?}");
    for model in ["large_batches", "large_rows"] {
        server.client().unload(model);
    }
}

#[test]
fn a_target_that_cannot_be_kept_is_warned_about() {
    let server = shared_server();
    let load = |name: &str, settings: &[(&str, &str)]| {
        let config = add_one_config(name, 8).adaptive();
        let config = settings.iter().fold(config, |config, (key, value)| config.parameter(key, value));
        server.load(&config, SavedModel::Small("add_one"));
        let told = told(&server, name, "latency_target_ms is ");
        println!("{told:?}");
        told
    };
    assert_eq!(load("warned_of_nothing", &[("latency_target_ms", "1000")]), [""; 0]);
    let told = load("warned_of_long", &[("latency_target_ms", "1500")]);
    assert_eq!(told.len(), 1, "{told:?}");
    // A warning's line begins with W.
    assert!(told[0].starts_with('W') && told[0].contains("max_wait_ms, which is 1000:"), "{told:?}");
    let settings = [("latency_target_ms", "1500"), ("max_wait_ms", "1500")];
    assert_eq!(load("warned_of_no_longer", &settings), [""; 0]);
    // No execution of TensorFlow takes so little that three of them fit.
    let told = load("warned_of_short", &[("latency_target_ms", "0.001")]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("is 0.001: below 5 ms, more than 1 % of the answers may be late"), "{told:?}");
    assert!(told[1].contains("less than 3 executions of a single row take: at load one took "), "{told:?}");
}

/// Its graph has a loop, so that nobody knows how long it would take.
#[test]
fn a_model_that_is_not_run_at_load_is_told_with_its_reason() {
    let server = shared_server();
    server.load(&slow_adaptive_config("not_tried", 8), SavedModel::Small("slow"));
    let lines = told(&server, "not_tried", "not calibrated at load");
    println!("{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
}
