//! Whether a model's operations run in the thread that the server calls with, or in TensorFlow's pool.
//!
//! A small graph takes less time than handing it to other threads; a large one gains from them. Which one a
//! model is, is measured when it is loaded, unless its configuration says.

use std::time::{Duration, Instant};

use crate::config::CallingThread;
use crate::model::Model;
use crate::tensorflow::{Objection, RunOptions};
use crate::triton::{Error, Result};
use crate::zeros::zeros;

/// A run in the calling thread has to be faster by this factor. In doubt it is the pool.
const CLEARLY_FASTER: f64 = 1.1;
/// Runs of each kind that are timed at one batch size, in turn.
const RUNS: u32 = 15;
/// A longer run is no small graph's: what the threads cost is lost in it.
const LONGEST_RUN: Duration = Duration::from_millis(8);
/// A larger input is no small graph's either, and is not made just to try.
const MOST_BYTES: u64 = 16 << 20;

/// The batches that run in the calling thread: those of up to so many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallingThreadRows(usize);

impl CallingThreadRows {
    /// No batch.
    pub const NONE: Self = Self(0);
    /// Every batch.
    pub const ALL: Self = Self(usize::MAX);

    /// How a batch of so many rows is to run.
    pub fn run_options(self, rows: usize) -> RunOptions {
        if rows <= self.0 { RunOptions::INLINE } else { RunOptions::DEFAULT }
    }
}

/// What was measured at one batch size: the median of each kind of run.
#[derive(Clone, Copy, Debug)]
struct Measured {
    rows: usize,
    pool: Duration,
    calling_thread: Duration,
}

impl Measured {
    fn is_clearly_faster(&self) -> bool {
        self.calling_thread.mul_f64(CLEARLY_FASTER) < self.pool
    }
}

/// Decides for a model, measuring if its configuration leaves that open, and tells the log.
pub fn choose(model: &Model, setting: CallingThread, max_batch_size: u32) -> CallingThreadRows {
    let name = &model.name;
    let told = match setting {
        CallingThread::Always => Some(CallingThreadRows::ALL),
        CallingThread::Never => Some(CallingThreadRows::NONE),
        CallingThread::Measured => None,
    };
    if let Some(rows) = told {
        log::info!("model '{name}': {}, as TF_RUN_IN_CALLING_THREAD says", choice(rows));
        return rows;
    }
    let max_rows = max_batch_size.max(1) as usize;
    match measure(model, max_rows) {
        Ok(measured) => {
            let rows = decide(&measured, max_rows);
            log::info!("model '{name}': {}", describe(rows, &measured));
            rows
        }
        Err(reason) => {
            log::info!(
                "model '{name}': runs in TensorFlow's threads, not tried in the calling one: {reason}"
            );
            CallingThreadRows::NONE
        }
    }
}

/// The largest batch size that was clearly faster in the calling thread, and so were all smaller ones.
fn decide(measured: &[Measured], max_rows: usize) -> CallingThreadRows {
    match measured.iter().take_while(|measured| measured.is_clearly_faster()).last() {
        Some(largest) if largest.rows == max_rows => CallingThreadRows::ALL,
        Some(largest) => CallingThreadRows(largest.rows),
        None => CallingThreadRows::NONE,
    }
}

fn choice(rows: CallingThreadRows) -> String {
    match rows {
        CallingThreadRows::ALL => "runs in the calling thread".into(),
        CallingThreadRows::NONE => "runs in TensorFlow's threads".into(),
        CallingThreadRows(rows) => {
            format!("runs in the calling thread with a batch of up to {rows}, in TensorFlow's with more")
        }
    }
}

fn describe(rows: CallingThreadRows, measured: &[Measured]) -> String {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    let figures: Vec<String> = measured
        .iter()
        .map(|measured| {
            format!(
                "{:.0} us against {:.0} us in TensorFlow's with a batch of {}",
                us(measured.calling_thread),
                us(measured.pool),
                measured.rows
            )
        })
        .collect();
    format!("{} (medians measured at load: {})", choice(rows), figures.join("; "))
}

/// Runs the model on zeros, with one row and with as many as a batch may have, as far as that is quick.
///
/// # Errors
/// Why it was not run, or not to an end.
fn measure(model: &Model, max_rows: usize) -> Result<Vec<Measured>> {
    if let Some(Objection::Acts(reason) | Objection::Large(reason)) = &model.session.objection {
        return Err(Error::unsupported(reason.clone()));
    }
    let mut measured = vec![measure_rows(model, 1)?];
    let expected = measured[0].pool.min(measured[0].calling_thread) * max_rows as u32;
    // A graph of a few microseconds is mostly overhead, which does not grow with the rows.
    if max_rows > 1 && expected <= LONGEST_RUN * 10 {
        // What was learnt with one row holds, whatever comes of the other.
        measured.extend(measure_rows(model, max_rows));
    }
    Ok(measured)
}

fn measure_rows(model: &Model, rows: usize) -> Result<Measured> {
    let inputs = zeros(model, rows, MOST_BYTES)?;
    let run = |options: RunOptions| {
        let start = Instant::now();
        model.session.run(&inputs, &model.declared.outputs, options)?;
        Ok::<_, Error>(start.elapsed())
    };
    // In the first run TensorFlow optimises the graph.
    run(RunOptions::LIMITED)?;
    run(RunOptions::INLINE)?;
    // On a busy machine a single run may take any time.
    let mut time = run(RunOptions::DEFAULT)?;
    for _ in 0..2 {
        if time > LONGEST_RUN {
            time = time.min(run(RunOptions::DEFAULT)?);
        }
    }
    if time > LONGEST_RUN {
        return Err(Error::unsupported(format!(
            "a run takes {} ms, so that handing it to other threads is nothing beside it",
            time.as_millis()
        )));
    }
    let (mut pool, mut calling_thread) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        pool.push(run(RunOptions::DEFAULT)?);
        calling_thread.push(run(RunOptions::INLINE)?);
    }
    Ok(Measured { rows, pool: median(&mut pool), calling_thread: median(&mut calling_thread) })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rows: usize, pool: u64, calling_thread: u64) -> Measured {
        let us = Duration::from_micros;
        Measured { rows, pool: us(pool), calling_thread: us(calling_thread) }
    }

    #[test]
    fn only_what_is_clearly_faster_runs_in_the_calling_thread() {
        assert_eq!(decide(&[measured(1, 30, 3), measured(8, 31, 4)], 8), CallingThreadRows::ALL);
        assert_eq!(decide(&[measured(1, 30, 3), measured(8, 31, 30)], 8), CallingThreadRows(1));
        assert_eq!(decide(&[measured(1, 30, 29), measured(8, 31, 4)], 8), CallingThreadRows::NONE);
        assert_eq!(decide(&[measured(1, 30, 3)], 8), CallingThreadRows(1), "eight rows were not tried");
        assert_eq!(decide(&[measured(1, 30, 3)], 1), CallingThreadRows::ALL);
        assert_eq!(decide(&[], 8), CallingThreadRows::NONE);
    }

    #[test]
    fn the_rows_of_a_batch_tell_how_it_runs() {
        let up_to_two = CallingThreadRows(2);
        assert_eq!(up_to_two.run_options(2), RunOptions::INLINE);
        assert_eq!(up_to_two.run_options(3), RunOptions::DEFAULT);
        assert_eq!(CallingThreadRows::ALL.run_options(usize::MAX), RunOptions::INLINE);
        assert_eq!(CallingThreadRows::NONE.run_options(1), RunOptions::DEFAULT);
    }

    #[test]
    fn the_log_tells_the_choice_and_both_medians() {
        let all = [measured(1, 30, 3), measured(8, 31, 4)];
        assert_eq!(
            describe(CallingThreadRows(1), &all),
            "runs in the calling thread with a batch of up to 1, in TensorFlow's with more (medians measured at \
             load: 3 us against 30 us in TensorFlow's with a batch of 1; 4 us against 31 us in TensorFlow's with \
             a batch of 8)"
        );
    }
}
