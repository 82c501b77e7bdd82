//! Two results held against each other: for each point that both have, which one is faster.
//!
//! Everything here is computed from results; nothing is measured.

mod comparable;
mod ratio;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::Load;
use crate::results::{Estimate, Metric, Results, Summary};
pub use comparable::{Difference, Severity, differences};
pub use ratio::{Ratio, Verdict};

/// Two results, compared.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// What both runs do not have in common, apart from their results.
    pub differences: Vec<Difference>,
    /// Ratios between 1 / (1 + threshold) and 1 + threshold count as no difference; a fraction.
    pub threshold: f64,
    /// The points that both have, in the order of the first.
    pub points: Vec<PointDiff>,
    /// Points that only the first has.
    pub only_first: Vec<String>,
    /// Points that only the second has.
    pub only_second: Vec<String>,
}

/// A point of both results.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PointDiff {
    /// The name of the model's configuration; empty in a sweep.
    pub configuration: String,
    /// Rows in each request.
    pub batch: u32,
    /// The load.
    pub load: Load,
    /// Each metric that both have.
    pub metrics: Vec<MetricDiff>,
}

/// A metric of a point of both results.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MetricDiff {
    /// The metric.
    pub metric: Metric,
    /// Of the first results.
    pub first: Estimate,
    /// Of the second results.
    pub second: Estimate,
    /// The second over the first.
    pub ratio: Ratio,
    /// What follows from the ratio.
    pub verdict: Verdict,
}

impl Diff {
    /// Whether the results can be compared at all.
    pub fn is_comparable(&self) -> bool {
        !self.points.is_empty()
            && self.differences.iter().all(|difference| difference.severity != Severity::Error)
    }

    /// The number of metrics with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.points.iter().flat_map(|point| &point.metrics).filter(|metric| metric.verdict == verdict).count()
    }
}

impl PointDiff {
    /// Its name in tables.
    pub fn name(&self) -> String {
        name(&self.configuration, self.batch, &self.load)
    }
}

/// "configuration, batch 4, concurrency 2".
pub fn name(configuration: &str, batch: u32, load: &Load) -> String {
    match configuration {
        "" => format!("batch {batch}, {load}"),
        name => format!("{name}, batch {batch}, {load}"),
    }
}

/// Compares the points that two results have in common. `threshold` is a fraction of 0 or more.
pub fn diff(first: &Results, second: &Results, threshold: f64) -> Diff {
    let named = |summary: &Summary| name(&summary.configuration, summary.batch, &summary.load);
    let mut points = Vec::new();
    let mut only_first = Vec::new();
    for one in &first.summary {
        match second.summary.iter().find(|other| is_same_point(one, other)) {
            Some(other) => points.push(between(one, other, threshold)),
            None => only_first.push(named(one)),
        }
    }
    let only_second =
        second.summary.iter().filter(|one| !first.summary.iter().any(|other| is_same_point(one, other)));
    let only_second = only_second.map(named).collect();
    let mut diff =
        Diff { differences: differences(first, second), threshold, points, only_first, only_second };
    if !diff.differences.iter().any(|difference| difference.energy) {
        return diff;
    }
    // Watts of other devices are other watts.
    for point in &mut diff.points {
        point.metrics.retain(|metric| !metric.metric.is_energy());
    }
    diff
}

/// Compares two points, the second with the first.
pub fn between(first: &Summary, second: &Summary, threshold: f64) -> PointDiff {
    let both =
        |metric: Metric| Some((metric, *first.estimates.get(&metric)?, *second.estimates.get(&metric)?));
    let metrics = Metric::ALL.into_iter().filter_map(both).filter_map(|(metric, first, second)| {
        let ratio = Ratio::of(&first, &second)?;
        Some(MetricDiff { metric, first, second, ratio, verdict: Verdict::of(metric, &ratio, threshold) })
    });
    PointDiff {
        configuration: second.configuration.clone(),
        batch: second.batch,
        load: second.load.clone(),
        metrics: metrics.collect(),
    }
}

/// The point of earlier results that is the same as this one.
pub fn counterpart<'a>(earlier: &'a Results, point: &Summary) -> Option<&'a Summary> {
    earlier.summary.iter().find(|one| is_same_point(one, point))
}

fn is_same_point(one: &Summary, other: &Summary) -> bool {
    (&one.configuration, one.batch) == (&other.configuration, other.batch)
        && is_same_load(&one.load, &other.load)
}

/// A trace is known by its name: the folders that it lies in may differ.
fn is_same_load(one: &Load, other: &Load) -> bool {
    one == other
        || matches!((one, other), (Load::Trace { .. }, Load::Trace { .. }))
            && one.to_string() == other.to_string()
}

#[cfg(test)]
mod tests;
