//! Whether a model's operations run inline, in the thread that the server calls with, or in TensorFlow's threads.
//!
//! A small graph takes less time than handing it to other threads; a large one gains from them. Unless its configuration
//! decides, both are measured when the model is loaded.

use std::time::{Duration, Instant};

use super::zeros::zeros;
use crate::config::InlineExecution;
use crate::execute::InlineRows;
use crate::model::Model;
use crate::tensorflow::{Objection, RunOptions};
use crate::triton::{DataType, Error, Result};

/// An inline run has to be faster by this factor. In doubt TensorFlow's threads are the choice.
const CLEARLY_FASTER: f64 = 1.1;
/// Runs of each kind that are timed at one batch size, in turn.
const RUNS: u32 = 15;
/// A run that takes longer is not of a small graph: what the threads cost is lost in it.
const LONGEST_RUN: Duration = Duration::from_millis(8);
/// A larger input is not a small graph's either, and is not made just to try.
const MOST_BYTES: usize = 16 << 20;

/// What was measured at one batch size: the median of each kind of run.
#[derive(Clone, Copy, Debug)]
struct Measured {
    rows: usize,
    pool: Duration,
    inline: Duration,
}

impl Measured {
    fn is_clearly_faster(&self) -> bool {
        self.inline.mul_f64(CLEARLY_FASTER) < self.pool
    }
}

/// Decides for a model, measuring if its configuration leaves that open, and logs the choice.
pub fn choose(model: &Model, setting: InlineExecution) -> InlineRows {
    let name = &model.name;
    let configured = match setting {
        InlineExecution::Always => Some(InlineRows::ALL),
        InlineExecution::Never => Some(InlineRows::NONE),
        InlineExecution::Measured => None,
    };
    if let Some(rows) = configured {
        log::info!("model '{name}': {}, as TF_RUN_IN_CALLING_THREAD says", choice(rows));
        return rows;
    }
    if model.session.on_gpu {
        // The threads only hand the operations to the GPU.
        log::info!("model '{name}': runs in TensorFlow's threads, beside the GPU's time they cost nothing");
        return InlineRows::NONE;
    }
    match measure(model, model.max_batch_size) {
        Ok(measured) => {
            let rows = decide(&measured, model.max_batch_size);
            log::info!("model '{name}': {}", describe(rows, &measured));
            rows
        }
        Err(reason) => {
            log::info!("model '{name}': runs in TensorFlow's threads, inline execution not tried: {reason}");
            InlineRows::NONE
        }
    }
}

/// The largest batch size that was clearly faster inline, as were all smaller ones.
fn decide(measured: &[Measured], max_rows: usize) -> InlineRows {
    match measured.iter().take_while(|measured| measured.is_clearly_faster()).last() {
        Some(largest) if largest.rows == max_rows => InlineRows::ALL,
        Some(largest) => InlineRows(largest.rows),
        None => InlineRows::NONE,
    }
}

fn choice(rows: InlineRows) -> String {
    match rows {
        InlineRows::ALL => "runs inline, in the calling thread".into(),
        InlineRows::NONE => "runs in TensorFlow's threads".into(),
        InlineRows(rows) => {
            format!(
                "runs batches of up to {rows} rows inline, in the calling thread, and larger ones in TensorFlow's threads"
            )
        }
    }
}

fn describe(rows: InlineRows, measured: &[Measured]) -> String {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    let figures: Vec<String> = measured
        .iter()
        .map(|measured| {
            format!(
                "{:.0} us inline, {:.0} us in TensorFlow's threads at a batch size of {}",
                us(measured.inline),
                us(measured.pool),
                measured.rows
            )
        })
        .collect();
    format!("{} (medians measured at load: {})", choice(rows), figures.join("; "))
}

/// Runs the model on zeros, with the smallest batch that it runs and with as many rows as a batch may have, as long as that is
/// quick.
///
/// # Errors
/// Why it was not run, or not to its end.
fn measure(model: &Model, max_rows: usize) -> Result<Vec<Measured>> {
    let objection = model.session.objection.as_ref();
    if let Some(Objection::Acts(reason) | Objection::Endless(reason) | Objection::Large(reason)) = objection {
        return Err(Error::unsupported(reason.clone()));
    }
    if let Some(spec) = model.inputs.iter().find(|spec| spec.datatype == DataType::Bytes) {
        return Err(Error::unsupported(format!(
            "its input '{}' is of strings, and how long it runs depends on what is in them",
            spec.name
        )));
    }
    let least_rows = model.buckets.padded(1);
    let mut measured = vec![measure_rows(model, least_rows)?];
    let expected = measured[0].pool.min(measured[0].inline) * (max_rows / least_rows) as u32;
    // A run of a few microseconds is mostly overhead, which does not grow with the rows.
    if max_rows > least_rows && expected <= LONGEST_RUN * 10 {
        // What was learnt with one row holds, whether the other works or not.
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
            "a run takes {} ms, beside which handing it to other threads costs nothing",
            time.as_millis()
        )));
    }
    let (mut pool, mut inline) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        pool.push(run(RunOptions::DEFAULT)?);
        inline.push(run(RunOptions::INLINE)?);
    }
    Ok(Measured { rows, pool: median(&mut pool), inline: median(&mut inline) })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rows: usize, pool: u64, inline: u64) -> Measured {
        let us = Duration::from_micros;
        Measured { rows, pool: us(pool), inline: us(inline) }
    }

    #[test]
    fn only_what_is_clearly_faster_runs_inline() {
        assert_eq!(decide(&[measured(1, 30, 3), measured(8, 31, 4)], 8), InlineRows::ALL);
        assert_eq!(decide(&[measured(1, 30, 3), measured(8, 31, 30)], 8), InlineRows(1));
        assert_eq!(decide(&[measured(1, 30, 29), measured(8, 31, 4)], 8), InlineRows::NONE);
        assert_eq!(decide(&[measured(1, 30, 3)], 8), InlineRows(1), "eight rows were not tried");
        assert_eq!(decide(&[measured(1, 30, 3)], 1), InlineRows::ALL);
        assert_eq!(decide(&[], 8), InlineRows::NONE);
    }

    #[test]
    fn the_log_has_the_choice_and_both_medians() {
        let all = [measured(1, 30, 3), measured(8, 31, 4)];
        assert_eq!(
            describe(InlineRows(1), &all),
            "runs batches of up to 1 rows inline, in the calling thread, and larger ones in TensorFlow's threads \
             (medians measured at load: 3 us inline, 30 us in TensorFlow's threads at a batch size of 1; 4 us inline, \
             31 us in TensorFlow's threads at a batch size of 8)"
        );
    }
}
