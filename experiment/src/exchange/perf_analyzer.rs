//! perf_analyzer's files: its report as CSV, and its profile export as JSON.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::selection::Selection;
use crate::plan::Load;
use crate::results::{Point, Results};
use crate::samples::{Fate, Samples};

/// The columns behind the load, as perf_analyzer 2.40 writes them; times in microseconds.
pub const COLUMNS: [&str; 12] = [
    "Inferences/Second",
    "Client Send",
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
    "Client Recv",
    "p50 latency",
    "p90 latency",
    "p95 latency",
    "p99 latency",
];

/// What perf_analyzer calls an open loop, and a closed one.
pub const LOADS: [&str; 2] = ["Request Rate", "Concurrency"];

/// A row for each load. Its files do not name batch size or configuration, so there may be only one of each.
pub fn csv_text(results: &Results, selection: &Selection) -> Result<String> {
    let points = selected(results, selection)?;
    let closed = matches!(points[0].key.load, Load::Concurrency { .. });
    ensure!(
        points.iter().all(|point| matches!(point.key.load, Load::Concurrency { .. }) == closed),
        "perf_analyzer's CSV has either concurrencies or request rates: these results have both, so use another format"
    );
    let mut rows = csv::Writer::from_writer(Vec::new());
    rows.write_record(std::iter::once(LOADS[usize::from(closed)]).chain(COLUMNS))?;
    for point in points {
        let (_, load) = perf_analyzer_load(&point.key.load).context("a load of perf_analyzer's")?;
        let us = |ns: f64| ((ns / 1e3).round() as u64).to_string();
        let statistics = point.statistics.as_ref().map(|statistics| &statistics.measured);
        let each = |sum: fn(&crate::results::StatisticsGrowth) -> u64| {
            statistics.map_or(0.0, |sums| sum(sums) as f64 / sums.success_count.max(1) as f64)
        };
        let parts = [
            each(|sums| sums.queue_ns),
            each(|sums| sums.compute_input_ns),
            each(|sums| sums.compute_infer_ns),
            each(|sums| sums.compute_output_ns),
        ];
        let latency = point.client_latency.as_ref().context("a point without a response")?;
        // Sending and receiving are not told apart from the network.
        let network = (latency.mean_ns - parts.iter().sum::<f64>()).max(0.0);
        let mut row = vec![load.to_string(), point.inferences_per_s.to_string(), "0".to_owned(), us(network)];
        row.extend(parts.map(us));
        row.push("0".to_owned());
        row.extend([latency.p50_ns, latency.p90_ns, latency.p95_ns, latency.p99_ns].map(|ns| us(ns as f64)));
        rows.write_record(row)?;
    }
    Ok(String::from_utf8(rows.into_inner()?)?)
}

/// The selected points with a response, by load.
fn selected<'a>(results: &'a Results, selection: &Selection) -> Result<Vec<&'a Point>> {
    let mut points: Vec<&Point> = results
        .points
        .iter()
        .filter(|point| selection.contains(&point.key.configuration, point.key.batch))
        .filter(|point| point.client_latency.is_some() && perf_analyzer_load(&point.key.load).is_some())
        .collect();
    points.sort_by(|a, b| a.key.cmp(&b.key));
    let Some(first) = points.first().copied() else {
        bail!("perf_analyzer's files have concurrencies or request rates: there is no such point");
    };
    for (what, flag, differs) in [
        ("batch size", "--batch", points.iter().any(|point| point.key.batch != first.key.batch)),
        (
            "configuration",
            "--configuration",
            points.iter().any(|point| point.key.configuration != first.key.configuration),
        ),
    ] {
        ensure!(!differs, "perf_analyzer's files do not tell the {what}: choose one with {flag}");
    }
    Ok(points)
}

#[derive(Serialize)]
struct Profile {
    experiments: Vec<Experiment>,
    version: String,
}

#[derive(Serialize)]
struct Experiment {
    experiment: Mode,
    requests: Vec<Request>,
    window_boundaries: Vec<u64>,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
    value: f64,
}

#[derive(Serialize)]
struct Request {
    timestamp: u64,
    response_timestamps: Vec<u64>,
}

/// The single requests of each load. Times are those of the wall clock, in nanoseconds; in an open loop a request's is when
/// it was due.
pub fn json(results: &Results, samples: &Samples, selection: &Selection) -> Result<String> {
    let mut experiments = Vec::new();
    for point in selected(results, selection)? {
        let (mode, value) = perf_analyzer_load(&point.key.load).context("a load of perf_analyzer's")?;
        let samples = samples.get(&point.visit).with_context(|| {
            format!("the requests of visit {} were not kept: measure with --keep-requests", point.visit)
        })?;
        let started: jiff::Timestamp =
            point.started.parse().with_context(|| format!("'{}' is no time", point.started))?;
        let start = u64::try_from(started.as_nanosecond()).context("a time before 1970")?;
        let mut requests: Vec<Request> = samples
            .iter()
            .map(|sample| Request {
                timestamp: start + sample.due_ns,
                response_timestamps: match sample.fate {
                    Fate::Answered => vec![(start + sample.due_ns).saturating_add(sample.latency_ns)],
                    Fate::Refused | Fate::Failed => Vec::new(),
                },
            })
            .collect();
        requests.sort_by_key(|request| request.timestamp);
        let mut window_boundaries: Vec<u64> =
            point.windows.iter().filter_map(|window| Some(start + window.start_ns?)).collect();
        let last = point
            .windows
            .last()
            .and_then(|window| Some(start + window.start_ns? + (window.seconds * 1e9).round() as u64));
        window_boundaries.extend(last);
        experiments.push(Experiment { experiment: Mode { mode, value }, requests, window_boundaries });
    }
    let profile = Profile { experiments, version: results.tool.clone() };
    Ok(serde_json::to_string(&profile)? + "\n")
}

/// The value of a load that perf_analyzer calls so.
fn perf_analyzer_load(load: &Load) -> Option<(&'static str, f64)> {
    match load {
        Load::Concurrency { concurrency } => Some(("concurrency", *concurrency as f64)),
        Load::Rate { milli_requests_per_s, .. } => Some(("request_rate", *milli_requests_per_s as f64 / 1e3)),
        _ => None,
    }
}
