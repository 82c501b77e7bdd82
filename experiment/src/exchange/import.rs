//! Results of perf_analyzer as results of this tool, so that they can be compared.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::perf_analyzer::{COLUMNS, LOADS};
use crate::estimate;
use crate::plan::{Arrivals, Load, PointKey};
use crate::results::{
    Consumption, ErrorCount, Estimate, Estimates, Host, Latency, Metric, Model, Pacing, Point, PowerSource,
    Results, SCHEMA_VERSION, Server, WindowSummary,
};
use crate::settings::Settings;
use crate::settle::WINDOWS;
use crate::times::Times;

/// What the file does not tell.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model.
    pub model: String,
    /// Rows in each request.
    pub batch: u32,
    /// The file's name, for the results.
    pub file: String,
}

/// Reads the profile export (JSON) or the report (CSV) of perf_analyzer.
///
/// # Errors
/// It is neither, or says something impossible; with the place.
pub fn import(text: &str, about: &Imported) -> Result<Results> {
    let points = match text.trim_start().starts_with('{') {
        true => from_json(text, about).context("expected a profile export of perf_analyzer (JSON)")?,
        false => from_csv(text, about).context("expected a report of perf_analyzer (CSV)")?,
    };
    ensure!(!points.is_empty(), "the file has no measurement");
    let settings = Settings {
        model: Some(about.model.clone()),
        url: Some("unknown".to_owned()),
        batch: vec![about.batch],
        idle: Some(0.0),
        ..Settings::default()
    };
    let mut plan = settings.into_plan()?;
    plan.loads = points.iter().map(|point| point.key.load.clone()).collect();
    let mut results = Results {
        schema_version: SCHEMA_VERSION,
        tool: format!("perf_analyzer, read from {} by triton-experiment", about.file),
        command: Vec::new(),
        started: String::new(),
        complete: true,
        plan,
        host: Host::default(),
        server: Server::default(),
        model: Model { name: about.model.clone(), ..Model::default() },
        original_configuration: None,
        configurations: Default::default(),
        power: PowerSource { name: "none".to_owned(), ..PowerSource::default() },
        idle: None,
        idle_without_model: None,
        capacity: None,
        found: Vec::new(),
        points,
        summary: Vec::new(),
    };
    estimate::complete(&mut results);
    Ok(results)
}

#[derive(Deserialize)]
struct Profile {
    experiments: Vec<Experiment>,
}

#[derive(Deserialize)]
struct Experiment {
    experiment: Mode,
    requests: Vec<Request>,
    #[serde(default)]
    window_boundaries: Vec<u64>,
}

#[derive(Deserialize)]
struct Mode {
    mode: String,
    value: f64,
}

#[derive(Deserialize)]
struct Request {
    timestamp: u64,
    #[serde(default)]
    response_timestamps: Vec<u64>,
}

fn from_json(text: &str, about: &Imported) -> Result<Vec<Point>> {
    let profile: Profile = serde_json::from_str(text)?;
    let experiments = profile.experiments.iter().enumerate();
    experiments
        .map(|(visit, experiment)| {
            of_experiment(experiment, visit, about).with_context(|| format!("experiment {}", visit + 1))
        })
        .collect()
}

fn load(mode: &str, value: f64) -> Result<Load> {
    Ok(match mode {
        "concurrency" => {
            ensure!(value >= 1.0 && value.fract() == 0.0 && value < 1e9, "a concurrency of {value}");
            Load::Concurrency { concurrency: value as usize }
        }
        "request_rate" => {
            ensure!(value > 0.0 && value <= 1e6, "a request rate of {value}");
            // The default of perf_analyzer. Its files do not tell.
            Load::Rate { milli_requests_per_s: (value * 1e3).round() as u64, arrivals: Arrivals::Constant }
        }
        "custom" => Load::Trace { file: "request intervals".to_owned() },
        mode => bail!("unknown mode '{mode}': expected concurrency, request_rate or custom"),
    })
}

fn of_experiment(experiment: &Experiment, visit: usize, about: &Imported) -> Result<Point> {
    let Experiment { experiment: mode, requests, window_boundaries } = experiment;
    let ends = || requests.iter().filter_map(|request| request.response_timestamps.last());
    let mut boundaries = window_boundaries.clone();
    if boundaries.len() < 2 {
        let first = requests.iter().map(|request| request.timestamp).min().context("no requests")?;
        boundaries = vec![first, *ends().max().context("no responses")?];
    }
    ensure!(
        boundaries.windows(2).all(|pair| pair[0] < pair[1]),
        "window_boundaries are not in ascending order: {boundaries:?}"
    );
    // Those that perf_analyzer reports, too: the last ones, which were stable.
    let from = (boundaries.len() - 1).saturating_sub(WINDOWS);
    let edges = &boundaries[from..];
    let mut windows = vec![(Times::default(), 0_u64); edges.len() - 1];
    // A window begins after the response that opens it and ends with the one that closes it.
    let window_of = |time: u64| {
        let at = edges.partition_point(|edge| *edge < time);
        (at > 0 && at < edges.len()).then(|| at - 1)
    };
    for (number, request) in requests.iter().enumerate() {
        // Of several responses the last one ends the request.
        match request.response_timestamps.iter().max() {
            Some(end) => {
                let latency = end.checked_sub(request.timestamp).with_context(|| {
                    format!("request {}: the response comes before the request", number + 1)
                })?;
                if let Some(at) = window_of(*end) {
                    windows[at].0.record(latency);
                }
            }
            None => {
                if let Some(at) = window_of(request.timestamp) {
                    windows[at].1 += 1;
                }
            }
        }
    }
    let batch = u64::from(about.batch);
    let mut all = Times::default();
    windows.iter().for_each(|(times, _)| all.add(times));
    let failed: u64 = windows.iter().map(|(_, failed)| failed).sum();
    let seconds = |from: u64, to: u64| (to - from) as f64 / 1e9;
    let summaries = windows.iter().zip(edges.windows(2)).map(|((times, failed), edge)| WindowSummary {
        seconds: seconds(edge[0], edge[1]),
        requests: times.count(),
        errors: *failed,
        inferences_per_s: (times.count() * batch) as f64 / seconds(edge[0], edge[1]),
        latency_mean_ns: times.mean(),
        latency_p50_ns: Latency::of(times).map(|latency| latency.p50_ns),
        start_ns: Some(edge[0] - boundaries[0]),
        latency_histogram: Some(times.encode()),
        server_cpu_s: None,
        energy_j: None,
        energy_error_j: None,
        response_energy_j: None,
        measured: true,
    });
    let load = load(&mode.mode, mode.value)?;
    let length = seconds(edges[0], edges[edges.len() - 1]);
    let mut point = bare(load, visit, about);
    point.windows = summaries.collect();
    point.seconds = length;
    point.requests = all.count();
    point.inferences = all.count() * batch;
    point.requests_per_s = all.count() as f64 / length;
    point.inferences_per_s = point.inferences as f64 / length;
    point.client_latency = Latency::of(&all);
    if failed > 0 {
        let first_message = "no response in the file".to_owned();
        point.errors.push(ErrorCount { kind: "no response".to_owned(), count: failed, first_message });
    }
    if matches!(point.key.load, Load::Rate { .. }) {
        point.pacing = Some(Pacing {
            scheduled: all.count() + failed,
            scheduled_per_s: (all.count() + failed) as f64 / length,
            ..Pacing::default()
        });
        point.warnings.push(
            "imported: latency counts from when a request was sent and not from when it was due, so a stall of the server \
             hides in it"
                .to_owned(),
        );
    }
    Ok(point)
}

/// A point of which nothing is known but its load.
fn bare(load: Load, visit: usize, about: &Imported) -> Point {
    let concurrency = match load {
        Load::Concurrency { concurrency } => Some(concurrency),
        _ => None,
    };
    Point {
        key: PointKey { configuration: String::new(), batch: about.batch, load, repeat: 0 },
        visit,
        started: String::new(),
        settled: None,
        windows: Vec::new(),
        search: Vec::new(),
        concurrency,
        seconds: 0.0,
        requests: 0,
        inferences: 0,
        requests_per_s: 0.0,
        inferences_per_s: 0.0,
        errors: Vec::new(),
        pacing: None,
        client_latency: None,
        server_times_from: None,
        server_times: Default::default(),
        executed_batch_sizes: Default::default(),
        statistics: None,
        consumption: Consumption::default(),
        adherence: None,
        inferences_per_j: None,
        j_per_inference: None,
        inferences_per_j_error: None,
        j_per_inference_error_j: None,
        response_energy: None,
        cpu_s_per_inference: None,
        estimates: Estimates::new(),
        answers: None,
        warnings: Vec::new(),
    }
}

fn from_csv(text: &str, about: &Imported) -> Result<Vec<Point>> {
    let mut rows = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = rows.headers()?.clone();
    let column = |name: &str| head.iter().position(|found| found == name);
    let (at_load, mode) = match LOADS.map(column) {
        [_, Some(at)] => (at, "concurrency"),
        [Some(at), _] => (at, "request_rate"),
        _ => bail!("the first line has neither a column '{}' nor '{}'", LOADS[1], LOADS[0]),
    };
    let at_throughput = column(COLUMNS[0]).with_context(|| format!("there is no column '{}'", COLUMNS[0]))?;
    let percentiles = [
        ("p50 latency", Metric::LatencyP50Ns),
        ("p90 latency", Metric::LatencyP90Ns),
        ("p95 latency", Metric::LatencyP95Ns),
        ("p99 latency", Metric::LatencyP99Ns),
    ];
    let mut points = Vec::new();
    for (visit, row) in rows.records().enumerate() {
        let row = row?;
        let number = |at: usize, name: &str| -> Result<f64> {
            let text = row.get(at).unwrap_or_default();
            let wrong = || format!("line {}: expected a number for '{name}', found '{text}'", visit + 2);
            let number: f64 = text.parse().ok().with_context(wrong)?;
            ensure!(number.is_finite() && number >= 0.0, wrong());
            Ok(number)
        };
        let load = load(mode, number(at_load, mode)?).with_context(|| format!("line {}", visit + 2))?;
        let mut point = bare(load, visit, about);
        point.inferences_per_s = number(at_throughput, COLUMNS[0])?;
        point.estimates.insert(Metric::InferencesPerS, Estimate::bare(point.inferences_per_s));
        for (name, metric) in percentiles {
            if let Some(at) = column(name) {
                point.estimates.insert(metric, Estimate::bare(number(at, name)? * 1e3));
            }
        }
        // Its parts add up to the mean.
        let parts: Option<Vec<usize>> = COLUMNS[1..8].iter().map(|name| column(name)).collect();
        if let Some(parts) = parts {
            let us = parts
                .into_iter()
                .zip(&COLUMNS[1..8])
                .map(|(at, name)| number(at, name))
                .sum::<Result<f64>>()?;
            point.estimates.insert(Metric::LatencyMeanNs, Estimate::bare(us * 1e3));
        }
        point
            .warnings
            .push("imported from a CSV: throughput and percentiles only, without intervals".to_owned());
        points.push(point);
    }
    points.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(points)
}
