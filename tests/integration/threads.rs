//! Where a model's operations run: inline, in the thread that the server calls with, or in TensorFlow's threads.

use std::path::{Path, PathBuf};

use crate::support::*;

const INLINE: &str = "runs inline, in the calling thread";
const POOL: &str = "runs in TensorFlow's threads";

/// What the log says about a model's threads, in one line.
fn logged_choice(server: &Server, model: &str) -> String {
    let of_model = format!("model '{model}': runs ");
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&of_model)).collect();
    assert_eq!(lines.len(), 1, "one line says where {model} runs: {lines:?}");
    lines[0].to_owned()
}

#[test]
fn a_small_graph_runs_inline_and_the_log_says_why() {
    // Both ways are timed: not while another test has every core.
    let _turn = heavy_turn();
    let server = shared_server();
    let model = "calling_small";
    server.load(&add_one_config(model, 8), SavedModel::Small("add_one"));
    let line = logged_choice(&server, model);
    assert!(line.contains(INLINE) && line.contains("(medians measured at load:"), "{line}");
    assert!(line.contains("at a batch size of 1;") && line.contains("at a batch size of 8)"), "{line}");
    for rows in [1, 3, 8] {
        let values = Random::new(rows).floats(rows as usize * 16);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    }
}

#[test]
fn the_parameter_decides_without_a_trial() {
    let server = shared_server();
    for (model, value, choice) in [("calling_told", "true", INLINE), ("calling_not", "no", POOL)] {
        let config = add_one_config(model, 8).parameter("TF_RUN_IN_CALLING_THREAD", value);
        server.load(&config, SavedModel::Small("add_one"));
        let line = logged_choice(&server, model);
        assert!(line.contains(&format!("{choice}, as TF_RUN_IN_CALLING_THREAD says")), "{line}");
        let values = Random::new(4).floats(32);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the request is good");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    }
}

/// The loop of this model keeps one thread busy, and which one that is the kernel tells: the server makes the
/// model's own when it loads it, and TensorFlow's are there since the first model.
#[test]
fn operations_run_where_the_parameter_says() {
    let server = Server::start(Options::new());
    server.load(&slow_config("slow_first", 1), SavedModel::Small("slow"));
    server.client().infer("slow_first", &slow_request(1.0)).expect("the request is good");
    let ticks = |model: &str, value: &str| {
        let there = server.ticks_of_threads();
        let config = slow_config(model, 1).parameter("TF_RUN_IN_CALLING_THREAD", value);
        server.load(&config, SavedModel::Small("slow"));
        let before = server.ticks_of_threads();
        server.client().infer(model, &slow_request(700.0)).expect("the request is good");
        let (mut own, mut others) = (0, 0);
        for (thread, ticks) in server.ticks_of_threads() {
            let sum = if there.contains_key(&thread) { &mut others } else { &mut own };
            *sum += ticks - before.get(&thread).unwrap_or(&0);
        }
        (own, others)
    };
    let (own, others) = ticks("slow_calling", "true");
    assert!(own > 2 * others, "inline: {own} ticks in the model's threads, {others} in others");
    let (own, others) = ticks("slow_pool", "false");
    assert!(others > 2 * own, "in TensorFlow's: {own} ticks in the model's threads, {others} in others");
}

#[test]
fn another_value_is_refused() {
    let server = shared_server();
    let config = add_one_config("calling_maybe", 8).parameter("TF_RUN_IN_CALLING_THREAD", "perhaps");
    let message = server.try_load(&config, SavedModel::Small("add_one")).expect_err("it is no such value");
    for part in ["TF_RUN_IN_CALLING_THREAD", "expected auto, true or false", "found 'perhaps'"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// Its state is a variable of a function that the graph calls.
#[test]
fn a_model_that_changes_something_is_not_run_at_load() {
    let server = shared_server();
    let model = "counts_runs";
    let config = ModelConfig::new(model, 8).input("x", "FP32", &[1]).output("runs", "FP32", &[1]);
    server.load(&config, SavedModel::Small("counts_runs"));
    let line = logged_choice(&server, model);
    assert!(line.contains(POOL) && line.contains("AssignAddVariableOp may have side effects"), "{line}");
    let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 1], &[0.0])]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("runs").as_f32(), [1.0], "the first request's run is the first one");
}

/// Looking something up changes nothing, so models of text are tried, too.
#[test]
fn a_model_with_a_lookup_table_is_run_at_load() {
    let server = shared_server();
    let model = "calling_table";
    let config = ModelConfig::new(model, 8).input("x", "INT32", &[1]).output("y", "FP32", &[1]);
    server.load(&config, SavedModel::Small("table"));
    let line = logged_choice(&server, model);
    assert!(line.contains("medians measured at load"), "{line}");
    let request = InferRequest::new(vec![Tensor::int32("x", &[2, 1], &[2, 2])]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), [40.0, 40.0]);
}

/// Printing does.
#[test]
fn an_operation_that_may_change_something_is_enough() {
    let server = shared_server();
    let model = "slow_not_tried";
    server.load(&slow_config(model, 1), SavedModel::Small("slow"));
    let line = logged_choice(&server, model);
    assert!(line.contains(POOL) && line.contains("PrintV2 may have side effects"), "{line}");
}

#[test]
fn a_model_that_fails_on_zeros_is_served() {
    let server = shared_server();
    let model = "no_zeros";
    let config = ModelConfig::new(model, 8).input("x", "INT32", &[1]).output("y", "INT32", &[1]);
    server.load(&config, SavedModel::Small("no_zeros"));
    let line = logged_choice(&server, model);
    assert!(line.contains(POOL) && line.contains("division by zero"), "{line}");
    let request = InferRequest::new(vec![Tensor::int32("x", &[2, 1], &[3, -4])]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    let expected: Vec<u8> = [4_i32, -3].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(answer.output("y").bytes, expected);
}

#[test]
fn open_shapes_are_not_guessed() {
    let server = shared_server();
    let model = "calling_any_bytes";
    let any = [-1, -1, -1];
    let config = ModelConfig::new(model, 8).input("x", "UINT8", &any).output("y", "UINT8", &any);
    server.load(&config, SavedModel::Small("any_bytes"));
    let line = logged_choice(&server, model);
    assert!(line.contains(POOL) && line.contains("input 'x' has a dimension of any size"), "{line}");
}

/// A control group that may use one CPU; it is removed when this goes, which no process may be in then.
struct OneCpu(PathBuf);

impl OneCpu {
    /// Of both versions of control groups there is the one that has the file. Not everybody may make one.
    fn new() -> Option<Self> {
        let name = format!("tensorflow_latency_{}", std::process::id());
        [("/sys/fs/cgroup", "cpu.max", "100000 100000"), ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "100000")]
            .into_iter()
            .find_map(|(root, file, limit)| {
                let group = Path::new(root).join(&name);
                std::fs::create_dir(&group).ok()?;
                let group = Self(group);
                let file = group.0.join(file);
                (file.exists() && std::fs::write(file, limit).is_ok()).then_some(group)
            })
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        let gone = eventually(|| std::fs::remove_dir(&self.0).is_ok());
        if !gone {
            eprintln!("{} cannot be removed", self.0.display());
        }
    }
}

#[test]
fn there_are_as_many_threads_as_the_server_may_use_cpus() {
    let of_log = |server: &Server| {
        server.load(&add_one_config("first", 8), SavedModel::Small("add_one"));
        let log = server.log();
        let line = log.lines().find(|line| line.contains("TensorFlow's threads for all models:"));
        line.unwrap_or_else(|| panic!("no line tells of TensorFlow's threads: {log}")).to_owned()
    };
    let said = |count: &str| format!("{count} within an operation (intra-op), {count} for operations");
    let chosen = Server::start(
        Options::new().environment("TF_NUM_INTRAOP_THREADS", "3").environment("TF_NUM_INTEROP_THREADS", "3"),
    );
    let line = of_log(&chosen);
    assert!(line.contains(&said("as it chooses")), "{line}");
    drop(chosen);

    // The engine moves a container into a control group of its own.
    let in_container = std::env::var_os("TL_IMAGE").is_some();
    let Some(group) = OneCpu::new().filter(|_| !in_container) else {
        return left_out(
            "that TensorFlow has no more threads than the server may use CPUs",
            "no control group that limits them can be made for this server",
        );
    };
    let server = Server::start(Options::new().cgroup(&group.0));
    let line = of_log(&server);
    assert!(line.contains(&said("1")), "{line}");
    drop(server);
}
