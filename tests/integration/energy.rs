//! The energy of each request, from made meters of a known power: this machine may have none, and no real one tells what an
//! answer should be.

use std::thread;
use std::time::Duration;

use crate::adaptive_metrics::gauges;
use crate::support::*;

fn config(name: &str) -> ModelConfig {
    slow_config(name, 4).output("energy_uj", "INT64", &[1]).parameter("latency-parameters", "true")
}

fn energy(answer: &Answer) -> i64 {
    let values = answer.output("energy_uj").as_i64();
    assert!(
        values.iter().all(|value| *value == values[0]),
        "each row tells the request's energy: {values:?}"
    );
    if let Some(told) = answer.parameters.get("energy_uj") {
        assert_eq!(told.as_i64(), Some(values[0]));
        let percent = answer.parameters["energy_measured_percent"].as_i64().expect("a number");
        assert!((0..=100).contains(&percent), "{percent} %");
    }
    values[0]
}

/// The sum of a family's metrics with this label, in joules.
fn sum(metrics: &[String], family: &str, label: &str) -> f64 {
    let of = metrics.iter().filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(label));
    of.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")).sum()
}

/// Requests of 60 ms, one after the other. What they tell is what the device has drawn for them, and the books balance. The device
/// draws its power while a request is with the server, which on a busy machine is longer than its execution.
fn assert_told(server: &Server, model: &str, made: &MadeMeter, device: &str) {
    // Until the idle power is known.
    thread::sleep(Duration::from_millis(1200));
    let (mut told, mut executed, mut busy) = (0, 0.0, 0.0);
    for number in 0..60 {
        let rows = 1 + number % 2;
        let request = InferRequest::new(vec![Tensor::fp32("x", &[rows, 1], &vec![60.0; rows as usize])]);
        let (answer, time) = made.work(|| server.client().infer(model, &request));
        let answer = answer.expect("the request is good");
        told += energy(&answer);
        executed += answer.output("compute_latency_ns").as_i64()[0] as f64 / 1e9;
        busy += time.as_secs_f64();
        thread::sleep(Duration::from_millis(30));
    }
    // Until the last tick is booked, and shown.
    thread::sleep(Duration::from_millis(1500));
    let metrics = server.metrics();
    let label = format!("device=\"{device}\"");
    let kinds =
        |kind: &str| sum(&metrics, "tensorflow_latency_energy_joules_total", &format!("kind=\"{kind}\""));
    let (attributed, told) = (kinds("attributed"), told as f64 / 1e6);
    let pending = sum(&metrics, "tensorflow_latency_energy_pending_joules", &label);
    let drawn = [executed, busy].map(|seconds| seconds * BUSY_WATTS);
    println!(
        "{device}: drawn for requests {drawn:.2?} J, attributed {attributed:.2} J, told {told:.2} J, pending {pending:.2} J, idle \
         {:.2} J, unattributed {:.2} J",
        kinds("idle"),
        kinds("unattributed")
    );
    let is_drawn = |joules: f64, off: f64| drawn[0] * (1.0 - off) < joules && joules < drawn[1] * (1.0 + off);
    assert!(is_drawn(attributed, 0.1), "attributed {attributed} J of {drawn:?} J");
    assert!((told + pending - attributed).abs() < 1e-5, "{told} + {pending} is not {attributed}");
    assert!(is_drawn(told, 0.15), "told {told} J of {drawn:?} J");
    let of_responses = sum(&metrics, "tensorflow_latency_response_energy_joules_total", &label);
    assert!((of_responses - told).abs() < 1e-5, "{of_responses} J by the metric, {told} J by the responses");
    let found = gauges(&metrics, "tensorflow_latency_model_energy_joules_total", model);
    assert!((found[0].1 - attributed).abs() < 1e-5, "{found:?}");
}

/// Without metrics of backends nothing can be held against what the responses tell.
fn has_metrics() -> bool {
    capabilities().has_backend_api(9, "the books of energy in metrics")
}

#[test]
fn a_request_tells_the_processors_energy() {
    let made = MadeMeter::powercap();
    let server = Server::start(made.options(Options::new().metrics()));
    server.load(&config("cpu_energy"), SavedModel::Small("slow"));
    if has_metrics() {
        assert_told(&server, "cpu_energy", &made, "cpu");
    }
}

/// As a GPU's counter is: it moves every 100 ms, and a reading takes 3 ms.
#[test]
fn a_request_tells_the_energy_of_a_gpu() {
    let made = MadeMeter::nvml();
    let server = Server::start(made.options(Options::new().metrics()));
    server.load(&config("gpu_energy"), SavedModel::Small("slow"));
    if has_metrics() {
        assert_told(&server, "gpu_energy", &made, "gpu");
    }
}

/// Each of them has the energy of its own rows, and all of it is told.
#[test]
fn the_requests_of_a_batch_share_its_energy_by_rows() {
    let made = MadeMeter::powercap();
    let server = Server::start(made.options(Options::new().metrics()));
    let model = "shared_energy";
    let config = config(model).dynamic_batching(100_000).instances(1);
    server.load(&config, SavedModel::Small("slow"));
    if !requests_wait_for_others("the energy of a batch of several requests") {
        return;
    }
    thread::sleep(Duration::from_millis(1200));
    // Together they are a full batch.
    let answers = in_parallel(2, 2, |number| {
        let rows = [1_i64, 3][number];
        let request = InferRequest::new(vec![Tensor::fp32("x", &[rows, 1], &vec![200.0; rows as usize])]);
        made.work(|| server.client().infer(model, &request)).0.expect("the request is good")
    });
    let sizes: Vec<i64> =
        answers.iter().map(|answer| answer.output("executed_batch_size").as_i64()[0]).collect();
    let (one, three) = (energy(&answers[0]), energy(&answers[1]));
    if sizes == [4, 4] {
        assert!(one > 0 && (three - 3 * one).abs() <= 3, "{one} and {three} microjoules");
    }
}

#[test]
fn without_a_meter_there_is_no_energy() {
    let server = Server::start(Options::new().backend_config("energy-powercap-dir", "/nowhere/powercap"));
    let message =
        server.try_load(&config("no_meter"), SavedModel::Small("slow")).expect_err("there is no meter");
    for part in ["energy_uj", "no meter for the energy of the cpu", "/nowhere/powercap"] {
        assert!(message.contains(part), "{message}");
    }
    let config = slow_config("no_output", 4).parameter("latency-parameters", "true");
    server.load(&config, SavedModel::Small("slow"));
    let answer = server.client().infer("no_output", &slow_request(1.0)).expect("the request is good");
    assert!(!answer.parameters.contains_key("energy_uj"), "{:?}", answer.parameters);
    assert!(answer.parameters.contains_key("compute_latency_ns") || environment().adaptive_batching);
}
