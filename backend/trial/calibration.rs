//! The first service times of adaptive batching: a few runs at load, so that the first batches are not guesses.

use std::time::{Duration, Instant};

use super::zeros::zeros;
use crate::batching::ServiceTimes;
use crate::buckets::doubling;
use crate::execute::Executor;
use crate::tensorflow::{Objection, RunOptions, Tensor};
use crate::triton::Result;

/// All runs together take hardly longer.
const BUDGET: Duration = Duration::from_secs(4);
/// Timed runs of each size.
const RUNS: u32 = 2;
/// A larger input is not made just to try.
const MOST_BYTES: usize = 256 << 20;

/// A size that was run, and the shortest of its runs.
type Measured = (usize, Duration);

/// Why a size and all larger ones are not known.
struct Untried {
    from: usize,
    reason: String,
}

/// Runs the model on zeros with batches of 1, 2, 4 and so on rows, up to the largest and for as long as the budget lasts.
pub fn calibrate(executor: &Executor) -> ServiceTimes {
    let model = &executor.model;
    let mut service = ServiceTimes::new(model.max_batch_size);
    let mut measured = Vec::new();
    let untried = run(executor, &mut service, &mut measured).err();
    log::info!("model '{}': {}", model.name, describe(&measured, untried, model.max_batch_size));
    service
}

/// # Errors
/// Why no further size was run; `measured` has those that were.
fn run(
    executor: &Executor,
    service: &mut ServiceTimes,
    measured: &mut Vec<Measured>,
) -> std::result::Result<(), Untried> {
    let model = &executor.model;
    if let Some(Objection::Acts(reason) | Objection::Endless(reason)) = &model.session.objection {
        return Err(Untried { from: 1, reason: reason.clone() });
    }
    let start = Instant::now();
    let mut last = Duration::ZERO;
    for size in doubling(model.max_batch_size) {
        let untried = |reason| Untried { from: size, reason };
        // The next size takes at most twice as long, and some more in its first run.
        let spent = start.elapsed();
        if spent + last * 2 * (RUNS + 2) > BUDGET {
            let (spent, budget) = (spent.as_secs_f64(), BUDGET.as_secs());
            return Err(untried(format!(
                "{spent:.1} s of the {budget} s for this are over, and they would take longer than the rest"
            )));
        }
        let inputs = zeros(model, size, MOST_BYTES).map_err(|e| untried(e.message))?;
        last = time(executor, size, &inputs, service)
            .map_err(|e| untried(format!("a run with {size} failed: {e}")))?;
        measured.push((size, last));
    }
    Ok(())
}

/// The shortest run of one size; `service` has all.
fn time(executor: &Executor, size: usize, inputs: &[Tensor], service: &mut ServiceTimes) -> Result<Duration> {
    let model = &executor.model;
    let once = |options| {
        let start = Instant::now();
        model.session.run(inputs, &model.declared.outputs, options)?;
        Ok(start.elapsed())
    };
    let options = executor.inline.run_options(size);
    // In the first run of a size TensorFlow's kernels prepare themselves for it. In TensorFlow's threads it can be
    // stopped; inline runs only what was quick there, or what the operator says.
    once(if options == RunOptions::DEFAULT { RunOptions::PATIENT } else { options })?;
    let mut shortest = Duration::MAX;
    for _ in 0..RUNS {
        let time = once(options)?;
        service.observe(size, time.as_nanos() as u64);
        shortest = shortest.min(time);
    }
    Ok(shortest)
}

/// What is known now, and of which sizes nothing is.
fn describe(measured: &[Measured], untried: Option<Untried>, max_batch_size: usize) -> String {
    let figures: Vec<String> = measured
        .iter()
        .map(|(size, time)| format!("{size} takes {:.3} ms", time.as_secs_f64() * 1e3))
        .collect();
    let calibrated = format!("calibrated at load, a batch of {}", figures.join(", "));
    match untried {
        None => calibrated,
        Some(Untried { reason, .. }) if measured.is_empty() => format!(
            "not calibrated at load, so the first batches are made without knowing how long they take: {reason}"
        ),
        Some(Untried { from, reason }) => {
            let sizes: Vec<String> =
                doubling(max_batch_size).filter(|&size| size >= from).map(|size| size.to_string()).collect();
            format!("{calibrated}; not known of batches of {} rows: {reason}", sizes.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_each_size_and_why_it_is_not_known() {
        let ms = Duration::from_millis;
        let untried = |from| Some(Untried { from, reason: "the reason".into() });
        assert_eq!(
            describe(&[(1, ms(3)), (2, ms(4))], None, 2),
            "calibrated at load, a batch of 1 takes 3.000 ms, 2 takes 4.000 ms"
        );
        assert_eq!(
            describe(&[(1, ms(3))], untried(2), 5),
            "calibrated at load, a batch of 1 takes 3.000 ms; not known of batches of 2, 4, 5 rows: the reason"
        );
        assert_eq!(
            describe(&[], untried(1), 5),
            "not calibrated at load, so the first batches are made without knowing how long they take: the reason"
        );
    }
}
