//! The first service times of adaptive batching: a few runs at load, so that the first batches are not guesses.

use std::time::{Duration, Instant};

use super::zeros::zeros;
use crate::batching::{ServiceTimes, doubling};
use crate::execute::Executor;
use crate::tensorflow::{Objection, RunOptions};
use crate::triton::{Error, Result};

/// All runs together take hardly longer.
const BUDGET: Duration = Duration::from_secs(4);
/// Timed runs of each size.
const RUNS: u32 = 2;
/// A larger input is not made just to try.
const MOST_BYTES: usize = 256 << 20;

/// Runs the model on zeros with batches of 1, 2, 4 and so on rows, up to the largest and for as long as the budget lasts.
pub fn calibrate(executor: &Executor) -> ServiceTimes {
    let model = &executor.model;
    let mut service = ServiceTimes::new(model.max_batch_size);
    let figures = |figures: &[String]| {
        format!("model '{}': calibrated at load, a batch of {}", model.name, figures.join(", "))
    };
    let mut measured = Vec::new();
    match run(executor, &mut service, &mut measured) {
        Ok(()) => log::info!("{}", figures(&measured)),
        Err(reason) if measured.is_empty() => log::info!(
            "model '{}': not calibrated at load, so the first batches are made without knowing how long they take: \
             {reason}",
            model.name
        ),
        Err(reason) => log::info!("{}; larger batches were not tried: {reason}", figures(&measured)),
    }
    service
}

/// # Errors
/// Why no further size was run; `figures` has those that were.
fn run(executor: &Executor, service: &mut ServiceTimes, figures: &mut Vec<String>) -> Result<()> {
    let model = &executor.model;
    if let Some(Objection::Acts(reason)) = &model.session.objection {
        return Err(Error::unsupported(reason.clone()));
    }
    let start = Instant::now();
    let mut last = Duration::ZERO;
    for size in doubling(model.max_batch_size) {
        // The next size takes at most twice as long, and some more in its first run.
        if start.elapsed() + last * 2 * (RUNS + 2) > BUDGET {
            break;
        }
        let inputs = zeros(model, size, MOST_BYTES)?;
        let once = |options| {
            let start = Instant::now();
            model.session.run(&inputs, &model.declared.outputs, options)?;
            Ok::<_, Error>(start.elapsed())
        };
        let options = executor.inline.run_options(size);
        // In the first run of a size TensorFlow's kernels prepare themselves for it. In TensorFlow's threads it can be
        // stopped; inline runs only what was quick there, or what the operator says.
        once(if options == RunOptions::DEFAULT { RunOptions::PATIENT } else { options })?;
        last = Duration::MAX;
        for _ in 0..RUNS {
            let time = once(options)?;
            service.observe(size, time.as_nanos() as u64);
            last = last.min(time);
        }
        figures.push(format!("{size} takes {:.3} ms", last.as_secs_f64() * 1e3));
    }
    Ok(())
}
