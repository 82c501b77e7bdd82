//! `search`: the highest rate at which a latency target is kept.
//!
//! What to measure next follows from the points that there are, so an interrupted search goes on where it was.

mod trials;

use crate::plan::{Load, Plan, PointKey, Search};
use crate::results::{Found, Point};
use trials::{Trial, Trials, Verdict, rate_of};

/// The first rate, as a fraction of the throughput of a closed loop.
const FIRST: f64 = 0.5;

/// The factor to the next rate while none has missed the target.
const UP: f64 = 1.25;

/// The search gives up below this fraction of the throughput of a closed loop.
const HOPELESS: f64 = 1e-3;

/// The point to measure next; none when every search is over.
pub fn next(plan: &Plan, search: &Search, points: &[Point]) -> Option<PointKey> {
    groups(plan).find_map(|(configuration, batch)| {
        let (load, repeat) = next_of(search, &of_group(points, &configuration, batch))?;
        Some(PointKey { configuration, batch, load, repeat })
    })
}

/// The results of all searches so far.
pub fn found(plan: &Plan, search: &Search, points: &[Point]) -> Vec<Found> {
    groups(plan)
        .map(|(configuration, batch)| {
            let of_group = of_group(points, &configuration, batch);
            let trials = Trials::of(search, &of_group);
            let (held, missed) = trials.bracket();
            let at = |point: &&&Point| held.is_some_and(|held| rate_of(point) == Some(held.milli_rate));
            let best: Vec<&&Point> = of_group.iter().filter(at).collect();
            let mean = |value: fn(&Point) -> Option<f64>| {
                let values: Option<Vec<f64>> = best.iter().map(|point| value(point)).collect();
                let values = values.filter(|values| !values.is_empty())?;
                Some(values.iter().sum::<f64>() / values.len() as f64)
            };
            let seconds: f64 = best.iter().map(|point| point.seconds).sum();
            Found {
                batch,
                requests_per_s: held.map(|held| held.milli_rate as f64 / 1e3),
                missed_requests_per_s: missed.map(|missed| missed.milli_rate as f64 / 1e3),
                goodput_inferences_per_s: held
                    .filter(|_| seconds > 0.0)
                    .map(|held| (held.requests - held.late) as f64 * f64::from(batch) / seconds),
                late_share: held.map(Trial::late_share),
                j_per_inference: mean(|point| point.j_per_inference),
                cpu_s_per_inference: mean(|point| point.cpu_s_per_inference),
                points: of_group.len(),
                configuration,
            }
        })
        .collect()
}

/// Whether a point kept the target, in a word; none if it is not of an open loop.
pub fn verdict(search: &Search, point: &Point) -> Option<&'static str> {
    let trials = Trials::of(search, &[point]);
    let trial = trials.0.first()?;
    Some(match trial.late_share() <= search.allowed_share() {
        true => "met",
        false => "missed",
    })
}

/// The share of requests of a point that were late, failed or not sent, 0 to 1; none if it is not of an open loop.
pub fn late_share(search: &Search, point: &Point) -> Option<f64> {
    Trials::of(search, &[point]).0.first().map(Trial::late_share)
}

/// Each configuration with each batch size.
fn groups(plan: &Plan) -> impl Iterator<Item = (String, u32)> + '_ {
    let names: Vec<String> = match plan.configurations.as_slice() {
        [] => vec![String::new()],
        configurations => configurations.iter().map(|configuration| configuration.name.clone()).collect(),
    };
    names.into_iter().flat_map(|name| plan.batches.iter().map(move |&batch| (name.clone(), batch)))
}

fn of_group<'a>(points: &'a [Point], configuration: &str, batch: u32) -> Vec<&'a Point> {
    points.iter().filter(|p| p.key.configuration == configuration && p.key.batch == batch).collect()
}

/// The next load of a search, and how often it was measured before; none at the end.
fn next_of(search: &Search, points: &[&Point]) -> Option<(Load, u32)> {
    let Some(capacity) = points.iter().find(|point| point.key.load == Load::MaxThroughput) else {
        return Some((Load::MaxThroughput, 0));
    };
    let load = |milli_rate| Load::Rate { milli_requests_per_s: milli_rate, arrivals: search.arrivals };
    let trials = Trials::of(search, points);
    if let Some(open) = trials.0.iter().find(|trial| trial.verdict(search) == Verdict::Open) {
        return Some((load(open.milli_rate), open.times));
    }
    let most = search.max_rate.map_or(u64::MAX, milli);
    let (held, missed) = trials.bracket();
    let rate = match (held.map(|held| held.milli_rate), missed.map(|missed| missed.milli_rate)) {
        (None, None) => milli(capacity.requests_per_s * FIRST).min(most),
        (Some(held), None) if held >= most => return confirm(search, held, &trials),
        (Some(held), None) => rounded(held as f64 * UP).max(held + 1).min(most),
        (None, Some(missed)) => {
            let half = rounded(missed as f64 / 2.0);
            if half == 0 || (half as f64) < capacity.requests_per_s * 1e3 * HOPELESS {
                return None;
            }
            half
        }
        (Some(held), Some(missed)) => {
            let middle = rounded((held as f64 * missed as f64).sqrt());
            if missed as f64 <= held as f64 * (1.0 + search.precision) || middle <= held || middle >= missed {
                return confirm(search, held, &trials);
            }
            middle
        }
    };
    Some((load(rate), 0))
}

/// The highest rate is measured twice at least: of many that were tried, the one that chance favoured would be chosen.
fn confirm(search: &Search, held: u64, trials: &Trials) -> Option<(Load, u32)> {
    let trial = trials.0.iter().find(|trial| trial.milli_rate == held)?;
    let load = Load::Rate { milli_requests_per_s: held, arrivals: search.arrivals };
    (trial.times < search.attempts.min(2)).then_some((load, trial.times))
}

fn milli(rate: f64) -> u64 {
    rounded(rate * 1e3).max(1)
}

/// To three significant digits, so that rates can be read.
fn rounded(milli_rate: f64) -> u64 {
    if milli_rate < 1.0 {
        return 0;
    }
    let unit = 10_f64.powi((milli_rate.log10().floor() as i32 - 2).max(0));
    ((milli_rate / unit).round() * unit) as u64
}

#[cfg(test)]
mod tests;
