//! Metrics with confidence intervals, from the windows of a point or from its repeats.
//!
//! One visit: its windows are resampled (bootstrap). Several visits: each is one value, and their spread counts, since
//! windows of one visit are more alike than visits are.

mod bootstrap;
mod distribution;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::plan::Load;
use crate::results::{Estimate, Estimates, Metric, Point, Results, Summary, WindowSummary};
use crate::times;
use crate::uncertainty::{of_mean, together};
use bootstrap::{interval, log_errors};
use distribution::{BUCKET, Distributions};

const QUANTILES: [Metric; 5] = [
    Metric::LatencyP50Ns,
    Metric::LatencyP90Ns,
    Metric::LatencyP95Ns,
    Metric::LatencyP99Ns,
    Metric::LatencyP999Ns,
];

/// Metrics that are a quotient of two sums over windows.
const QUOTIENTS: [Metric; 5] = [
    Metric::InferencesPerS,
    Metric::LatencyMeanNs,
    Metric::AveragePowerW,
    Metric::JPerInference,
    Metric::CpuSPerInference,
];

/// The metrics of a point, with intervals over its windows.
pub fn of_point(point: &Point) -> Estimates {
    let windows: Vec<&WindowSummary> = point.windows.iter().filter(|window| window.measured).collect();
    let batch = f64::from(point.key.batch);
    let quotients =
        log_errors(windows.len(), |taken| QUOTIENTS.map(|metric| quotient(metric, &windows, batch, taken)));
    let distributions = distributions(&windows);
    let percentiles = match &distributions {
        Some(all) => log_errors(windows.len(), |taken| all.quantiles(taken, quantiles())),
        None => [None; QUANTILES.len()],
    };
    let values = values(point);
    let mut estimates = Estimates::new();
    for (&metric, &value) in &values {
        let of = |metrics: &[Metric], errors: &[Option<f64>]| {
            metrics.iter().position(|one| *one == metric).and_then(|at| errors[at])
        };
        let found = match metric.quantile() {
            Some(quantile) => of(&QUANTILES, &percentiles).and_then(|error| {
                let (low, high) = interval(value, error, windows.len(), 0.0)?;
                // Windows that agree by chance, or because a bucket is wide, do not make a percentile exact.
                let (least, most) = distributions.as_ref()?.by_order(quantile)?;
                Some((low.min(least).min(value * (1.0 - BUCKET)), high.max(most)))
            }),
            None => of(&QUOTIENTS, &quotients)
                .and_then(|error| interval(value, error, windows.len(), edges(metric, point))),
        };
        estimates.insert(metric, Estimate { value, low: found.map(|f| f.0), high: found.map(|f| f.1) });
    }
    inverse(&mut estimates);
    estimates
}

/// The metrics of all repeats of a point of the plan: their means, with intervals over the repeats if there are several.
pub fn of_visits(points: &[&Point]) -> Estimates {
    if let [point] = points {
        // Those of an imported file are all there is.
        return if point.windows.is_empty() { point.estimates.clone() } else { of_point(point) };
    }
    let each: Vec<BTreeMap<Metric, f64>> = points.iter().map(|point| values(point)).collect();
    let mut estimates = Estimates::new();
    for metric in Metric::ALL {
        let values: Vec<f64> = each.iter().filter_map(|values| values.get(&metric).copied()).collect();
        if values.is_empty() {
            continue;
        }
        let value = values.iter().sum::<f64>() / values.len() as f64;
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        // The error that the bootstrap of a mean comes to.
        let spread = of_mean(&logs).filter(|_| values.len() == points.len());
        let own = if metric.quantile().is_some() { BUCKET } else { 0.0 };
        let edges = together(points.iter().map(|point| edges(metric, point) / points.len() as f64));
        let found = spread.map(|spread| together([spread, edges, own])).filter(|_| value > 0.0);
        let (low, high) = (found.map(|half| value * (-half).exp()), found.map(|half| value * half.exp()));
        estimates.insert(metric, Estimate { value, low, high });
    }
    estimates
}

/// Computes the intervals that results of an earlier version do not have.
pub fn complete(results: &mut Results) {
    for point in results.points.iter_mut().filter(|point| point.estimates.is_empty()) {
        point.estimates = of_point(point);
    }
    if results.summary.is_empty() {
        results.summary = summary(&results.points);
    }
}

/// All points of the plan that got responses, each with its repeats.
pub fn summary(points: &[Point]) -> Vec<Summary> {
    let mut groups = BTreeMap::<(&str, u32, &Load), Vec<&Point>>::new();
    for point in points.iter().filter(|point| point.inferences > 0 || !point.estimates.is_empty()) {
        let key = &point.key;
        groups.entry((&key.configuration, key.batch, &key.load)).or_default().push(point);
    }
    let summary = |((configuration, batch, load), mut points): ((&str, u32, &Load), Vec<&Point>)| {
        points.sort_by_key(|point| point.key.repeat);
        Summary {
            configuration: configuration.to_owned(),
            batch,
            load: load.clone(),
            visits: points.len(),
            estimates: of_visits(&points),
        }
    };
    groups.into_iter().map(summary).collect()
}

/// The metrics of a point, without intervals. Those that it does not have are absent.
pub fn values(point: &Point) -> BTreeMap<Metric, f64> {
    let latency = point.client_latency.as_ref();
    let of = |metric: Metric| match metric {
        Metric::InferencesPerS => Some(point.inferences_per_s).filter(|_| point.inferences > 0),
        Metric::LatencyMeanNs => latency.map(|latency| latency.mean_ns),
        Metric::LatencyP50Ns => latency.map(|latency| latency.p50_ns as f64),
        Metric::LatencyP90Ns => latency.map(|latency| latency.p90_ns as f64),
        Metric::LatencyP95Ns => latency.map(|latency| latency.p95_ns as f64),
        Metric::LatencyP99Ns => latency.map(|latency| latency.p99_ns as f64),
        Metric::LatencyP999Ns => latency.map(|latency| latency.p99_9_ns as f64),
        Metric::AveragePowerW => point.consumption.average_power_w,
        Metric::JPerInference => point.j_per_inference,
        Metric::InferencesPerJ => point.inferences_per_j,
        Metric::CpuSPerInference => point.cpu_s_per_inference,
    };
    let told = |metric: Metric| point.estimates.get(&metric).map(|estimate| estimate.value);
    let all = Metric::ALL.into_iter();
    all.filter_map(|metric| Some((metric, of(metric).or_else(|| told(metric))?))).collect()
}

fn quantiles() -> [f64; QUANTILES.len()] {
    QUANTILES.map(|metric| metric.quantile().unwrap_or(1.0))
}

/// The windows' distributions; none if they were not kept, or cannot be read.
fn distributions(windows: &[&WindowSummary]) -> Option<Distributions> {
    let histograms: Option<Vec<Histogram<u64>>> =
        windows.iter().map(|window| times::decode(window.latency_histogram.as_deref()?).ok()).collect();
    histograms.map(|histograms| Distributions::of(&histograms))
}

/// A metric of the windows, each taken so many times.
fn quotient(metric: Metric, windows: &[&WindowSummary], batch: f64, taken: &[u32]) -> Option<f64> {
    let sum = |of: &dyn Fn(&WindowSummary) -> Option<f64>| {
        let taken = windows.iter().zip(taken).filter(|(_, times)| **times > 0);
        taken.map(|(window, times)| Some(of(window)? * f64::from(*times))).sum::<Option<f64>>()
    };
    let requests = |window: &WindowSummary| Some(window.requests as f64);
    let inferences = |window: &WindowSummary| Some(window.requests as f64 * batch);
    let seconds = |window: &WindowSummary| Some(window.seconds);
    let energy = |window: &WindowSummary| window.energy_j;
    let waited = |window: &WindowSummary| match window.requests {
        0 => Some(0.0),
        requests => Some(window.latency_mean_ns? * requests as f64),
    };
    match metric {
        Metric::InferencesPerS => Some(sum(&inferences)? / sum(&seconds)?),
        Metric::LatencyMeanNs => Some(sum(&waited)? / sum(&requests)?),
        Metric::AveragePowerW => Some(sum(&energy)? / sum(&seconds)?),
        Metric::JPerInference => Some(sum(&energy)? / sum(&inferences)?),
        Metric::CpuSPerInference => Some(sum(&|window| window.server_cpu_s)? / sum(&inferences)?),
        _ => None,
    }
}

/// The relative error that the edges of the measured part bring to a metric of energy.
fn edges(metric: Metric, point: &Point) -> f64 {
    let consumption = &point.consumption;
    match consumption.energy_error_j.zip(consumption.energy_j) {
        Some((error_j, energy_j)) if metric.is_energy() && energy_j > 0.0 => error_j / energy_j,
        _ => 0.0,
    }
}

/// Efficiency is the inverse of the energy of an inference, and so is its interval.
fn inverse(estimates: &mut Estimates) {
    let Some(joules) = estimates.get(&Metric::JPerInference).copied() else { return };
    if let Some(efficiency) = estimates.get_mut(&Metric::InferencesPerJ) {
        efficiency.low = joules.high.map(f64::recip);
        efficiency.high = joules.low.map(f64::recip);
    }
}

#[cfg(test)]
mod tests;
