//! The runs at load of each size that batches are filled up to, so that no request waits for the first run of a size.

use std::time::{Duration, Instant};

use super::zeros::zeros;
use crate::batching::ServiceTimes;
use crate::execute::Executor;
use crate::tensorflow::Objection;
use crate::triton::Error;

/// The runs of a size that prepare it: in the first one TensorFlow optimises the graph and cuDNN tries its algorithms, and XLA
/// compiles an operation for a new shape when that comes for the second time.
const PREPARING_RUNS: u32 = 2;
/// The runs after those, which are timed.
const TIMED_RUNS: u32 = 2;
/// A larger input is not made at load: 256 images of 299 x 299 x 3 in FP32 are 262 MiB, and there is one size at a time.
const MOST_BYTES: usize = 1 << 30;

/// A size that was run, and its last run.
type Ran = (usize, Duration);

/// Why a size and all larger ones were not run, or not to the end.
enum Stopped {
    /// They cannot be run at load.
    NotTried(String),
    /// A run failed.
    Failed { size: usize, error: Error },
}

/// Runs all buckets of the model on zeros, and returns how long they take; nothing for a model without buckets.
///
/// There is no limit of time: what runs has neither loops nor side effects, so it ends, and the requests would have to
/// wait for it otherwise.
pub fn warm_up(executor: &Executor) -> Option<ServiceTimes> {
    let model = &executor.model;
    if model.buckets.is_empty() {
        return None;
    }
    let mut service = ServiceTimes::in_buckets(model.max_batch_size, model.buckets.clone());
    let mut ran = Vec::new();
    let start = Instant::now();
    let stopped = run(executor, &mut service, &mut ran).err();
    let (name, sizes) = (&model.name, model.buckets.sizes());
    log::info!("model '{name}': {}", describe(sizes, &ran, start.elapsed(), stopped.as_ref()));
    if let Some(Stopped::Failed { size, error }) = &stopped {
        log::warn!("model '{name}': {}", warning(*size, &error.message, &ran));
    }
    Some(service)
}

/// # Errors
/// Why no further size was run; `ran` has those that were.
fn run(
    executor: &Executor,
    service: &mut ServiceTimes,
    ran: &mut Vec<Ran>,
) -> std::result::Result<(), Stopped> {
    let model = &executor.model;
    for &size in model.buckets.sizes() {
        if let Some(Objection::Acts(reason) | Objection::Endless(reason)) = &model.session.objection {
            return Err(Stopped::NotTried(reason.clone()));
        }
        let inputs = zeros(model, size, MOST_BYTES).map_err(|error| Stopped::NotTried(error.message))?;
        let options = executor.inline.run_options(size);
        let mut last = Duration::ZERO;
        for number in 0..PREPARING_RUNS + TIMED_RUNS {
            let start = Instant::now();
            let outputs = model.session.run(&inputs, &model.declared.outputs, options);
            drop(outputs.map_err(|error| Stopped::Failed { size, error })?);
            last = start.elapsed();
            if number >= PREPARING_RUNS {
                service.observe(size, last.as_nanos() as u64);
            }
        }
        ran.push((size, last));
    }
    Ok(())
}

/// What was run in so much time, and what was not.
fn describe(sizes: &[usize], ran: &[Ran], spent: Duration, stopped: Option<&Stopped>) -> String {
    let list = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let others = list(&sizes[ran.len()..]);
    let why = match stopped {
        None => String::new(),
        Some(Stopped::NotTried(reason)) => reason.clone(),
        Some(Stopped::Failed { size, .. }) => format!("a run of {size} rows failed"),
    };
    if ran.is_empty() {
        return format!(
            "batches are filled up to {others} rows; not run at load, so the first ones of each size take longer: {why}"
        );
    }
    let times: Vec<String> =
        ran.iter().map(|(size, time)| format!("{size} takes {:.3} ms", time.as_secs_f64() * 1e3)).collect();
    let (all, spent, times) = (list(sizes), spent.as_secs_f64(), times.join(", "));
    let rest = if others.is_empty() { others } else { format!("; not run at load: {others} rows: {why}") };
    format!("batches are filled up to {all} rows; run at load in {spent:.2} s, a batch of {times}{rest}")
}

/// What the operator is told of a size that failed.
fn warning(size: usize, message: &str, ran: &[Ran]) -> String {
    if !is_out_of_memory(message) {
        return format!(
            "a batch of {size} rows of zeros, one of its batch size buckets, fails: {message}. This size and larger ones are \
             offered all the same"
        );
    }
    let advice = match ran.last() {
        Some((fits, _)) => format!("Batches of {fits} rows fit: set max_batch_size: {fits}"),
        None => "No larger one will: set smaller batch_size_buckets, or free memory of the device".into(),
    };
    format!(
        "a batch of {size} rows, one of its batch size buckets, does not fit into the memory: {message}. {advice}"
    )
}

/// Whether TensorFlow failed for want of memory: by the name of its status, or in the words of the device's libraries.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["resource_exhausted", "out of memory", "out_of_memory"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ran(sizes: &[usize]) -> Vec<Ran> {
        sizes.iter().map(|&size| (size, Duration::from_millis(size as u64))).collect()
    }

    #[test]
    fn the_log_names_each_size_with_its_time_or_why_it_was_not_run() {
        assert_eq!(
            describe(&[1, 2], &ran(&[1, 2]), SECOND, None),
            "batches are filled up to 1, 2 rows; run at load in 1.00 s, a batch of 1 takes 1.000 ms, 2 takes 2.000 ms"
        );
        let not_tried = Stopped::NotTried("the reason".into());
        assert_eq!(
            describe(&[1, 2, 4], &ran(&[1]), SECOND, Some(&not_tried)),
            "batches are filled up to 1, 2, 4 rows; run at load in 1.00 s, a batch of 1 takes 1.000 ms; not run at load: \
             2, 4 rows: the reason"
        );
        assert_eq!(
            describe(&[1, 2], &[], SECOND, Some(&not_tried)),
            "batches are filled up to 1, 2 rows; not run at load, so the first ones of each size take longer: the reason"
        );
        let failed = Stopped::Failed { size: 2, error: Error::internal("no") };
        assert!(describe(&[2], &[], SECOND, Some(&failed)).ends_with("longer: a run of 2 rows failed"));
    }

    #[test]
    fn a_failure_names_the_size_and_one_of_memory_what_fits() {
        let message = "TensorFlow failed: INVALID_ARGUMENT: no";
        let told = warning(4, message, &ran(&[1, 2]));
        for part in ["batch of 4 rows", message, "offered all the same"] {
            assert!(told.contains(part), "{told}");
        }
        let message = "TensorFlow failed: RESOURCE_EXHAUSTED: OOM when allocating";
        let told = warning(4, message, &ran(&[1, 2]));
        for part in ["batch of 4 rows", "does not fit", message, "set max_batch_size: 2"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(warning(4, message, &[]).contains("set smaller batch_size_buckets"));
    }

    #[test]
    fn want_of_memory_is_known_by_its_words() {
        for message in [
            "RESOURCE_EXHAUSTED: x",
            "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: x",
            "INTERNAL: Out of memory while",
        ] {
            assert!(is_out_of_memory(message), "{message}");
        }
        assert!(!is_out_of_memory("INTERNAL: something else"));
    }
}
