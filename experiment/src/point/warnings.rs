//! Warnings about the results of a point.

use super::watch::Watched;
use crate::plan::Plan;
use crate::results::{Answers, EnergyComparison, Point};
use crate::settle::WINDOWS;

/// A client that uses more than this fraction of the server's CPU time gets a warning.
const BUSY_SHARE: f64 = 0.1;

/// In an open loop, a delay between due and sent above this fraction of the latency gets a warning.
const DELAY_SHARE: f64 = 0.05;

/// The beginning of that warning.
pub const BUSY_CLIENT: &str = "this client used";

/// What a reader has to know before trusting the numbers.
pub fn warnings(plan: &Plan, point: &Point, watched: &Watched) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(Answers { compared, wrong, first_difference }) =
        point.answers.as_ref().filter(|one| one.wrong > 0)
    {
        let first = first_difference.as_deref().unwrap_or_default();
        warnings.push(format!("{wrong} of {compared} answers are wrong, the first by {first}"));
    }
    let failed: u64 = point.errors.iter().map(|error| error.count).sum();
    if let Some(most) = point.errors.iter().max_by_key(|error| error.count) {
        warnings.push(format!(
            "{failed} of {} requests failed, most of them with {}: {}",
            failed + point.requests,
            most.kind,
            most.first_message
        ));
    }
    let failed_before_or_after = watched.totals.all.failed() - failed;
    if failed_before_or_after > 0 {
        warnings.push(format!("{failed_before_or_after} requests failed outside the measured part"));
    }
    if point.settled == Some(false) && point.requests > 0 {
        let windows = watched.windows.len();
        warnings.push(match windows < WINDOWS {
            true => format!("did not settle: only {windows} windows in {} s", plan.max_time_s),
            false => format!(
                "did not settle within {} s: the last windows differ by more than {} % from their mean, or the server falls behind",
                plan.max_time_s,
                plan.tolerance * 100.0
            ),
        });
        if watched.from_the_start {
            warnings.push(
                "measured from the start of the load, because there were too few responses after the warm-up"
                    .to_owned(),
            );
        }
    }
    if let Some(reason) = &point.consumption.energy_missing {
        warnings.push(format!("no energy: {reason}"));
    }
    warnings.extend(point.consumption.energy_notices.iter().map(|notice| format!("energy: {notice}")));
    let client = point.consumption.client_cpu_s;
    if let Some(server) = point.consumption.server_cpu_s
        && client > server * BUSY_SHARE
    {
        warnings.push(format!(
            "{BUSY_CLIENT} {client:.3} CPU seconds, more than a tenth of the server's {server:.3}: on the same machine \
             it affects the result"
        ));
    }
    if let Some(pacing) = &point.pacing {
        if pacing.late * 100 > pacing.scheduled {
            warnings.push(format!(
                "{} of {} requests were sent more than {} ms late; their latency counts from when they were due",
                pacing.late, pacing.scheduled, plan.late_ms
            ));
        }
        let delay = pacing.delay_p50_ns.zip(point.client_latency.as_ref().map(|latency| latency.p50_ns));
        if let Some((delay, latency)) =
            delay.filter(|(delay, latency)| *delay as f64 > *latency as f64 * DELAY_SHARE)
        {
            warnings.push(format!(
                "half of the requests were sent {:.3} ms or more after they were due, and the median latency, which \
                 contains it, is {:.3} ms: the client's own timing, or too few --max-connections, is part of the result",
                delay as f64 / 1e6,
                latency as f64 / 1e6
            ));
        }
        let answered = point.requests + failed;
        if (answered as f64) < pacing.scheduled as f64 * (1.0 - plan.tolerance) {
            warnings.push(format!(
                "the server fell behind: {answered} of the {} requests that were due are done",
                pacing.scheduled
            ));
        }
    }
    if let Some(statistics) = &point.statistics
        && statistics.agrees == Some(false)
    {
        warnings.push(format!("the server's statistics do not agree: {}", statistics.agreement));
    }
    if let Some(reason) = &watched.statistics_missing {
        warnings.push(format!("the server's statistics could not be read: {reason}"));
    }
    warnings
}

/// For responses whose energy does not agree with the meter's.
pub fn of_energy(comparison: &EnergyComparison) -> Option<String> {
    (comparison.agrees == Some(false))
        .then(|| format!("the meter and the responses disagree: {}", comparison.explanation))
}

/// For a search that reached the highest allowed concurrency while throughput was still growing.
pub fn still_growing(concurrency: usize, max_concurrency: usize) -> String {
    format!(
        "throughput was still growing at concurrency {concurrency}, the last that --max-concurrency {max_concurrency} \
         allows: the maximum is higher"
    )
}
