//! Made-up results, plausible enough to look at.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde_json::json;

use crate::plan::{Arrivals, Batching, Configuration, Load, PointKey, Trace};
use crate::results::*;
use crate::samples::{Fate, Sample, Samples};
use crate::settings::Settings;
use crate::times::Times;

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A distribution of these.
pub fn latency(times_ns: &[u64]) -> Latency {
    let mut times = Times::default();
    times_ns.iter().for_each(|ns| times.record(*ns));
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&times.histogram, &mut bytes).unwrap();
    let at = |quantile| times.histogram.value_at_quantile(quantile).min(times.max_ns);
    Latency {
        count: times.count(),
        mean_ns: times.mean().unwrap(),
        min_ns: times.min_ns,
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p95_ns: at(0.95),
        p99_ns: at(0.99),
        p99_9_ns: at(0.999),
        max_ns: times.max_ns,
        histogram: STANDARD.encode(bytes),
    }
}

fn point(key: PointKey, visit: usize, requests_per_s: f64, mean_ms: f64, chance: &mut Chance) -> Point {
    let seconds = 15.0;
    let requests = (requests_per_s * seconds) as u64;
    let compute: Vec<f64> = (0..requests.min(2000)).map(|_| mean_ms * (0.7 + 0.1 * chance.next())).collect();
    let wait = |c: &f64, chance: &mut Chance| c + mean_ms * 0.25 * -chance.next().max(1e-9).ln();
    let request: Vec<f64> = compute.iter().map(|c| wait(c, chance)).collect();
    let client: Vec<f64> = request.iter().map(|r| r + 0.08 + 0.05 * -chance.next().max(1e-9).ln()).collect();
    let ns = |ms: &[f64]| latency(&ms.iter().map(|ms| (ms * 1e6) as u64).collect::<Vec<_>>());
    let inferences = requests * u64::from(key.batch);
    let batch = u64::from(key.batch);
    let server_cpu_s = inferences as f64 * 0.004 + requests as f64 * 0.002;
    let concurrency = match key.load {
        Load::Concurrency { concurrency } => Some(concurrency),
        Load::MaxThroughput => Some(8),
        _ => None,
    };
    let pacing = concurrency.is_none().then(|| Pacing {
        scheduled: requests + 1,
        scheduled_per_s: (requests + 1) as f64 / seconds,
        late: 1,
        max_delay_ns: 2_300_000,
        delay_p50_ns: Some(31_000),
        delay_p99_ns: Some(90_000),
        unsent: 0,
    });
    Point {
        visit,
        started: "2026-03-01T12:00:00Z".into(),
        settled: concurrency.is_some().then_some(visit != 3),
        windows: windows(seconds, &client, batch, server_cpu_s),
        search: match key.load {
            Load::MaxThroughput => vec![
                SearchStep {
                    concurrency: 4,
                    inferences_per_s: requests_per_s * 0.8,
                    latency_p50_ns: Some(5_000_000),
                    warnings: Vec::new(),
                },
                SearchStep {
                    concurrency: 8,
                    inferences_per_s: requests_per_s,
                    latency_p50_ns: None,
                    warnings: Vec::new(),
                },
            ],
            _ => Vec::new(),
        },
        concurrency,
        seconds,
        requests,
        inferences,
        requests_per_s: requests as f64 / seconds,
        inferences_per_s: inferences as f64 / seconds,
        errors: Vec::new(),
        pacing,
        client_latency: Some(ns(&client)),
        server_times_from: Some("outputs".into()),
        server_times: [
            ("compute_latency_ns".into(), ns(&compute)),
            ("request_latency_ns".into(), ns(&request)),
        ]
        .into(),
        executed_batch_sizes: [(batch, requests)].into(),
        statistics: Some(Statistics {
            agrees: Some(true),
            agreement: "equal to the responses' times".into(),
            executions_by_batch_size: [(batch, requests)].into(),
            ..Statistics::default()
        }),
        adherence: None,
        consumption: Consumption {
            seconds,
            server_cpu_s: Some(server_cpu_s),
            client_cpu_s: server_cpu_s * if key.batch == 1 { 0.13 } else { 0.02 },
            ..Consumption::default()
        },
        inferences_per_j: None,
        j_per_inference: None,
        inferences_per_j_error: None,
        j_per_inference_error_j: None,
        response_energy: None,
        answers: None,
        cpu_s_per_inference: Some(server_cpu_s / inferences as f64),
        estimates: Estimates::new(),
        warnings: Vec::new(),
        key,
    }
}

/// Three windows, with a third of these latencies each.
fn windows(seconds: f64, client_ms: &[f64], batch: u64, server_cpu_s: f64) -> Vec<WindowSummary> {
    let third = |part: usize| {
        let ms: Vec<f64> = client_ms.iter().skip(part).step_by(3).copied().collect();
        let mut times = Times::default();
        ms.iter().for_each(|ms| times.record((ms * 1e6) as u64));
        // Not all of the same length, as in reality.
        let seconds = seconds / 3.0 * [1.0, 1.01, 0.99][part];
        WindowSummary {
            seconds,
            requests: times.count(),
            errors: 0,
            inferences_per_s: (times.count() * batch) as f64 / seconds,
            latency_mean_ns: times.mean(),
            latency_p50_ns: Some(times.histogram.value_at_quantile(0.5)),
            start_ns: Some((seconds * part as f64 * 1e9) as u64),
            latency_histogram: Some(times.encode()),
            server_cpu_s: Some(server_cpu_s / 3.0),
            energy_j: None,
            energy_error_j: None,
            response_energy_j: None,
            measured: true,
        }
    };
    (0..3).map(third).collect()
}

fn metered(point: &mut Point, watts: f64) {
    let visit = point.visit as f64;
    let joules = watts * point.seconds;
    point.consumption.energy_j = Some(joules);
    for window in &mut point.windows {
        window.energy_j = Some(watts * window.seconds);
    }
    point.consumption.average_power_w = Some(watts);
    point.consumption.device = Some(DeviceState {
        temperature_mean_c: Some(48.0 + 22.0 * (1.0 - (-visit / 6.0).exp())),
        temperature_max_c: Some(50.0 + 22.0 * (1.0 - (-visit / 6.0).exp())),
        clock_mean_mhz: Some(1980.0 - 3.0 * visit),
        clock_min_mhz: Some(1900.0),
        memory_clock_mean_mhz: None,
        throttle_reasons: if visit > 30.0 {
            [("SW power cap".to_string(), 0.2)].into()
        } else {
            BTreeMap::new()
        },
    });
    point.inferences_per_j = Some(point.inferences as f64 / joules);
    point.j_per_inference = Some(joules / point.inferences as f64);
}

fn results(command: &[&str], power: PowerSource, points: Vec<Point>) -> Results {
    Results {
        schema_version: SCHEMA_VERSION,
        tool: "triton-experiment 0.1.0 (8f86a9a)".into(),
        command: command.iter().map(|word| word.to_string()).collect(),
        started: "2026-03-01T12:00:00Z".into(),
        complete: true,
        plan: Settings {
            model: Some("inception_v3".to_owned()),
            url: Some("localhost".to_owned()),
            ..Settings::default()
        }
        .into_plan()
        .expect("the settings are right"),
        host: Host {
            name: "lab-3".into(),
            kernel: "Linux 6.8.0".into(),
            cpu: "AMD EPYC 7543 32-Core Processor".into(),
            cpus: 32,
            memory_bytes: 128 << 30,
        },
        server: Server {
            url: "http://127.0.0.1:8000".into(),
            name: "triton".into(),
            version: "2.40.0".into(),
            ..Server::default()
        },
        model: Model {
            name: "inception_v3".into(),
            version: "1".into(),
            metadata: json!({"platform": "tensorflow_savedmodel"}),
        },
        original_configuration: None,
        configurations: [("".to_string(), json!({"max_batch_size": 16}))].into(),
        power,
        idle: None,
        idle_without_model: None,
        capacity: None,
        summary: Vec::new(),
        found: Vec::new(),
        points,
    }
}

fn nvml() -> PowerSource {
    PowerSource {
        name: "nvml".into(),
        description:
            "The energy counter of the GPU, read every 100 ms; the rest of the machine is not in it.".into(),
        devices: vec!["GPU 0: NVIDIA A100".into()],
        has_energy: true,
        interval_s: 0.1,
        learnt: Vec::new(),
    }
}

fn cpu_time() -> PowerSource {
    PowerSource {
        name: "cpu-time".into(),
        description: "CPU time of the server's process; no energy.".into(),
        ..PowerSource::default()
    }
}

/// Five batch sizes, four loads, two repeats, visited in another order than that of the plan.
fn sweep(levels: &[Load]) -> Vec<Point> {
    let mut chance = Chance(7);
    let mut points = Vec::new();
    for batch in [1u32, 2, 4, 8, 16] {
        for (level, load) in levels.iter().enumerate() {
            for repeat in 0..2 {
                let size = f64::from(batch);
                let most = 1000.0 / (3.0 + 1.1 * size);
                let share = [0.3, 0.6, 0.85, 0.97][level] * (1.0 + 0.06 * (chance.next() - 0.5));
                let mean_ms = (3.0 + 1.1 * size) * (1.0 + 0.2 * share / (1.05 - share).max(0.05));
                let visit = (points.len() * 17 + 5) % 40;
                let key = PointKey { configuration: String::new(), batch, load: load.clone(), repeat };
                points.push(point(key, visit, most * share * 4.0, mean_ms, &mut chance));
            }
        }
    }
    points.sort_by_key(|p| p.visit);
    points
}

/// With joules, over concurrency.
pub fn sweep_with_energy() -> Results {
    let levels = [1, 2, 4, 8].map(|concurrency| Load::Concurrency { concurrency });
    let mut points = sweep(&levels);
    for point in &mut points {
        let rate = point.inferences_per_s;
        let size = f64::from(point.key.batch);
        metered(
            point,
            60.0 + 240.0 * (1.0 - (-rate / (700.0 + 12.0 * size)).exp()) - 0.1 * point.visit as f64,
        );
    }
    let mut results = results(&["triton-experiment", "sweep", "--model", "inception_v3"], nvml(), points);
    results.idle = Some(Consumption { average_power_w: Some(57.3), ..Consumption::default() });
    results
}

/// With joules, at a power that follows from throughput alone.
pub fn sweep_with_power(power: impl Fn(f64) -> f64) -> Results {
    let mut results = sweep_with_energy();
    for point in &mut results.points {
        let watts = power(point.inferences_per_s);
        metered(point, watts);
    }
    results
}

/// With joules by the meter and by the responses, which agree at all points but one. An idle power of 126 W, 75 W without
/// the model, and 137 W once something runs.
pub fn sweep_with_response_energy() -> Results {
    let mut chance = Chance(13);
    let mut results = sweep_with_power(|_| 1.0);
    for point in &mut results.points {
        let watts = 137.0 + 0.088 * point.inferences_per_s + 2.0 * (chance.next() - 0.5);
        metered(point, watts);
        let (seconds, inferences) = (point.seconds, point.inferences as f64);
        point.consumption.energy_error_j = Some(2.0);
        point.consumption.average_power_spread_w = Some(0.8);
        point.consumption.average_power_error_w = Some(0.9);
        point.j_per_inference_error_j = Some(0.9 * seconds / inferences);
        point.inferences_per_j_error = point.inferences_per_j.map(|efficiency| efficiency * 0.9 / watts);
        let above_j = (watts - 126.0) * seconds;
        let energy_j = if point.visit == 7 { 0.5 * above_j } else { above_j * (0.98 + 0.04 * chance.next()) };
        let (error_j, difference_j) = (0.06 * energy_j, above_j - energy_j);
        point.response_energy = Some(ResponseEnergy {
            responses: point.requests,
            energy_j,
            energy_error_j: 0.05 * energy_j,
            measured_share: Some(0.4),
            j_per_inference: energy_j / inferences,
            j_per_inference_error_j: 0.05 * energy_j / inferences,
            comparison: Some(EnergyComparison {
                above_idle_j: Some(above_j),
                above_idle_error_j: Some(0.01 * above_j),
                difference_j: Some(difference_j),
                error_j: Some(error_j),
                agrees: Some(difference_j.abs() <= error_j),
                explanation: "made up".into(),
            }),
        });
    }
    let idle = |watts| Consumption {
        average_power_w: Some(watts),
        average_power_error_w: Some(0.7),
        ..Consumption::default()
    };
    results.idle = Some(idle(126.2));
    results.idle_without_model = Some(idle(75.4));
    results
}

/// With `--max-throughput`, and CPU time alone.
pub fn sweep_with_cpu_time() -> Results {
    let levels: Vec<Load> = [20, 40, 80]
        .map(|rate| Load::Rate { milli_requests_per_s: rate * 1000, arrivals: Arrivals::Poisson })
        .into_iter()
        .chain([Load::MaxThroughput])
        .collect();
    results(&["triton-experiment", "sweep", "--max-throughput"], cpu_time(), sweep(&levels))
}

/// Four configurations under two traces and at one rate.
pub fn comparison() -> Results {
    let mut chance = Chance(3);
    let mut points = Vec::new();
    let traces = ["traces/evening.csv", "traces/burst.csv"];
    for (turn, name) in ["no batching", "default", "preferred, 50 ms", "adaptive"].into_iter().enumerate() {
        for (at, file) in traces.iter().enumerate() {
            for repeat in 0..2 {
                let load = Load::Trace { file: (*file).into() };
                let key = PointKey { configuration: name.into(), batch: 1, load, repeat };
                let mean_ms = [30.0, 14.0, 45.0, 11.0][turn] * (1.0 + at as f64);
                let mut point = point(key, points.len(), 90.0 + 40.0 * at as f64, mean_ms, &mut chance);
                if turn > 0 {
                    let statistics = point.statistics.as_mut().unwrap();
                    statistics.executions_by_batch_size =
                        [(1, 120), (2, 60), (4, 40 * turn as u64), (8, 30 * turn as u64)].into();
                }
                point.cpu_s_per_inference = Some([0.02, 0.012, 0.009, 0.010][turn]);
                points.push(point);
            }
        }
    }
    results(&["triton-experiment", "compare"], cpu_time(), points)
}

/// A single point, against a server that tells nothing of itself.
pub fn one_point() -> Results {
    let mut results = sweep_with_energy();
    results.points.truncate(1);
    let point = &mut results.points[0];
    point.server_times.clear();
    point.executed_batch_sizes.clear();
    point.statistics = None;
    results.power = PowerSource { name: "none".into(), ..PowerSource::default() };
    results.idle = None;
    point.consumption = Consumption::default();
    point.inferences_per_j = None;
    point.j_per_inference = None;
    point.cpu_s_per_inference = None;
    results
}

/// Stopped before the first point.
pub fn empty() -> Results {
    Results { complete: false, ..results(&["triton-experiment", "sweep"], cpu_time(), Vec::new()) }
}

/// One point, and no request of it was answered.
pub fn all_failed() -> Results {
    let mut results = one_point();
    let point = &mut results.points[0];
    point.requests = 0;
    point.inferences = 0;
    point.requests_per_s = 0.0;
    point.inferences_per_s = 0.0;
    point.client_latency = None;
    point.settled = Some(false);
    point.errors = vec![ErrorCount {
        kind: "HTTP 400".into(),
        count: 1234,
        first_message: "unexpected shape for input 'x': [1,<2>] & more".into(),
    }];
    point.warnings = vec!["every request failed".into()];
    results
}

/// Of `batching`: three fixed configurations and one that adapts, under two traces, each twice.
pub fn batching() -> Results {
    let mut chance = Chance(11);
    let trace = |name: &str, percent: &[f64]| Trace {
        name: name.to_owned(),
        arrivals: Arrivals::Poisson,
        seconds: 15.0,
        percent: percent.to_vec(),
    };
    let traces = vec![trace("even", &[50.0]), trace("step", &[20.0, 80.0, 20.0])];
    // Late answers of a hundred under each trace, milliseconds, and CPU seconds of an inference.
    let configurations = [
        ("none", [20, 20], 900.0, 0.010),
        ("short", [0, 0], 200.0, 0.024),
        ("long", [1, 9], 450.0, 0.020),
        ("adaptive", [0, 1], 300.0, 0.018),
    ];
    let mut points = Vec::new();
    for (name, late, mean_ms, cpu_s) in configurations {
        for (at, trace) in traces.iter().enumerate() {
            for repeat in 0..2 {
                let load = Load::Shaped { trace: trace.name.clone() };
                let key = PointKey { configuration: name.into(), batch: 1, load, repeat };
                let mut point = point(key, points.len(), 6.0, mean_ms, &mut chance);
                let refused = if name == "adaptive" { 10 * at as u64 } else { 0 };
                point.cpu_s_per_inference = Some(if name == "adaptive" && at == 1 { 0.0144 } else { cpu_s });
                point.adherence = Some(Adherence {
                    target_ns: 600_000_000,
                    answered: 100,
                    over_target: late[at],
                    refused,
                    failed: 0,
                    refusal_latency: (refused > 0).then(|| latency(&[2_000_000, 5_000_000])),
                    longest_burst_s: (late[at] > 0).then_some(0.2 * late[at] as f64),
                    settled_after_s: match at {
                        0 => Vec::new(),
                        _ => vec![(late[at] < 20 || repeat == 0).then_some(1.5), Some(0.0)],
                    },
                });
                points.push(point);
            }
        }
    }
    let mut results = results(&["triton-experiment", "batching"], cpu_time(), points);
    results.plan.loads = traces.iter().map(|trace| Load::Shaped { trace: trace.name.clone() }).collect();
    results.plan.configurations = configurations
        .iter()
        .map(|(name, ..)| Configuration { name: (*name).into(), patch: json!({}), remove: Vec::new() })
        .collect();
    results.plan.batching = Some(Batching {
        target_ms: 600.0,
        percentile: 99.0,
        capacity_batch: 16,
        adaptive: Some("adaptive".into()),
        traces,
    });
    let key = PointKey { configuration: String::new(), batch: 16, load: Load::MaxThroughput, repeat: 0 };
    results.capacity = Some(point(key, 0, 1.7, 590.0, &mut chance));
    results
}

/// Requests for the points of [`batching`].
pub fn requests(results: &Results) -> Samples {
    let mut chance = Chance(5);
    let mut of = |point: &Point| -> Vec<Sample> {
        let all = (0..120).map(|number| {
            let fate = match (number % 12, point.key.configuration.as_str()) {
                (7, "adaptive") => Fate::Refused,
                (8, "none") if number > 100 => Fate::Failed,
                _ => Fate::Answered,
            };
            let latency_ms = if fate == Fate::Refused { 3.0 } else { 100.0 + 700.0 * chance.next() };
            Sample { due_ns: number * 125_000_000, latency_ns: (latency_ms * 1e6) as u64, fate }
        });
        all.collect()
    };
    results.points.iter().map(|point| (point.visit, of(point))).collect()
}
