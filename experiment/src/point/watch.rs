//! Follows a load until it has settled or ends.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::agreement;
use crate::load::{Event, Running, Totals};
use crate::plan::{Plan, duration};
use crate::record::Window;
use crate::results::Statistics;
use crate::server::ModelStatistics;
use crate::settle::{WINDOWS, is_settled};
use crate::target::Target;

/// Interval of the checks for interruption and for the server, while a window runs.
const LOOK: Duration = Duration::from_millis(200);

/// How long the statistics may lag behind the last response: the server counts a request after sending its response.
const STATISTICS_LAG: Duration = Duration::from_secs(2);

/// What was observed of a load.
pub struct Watched {
    pub windows: Vec<Window>,
    /// Index of the first window of the measured part.
    pub measured_from: usize,
    /// Whether the measured part begins with the load.
    pub from_the_start: bool,
    pub settled: Option<bool>,
    pub open_loop: bool,
    pub totals: Totals,
    pub statistics: Option<Statistics>,
    /// Why there are no statistics.
    pub statistics_missing: Option<String>,
}

/// Follows the load until it has settled, its time is up, or its trace has ended.
pub fn watch(
    target: &Target,
    plan: &Plan,
    running: &Running,
    before: Option<ModelStatistics>,
    replayed: bool,
    open_loop: bool,
    longest_s: f64,
) -> Result<Watched> {
    let start = Instant::now();
    let mut windows: Vec<Window> = Vec::new();
    // The statistics at the window boundaries. Without a warm-up the first window opens at once.
    let mut edges = if plan.warm_up_s == 0.0 { vec![before.clone()] } else { Vec::new() };
    // A server that had none before is not asked again.
    let at_edge = || before.as_ref().and_then(|_| statistics(target, plan).ok());
    let mut settled = false;
    let mut stopping = false;
    let totals = loop {
        target.check()?;
        match running.events().recv_timeout(LOOK) {
            Ok(Event::Ended(totals)) => break *totals,
            Ok(Event::Opened) => edges.push(at_edge()),
            Ok(Event::Window(_)) if stopping => {}
            Ok(Event::Window(window)) => {
                edges.push(at_edge());
                target.tell(&news(&window, windows.len() + 1));
                windows.push(*window);
                settled = is_settled(&windows, open_loop, plan.tolerance);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the load ended without a result"),
        }
        if !replayed && !stopping && (settled || start.elapsed() >= duration(plan.max_time_s)) {
            running.stop();
            stopping = true;
        }
        // Some responses do not come.
        if start.elapsed() >= duration(longest_s) {
            running.cut();
        }
    };
    let after = caught_up(target, plan, before.clone(), totals.all.latency.count());

    let mut measured_from = windows.len().saturating_sub(WINDOWS);
    let mut measured_statistics =
        edges.get(measured_from).cloned().flatten().zip(edges.last().cloned().flatten());
    let mut from_the_start = replayed;
    if windows.is_empty() {
        // A single response opens a window but closes none.
        let rest = totals.rest.clone().filter(|rest| rest.latency.count() + rest.failed() > 0);
        from_the_start |= rest.is_none();
        windows.push(rest.unwrap_or_else(|| totals.all.clone()));
        measured_statistics = before.clone().zip(after.clone());
        measured_from = 0;
    }
    let statistics = before.zip(after).map(|(before, after)| {
        let (agrees, agreement) = agreement::check(&totals.all, &after.growth(&before).0);
        let (measured, executions_by_batch_size) =
            measured_statistics.map(|(first, last)| last.growth(&first)).unwrap_or_default();
        Statistics { measured, executions_by_batch_size, agrees: Some(agrees), agreement }
    });
    let settled = (!replayed).then_some(settled);
    let statistics_missing = None;
    Ok(Watched {
        windows,
        measured_from,
        from_the_start,
        settled,
        open_loop,
        totals,
        statistics,
        statistics_missing,
    })
}

/// A window in a few words, while the next one runs.
fn news(window: &Window, number: usize) -> String {
    let per_s = window.latency.count() as f64 / window.seconds();
    let percentile = |part| window.latency.histogram.value_at_quantile(part) as f64 / 1e6;
    let failed = match window.failed() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "window {number}: {per_s:.1} requests/s, p50 {:.3} ms, p99 {:.3} ms{failed}",
        percentile(0.5),
        percentile(0.99)
    )
}

/// The server's statistics of the model, or why there are none.
pub fn statistics(target: &Target, plan: &Plan) -> Result<ModelStatistics, String> {
    let statistics = target.control().statistics(&plan.model, plan.version.as_deref());
    statistics.map_err(|error| format!("{error:#}"))
}

/// The statistics, once they count all `answered` requests since `earlier`.
pub fn caught_up(
    target: &Target,
    plan: &Plan,
    earlier: Option<ModelStatistics>,
    answered: u64,
) -> Option<ModelStatistics> {
    let earlier = earlier?;
    let deadline = Instant::now() + STATISTICS_LAG;
    loop {
        let now = statistics(target, plan).ok()?;
        if now.growth(&earlier).0.success_count >= answered || Instant::now() > deadline {
            return Some(now);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
