//! The results of a point, from what was observed of its load.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::energy::{per_inference_error, told};
use super::warnings::warnings;
use super::watch::Watched;
use crate::estimate;
use crate::load::ServerValuesFrom;
use crate::plan::{Plan, PointKey};
use crate::record::{Compared, EXECUTED_BATCH_SIZE, SERVER_VALUES, Window};
use crate::results::{Answers, ErrorCount, Estimates, Latency, Pacing, Point, WindowSummary};
use crate::target::Target;

/// The results of the measured part, with warnings.
///
/// # Errors
/// Nothing was due or answered, or the meter failed.
pub fn summarise(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    started: String,
    watched: &Watched,
) -> Result<Point> {
    let mut measured = Window::default();
    for window in &watched.windows[watched.measured_from..] {
        measured.add(window);
    }
    let seconds = measured.seconds();
    let requests = measured.latency.count();
    if seconds == 0.0 {
        bail!("no request was due or answered (batch {}, {})", key.batch, key.load);
    }
    let inferences = requests * u64::from(key.batch);
    let summaries = summaries(target, watched, key.batch)?;
    let windows = &watched.windows[watched.measured_from..];
    let mut edges = vec![measured.start_ns];
    edges.extend(windows.iter().map(|window| window.end_ns));
    let consumption = target.sampler.over(&edges)?;
    let j_per_inference_error_j = consumption.energy_error_j.and_then(|error_j| {
        let measured = summaries.iter().filter(|window| window.measured);
        let parts = measured.map(|window| (window.energy_j, window.requests * u64::from(key.batch)));
        per_inference_error(error_j, inferences, &parts.collect::<Vec<_>>())
    });
    let per_inference =
        |used: Option<f64>| used.filter(|_| inferences > 0).map(|used| used / inferences as f64);
    let server_times: BTreeMap<String, Latency> = SERVER_VALUES[..EXECUTED_BATCH_SIZE]
        .iter()
        .zip(&measured.server_times)
        .filter_map(|(name, times)| Some(((*name).to_owned(), Latency::of(times)?)))
        .collect();
    let has_times = !server_times.is_empty() || !measured.executed_batch_sizes.is_empty();
    let j_per_inference = per_inference(consumption.energy_j);
    let inferences_per_j = j_per_inference.filter(|joules| *joules > 0.0).map(|joules| 1.0 / joules);
    let pacing = watched.open_loop.then(|| Pacing {
        scheduled: measured.scheduled,
        scheduled_per_s: measured.scheduled as f64 / seconds,
        late: measured.late,
        max_delay_ns: measured.max_delay_ns,
        delay_p50_ns: Latency::of(&measured.delays).map(|delays| delays.p50_ns),
        delay_p99_ns: Latency::of(&measured.delays).map(|delays| delays.p99_ns),
        unsent: watched.totals.unsent,
    });
    let mut point = Point {
        key: key.clone(),
        visit,
        started,
        settled: watched.settled,
        windows: summaries,
        search: Vec::new(),
        concurrency: None,
        seconds,
        requests,
        inferences,
        requests_per_s: requests as f64 / seconds,
        inferences_per_s: inferences as f64 / seconds,
        errors: measured
            .failures
            .iter()
            .map(|(kind, (count, message))| ErrorCount {
                kind: kind.clone(),
                count: *count,
                first_message: message.clone(),
            })
            .collect(),
        pacing,
        client_latency: Latency::of(&measured.latency),
        // A response that tells its energy alone has no times.
        server_times_from: watched.totals.server_values_from.filter(|_| has_times).map(|from| {
            match from {
                ServerValuesFrom::Outputs => "outputs",
                ServerValuesFrom::Parameters => "parameters",
            }
            .to_owned()
        }),
        server_times,
        executed_batch_sizes: measured.executed_batch_sizes.clone(),
        statistics: watched.statistics.clone(),
        adherence: None,
        inferences_per_j,
        j_per_inference,
        // The same part of it.
        inferences_per_j_error: inferences_per_j
            .zip(j_per_inference_error_j)
            .map(|(inferences, error_j)| inferences * inferences * error_j),
        j_per_inference_error_j,
        response_energy: told(&measured, windows, key.batch),
        cpu_s_per_inference: per_inference(consumption.server_cpu_s),
        consumption,
        estimates: Estimates::new(),
        answers: answers(&watched.totals.all.compared),
        warnings: Vec::new(),
    };
    point.estimates = estimate::of_point(&point);
    point.warnings = warnings(plan, &point, watched);
    Ok(point)
}

fn answers(compared: &Compared) -> Option<Answers> {
    let Compared { answers, wrong, first_difference } = compared;
    (*answers > 0).then(|| Answers {
        compared: *answers,
        wrong: *wrong,
        first_difference: first_difference.clone(),
    })
}

fn summaries(target: &Target, watched: &Watched, batch: u32) -> Result<Vec<WindowSummary>> {
    let measured = |index| index >= watched.measured_from;
    let summary = |(index, window): (usize, &Window)| {
        let used = target.sampler.between(window.start_ns, window.end_ns)?;
        Ok(WindowSummary {
            seconds: window.seconds(),
            requests: window.latency.count(),
            errors: window.failed(),
            inferences_per_s: window.latency.count() as f64 * f64::from(batch) / window.seconds(),
            latency_mean_ns: window.latency.mean(),
            latency_p50_ns: Latency::of(&window.latency).map(|latency| latency.p50_ns),
            start_ns: Some(window.start_ns.saturating_sub(watched.totals.start_ns)),
            latency_histogram: measured(index).then(|| window.latency.encode()),
            server_cpu_s: used.server_cpu_s,
            energy_j: used.energy_j,
            energy_error_j: used.energy_error_j,
            response_energy_j: window.energy.joules(),
            measured: measured(index),
        })
    };
    watched.windows.iter().enumerate().map(summary).collect()
}
