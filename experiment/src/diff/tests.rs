//! Whole results against each other.

use super::*;
use crate::estimate;
use crate::report::fixtures::{comparison, sweep_with_cpu_time, sweep_with_energy};

fn complete(mut results: Results) -> Results {
    estimate::complete(&mut results);
    results
}

/// One visit of each point, without the flaws that the fixture has.
fn clean() -> Results {
    let mut results = sweep_with_energy();
    results.points.retain(|point| point.key.repeat == 0);
    results.points.iter_mut().for_each(|point| point.settled = Some(true));
    complete(results)
}

/// All latencies and energies of the windows times this.
fn slowed(results: &Results, factor: f64) -> Results {
    let mut slower = results.clone();
    for summary in &mut slower.summary {
        for (metric, estimate) in &mut summary.estimates {
            let factor = if metric.more_is_better() { 1.0 / factor } else { factor };
            estimate.value *= factor;
            estimate.low = estimate.low.map(|low| low * factor);
            estimate.high = estimate.high.map(|high| high * factor);
        }
    }
    slower
}

#[test]
fn results_against_themselves_are_undecided_everywhere() {
    let results = clean();
    let same = diff(&results, &results, 0.0);
    assert!(same.is_comparable());
    assert_eq!(same.points.len(), 20);
    assert!(same.only_first.is_empty() && same.only_second.is_empty());
    let metrics: Vec<_> = same.points.iter().flat_map(|point| &point.metrics).collect();
    assert!(metrics.iter().all(|metric| metric.verdict == Verdict::Undecided && metric.ratio.value == 1.0));
    assert_eq!(metrics.len(), 20 * Metric::ALL.len());
}

#[test]
fn a_run_that_is_twice_as_slow_is_worse_in_everything_and_one_way_only() {
    let results = clean();
    let slower = diff(&results, &slowed(&results, 2.0), 0.1);
    let decided = slower.count(Verdict::Worse);
    assert_eq!(slower.count(Verdict::Better) + slower.count(Verdict::Same), 0);
    assert!(decided >= 20 * 9, "{decided}");
    let faster = diff(&slowed(&results, 2.0), &results, 0.1);
    assert_eq!((faster.count(Verdict::Better), faster.count(Verdict::Worse)), (decided, 0));
    // A threshold of three: the factor of two is within it.
    assert_eq!(diff(&results, &slowed(&results, 2.0), 2.0).count(Verdict::Worse), 0);
}

#[test]
fn points_that_one_has_are_named() {
    let (all, mut some) = (clean(), clean());
    some.summary.retain(|summary| summary.batch != 4);
    let one = diff(&all, &some, 0.0);
    assert_eq!((one.points.len(), one.only_first.len(), one.only_second.len()), (16, 4, 0));
    assert!(one.only_first[0].starts_with("batch 4, concurrency"), "{:?}", one.only_first);
    some.summary.clear();
    assert!(!diff(&all, &some, 0.0).is_comparable(), "nothing in common");
}

#[test]
fn other_models_and_machines_are_errors_and_other_servers_warnings() {
    let results = clean();
    let with = |change: &dyn Fn(&mut Results)| {
        let mut other = results.clone();
        change(&mut other);
        diff(&results, &other, 0.0)
    };
    type Change<'a> = &'a dyn Fn(&mut Results);
    let cases: [(Change, Severity, &str); 8] = [
        (&|r| r.model.name = "other".into(), Severity::Error, "model differs: inception_v3 and other"),
        (&|r| r.host.cpu = "Z80".into(), Severity::Error, "processor differs"),
        (&|r| r.host.cpus = 2, Severity::Error, "number of processors differs: 32 and 2"),
        (&|r| r.host.name = "lab-4".into(), Severity::Warning, "machine differs"),
        (&|r| r.server.version = "2.69.0".into(), Severity::Warning, "triton 2.40.0 and triton 2.69.0"),
        (&|r| r.plan.seed = 9, Severity::Warning, "--seed differs: 1 and 9"),
        (&|r| r.complete = false, Severity::Warning, "the second run is incomplete"),
        (
            &|r| drop(r.configurations.insert(String::new(), serde_json::json!({"max_batch_size": 8}))),
            Severity::Note,
            "configuration differs in max_batch_size",
        ),
    ];
    for (change, severity, text) in cases {
        let diff = with(change);
        let found = diff.differences.iter().find(|difference| difference.text.contains(text));
        let found = found.unwrap_or_else(|| panic!("'{text}' is not in {:?}", diff.differences));
        assert_eq!(found.severity, severity, "{text}");
        assert_eq!(diff.is_comparable(), severity != Severity::Error, "{text}");
    }
    // What is not known is not held against anything.
    let unknown = with(&|r| r.host = Default::default());
    assert!(unknown.is_comparable(), "{:?}", unknown.differences);
}

#[test]
fn energy_of_other_devices_is_not_compared() {
    let results = clean();
    let mut other = results.clone();
    other.power.devices = vec!["GPU 0: another".into()];
    let diff = diff(&results, &other, 0.0);
    assert!(diff.is_comparable());
    assert!(diff.points.iter().flat_map(|point| &point.metrics).all(|metric| !metric.metric.is_energy()));
}

#[test]
fn traces_are_known_by_their_names_whatever_folder_they_lie_in() {
    let first = complete(comparison());
    let mut second = first.clone();
    for summary in &mut second.summary {
        if let Load::Trace { file } = &mut summary.load {
            *file = file.replace("traces/", "/elsewhere/");
        }
    }
    assert_eq!(diff(&first, &second, 0.0).points.len(), first.summary.len());
    assert_eq!(diff(&first, &complete(sweep_with_cpu_time()), 0.0).points.len(), 0);
}
