//! Compares the requests of a trace with a latency target.

use crate::clock::seconds;
use crate::plan::Trace;
use crate::results::{Adherence, Latency};
use crate::samples::{Fate, Sample};
use crate::times::Times;

/// A burst of late responses ends when there is none for this long.
pub const PAUSE_S: f64 = 1.0;

/// Evaluates the requests of a trace.
pub fn judge(samples: &[Sample], trace: &Trace, target_ns: u64) -> Adherence {
    // They were recorded in order of completion.
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.due_ns);
    let count = |fate| samples.iter().filter(|sample| sample.fate == fate).count() as u64;
    let late = |sample: &&Sample| is_late(sample, target_ns);
    let mut refusals = Times::default();
    for refused in samples.iter().filter(|sample| sample.fate == Fate::Refused) {
        refusals.record(refused.latency_ns);
    }
    Adherence {
        target_ns,
        answered: count(Fate::Answered),
        over_target: samples.iter().filter(|s| s.fate == Fate::Answered).filter(late).count() as u64,
        refused: count(Fate::Refused),
        failed: count(Fate::Failed),
        refusal_latency: Latency::of(&refusals),
        longest_burst_s: bursts(&samples, target_ns).into_iter().map(|(from, to)| to - from).reduce(f64::max),
        settled_after_s: trace
            .after_steps()
            .into_iter()
            .map(|after| {
                let due = samples.iter().filter(late).map(|sample| seconds(sample.due_ns));
                let last = due.filter(|due| (after.from_s..after.to_s).contains(due)).reduce(f64::max);
                // If responses are late up to the end of the stretch, it is unknown when they would have stopped.
                let settled = last.is_none_or(|last| last < after.to_s - PAUSE_S);
                settled.then(|| last.map_or(0.0, |last| last - after.from_s))
            })
            .collect(),
    }
}

/// Whether a request got no response within the target. A refused request is not late.
pub fn is_late(sample: &Sample, target_ns: u64) -> bool {
    match sample.fate {
        Fate::Answered => sample.latency_ns > target_ns,
        Fate::Refused => false,
        Fate::Failed => true,
    }
}

/// Bursts of late responses, from when the first was due to when the last was due, in seconds. A burst ends when for
/// [`PAUSE_S`] all responses were on time, and there was at least one.
fn bursts(samples: &[Sample], target_ns: u64) -> Vec<(f64, f64)> {
    let mut bursts: Vec<(f64, f64)> = Vec::new();
    let mut in_time_since = false;
    for sample in samples.iter().filter(|sample| sample.fate != Fate::Refused) {
        if !is_late(sample, target_ns) {
            in_time_since = true;
            continue;
        }
        let due = seconds(sample.due_ns);
        match bursts.last_mut() {
            Some((_, last)) if !in_time_since || due - *last < PAUSE_S => *last = due,
            _ => bursts.push((due, due)),
        }
        in_time_since = false;
    }
    bursts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arrivals;

    const TARGET: u64 = 600_000_000;

    fn sample(due_ms: u64, latency_ms: u64, fate: Fate) -> Sample {
        Sample { due_ns: due_ms * 1_000_000, latency_ns: latency_ms * 1_000_000, fate }
    }

    fn answered(due_ms: u64, latency_ms: u64) -> Sample {
        sample(due_ms, latency_ms, Fate::Answered)
    }

    fn trace(percent: &[f64]) -> Trace {
        Trace { name: "t".to_owned(), arrivals: Arrivals::Poisson, seconds: 30.0, percent: percent.to_vec() }
    }

    #[test]
    fn what_is_refused_is_counted_apart_and_its_latency_kept() {
        let samples = [
            answered(0, 600),
            answered(10, 601),
            sample(20, 900, Fate::Failed),
            sample(30, 2, Fate::Refused),
            sample(40, 45, Fate::Refused),
        ];
        let judged = judge(&samples, &trace(&[50.0]), TARGET);
        assert_eq!((judged.answered, judged.over_target, judged.refused, judged.failed), (2, 1, 2, 1));
        assert_eq!(judged.late_share(), Some(2.0 / 3.0), "a failure is no answer within the target");
        assert_eq!(judged.refusal_latency.unwrap().max_ns, 45_000_000);
        let none = judge(&[sample(0, 1, Fate::Refused)], &trace(&[50.0]), TARGET);
        assert_eq!((none.late_share(), none.longest_burst_s), (None, None));
    }

    #[test]
    fn a_burst_goes_on_until_a_second_was_in_time() {
        let samples = [
            answered(0, 700),
            // In time, but not for a second.
            answered(500, 100),
            answered(900, 700),
            // A second, but nobody was in time: nothing was due.
            answered(2500, 700),
            answered(2600, 100),
            sample(2700, 1, Fate::Refused),
            answered(4000, 700),
            answered(4300, 700),
        ];
        assert_eq!(bursts(&samples, TARGET), [(0.0, 2.5), (4.0, 4.3)]);
        let mut shuffled = samples.to_vec();
        shuffled.reverse();
        assert_eq!(judge(&shuffled, &trace(&[50.0]), TARGET).longest_burst_s, Some(2.5));
        assert_eq!(bursts(&[answered(7, 700)], TARGET), [(0.007, 0.007)]);
        assert_eq!(bursts(&[answered(7, 70)], TARGET), []);
    }

    #[test]
    fn after_a_step_late_answers_cease_or_go_on_to_its_end() {
        let steps = trace(&[20.0, 80.0, 20.0]);
        // Steps at 10 and 20 s. What was late before the first says nothing.
        let samples =
            [answered(9_900, 700), answered(10_500, 700), answered(13_000, 700), answered(15_000, 1)];
        assert_eq!(judge(&samples, &steps, TARGET).settled_after_s, [Some(3.0), Some(0.0)]);
        let samples = [answered(19_500, 700), answered(21_000, 700)];
        assert_eq!(judge(&samples, &steps, TARGET).settled_after_s, [None, Some(1.0)]);
        assert_eq!(judge(&samples, &trace(&[50.0]), TARGET).settled_after_s, []);
    }
}
