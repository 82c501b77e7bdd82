//! The first service times: a few runs at load, so that the first requests are not guesses.

use std::time::{Duration, Instant};

use super::gauges::sizes;
use super::service_times::ServiceTimes;
use crate::model::Model;
use crate::tensorflow::Objection;
use crate::triton::{Error, Result};
use crate::zeros::zeros;

/// All runs together take no longer, or hardly.
const BUDGET: Duration = Duration::from_secs(4);
/// Runs that count, of each size.
const RUNS: u32 = 2;
/// A larger input is not made just to try.
const MOST_BYTES: u64 = 256 << 20;

/// Runs the model on zeros with batches of 1, 2, 4 and so on, up to the largest and as far as the time goes.
pub fn prime(model: &Model, max_batch_size: usize) -> ServiceTimes {
    let mut service = ServiceTimes::new(max_batch_size);
    match run(model, max_batch_size, &mut service) {
        Ok(figures) => log::info!("model '{}': measured at load, a batch of {figures}", model.name),
        Err(reason) => log::info!(
            "model '{}': not tried at load, so that the first batches are made without knowing how long they \
             take: {reason}",
            model.name
        ),
    }
    service
}

fn run(model: &Model, max_batch_size: usize, service: &mut ServiceTimes) -> Result<String> {
    if let Some(Objection::Acts(reason)) = &model.session.objection {
        return Err(Error::unsupported(reason.clone()));
    }
    let start = Instant::now();
    let mut figures = Vec::new();
    let mut last = Duration::ZERO;
    for size in sizes(max_batch_size) {
        // The next size takes at most twice as long, and some more in its first run.
        if start.elapsed() + last * 2 * (RUNS + 2) > BUDGET {
            break;
        }
        let inputs = zeros(model, size, MOST_BYTES)?;
        let once = || {
            let start = Instant::now();
            model.session.run(&inputs, &model.declared.outputs, model.calling_thread.run_options(size))?;
            Ok::<_, Error>(start.elapsed())
        };
        // In the first run of a size TensorFlow's kernels prepare themselves for it.
        once()?;
        last = Duration::MAX;
        for _ in 0..RUNS {
            let time = once()?;
            service.observe(size, time.as_nanos() as u64);
            last = last.min(time);
        }
        figures.push(format!("{size} takes {:.3} ms", last.as_secs_f64() * 1e3));
    }
    Ok(figures.join(", "))
}
