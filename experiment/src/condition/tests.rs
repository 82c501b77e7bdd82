//! What conditions mean, and what is said of those that mean nothing.

use super::*;
use crate::estimate;
use crate::report::fixtures::{all_failed, sweep_with_cpu_time, sweep_with_energy};
use crate::results::Estimate;

fn limit(text: &str) -> (Quantity, bool, bool, f64) {
    match Condition::parse(text).unwrap_or_else(|error| panic!("{error:#}")).test {
        Test::Limit { of, above, inclusive, limit } => (of, above, inclusive, limit),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn limits_have_units_and_both_directions() {
    let metric = Quantity::Metric;
    for (text, expected) in [
        ("p99 > 50 ms", (metric(Metric::LatencyP99Ns), true, false, 50e6)),
        ("p99>50ms", (metric(Metric::LatencyP99Ns), true, false, 50e6)),
        ("latency_p99 >= 1.5e-1 s", (metric(Metric::LatencyP99Ns), true, true, 0.15e9)),
        ("P99.9 > 800 µs", (metric(Metric::LatencyP999Ns), true, false, 800e3)),
        ("throughput < 100", (metric(Metric::InferencesPerS), false, false, 100.0)),
        ("throughput <= 1e3 /s", (metric(Metric::InferencesPerS), false, true, 1000.0)),
        ("energy_per_inference > 0.2 J", (metric(Metric::JPerInference), true, false, 0.2)),
        ("energy per inference > 200 mJ", (metric(Metric::JPerInference), true, false, 0.2)),
        ("cpu > 5 ms", (metric(Metric::CpuSPerInference), true, false, 0.005)),
        ("power > 300 W", (metric(Metric::AveragePowerW), true, false, 300.0)),
        ("errors > 0", (Quantity::Errors, true, false, 0.0)),
        ("errors > 1 %", (Quantity::ErrorShare, true, false, 0.01)),
    ] {
        let (of, above, inclusive, value) = limit(text);
        assert_eq!((of, above, inclusive), (expected.0, expected.1, expected.2), "{text}");
        assert!((value - expected.3).abs() <= 1e-12 * expected.3, "{text}: {value}");
    }
}

#[test]
fn baselines_have_folders_with_any_name() {
    let baseline = |text: &str| match Condition::parse(text).unwrap().test {
        Test::Baseline { metric, better, folder, by } => (metric, better, folder, by),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(baseline("slower than base by 2 %"), (None, false, "base".into(), 0.02));
    assert_eq!(baseline("slower than base"), (None, false, "base".into(), 0.0));
    assert_eq!(
        baseline("p99 worse than a by b by 10%"),
        (Some(Metric::LatencyP99Ns), false, "a by b".into(), 0.1)
    );
    assert_eq!(
        baseline("energy better than /x/y > z"),
        (Some(Metric::JPerInference), true, "/x/y > z".into(), 0.0)
    );
}

#[test]
fn what_means_nothing_is_named() {
    for (text, part) in [
        ("", "expected METRIC > LIMIT"),
        ("p99", "found no >, < or 'than'"),
        ("p98 > 5 ms", "unknown metric 'p98'; there are throughput"),
        ("p99 > 50", "has no unit: expected one of ns, us"),
        ("p99 > 50 J", "unknown unit 'J': expected one of ns"),
        ("p99 > fast", "expected a number, found 'fast'"),
        ("p99 > -5 ms", "0 or more"),
        ("throughput < 5 ms", "unknown unit 'ms'"),
        ("> 5 ms", "unknown metric ''"),
        ("slower than base by 2", "expected a percentage after 'by'"),
        ("slower than  by 2 %", "expected a folder"),
        ("quicker than base", "expected slower, faster, worse or better before 'than', found 'quicker'"),
        ("errors worse than base", "errors cannot be compared"),
        ("p99 > 5 ms at noon", "expected 'batch N'"),
        ("p99 > 5 ms at batch x", "found 'batch x'"),
        ("p99 > 1e999 ms", "0 or more"),
        ("p99 > 5é ms", "unknown unit 'é ms'"),
    ] {
        let error = format!("{:#}", Condition::parse(text).unwrap_err());
        assert!(
            error.starts_with(&format!("--fail-if \"{text}\": ")) && error.contains(part),
            "{text}: {error}"
        );
    }
}

fn complete(mut results: Results) -> Results {
    estimate::complete(&mut results);
    results
}

fn state(text: &str, results: &Results) -> State {
    Condition::parse(text).unwrap().judge(results, None).state
}

#[test]
fn the_interval_decides_and_where_it_contains_the_limit_nothing_is_decided() {
    let mut results = complete(sweep_with_energy());
    for summary in &mut results.summary {
        summary
            .estimates
            .insert(Metric::LatencyP99Ns, Estimate { value: 50e6, low: Some(45e6), high: Some(55e6) });
    }
    assert_eq!(state("p99 > 44 ms", &results), State::Met);
    assert_eq!(state("p99 > 50 ms", &results), State::Undecided);
    assert_eq!(state("p99 > 45 ms", &results), State::Undecided);
    assert_eq!(state("p99 > 56 ms", &results), State::NotMet);
    assert_eq!(state("p99 < 56 ms", &results), State::Met);
    // One point is enough.
    let one = results.summary[3].estimates.get_mut(&Metric::LatencyP99Ns).unwrap();
    *one = Estimate::bare(90e6);
    assert_eq!(state("p99 > 56 ms", &results), State::Met, "without an interval the value decides");
    let lines = Condition::parse("p99 > 56 ms").unwrap().judge(&results, None).lines;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("batch 1, concurrency 8: latency_p99_ns = 90000000"), "{lines:?}");
}

#[test]
fn what_was_not_measured_is_neither_met_nor_not() {
    let results = complete(sweep_with_cpu_time());
    assert_eq!(state("energy > 0 J", &results), State::NotMeasured);
    assert_eq!(state("errors > 0", &results), State::NotMet);
    assert_eq!(state("throughput < 1 at batch 3", &results), State::NotMeasured, "no such point");
    assert_eq!(state("throughput < 1e9 at batch 4 and rate 20", &results), State::Met);
    assert_eq!(state("throughput < 1e9 at concurrency 2", &results), State::NotMeasured);
    let failed = complete(all_failed());
    assert_eq!(state("errors > 0", &failed), State::NotMeasured, "no point got an answer");
    let mut some = complete(sweep_with_cpu_time());
    some.points[0].errors = all_failed().points[0].errors.clone();
    assert_eq!(state("errors > 0", &some), State::Met);
    assert_eq!(state("errors > 99 %", &some), State::NotMet);
}

#[test]
fn a_baseline_is_compared_point_by_point() {
    let mut results = sweep_with_energy();
    results.points.retain(|point| point.key.repeat == 0);
    let results = complete(results);
    let judge = |text: &str, now: &Results| Condition::parse(text).unwrap().judge(now, Some(&results)).state;
    assert_eq!(judge("slower than base by 500 %", &results), State::NotMet);
    assert_eq!(judge("slower than base", &results), State::Undecided);
    let mut slow = results.clone();
    for estimates in slow.summary.iter_mut().map(|summary| &mut summary.estimates) {
        for (metric, factor) in [(Metric::InferencesPerS, 1e-9), (Metric::LatencyP99Ns, 1e9)] {
            let old = estimates[&metric];
            let scaled = |end: Option<f64>| end.map(|end| end * factor);
            estimates.insert(
                metric,
                Estimate { value: old.value * factor, low: scaled(old.low), high: scaled(old.high) },
            );
        }
    }
    assert_eq!(judge("slower than base by 2 %", &slow), State::Met);
    assert_eq!(judge("p99 slower than base by 2 %", &slow), State::Met);
    assert_eq!(judge("p99 faster than base", &slow), State::NotMet);
    assert_eq!(judge("p50 slower than base by 500 %", &slow), State::NotMet);
    let mut other = results.clone();
    other.model.name = "other".into();
    let judgement = Condition::parse("slower than base").unwrap().judge(&other, Some(&results));
    assert_eq!(judgement.state, State::NotMeasured);
    assert!(judgement.lines[0].contains("the model differs"), "{:?}", judgement.lines);
}
