//! `ab`: two contenders on servers that run, measured in turn until one is known to be faster.
//!
//! This is the part without a server: the order of measurement, the test, and the document that is left behind.

pub mod order;
pub mod sequential;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diff::Ratio;
use crate::results::{Host, Metric, Model, Server};
pub use order::{Contender, Order};
pub use sequential::{Decision, Judge};

/// The version of the format of `ab.json`; see [`SCHEMA_VERSION`](crate::results::SCHEMA_VERSION).
pub const AB_SCHEMA_VERSION: u32 = 1;

const FILE: &str = "ab.json";

/// The probability with which a contender is called different from itself, however often one looks.
pub const ALPHA: f64 = 0.05;

/// A comparison: the contents of `ab.json`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ab {
    /// [`AB_SCHEMA_VERSION`] of the tool that wrote it.
    pub schema_version: u32,
    /// The tool that wrote it.
    pub tool: String,
    /// The command line, with all arguments.
    pub command: Vec<String>,
    /// Start time, RFC 3339 in UTC.
    pub started: String,
    /// The machine that the tool ran on.
    pub host: Host,
    /// The first contender.
    pub a: Side,
    /// The second contender, which is compared with the first.
    pub b: Side,
    /// What is compared.
    pub metric: Metric,
    /// The least difference of interest, a fraction: within it the contenders count as equivalent.
    pub difference: f64,
    /// The probability of calling a contender different from itself.
    pub alpha: f64,
    /// The least length of a block, in seconds.
    pub block_s: f64,
    /// In order.
    pub rounds: Vec<Round>,
    /// How it ended.
    pub outcome: Outcome,
    /// The metric of B over that of A, with an interval that holds at any time of the comparison.
    pub ratio: Option<Ratio>,
}

/// A contender.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// What was given for it alone, as KEY=VALUE.
    pub given: Vec<String>,
    /// All settings.
    pub plan: Value,
    /// The server.
    pub server: Server,
    /// The model.
    pub model: Model,
    /// The model's configuration, as the server reported it.
    pub configuration: Value,
}

/// Four blocks: two of each contender.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// Who was measured, in order.
    pub order: [Contender; 4],
    /// The metric of each block.
    pub values: [f64; 4],
    /// When the round ended, in seconds since the first began.
    pub seconds: f64,
    /// The ratio after this round: B over A.
    pub ratio: Option<Ratio>,
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// B is better than A.
    Better,
    /// B is worse than A.
    Worse,
    /// They differ by less than the difference of interest.
    Equivalent,
    /// The time was not enough.
    #[default]
    Undecided,
}

impl From<Option<Decision>> for Outcome {
    fn from(decision: Option<Decision>) -> Self {
        match decision {
            Some(Decision::Better) => Self::Better,
            Some(Decision::Worse) => Self::Worse,
            Some(Decision::Equivalent) => Self::Equivalent,
            None => Self::Undecided,
        }
    }
}

impl Round {
    /// The logarithm of how much better B was than A; none if a value is not above zero.
    pub fn difference(&self, metric: Metric) -> Option<f64> {
        difference(metric, &self.order, &self.values)
    }
}

/// See [`Round::difference`].
pub fn difference(metric: Metric, order: &[Contender; 4], values: &[f64; 4]) -> Option<f64> {
    let sign = |contender: &Contender| match (contender, metric.more_is_better()) {
        (Contender::B, true) | (Contender::A, false) => 0.5,
        (Contender::A, true) | (Contender::B, false) => -0.5,
    };
    let sum: f64 = order.iter().zip(values).map(|(contender, value)| sign(contender) * value.ln()).sum();
    sum.is_finite().then_some(sum)
}

/// The ratio of the metric, B over A, from the judge's differences.
pub fn ratio(metric: Metric, judge: &Judge) -> Option<Ratio> {
    let mean = judge.sequence().mean()?;
    let (low, high) = judge.interval();
    let sign = if metric.more_is_better() { 1.0 } else { -1.0 };
    let (low, high) = if sign < 0.0 { (-high, -low) } else { (low, high) };
    let end = |log: f64| log.is_finite().then(|| log.exp());
    Some(Ratio { value: (sign * mean).exp(), low: end(low), high: end(high) })
}

impl Ab {
    /// The result in a sentence.
    pub fn sentence(&self) -> String {
        let is_speed = self.metric == Metric::InferencesPerS || self.metric.is_latency();
        let percent = self.difference * 100.0;
        let verdict = match (self.outcome, is_speed) {
            (Outcome::Better, true) => "B is faster than A".to_owned(),
            (Outcome::Worse, true) => "B is slower than A".to_owned(),
            (Outcome::Better, false) => "B is more efficient than A".to_owned(),
            (Outcome::Worse, false) => "B is less efficient than A".to_owned(),
            (Outcome::Equivalent, _) => format!("A and B are equivalent within {percent} %"),
            (Outcome::Undecided, _) => "undecided".to_owned(),
        };
        let seconds = self.rounds.last().map_or(0.0, |round| round.seconds);
        let after = format!("after {} rounds ({seconds:.0} s)", self.rounds.len());
        match self.ratio {
            Some(Ratio { value, low: None, high: None }) => {
                format!(
                    "{verdict}: {} of B is {value:.4} times that of A so far, without bounds {after}",
                    self.metric
                )
            }
            Some(Ratio { value, low, high }) => {
                let end = |end: Option<f64>, none: &str| {
                    end.map_or_else(|| none.to_owned(), |end| format!("{end:.4}"))
                };
                let (low, high) = (end(low, "0"), end(high, "∞"));
                format!(
                    "{verdict}: {} of B is {value:.4} [{low}, {high}] times that of A, {after}",
                    self.metric
                )
            }
            None => format!("{verdict}: no round was measured"),
        }
    }

    /// # Errors
    /// The folder holds a comparison.
    pub fn check_unused(folder: &Path) -> Result<()> {
        let file = folder.join(FILE);
        ensure!(!file.exists(), "{} already exists: give another --output", file.display());
        Ok(())
    }

    /// Whether a folder holds a comparison.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }

    /// Writes it to the folder, and returns the file.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let (file, beside) = (folder.join(FILE), folder.join("ab.new"));
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&beside, json))
            .and_then(|()| fs::rename(&beside, &file))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Reads it from a folder.
    ///
    /// # Errors
    /// There is none, it is not one of this tool, or one of a newer version.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let not_ours = || format!("{} is not a comparison of triton-experiment ab", file.display());
        let value: Value = serde_json::from_str(&text).with_context(not_ours)?;
        match value["schema_version"].as_u64() {
            Some(version) if version > u64::from(AB_SCHEMA_VERSION) => bail!(
                "{} has schema version {version}, but this tool supports up to {AB_SCHEMA_VERSION}: use a newer \
                 triton-experiment",
                file.display()
            ),
            _ => serde_json::from_value(value).with_context(not_ours),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Contender::{A, B};
    use super::*;

    #[test]
    fn the_difference_is_that_of_b_and_a_steady_drift_cancels() {
        let order = [A, B, B, A];
        let of = |values| difference(Metric::InferencesPerS, &order, &values).unwrap();
        assert!((of([100.0, 110.0, 110.0, 100.0]) - 1.1_f64.ln()).abs() < 1e-12);
        // One percent faster from block to block.
        assert!(of([1.01_f64, 1.01_f64.powi(2), 1.01_f64.powi(3), 1.01_f64.powi(4)]).abs() < 1e-12);
        let latency = difference(Metric::LatencyP99Ns, &order, &[100.0, 110.0, 110.0, 100.0]).unwrap();
        assert!((latency + 1.1_f64.ln()).abs() < 1e-12, "longer is worse");
        assert_eq!(difference(Metric::LatencyP99Ns, &order, &[0.0, 1.0, 1.0, 1.0]), None);
    }

    #[test]
    fn the_ratio_is_of_the_metric_itself() {
        let mut judge = Judge::new(ALPHA, 0.02);
        for _ in 0..20 {
            judge.add(difference(Metric::LatencyMeanNs, &[A, B, B, A], &[10.0, 12.0, 12.0, 10.0]).unwrap());
        }
        assert_eq!(judge.decision(), Some(Decision::Worse));
        let ratio = ratio(Metric::LatencyMeanNs, &judge).unwrap();
        assert!((ratio.value - 1.2).abs() < 1e-9, "{ratio:?}");
        assert!(
            ratio.low.unwrap() > 1.0 && ratio.low.unwrap() <= 1.2 && ratio.high.unwrap() >= 1.2,
            "{ratio:?}"
        );
    }
}
