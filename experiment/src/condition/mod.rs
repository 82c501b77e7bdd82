//! Conditions for continuous integration: `--fail-if "p99 > 50 ms"`, `--fail-if "slower than FOLDER by 2 %"`.

mod parse;
mod types;

use anyhow::{Context, Result};

use crate::diff::{self, Ratio, Severity};
use crate::plan::Load;
use crate::results::{Metric, Results, Summary};
use crate::store::Store;
pub use parse::percentage;
pub use types::{Condition, Quantity, Scope, Test};

/// What a condition came to, from the least serious to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The condition does not hold, at any point.
    NotMet,
    /// The interval lies on both sides of the limit.
    Undecided,
    /// There is no such figure, or no such point, or the baseline cannot be compared.
    NotMeasured,
    /// The condition holds.
    Met,
}

/// A condition, judged.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The worst over all points.
    pub state: State,
    /// One line for each point that is not [`State::NotMet`]; or one that sums up.
    pub lines: Vec<String>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What was expected, and what was found instead.
    pub fn parse(text: &str) -> Result<Self> {
        parse::condition(text).with_context(|| format!("--fail-if \"{text}\""))
    }

    /// The results that it compares with, if it does.
    ///
    /// # Errors
    /// There are none in its folder.
    pub fn baseline(&self) -> Result<Option<Results>> {
        let Test::Baseline { folder, .. } = &self.test else { return Ok(None) };
        let store = Store::open(folder).with_context(|| format!("--fail-if \"{}\"", self.text))?;
        Ok(Some(store.results().clone()))
    }

    /// Judges results. `baseline` is what [`Condition::baseline`] has returned.
    pub fn judge(&self, results: &Results, baseline: Option<&Results>) -> Judgement {
        let points: Vec<&Summary> = results.summary.iter().filter(|point| self.is_about(point)).collect();
        if points.is_empty() {
            return not_measured("no point that it is about was measured".to_owned());
        }
        let each: Vec<(State, String)> = match (&self.test, baseline) {
            (Test::Limit { of, above, inclusive, limit }, _) => points
                .iter()
                .map(|point| at_limit(results, point, *of, (*above, *inclusive, *limit)))
                .collect(),
            (Test::Baseline { metric, better, by, .. }, Some(baseline)) => {
                let differences = diff::differences(baseline, results);
                if let Some(error) = differences.iter().find(|found| found.severity == Severity::Error) {
                    return not_measured(format!("the baseline cannot be compared: {}", error.text));
                }
                if metric.is_some_and(Metric::is_energy) && differences.iter().any(|found| found.energy) {
                    return not_measured("the baseline's energy is of other devices".to_owned());
                }
                points.iter().map(|point| against(baseline, point, *metric, *better, *by)).collect()
            }
            (Test::Baseline { .. }, None) => return not_measured("there is no baseline".to_owned()),
        };
        let state = each.iter().map(|(state, _)| *state).max().unwrap_or(State::NotMeasured);
        let mut lines: Vec<String> =
            each.into_iter().filter(|(state, _)| *state != State::NotMet).map(|(_, line)| line).collect();
        if lines.is_empty() {
            lines.push(format!("holds at none of {} points", points.len()));
        }
        Judgement { state, lines }
    }

    fn is_about(&self, point: &Summary) -> bool {
        self.scope.iter().all(|scope| match (scope, &point.load) {
            (Scope::Batch(batch), _) => point.batch == *batch,
            (Scope::Configuration(name), _) => point.configuration == *name,
            (Scope::Concurrency(wanted), Load::Concurrency { concurrency }) => concurrency == wanted,
            (Scope::Rate(wanted), Load::Rate { milli_requests_per_s, .. }) => milli_requests_per_s == wanted,
            (Scope::Concurrency(_) | Scope::Rate(_), _) => false,
        })
    }
}

fn not_measured(line: String) -> Judgement {
    Judgement { state: State::NotMeasured, lines: vec![line] }
}

fn at_limit(
    results: &Results,
    point: &Summary,
    of: Quantity,
    (above, inclusive, limit): (bool, bool, f64),
) -> (State, String) {
    let name = diff::name(&point.configuration, point.batch, &point.load);
    let (value, low, high, unit) = match of {
        Quantity::Metric(metric) => match point.estimates.get(&metric) {
            Some(found) => {
                // Without an interval the value itself decides.
                let (low, high) = found.interval().unwrap_or((found.value, found.value));
                (found.value, low, high, metric.name())
            }
            None => return (State::NotMeasured, format!("{name}: {metric} was not measured")),
        },
        Quantity::Errors | Quantity::ErrorShare => {
            let value = failed(results, point, of == Quantity::ErrorShare);
            (value, value, value, if of == Quantity::Errors { "errors" } else { "share of errors" })
        }
    };
    let holds = |value: f64| match (above, inclusive) {
        (true, true) => value >= limit,
        (true, false) => value > limit,
        (false, true) => value <= limit,
        (false, false) => value < limit,
    };
    let state = match (holds(low), holds(high)) {
        (true, true) => State::Met,
        (false, false) => State::NotMet,
        _ => State::Undecided,
    };
    let interval = if low < high { format!(" [{}, {}]", digits(low), digits(high)) } else { String::new() };
    (state, format!("{name}: {unit} = {}{interval}{}", digits(value), remark(state)))
}

fn remark(state: State) -> &'static str {
    if state == State::Undecided { ", undecided: the interval contains the limit" } else { "" }
}

/// Requests that failed at a point, or their share.
fn failed(results: &Results, point: &Summary, share: bool) -> f64 {
    let same = results.points.iter().filter(|one| {
        (&one.key.configuration, one.key.batch, &one.key.load)
            == (&point.configuration, point.batch, &point.load)
    });
    let (failed, answered) = same.fold((0, 0), |(failed, answered), one| {
        (failed + one.errors.iter().map(|error| error.count).sum::<u64>(), answered + one.requests)
    });
    if share { failed as f64 / (failed + answered).max(1) as f64 } else { failed as f64 }
}

fn against(
    baseline: &Results,
    point: &Summary,
    metric: Option<Metric>,
    better: bool,
    by: f64,
) -> (State, String) {
    let name = diff::name(&point.configuration, point.batch, &point.load);
    let open = matches!(point.load, Load::Rate { .. } | Load::Trace { .. } | Load::Shaped { .. });
    let metric = metric.unwrap_or(if open { Metric::LatencyMeanNs } else { Metric::InferencesPerS });
    let before = diff::counterpart(baseline, point);
    let both =
        before.and_then(|before| Some((before.estimates.get(&metric)?, point.estimates.get(&metric)?)));
    let Some(ratio) = both.and_then(|(before, now)| Ratio::of(before, now)) else {
        return (State::NotMeasured, format!("{name}: the baseline has no {metric} to compare with"));
    };
    let (low, high) = ratio.interval().unwrap_or((ratio.value, ratio.value));
    let bound = 1.0 + by;
    // A latency that is longer is worse, and so is a throughput that is lower.
    let holds = |ratio: f64| match metric.more_is_better() == better {
        true => ratio > bound,
        false => ratio < 1.0 / bound,
    };
    let state = match (holds(low), holds(high)) {
        (true, true) => State::Met,
        (false, false) => State::NotMet,
        _ => State::Undecided,
    };
    let interval = if low < high { format!(" [{low:.4}, {high:.4}]") } else { String::new() };
    (state, format!("{name}: {metric} is {:.4}{interval} times the baseline's{}", ratio.value, remark(state)))
}

/// Four significant digits.
fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (3 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests;
