//! The results of a point, from what was observed of its load.

use anyhow::{Result, bail};

use super::warnings::warnings;
use super::watch::Watched;
use crate::load::ServerValuesFrom;
use crate::plan::{Plan, PointKey};
use crate::record::{EXECUTED_BATCH_SIZE, SERVER_VALUES, Window};
use crate::results::{ErrorCount, Latency, Pacing, Point, WindowSummary};
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
    let consumption = target.sampler.between(measured.start_ns, measured.end_ns)?;
    let per_inference =
        |used: Option<f64>| used.filter(|_| inferences > 0).map(|used| used / inferences as f64);
    let server_times = SERVER_VALUES[..EXECUTED_BATCH_SIZE]
        .iter()
        .zip(&measured.server_times)
        .filter_map(|(name, times)| Some(((*name).to_owned(), Latency::of(times)?)))
        .collect();
    let pacing = watched.open_loop.then(|| Pacing {
        scheduled: measured.scheduled,
        scheduled_per_s: measured.scheduled as f64 / seconds,
        late: measured.late,
        max_delay_ns: measured.max_delay_ns,
        unsent: watched.totals.unsent,
    });
    let mut point = Point {
        key: key.clone(),
        visit,
        started,
        settled: watched.settled,
        windows: summaries(watched, key.batch),
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
        server_times_from: watched.totals.server_values_from.map(|from| {
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
        inferences_per_j: consumption
            .energy_j
            .filter(|joules| *joules > 0.0)
            .map(|joules| inferences as f64 / joules),
        j_per_inference: per_inference(consumption.energy_j),
        cpu_s_per_inference: per_inference(consumption.server_cpu_s),
        consumption,
        warnings: Vec::new(),
    };
    point.warnings = warnings(plan, &point, watched);
    Ok(point)
}

fn summaries(watched: &Watched, batch: u32) -> Vec<WindowSummary> {
    let windows = watched.windows.iter().enumerate();
    windows
        .map(|(index, window)| WindowSummary {
            seconds: window.seconds(),
            requests: window.latency.count(),
            errors: window.failed(),
            inferences_per_s: window.latency.count() as f64 * f64::from(batch) / window.seconds(),
            latency_mean_ns: window.latency.mean(),
            latency_p50_ns: Latency::of(&window.latency).map(|latency| latency.p50_ns),
            measured: index >= watched.measured_from,
        })
        .collect()
}
