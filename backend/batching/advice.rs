//! What the operator is told at load of a goal that cannot be reached as it stands.

use super::service_times::ServiceTimes;
use crate::config::{Adaptive, Target};

/// A shorter target is promised to nobody: waking up a thread takes too much of it.
const SHORTEST_NS: f64 = 5e6;
/// A target is promised to be kept from so many times what a slow execution of a single row takes,
const EXECUTIONS: f64 = 3.0;
/// slower than so many percent of them.
const SLOW: f64 = 99.0;

/// A sentence for each thing that is not as the operator may expect.
pub fn of(adaptive: &Adaptive, service: &ServiceTimes) -> Vec<String> {
    let Some(Target { latency_ns, percentile }) = adaptive.target else { return Vec::new() };
    let (target, max_wait) = (latency_ns as f64, adaptive.max_wait_ns as f64);
    let late = 100.0 - percentile;
    let mut advice = Vec::new();
    if target > max_wait {
        advice.push(format!(
            "latency_target_ms is {0}, but no request waits for others for longer than max_wait_ms, which is {1}: answers come \
             earlier, in smaller batches, than the target allows. Set max_wait_ms to {0} if it may take that long to unload \
             the model or to end the server (whose --exit-timeout-secs has to be longer), or latency_target_ms to {1}",
            ms(target),
            ms(max_wait)
        ));
    }
    if target < SHORTEST_NS {
        advice.push(format!(
            "latency_target_ms is {}: below {} ms, more than {} % of the answers may be late, as the system may wake a thread \
             up some milliseconds late. Set a longer one",
            ms(target),
            ms(SHORTEST_NS),
            rounded(late)
        ));
    }
    if let Some(time) = service.estimate(1) {
        let slow = time * service.spread(SLOW);
        if target < EXECUTIONS * slow {
            advice.push(format!(
                "latency_target_ms is {}, which is less than {EXECUTIONS} executions of a single row take: at load one took \
                 {:.3} ms, so that {SLOW} % of them are taken to end within {:.3} ms. More than {} % of the answers may be \
                 late, or many requests refused. Set latency_target_ms to {:.0} or more",
                ms(target),
                time / 1e6,
                slow / 1e6,
                rounded(late),
                ((EXECUTIONS * slow).max(SHORTEST_NS) / 1e6).ceil()
            ));
        }
    }
    advice
}

/// Milliseconds as the operator writes them.
fn ms(ns: f64) -> String {
    rounded(ns / 1e6)
}

/// Without the last digits of a difference or a quotient of floats.
fn rounded(number: f64) -> String {
    ((number * 1e6).round() / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn advice(target_ms: f64, percentile: f64, max_wait_ms: u64, single_ms: Option<u64>) -> Vec<String> {
        let mut service = ServiceTimes::new(8);
        (0..2).for_each(|_| single_ms.into_iter().for_each(|ms| service.observe(1, ms * MS)));
        let target = Some(Target { latency_ns: (target_ms * 1e6) as u64, percentile });
        of(&Adaptive { target, max_wait_ns: max_wait_ms * MS, ..Adaptive::default() }, &service)
    }

    #[test]
    fn a_goal_that_can_be_reached_is_not_spoken_of() {
        let mut service = ServiceTimes::new(8);
        service.observe(1, 1_000 * MS);
        assert_eq!(of(&Adaptive::default(), &service), [""; 0], "without a target");
        assert_eq!(advice(1_000.0, 99.0, 1_000, Some(200)), [""; 0]);
        assert_eq!(advice(5.0, 99.0, 1_000, None), [""; 0], "nothing is known of the model");
    }

    #[test]
    fn a_target_that_nobody_waits_for_names_both_numbers() {
        let told = advice(20_000.5, 99.0, 1_000, None);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in
            ["latency_target_ms is 20000.5,", "max_wait_ms, which is 1000:", "Set max_wait_ms to 20000.5 if"]
        {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }

    #[test]
    fn a_target_that_is_too_short_names_what_was_measured() {
        let told = advice(2.5, 99.9, 1_000, None);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("latency_target_ms is 2.5: below 5 ms, more than 0.1 %"), "{told:?}");

        let told = advice(700.0, 99.0, 1_000, Some(200));
        assert_eq!(told.len(), 1, "{told:?}");
        for part in
            ["latency_target_ms is 700,", "less than 3 executions", "one took 200.000 ms", "More than 1 %"]
        {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
        // What it tells to set is enough.
        let (_, number) = told[0].rsplit_once("latency_target_ms to ").unwrap();
        let enough = number.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(advice(enough, 99.0, 1_000, Some(200)), [""; 0]);
    }
}
