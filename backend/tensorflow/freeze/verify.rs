//! Whether a frozen model answers as its SavedModel does, on random rows.
//!
//! The SavedModel runs first, before its variables are read: once they are shared with another session, an operation that looks
//! up rows of a variable would copy all of it. What it answers is kept, and compared when the frozen model runs the same rows.

use std::time::{Duration, Instant};

use tensorflow_c_sys::TF_Code;

use super::compare::{Tolerance, compare};
use super::model::{MOST_ELEMENTS, OPEN_DIMENSION};
use super::random::{Kind, Random};
use crate::tensorflow::endpoint::{Endpoint, Place};
use crate::tensorflow::graph::Outputs;
use crate::tensorflow::raw_session::RawSession;
use crate::tensorflow::status::Failure;
use crate::tensorflow::tensor::{Tensor, byte_size};
use crate::tensorflow::variables;

/// Rows where the batch may be of any size: more than the one row that the graph was optimised with.
const ROWS: i64 = 2;
/// The size of other dimensions of any size, and how the values are chosen, in one attempt after the other: a model may need
/// pictures of some size, or indices that are in a small table.
const ATTEMPTS: [(i64, Kind); 2] = [(8, Kind::Any), (OPEN_DIMENSION, Kind::Harmless)];
/// The part of the load so far that an unasked-for run may take.
const PART: u32 = 20;
/// What the first run of a graph takes for each of its operations before the first of them runs: functions are taken apart, and
/// kernels made. A run's time limit does not end that. Inception-v3 takes 1.1 s of CPU for some 2,500.
const PREPARATION: Duration = Duration::from_micros(500);
/// For a run that was asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether to verify.
#[derive(Clone, Copy, Debug)]
pub enum Effort {
    /// No.
    No,
    /// Where it takes a small part of the load, which began then.
    Little(Instant),
    /// In any case.
    Any,
}

/// Random rows, and what the SavedModel answers.
pub struct Reference {
    rows: Vec<Tensor>,
    answers: Result<Vec<Option<Tensor>>, Failure>,
}

/// Runs the SavedModel in `session`, which has so many operations, on random rows for `inputs`, and fetches `fetched`.
///
/// # Errors
/// Why it was not done.
pub fn ask(
    session: &RawSession,
    operations: usize,
    inputs: &[Endpoint],
    fed: &[Place],
    fetched: &[Place],
    effort: Effort,
) -> Result<Reference, String> {
    let start = Instant::now();
    let most = match effort {
        Effort::No => return Err("TF_FREEZE says so".into()),
        Effort::Any => PATIENCE,
        Effort::Little(load) => load.elapsed() / PART,
    };
    let late = || {
        let [took, most] = [start.elapsed(), most].map(|time| time.as_secs_f64() * 1e3);
        let limit = match effort {
            Effort::Little(_) => "a twentieth of the load so far (TF_FREEZE: verify takes the time)",
            _ => "the most that there is",
        };
        format!("the SavedModel had not answered after {took:.1} ms; {most:.1} ms are {limit}")
    };
    let preparation = PREPARATION * u32::try_from(operations).unwrap_or(u32::MAX);
    if matches!(effort, Effort::Little(_)) && preparation > most {
        let [preparation, most] = [preparation, most].map(|time| time.as_secs_f64() * 1e3);
        return Err(format!(
            "to run its {operations} operations for the first time takes {preparation:.0} ms or more; {most:.1} ms are a \
             twentieth of the load so far (TF_FREEZE: verify takes the time)"
        ));
    }
    let reference = asked(session, inputs, fed, fetched, most, start).map_err(|unasked| match unasked {
        Unasked::Late => late(),
        Unasked::NoRows(reason) => reason,
    });
    // Rows may have been looked up, whatever came of it. Without this, reading a variable then takes a copy; that is all that its
    // failure means.
    let _ = variables::read_without_copies(session, "share_to_freeze");
    reference
}

/// Why there is no reference.
enum Unasked {
    /// It took too long.
    Late,
    /// There are no rows to run.
    NoRows(String),
}

/// Runs the SavedModel as [`ask`] says, within `most` since `start`.
fn asked(
    session: &RawSession,
    inputs: &[Endpoint],
    fed: &[Place],
    fetched: &[Place],
    most: Duration,
    start: Instant,
) -> Result<Reference, Unasked> {
    let mut failed = None;
    for (size, kind) in ATTEMPTS {
        let mut random = Random::new();
        let rows = inputs.iter().map(|input| row(input, size, kind, &mut random));
        let rows: Vec<Tensor> = rows.collect::<Result<_, _>>().map_err(Unasked::NoRows)?;
        let left = most.saturating_sub(start.elapsed());
        if left < Duration::from_millis(1) {
            return Err(Unasked::Late);
        }
        match answers(session, fed, &rows, fetched, left) {
            Err(failure) if is_late(&failure) => return Err(Unasked::Late),
            Err(failure) => failed = Some(Reference { rows, answers: Err(failure) }),
            Ok(answers) => return Ok(Reference { rows, answers: Ok(answers) }),
        }
    }
    failed.ok_or(Unasked::Late)
}

impl Reference {
    /// Runs the frozen model in `session` on the same rows, for the same tensors, whose places are others there. `names` are
    /// the tensors' for messages.
    ///
    /// Returns the largest difference, as a part of the largest value; or why nothing can be said.
    ///
    /// # Errors
    /// It answers otherwise; how.
    pub fn hold_against(
        &self,
        session: &RawSession,
        fed: &[Place],
        fetched: &[Place],
        names: &[&str],
        tolerance: Tolerance,
    ) -> Result<Result<f64, String>, String> {
        let found = answers(session, fed, &self.rows, fetched, PATIENCE);
        let (expected, found) = match (&self.answers, found) {
            (Ok(expected), Ok(found)) => (expected, found),
            (Err(failure), Err(_)) => return Ok(Err(format!("random rows fail: {failure}"))),
            (Ok(_), Err(failure)) => return Err(format!("it fails: {failure}")),
            (Err(failure), Ok(_)) => {
                return Err(format!("it answers where the SavedModel fails: {failure}"));
            }
        };
        let mut most = 0.0_f64;
        for ((expected, found), name) in expected.iter().zip(&found).zip(names) {
            // What is of a type that this backend does not have is not served.
            if let (Some(expected), Some(found)) = (expected, found) {
                let difference = compare(expected, found, tolerance);
                most = most.max(difference.map_err(|how| format!("output '{name}': {how}"))?);
            }
        }
        Ok(Ok(most))
    }
}

fn is_late(failure: &Failure) -> bool {
    [TF_Code::TF_DEADLINE_EXCEEDED, TF_Code::TF_CANCELLED].contains(&failure.code)
}

/// What a session answers.
fn answers(
    session: &RawSession,
    fed: &[Place],
    rows: &[Tensor],
    fetched: &[Place],
    time: Duration,
) -> Result<Vec<Option<Tensor>>, Failure> {
    let outputs = |places| {
        Outputs::new(session.graph(), places)
            .map_err(|e| Failure { code: TF_Code::TF_NOT_FOUND, message: e.message })
    };
    let (feeds, fetches) = (outputs(fed)?, outputs(fetched)?);
    let answers = session.run_within(time, &feeds, rows, &fetches.all())?;
    Ok(answers.into_iter().map(|answer| Tensor::from_raw(answer).ok()).collect())
}

/// Random values for an input.
fn row(input: &Endpoint, size: i64, kind: Kind, random: &mut Random) -> Result<Tensor, String> {
    let name = &input.name;
    let known = input.datatype.zip(input.dims.as_ref());
    let (datatype, dims) = known.ok_or_else(|| format!("the input '{name}' is of any shape or type"))?;
    let chosen = |(index, &dim): (usize, &i64)| match index {
        _ if dim >= 0 => dim,
        0 => ROWS,
        _ => size,
    };
    let dims: Vec<i64> = dims.iter().enumerate().map(chosen).collect();
    let most = MOST_ELEMENTS * datatype.byte_size();
    if byte_size(datatype, &dims).is_none_or(|bytes| bytes > most) {
        return Err(format!("the input '{name}' is large"));
    }
    random.tensor(datatype, &dims, kind).map_err(|e| e.message)
}
