//! Measures one point: runs its load until the measurements have settled.

mod energy;
mod summary;
mod warnings;
mod watch;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{self, Pacing};
use crate::plan::{Load, Plan, PointKey, duration};
use crate::record::WindowRule;
use crate::requests::Requests;
use crate::results::{Consumption, Point, SearchStep};
use crate::samples::Sample;
use crate::target::Target;
use crate::{adherence, agreement, arrivals};
use summary::summarise;
pub use warnings::BUSY_CLIENT;
use watch::{caught_up, statistics, watch};

/// The search for the maximum throughput counts growth below this fraction as none.
const WORTH_DOUBLING: f64 = 0.03;

/// The search ends after so many doublings in a row without growth.
const PATIENCE: usize = 2;

/// Measures the point that `key` names; the model is already configured for it. A trace of `batching` is scaled to
/// `capacity`, in inferences per second, and its single requests are returned as well.
///
/// # Errors
/// The model rejects the requests, the server is gone, or the run was interrupted.
pub fn measure(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    capacity: Option<f64>,
) -> Result<(Point, Vec<Sample>)> {
    match &key.load {
        Load::Concurrency { concurrency } => measure_at(target, plan, key, visit, *concurrency),
        Load::MaxThroughput => search(target, plan, key, visit),
        Load::Rate { milli_requests_per_s, arrivals: spread } => {
            let rate = *milli_requests_per_s as f64 / 1e3;
            // The same for every configuration and batch size, different in each repeat.
            let seed = plan.seed.wrapping_add(key.repeat.into());
            let endless = plan.spread.arrivals(*spread, rate, seed);
            let end = duration(plan.max_time_s);
            let pacing = Pacing::Open {
                arrivals: match plan.is_replayed(&key.load) {
                    true => Box::new(endless.take_while(move |due| *due < end)),
                    false => endless,
                },
                max_connections: plan.max_connections,
            };
            measure_with(target, plan, key, visit, pacing, plan.max_connections, Some(plan.max_time_s))
        }
        Load::Ramp { from_milli_requests_per_s: from, to_milli_requests_per_s: to, arrivals } => {
            let rates = (*from as f64 / 1e3, *to as f64 / 1e3);
            let seed = plan.seed.wrapping_add(key.repeat.into());
            replay(target, plan, key, visit, plan.spread.ramp(*arrivals, rates, plan.max_time_s, seed))
        }
        Load::Trace { file } => replay(target, plan, key, visit, arrivals::read_trace(file.as_ref())?),
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

/// Holds the energy that the responses told against the meter's above idle, with a warning if they disagree.
pub fn hold_energy(point: &mut Point, target: &Target, plan: &Plan, idle: Option<&Consumption>) {
    if point.response_energy.is_none() {
        return;
    }
    let same_device = target
        .energy_devices(plan)
        .map_err(|error| format!("{error:#}"))
        .and_then(|devices| agreement::energy::same_device(target.sampler.source(), &devices));
    let comparison = agreement::energy::compare(point, idle, same_device);
    point.warnings.extend(comparison.as_ref().and_then(warnings::of_energy));
    if let Some(told) = &mut point.response_energy {
        told.comparison = comparison;
    }
}

fn replay(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    due: Vec<Duration>,
) -> Result<(Point, Vec<Sample>)> {
    let end_s = due.last().map(Duration::as_secs_f64);
    let pacing = Pacing::Open { arrivals: Box::new(due.into_iter()), max_connections: plan.max_connections };
    measure_with(target, plan, key, visit, pacing, plan.max_connections, end_s)
}

/// Doubles the concurrency until throughput has not grown twice in a row. Once is not enough: a dynamic batcher runs one
/// request while another waits, so batches grow only from the third request on.
fn search(target: &Target, plan: &Plan, key: &PointKey, visit: usize) -> Result<(Point, Vec<Sample>)> {
    let mut search: Vec<SearchStep> = Vec::new();
    let mut best: Option<(Point, Vec<Sample>)> = None;
    let mut without_growth = 0;
    let mut concurrency = 1;
    while concurrency <= plan.max_concurrency && without_growth < PATIENCE {
        let (point, samples) = measure_at(target, plan, key, visit, concurrency)?;
        search.push(SearchStep {
            concurrency,
            inferences_per_s: point.inferences_per_s,
            latency_p50_ns: point.client_latency.as_ref().map(|latency| latency.p50_ns),
            warnings: point.warnings.clone(),
        });
        let reached = best.as_ref().map_or(0.0, |(best, _)| best.inferences_per_s);
        let grows = point.inferences_per_s > reached * (1.0 + WORTH_DOUBLING);
        without_growth = if grows { 0 } else { without_growth + 1 };
        if best.is_none() || point.inferences_per_s > reached {
            best = Some((point, samples));
        }
        concurrency *= 2;
    }
    let (mut best, samples) = best.context("--max-concurrency allows no measurement")?;
    if without_growth == 0 {
        best.warnings.push(warnings::still_growing(concurrency / 2, plan.max_concurrency));
    }
    best.search = search;
    Ok((best, samples))
}

fn measure_at(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    concurrency: usize,
) -> Result<(Point, Vec<Sample>)> {
    let pacing = Pacing::Closed { concurrency };
    let (mut point, samples) = measure_with(target, plan, key, visit, pacing, concurrency, None)?;
    point.concurrency = Some(concurrency);
    Ok((point, samples))
}

fn measure_with(
    target: &Target,
    plan: &Plan,
    key: &PointKey,
    visit: usize,
    pacing: Pacing,
    slots: usize,
    replay_s: Option<f64>,
) -> Result<(Point, Vec<Sample>)> {
    let replayed = plan.is_replayed(&key.load);
    let open_loop = matches!(pacing, Pacing::Open { .. });
    let requests = Requests::make(target, plan, key.batch, slots)?;
    let idle = statistics(target, plan);
    let statistics_missing = idle.as_ref().err().cloned();
    requests.probe(target, plan)?;
    let warm_up_requests = if replayed { warm_up(target, plan, &requests)? } else { 0 };
    let before = caught_up(target, plan, idle.ok(), 1 + warm_up_requests);

    let rule = WindowRule {
        warm_up_ns: if replayed { 0 } else { duration(plan.warm_up_s).as_nanos() as u64 },
        min_ns: if replayed { u64::MAX } else { duration(plan.window_s).as_nanos() as u64 },
        min_requests: plan.window_requests,
        late_ns: (plan.late_ms * 1e6) as u64,
        keep_each: plan.keep_requests || matches!(key.load, Load::Shaped { .. }),
    };
    let started = jiff::Timestamp::now().to_string();
    // A replay is watched to its end, and then as long as a point of a rate.
    let replay = replayed.then_some(replay_s).flatten();
    let longest_s = replay.unwrap_or(0.0) + plan.longest_s();
    let running = load::start(requests.workload(target, plan, pacing, rule, longest_s)?)?;
    let mut watched = watch(target, plan, &running, before, replayed, open_loop, longest_s)?;
    watched.statistics_missing = statistics_missing;
    let samples = std::mem::take(&mut watched.totals.each);
    Ok((summarise(target, plan, key, visit, started, &watched)?, samples))
}

/// Warms the server up before a replay, which is measured from its first request. Returns the number of responses.
fn warm_up(target: &Target, plan: &Plan, requests: &Requests) -> Result<u64> {
    let rule = WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 1, late_ns: 0, keep_each: false };
    let pacing = Pacing::Closed { concurrency: 1 };
    let running = load::start(requests.workload(target, plan, pacing, rule, plan.longest_s())?)?;
    target.rest(plan.warm_up_s)?;
    running.stop();
    Ok(running.ended(|| target.check())?.all.latency.count())
}
