//! Measures one point: load until it has settled, and what that took.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::adherence;
use crate::agreement;
use crate::load::{self, Event, Pacing, Running, ServerValuesFrom, Totals};
use crate::plan::{Arrivals, Load, Plan, duration};
use crate::record::{EXECUTED_BATCH_SIZE, SERVER_VALUES, Window, WindowRule};
use crate::requests::Requests;
use crate::results::{self, ErrorCount, Latency, Point, PointKey, SearchStep, Statistics, WindowSummary};
use crate::samples::Sample;
use crate::server::ModelStatistics;
use crate::settle::{WINDOWS, is_settled};
use crate::target::Target;

/// Growth of the throughput, as a fraction, below which the search for the highest stops.
const WORTH_DOUBLING: f64 = 0.03;

/// Doublings in a row without growth that end the search.
const PATIENCE: usize = 2;

/// The client's CPU time over the server's that is worth a warning.
const BUSY_SHARE: f64 = 0.1;

/// How that warning begins.
pub const BUSY_CLIENT: &str = "this client used";

/// How often interruption and the server's health are looked at while a window runs.
const LOOK: Duration = Duration::from_millis(200);

/// How long the statistics may lag behind the last response: the server counts a request after it was answered.
const STATISTICS_LAG: Duration = Duration::from_secs(2);

/// Measures the point that `key` names, with the model configured as it says. A trace of `batching` is shaped out of
/// `capacity`, in inferences per second; of such a trace each request is returned as well.
///
/// # Errors
/// The model does not take the requests, the server is gone, or the run was interrupted.
pub fn measure(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    capacity: Option<f64>,
) -> Result<(Point, Vec<Sample>)> {
    let without_samples = |point| (point, Vec::new());
    match &key.load {
        Load::Concurrency { concurrency } => {
            measure_at(target, plan, key, visit, *concurrency).map(without_samples)
        }
        Load::MaxThroughput => search(target, plan, key, visit).map(without_samples),
        Load::Rate { milli_requests_per_s, arrivals } => {
            let rate = *milli_requests_per_s as f64 / 1e3;
            // The same for each configuration and batch size, another one in each repeat.
            let seed = plan.seed.wrapping_add(key.repeat.into());
            let endless: Box<dyn Iterator<Item = Duration> + Send> = match arrivals {
                Arrivals::Poisson => Box::new(load::poisson(rate, seed)),
                Arrivals::Constant => Box::new(load::constant(rate)),
            };
            let end = duration(plan.max_time_s);
            let pacing = Pacing::Open {
                arrivals: match plan.is_replayed(&key.load) {
                    true => Box::new(endless.take_while(move |due| *due < end)),
                    false => endless,
                },
                max_connections: plan.max_connections,
            };
            measure_with(target, plan, key, visit, pacing, plan.max_connections)
        }
        Load::Trace { file } => replay(target, plan, key, visit, load::read_trace(file.as_ref())?),
        Load::Shaped { trace } => {
            let batching = plan.batching.as_ref().context("the plan has no traces")?;
            let trace = batching.trace(trace)?;
            let capacity = capacity.context("the capacity was not measured")? / f64::from(key.batch);
            let due = trace.due(capacity, plan.seed.wrapping_add(key.repeat.into()));
            let (mut point, samples) = replay(target, plan, key, visit, due)?;
            point.adherence = Some(adherence::judge(&samples, trace, batching.target_ns()));
            Ok((point, samples))
        }
    }
}

fn replay(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    due: Vec<Duration>,
) -> Result<(Point, Vec<Sample>)> {
    let pacing = Pacing::Open { arrivals: Box::new(due.into_iter()), max_connections: plan.max_connections };
    measure_with(target, plan, key, visit, pacing, plan.max_connections)
}

/// Doubles the concurrency until throughput has not grown twice in a row: a dynamic batcher runs one request while
/// another waits, and only the third makes its batches grow.
fn search(target: &Target, plan: &Plan, key: &PointKey, visit: usize) -> Result<Point> {
    let mut search: Vec<SearchStep> = Vec::new();
    let mut best: Option<Point> = None;
    let mut without_growth = 0;
    let mut concurrency = 1;
    while concurrency <= plan.max_concurrency && without_growth < PATIENCE {
        let point = measure_at(target, plan, key, visit, concurrency)?;
        search.push(SearchStep {
            concurrency,
            inferences_per_s: point.inferences_per_s,
            latency_p50_ns: point.client_latency.as_ref().map(|latency| latency.p50_ns),
            warnings: point.warnings.clone(),
        });
        let reached = best.as_ref().map_or(0.0, |best| best.inferences_per_s);
        let grows = point.inferences_per_s > reached * (1.0 + WORTH_DOUBLING);
        without_growth = if grows { 0 } else { without_growth + 1 };
        if best.is_none() || point.inferences_per_s > reached {
            best = Some(point);
        }
        concurrency *= 2;
    }
    let mut best = best.context("--max-concurrency leaves nothing to try")?;
    if without_growth == 0 {
        best.warnings.push(format!(
            "throughput still grew at concurrency {}, the last that --max-concurrency {} allows: it is not the highest",
            concurrency / 2,
            plan.max_concurrency
        ));
    }
    best.search = search;
    Ok(best)
}

fn measure_at(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    concurrency: usize,
) -> Result<Point> {
    let pacing = Pacing::Closed { concurrency };
    let (mut point, _) = measure_with(target, plan, key, visit, pacing, concurrency)?;
    point.concurrency = Some(concurrency);
    Ok(point)
}

fn measure_with(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    pacing: Pacing,
    slots: usize,
) -> Result<(Point, Vec<Sample>)> {
    let replayed = plan.is_replayed(&key.load);
    let open_loop = matches!(pacing, Pacing::Open { .. });
    let requests = Requests::make(target, plan, key.batch, slots)?;
    let idle = statistics(target, plan);
    requests.probe(target, plan)?;
    let warm_up_requests = if replayed { warm_up(target, plan, &requests)? } else { 0 };
    let before = caught_up(target, plan, idle, 1 + warm_up_requests);

    let rule = WindowRule {
        warm_up_ns: if replayed { 0 } else { duration(plan.warm_up_s).as_nanos() as u64 },
        min_ns: if replayed { u64::MAX } else { duration(plan.window_s).as_nanos() as u64 },
        min_requests: plan.window_requests,
        late_ns: (plan.late_ms * 1e6) as u64,
        keep_each: matches!(key.load, Load::Shaped { .. }),
    };
    let started = jiff::Timestamp::now().to_string();
    let running = load::start(requests.workload(target, plan, pacing, rule)?)?;
    let mut watched = watch(target, plan, &running, before, replayed, open_loop)?;
    let samples = std::mem::take(&mut watched.totals.each);
    Ok((summarise(target, plan, key, visit, started, &watched)?, samples))
}

/// What is replayed is measured from its first request, so the server is warmed up before. How many requests it answered.
fn warm_up(target: &Target, plan: &Plan, requests: &Requests) -> Result<u64> {
    let rule = WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 1, late_ns: 0, keep_each: false };
    let running = load::start(requests.workload(target, plan, Pacing::Closed { concurrency: 1 }, rule)?)?;
    target.rest(plan.warm_up_s)?;
    running.stop();
    Ok(running.ended(|| target.check())?.all.latency.count())
}

/// What a load left behind.
struct Watched {
    windows: Vec<Window>,
    /// The windows from here on are the measured part.
    measured_from: usize,
    /// Whether the measured part is all there was.
    from_the_start: bool,
    settled: Option<bool>,
    open_loop: bool,
    totals: Totals,
    statistics: Option<Statistics>,
}

/// Follows the load until it has settled, its time is over, or its trace has ended.
fn watch(
    target: &Target,
    plan: &Plan,
    running: &Running,
    before: Option<ModelStatistics>,
    replayed: bool,
    open_loop: bool,
) -> Result<Watched> {
    let start = Instant::now();
    let mut windows: Vec<Window> = Vec::new();
    // The statistics at the edges of the windows. Without a warm-up the first opens at once.
    let mut edges = if plan.warm_up_s == 0.0 { vec![before.clone()] } else { Vec::new() };
    let mut settled = false;
    let mut stopping = false;
    let totals = loop {
        target.check()?;
        match running.events().recv_timeout(LOOK) {
            Ok(Event::Ended(totals)) => break *totals,
            Ok(Event::Opened) => edges.push(statistics(target, plan)),
            Ok(Event::Window(_)) if stopping => {}
            Ok(Event::Window(window)) => {
                edges.push(statistics(target, plan));
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
    };
    let after = caught_up(target, plan, before.clone(), totals.all.latency.count());

    let mut measured_from = windows.len().saturating_sub(WINDOWS);
    let mut measured_statistics =
        edges.get(measured_from).cloned().flatten().zip(edges.last().cloned().flatten());
    let mut from_the_start = replayed;
    if windows.is_empty() {
        // A single answer opens a window and closes none: then it is all there is.
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
    Ok(Watched { windows, measured_from, from_the_start, settled, open_loop, totals, statistics })
}

/// None of a server that keeps none.
fn statistics(target: &Target, plan: &Plan) -> Option<ModelStatistics> {
    target.control().statistics(&plan.model, plan.version.as_deref()).ok()
}

/// The statistics once they count all that was answered since an earlier time.
fn caught_up(
    target: &Target,
    plan: &Plan,
    earlier: Option<ModelStatistics>,
    answered: u64,
) -> Option<ModelStatistics> {
    let earlier = earlier?;
    let deadline = Instant::now() + STATISTICS_LAG;
    loop {
        let now = statistics(target, plan)?;
        if now.growth(&earlier).0.success_count >= answered || Instant::now() > deadline {
            return Some(now);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn summarise(
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
        bail!("nothing was due or answered (batch {}, {})", key.batch, key.load);
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
    let pacing = watched.open_loop.then(|| results::Pacing {
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

/// What a reader has to know before trusting the numbers.
fn warnings(plan: &Plan, point: &Point, watched: &Watched) -> Vec<String> {
    let mut warnings = Vec::new();
    let failed: u64 = point.errors.iter().map(|error| error.count).sum();
    if let Some(most) = point.errors.iter().max_by_key(|error| error.count) {
        warnings.push(format!(
            "{failed} of {} requests failed, most with {}: {}",
            failed + point.requests,
            most.kind,
            most.first_message
        ));
    }
    let failed_before_or_after = watched.totals.all.failed() - failed;
    if failed_before_or_after > 0 {
        warnings.push(format!("{failed_before_or_after} requests failed outside of the measured part"));
    }
    if point.settled == Some(false) && point.requests > 0 {
        let windows = watched.windows.len();
        warnings.push(match windows < WINDOWS {
            true => format!("did not settle: only {windows} windows in {} s", plan.max_time_s),
            false => format!(
                "did not settle within {} s: the last windows differ by more than {} % of their mean, or do not keep up",
                plan.max_time_s,
                plan.tolerance * 100.0
            ),
        });
        if watched.from_the_start {
            warnings.push(
                "measured from the start of the load, for want of answers after the warm-up".to_owned(),
            );
        }
    }
    if let Some(reason) = &point.consumption.energy_missing {
        warnings.push(format!("no energy: {reason}"));
    }
    let client = point.consumption.client_cpu_s;
    if let Some(server) = point.consumption.server_cpu_s
        && client > server * BUSY_SHARE
    {
        warnings.push(format!(
            "{BUSY_CLIENT} {client:.3} CPU seconds, over a tenth of the server's {server:.3}: on one machine it \
             takes part in what it measures"
        ));
    }
    if let Some(pacing) = &point.pacing {
        if pacing.late * 100 > pacing.scheduled {
            warnings.push(format!(
                "{} of {} requests were sent over {} ms late: latency counts from when they were due",
                pacing.late, pacing.scheduled, plan.late_ms
            ));
        }
        let answered = point.requests + failed;
        if (answered as f64) < pacing.scheduled as f64 * (1.0 - plan.tolerance) {
            warnings.push(format!(
                "the server did not keep up: {answered} of the {} requests that were due are done",
                pacing.scheduled
            ));
        }
    }
    if let Some(statistics) = &point.statistics
        && statistics.agrees == Some(false)
    {
        warnings.push(format!("the server's statistics do not agree: {}", statistics.agreement));
    }
    warnings
}
