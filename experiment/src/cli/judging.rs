//! `--fail-if` and the exit codes that come of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::condition::{Condition, State};
use crate::results::Results;
use crate::store::Store;

/// Help on the conditions.
pub const CONDITIONS: &str = "\
Conditions (--fail-if, may be repeated; one that holds at any point is met):
  METRIC > LIMIT        p99 > 50 ms, throughput < 100, energy_per_inference > 0.2 J, errors > 0, errors > 1 %
  slower than FOLDER    slower than baseline by 2 %, p99 slower than baseline by 10 %, energy worse than baseline
  ... at SCOPE          p99 > 50 ms at batch 4 and rate 20 (batch, concurrency, rate, configuration)

  Metrics: throughput, mean, p50, p90, p95, p99, p99.9, power, energy_per_inference, inferences_per_j, cpu, errors.
  A condition is met if the whole 95 % interval is beyond the limit, and undecided if the interval contains the limit.
  'slower' is of throughput in a closed loop and of mean latency in an open one.

Exit codes: 3 a condition is met, 4 none is met and one is undecided, 5 none is met and one could not be judged because
something was not measured or cannot be compared; otherwise as for a run without conditions.";

const MET: u8 = 3;
const UNDECIDED: u8 = 4;
const NOT_MEASURED: u8 = 5;

/// Arguments of `check`.
#[derive(Args)]
pub struct Checking {
    /// The folder that holds results.json.
    folder: PathBuf,
    /// End with exit code 3 if this holds; may be repeated.
    #[arg(long, value_name = "CONDITION", required = true)]
    fail_if: Vec<String>,
}

/// Conditions, with the results that they compare with.
pub struct Conditions(Vec<(Condition, Option<Results>)>);

impl Conditions {
    /// Reads them, and their baselines: so that what is wrong is said before the measurement and not after it.
    ///
    /// # Errors
    /// A condition means nothing, or its baseline cannot be read.
    pub fn read(texts: &[String]) -> Result<Self> {
        let read = |text: &String| {
            let condition = Condition::parse(text)?;
            let baseline = condition.baseline()?;
            Ok((condition, baseline))
        };
        texts.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Prints what each came to, and returns the exit code; success if there are none.
    pub fn judge(&self, results: &Results) -> ExitCode {
        let mut worst = State::NotMet;
        for (condition, baseline) in &self.0 {
            let judgement = condition.judge(results, baseline.as_ref());
            let word = match judgement.state {
                State::NotMet => "not met",
                State::Undecided => "undecided",
                State::NotMeasured => "not measured",
                State::Met => "MET",
            };
            println!("fail if {}: {word}", condition.text);
            judgement.lines.iter().for_each(|line| println!("    {line}"));
            worst = worst.max(judgement.state);
        }
        match worst {
            State::NotMet => ExitCode::SUCCESS,
            State::Undecided => ExitCode::from(UNDECIDED),
            State::NotMeasured => ExitCode::from(NOT_MEASURED),
            State::Met => ExitCode::from(MET),
        }
    }

    /// Judges the results in a folder, if there are conditions.
    ///
    /// # Errors
    /// There are no results.
    pub fn judge_folder(&self, folder: &Path) -> Result<ExitCode> {
        if self.0.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Ok(self.judge(Store::open(folder)?.results()))
    }
}

/// `check`: conditions on the results of an earlier run.
///
/// # Errors
/// There are no results, or they have no point.
pub fn check(checking: &Checking, conditions: &Conditions) -> Result<ExitCode> {
    let store = Store::open(&checking.folder)?;
    ensure!(!store.results().points.is_empty(), "{} has no points", checking.folder.display());
    Ok(conditions.judge(store.results()))
}

impl Checking {
    /// The conditions as they were written.
    pub fn texts(&self) -> &[String] {
        &self.fail_if
    }
}

/// What `ab` fails on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AbFailure {
    /// B is slower, or less efficient, than A
    Slower,
    /// B is faster, or more efficient, than A
    Faster,
    /// Either of these
    Different,
}

impl AbFailure {
    /// The exit code: 3 if it is so, 4 if nothing was decided.
    pub fn code(all: &[Self], outcome: crate::ab::Outcome) -> ExitCode {
        use crate::ab::Outcome;
        let met = |one: &Self| match outcome {
            Outcome::Better => *one != Self::Slower,
            Outcome::Worse => *one != Self::Faster,
            Outcome::Equivalent | Outcome::Undecided => false,
        };
        match all {
            [] => ExitCode::SUCCESS,
            all if all.iter().any(met) => ExitCode::from(MET),
            _ if outcome == Outcome::Undecided => ExitCode::from(UNDECIDED),
            _ => ExitCode::SUCCESS,
        }
    }
}
