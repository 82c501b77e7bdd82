//! The metrics that autoscalers and alerts go by: busy time, latencies, refusals, lateness, what an inference costs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::adaptive::{slow_adaptive_config, while_busy};
use crate::faults::unload_and_wait;
use crate::promql::{deployed_queries, metric_names};
use crate::support::*;

/// Metrics with a name, and with labels that begin with `model="..."` and have all of these.
fn values(metrics: &[String], name: &str, labels: &[&str]) -> Vec<f64> {
    let of_name = metrics.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let with_labels = of_name.filter(|line| labels.iter().all(|label| line.contains(label)));
    with_labels.map(|line| line.rsplit_once(' ').expect("a value").1.parse().expect("a number")).collect()
}

/// The one metric with this name and these labels.
#[track_caller]
fn value(server: &Server, name: &str, labels: &[&str]) -> f64 {
    let name = format!("tensorflow_latency_{name}");
    let found = values(&server.metrics(), &name, labels);
    assert_eq!(found.len(), 1, "{name} with {labels:?}: {found:?}");
    found[0]
}

fn label(model: &str) -> String {
    format!("model=\"{model}\"")
}

fn has_metrics() -> bool {
    capabilities().has_backend_api(9, "metrics of the backend")
}

/// Waits until as many requests as this are in the histogram, which is brought up to date a moment after they have ended.
#[track_caller]
fn wait_for_count(server: &Server, model: &str, count: f64) {
    let counted = || value(server, "request_duration_seconds_count", &[&label(model)]);
    assert!(eventually(|| counted() == count), "{} of {count} requests are counted", counted());
}

/// What is known of a request's latency, from its arrival at the backend to its response.
struct Seen {
    least_s: f64,
    most_s: f64,
}

/// Sends a request. Where the backend has the queue its response tells the latency; elsewhere that is between the time of the
/// execution and what the client sees.
fn see(server: &Server, model: &str, request: &InferRequest) -> Seen {
    let sent = Instant::now();
    let answer = server.client().infer(model, request).expect("the request is good");
    let seconds = |ns: i64| ns as f64 / 1e9;
    if answer.names().contains(&"request_latency_ns") {
        let exactly = seconds(QueueTimes::of_outputs(&answer).request_latency);
        return Seen { least_s: exactly, most_s: exactly };
    }
    let rows = answer.output("y").shape[0];
    let execution = Latency::of_outputs(&answer, Some(rows)).total;
    Seen { least_s: seconds(execution), most_s: sent.elapsed().as_secs_f64() }
}

/// Sends requests that take so many milliseconds, one after the other.
fn send(server: &Server, model: &str, milliseconds: &[f32]) -> Vec<Seen> {
    milliseconds.iter().map(|&ms| see(server, model, &slow_request(ms))).collect()
}

/// The histogram of a model is one: buckets that grow, the last of which has all, and the latencies that were seen.
fn check_histogram(server: &Server, model: &str, seen: &[Seen]) {
    let of_model = label(model);
    let count = seen.len() as f64;
    let least: f64 = seen.iter().map(|seen| seen.least_s).sum();
    let most: f64 = seen.iter().map(|seen| seen.most_s).sum();
    wait_for_count(server, model, count);
    let told = value(server, "request_duration_seconds_sum", &[&of_model]);
    let rounding = 1e-6 * count;
    assert!((least - rounding..=most + rounding).contains(&told), "{told} s, expected {least} to {most} s");
    let metrics = server.metrics();
    let name = "tensorflow_latency_request_duration_seconds_bucket";
    assert_eq!(values(&metrics, name, &[&of_model]).len(), 25);
    let bounds =
        [(0.0005, "0.0005"), (0.02, "0.02"), (0.3, "0.3"), (1.0, "1"), (10.0, "10"), (f64::MAX, "+Inf")];
    for (bound, text) in bounds {
        let found = values(&metrics, name, &[&of_model, &format!("le=\"{text}\"")]);
        let within = |of: fn(&Seen) -> f64| seen.iter().filter(|seen| of(seen) <= bound).count() as f64;
        let expected = within(|seen| seen.most_s)..=within(|seen| seen.least_s);
        let is_right = matches!(found[..], [found] if expected.contains(&found));
        assert!(is_right, "of {text} s or less: {found:?}, expected {expected:?}");
    }
}

/// Whatever makes the batches.
fn check_signals(options: Options, config: ModelConfig, has_histograms: bool) {
    if !has_metrics() {
        return;
    }
    let server = Server::start(options.metrics());
    let model = config.name().to_owned();
    let of_model = label(&model);
    server.load(&config.instances(2), SavedModel::Small("slow"));
    let is_histogram = "# TYPE tensorflow_latency_request_duration_seconds histogram".to_owned();
    assert!(!has_histograms || server.metrics().contains(&is_histogram), "times are in a histogram");
    let instances = || value(&server, "instances", &[&of_model, "version=\"1\""]);
    assert!(eventually(|| instances() == 2.0), "{} instances", instances());
    assert_eq!(
        value(&server, "busy_seconds_total", &[&of_model, "device=\"cpu\""]),
        0.0,
        "what ran at load is nobody's"
    );
    assert_eq!(value(&server, "arrived_inferences_total", &[&of_model]), 0.0);

    let started = Instant::now();
    let milliseconds = [1.0, 12.0, 250.0, 30.0, 400.0];
    let mut seen = send(&server, &model, &milliseconds);
    check_histogram(&server, &model, &seen);
    let busy = || value(&server, "busy_seconds_total", &[&of_model]);
    let (worked, passed) =
        (f64::from(milliseconds.iter().sum::<f32>()) / 1e3, started.elapsed().as_secs_f64());
    assert!((worked..=passed).contains(&busy()), "{} s busy, {worked} s of work in {passed} s", busy());

    // Two at a time keep two instances busy, unless the backend makes one batch of them.
    seen.extend(in_parallel(2, 4, |_| see(&server, &model, &slow_request(300.0))));
    check_histogram(&server, &model, &seen);
    let all = (worked + 0.6)..=(started.elapsed().as_secs_f64() * 2.0);
    assert!(all.contains(&busy()), "{} s busy, expected {all:?}", busy());
    // A request of several rows.
    seen.push(see(&server, &model, &InferRequest::new(vec![Tensor::fp32("x", &[3, 1], &[1.0; 3])])));
    check_histogram(&server, &model, &seen);
    assert_eq!(value(&server, "arrived_inferences_total", &[&of_model]), 12.0, "rows, not requests");
    assert!(
        eventually(|| value(&server, "inference_cost_seconds", &[&of_model]) > 0.0),
        "a row costs something"
    );
    for reason in ["queue_full", "timeout", "cancelled"] {
        let refused = value(&server, "refused_requests_total", &[&of_model, &format!("reason=\"{reason}\"")]);
        assert_eq!(refused, 0.0, "{reason}");
    }

    unload_and_wait(&server, &model);
    let left: Vec<String> =
        server.metrics().into_iter().filter(|line| is_ours(line) && line.contains(&of_model)).collect();
    assert_eq!(left, [""; 0], "nothing is left of a model that is gone");
    assert_eq!(server.stop(), 0, "the server ends in order");
}

fn is_ours(line: &str) -> bool {
    line.starts_with("tensorflow_latency_")
}

#[test]
fn signals_of_a_model_whose_batches_the_server_makes() {
    let config = slow_config("signals_triton", 4).parameter("batching", "triton");
    check_signals(Options::new(), config, has_histograms());
}

#[test]
fn signals_of_a_model_with_adaptive_batching() {
    check_signals(Options::new(), slow_adaptive_config("signals_adaptive", 4), has_histograms());
}

/// Whether the server is 24.08 or later, which is 2.49 in its own numbers.
fn has_histograms() -> bool {
    let about = shared_server().client().get("/v2").expect("the server answers").1;
    let about: serde_json::Value = serde_json::from_str(&about).expect("JSON");
    let version = about["version"].as_str().expect("a version").to_owned();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).expect("a number");
    if minor < 49 {
        left_out(
            "that times are in a histogram",
            &format!("this server is {version}, and histograms came with 2.49"),
        );
    }
    minor >= 49
}

/// Counters with the names and labels of one, so that the same queries are right.
#[test]
fn signals_of_a_server_without_histograms() {
    if std::env::var_os("TL_IMAGE").is_some() {
        skipped("the server is in a container, whose C library may be older than the preloaded library's");
        return;
    }
    let folder = tempfile::tempdir_in(scratch_folder()).expect("a folder");
    let library = folder.path().join("no_histograms.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/no_histograms.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(made.expect("Rust links with cc, so it is there").success());
    let options = Options::new().environment("LD_PRELOAD", library.to_str().expect("a path in UTF-8"));
    check_signals(options, slow_adaptive_config("signals_counters", 4), false);
}

#[test]
fn what_is_late_or_refused_is_counted_with_its_reason() {
    if !has_metrics() {
        return;
    }
    let server = Server::start(Options::new().metrics());
    let (model, of_model) = ("signals_refused", label("signals_refused"));
    let config =
        slow_adaptive_config(model, 1).parameter("latency_target_ms", "200").parameter("max_queue_size", "2");
    server.load(&config, SavedModel::Small("slow"));
    assert_eq!(value(&server, "target_seconds", &[&of_model]), 0.2);
    let late = || value(&server, "late_requests_total", &[&of_model]);
    send(&server, model, &[1.0, 1.0]);
    wait_for_count(&server, model, 2.0);
    // None, but for the machine.
    let before = late();
    // One runs for 2 s, two wait for it, and the others find the queue full.
    let refused = while_busy(&server, model, || {
        let answers = in_parallel(5, 5, |_| server.client().infer(model, &slow_request(1.0)));
        answers.into_iter().filter(Result::is_err).count()
    });
    assert_eq!(refused, 3);
    wait_for_count(&server, model, 5.0);
    // The one that ran for so long, and those that waited for it.
    assert!(eventually(|| late() - before == 3.0), "{} are late", late() - before);
    let of_reason = |reason: &str| {
        value(&server, "refused_requests_total", &[&of_model, &format!("reason=\"{reason}\"")])
    };
    assert_eq!(of_reason("queue_full"), 3.0);
    assert_eq!(value(&server, "arrived_inferences_total", &[&of_model]), 8.0, "refused ones too");
    if capabilities().has_backend_api(17, "a request's timeout in the queue of adaptive batching") {
        let request = slow_request(1.0).with_timeout_us(100_000);
        let refusal = while_busy(&server, model, || server.client().infer(model, &request));
        refusal.expect_err("its timeout is over");
        assert!(eventually(|| of_reason("timeout") == 1.0), "{} timeouts", of_reason("timeout"));
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// A model that is loaded again, with other instances, shares its metrics with the one that goes.
#[test]
fn signals_are_right_after_a_reload() {
    if !has_metrics() {
        return;
    }
    let server = Server::start(Options::new().metrics());
    let (model, of_model) = ("signals_reload", label("signals_reload"));
    let instances = || value(&server, "instances", &[&of_model]);
    for count in [1, 3, 2] {
        server.load(&slow_adaptive_config(model, 4 + count).instances(count), SavedModel::Small("slow"));
        assert!(
            eventually(|| instances() == f64::from(count)),
            "{} instances, expected {count}",
            instances()
        );
        // The one that it replaces goes a moment later, and takes nothing with it.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(instances(), f64::from(count));
        send(&server, model, &[1.0]);
        assert!(eventually(|| value(&server, "request_duration_seconds_count", &[&of_model]) >= 1.0));
        assert!(eventually(|| value(&server, "inference_cost_seconds", &[&of_model]) > 0.0));
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// What Triton's documentation lists and this server does not have: failures by reason and pending requests came later than the
/// oldest servers, the others need a GPU.
const OF_TRITON: [&str; 6] = [
    "nv_inference_request_failure",
    "nv_inference_pending_request_count",
    "nv_gpu_utilization",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_power_usage",
];

/// The rules and the dashboard in `deploy/monitoring` ask for nothing that a server does not have.
#[test]
fn metrics_of_rules_and_dashboard_are_those_of_a_server() {
    if !has_metrics() {
        return;
    }
    let meter = MadeMeter::powercap();
    let server = Server::start(meter.options(Options::new().metrics()));
    let model = "signals_deployed";
    let config = slow_adaptive_config(model, 4).parameter("latency_target_ms", "1000");
    server.load(&config.parameter("latency-parameters", "true"), SavedModel::Small("slow"));
    send(&server, model, &[1.0]);
    let metrics = server.metrics();
    let exported = |name: &str| metrics.iter().any(|line| line.starts_with(&format!("{name}{{")));
    let queries = deployed_queries();
    let mut missing = Vec::new();
    for (place, query) in &queries {
        for name in metric_names(query) {
            // Prometheus makes `up`, and rules make what has a colon.
            let is_made = name == "up" || name.contains(':');
            if !is_made && !OF_TRITON.contains(&&*name) && !exported(&name) {
                missing.push(format!("{place}: {name}"));
            }
        }
    }
    assert_eq!(missing, [""; 0], "the server has no such metrics");
    assert_eq!(server.stop(), 0, "the server ends in order");
}
