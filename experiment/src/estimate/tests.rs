//! Estimates of whole points.

use super::*;
use crate::report::fixtures::{sweep_with_energy, sweep_with_response_energy};

fn one() -> Point {
    sweep_with_energy().points.remove(0)
}

#[test]
fn every_metric_of_a_point_has_an_interval_around_its_value() {
    let point = one();
    let estimates = of_point(&point);
    for metric in Metric::ALL {
        let estimate = estimates.get(&metric).unwrap_or_else(|| panic!("{metric}"));
        // Of 2,000 requests and fewer, no upper end of the last per mille.
        if metric == Metric::LatencyP999Ns {
            continue;
        }
        let (low, high) = estimate.interval().unwrap_or_else(|| panic!("{metric} has no interval"));
        assert!(low <= estimate.value && estimate.value <= high && low > 0.0, "{metric}: {estimate:?}");
    }
    assert_eq!(estimates, of_point(&point), "the same point, the same intervals");
}

#[test]
fn the_interval_of_efficiency_is_the_inverse_of_that_of_energy() {
    let estimates = of_point(&one());
    let (joules, efficiency) = (estimates[&Metric::JPerInference], estimates[&Metric::InferencesPerJ]);
    assert!((joules.low.unwrap() * efficiency.high.unwrap() - 1.0).abs() < 1e-12);
    assert!((joules.high.unwrap() * efficiency.low.unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn the_edges_of_a_meter_widen_what_is_of_energy_and_nothing_else() {
    let mut point = one();
    let before = of_point(&point);
    point.consumption.energy_error_j = point.consumption.energy_j.map(|joules| joules * 0.2);
    let after = of_point(&point);
    let width = |all: &Estimates, metric| {
        let (low, high) = all[&metric].interval().unwrap();
        (high / low).ln()
    };
    assert!(width(&after, Metric::AveragePowerW) > 0.39 && width(&before, Metric::AveragePowerW) < 0.39);
    assert!(width(&after, Metric::JPerInference) > width(&before, Metric::JPerInference));
    assert_eq!(width(&after, Metric::InferencesPerS), width(&before, Metric::InferencesPerS));
}

#[test]
fn one_window_has_no_interval_and_windows_without_distributions_none_for_percentiles() {
    let mut point = one();
    point.windows.iter_mut().for_each(|window| window.latency_histogram = None);
    let estimates = of_point(&point);
    assert!(estimates[&Metric::InferencesPerS].interval().is_some());
    assert_eq!(estimates[&Metric::LatencyP50Ns].interval(), None);
    point.windows.truncate(1);
    let estimates = of_point(&point);
    assert!(estimates.values().all(|estimate| estimate.interval().is_none()), "{estimates:?}");
    assert_eq!(estimates.len(), Metric::ALL.len());
}

#[test]
fn a_window_in_which_all_failed_leaves_latency_its_interval() {
    let mut point = one();
    let window = &mut point.windows[0];
    (window.requests, window.inferences_per_s, window.latency_mean_ns) = (0, 0.0, None);
    let estimates = of_point(&point);
    assert_eq!(estimates[&Metric::InferencesPerS].interval(), None, "a resample may have no request at all");
}

#[test]
fn several_visits_have_the_spread_between_them() {
    let results = sweep_with_response_energy();
    let all = summary(&results.points);
    assert_eq!(all.len(), 20);
    let mut repeats = vec![results.points[0].clone(); 3];
    for (repeat, factor) in repeats.iter_mut().zip([0.9, 1.0, 1.1]) {
        repeat.inferences_per_s = 100.0 * factor;
    }
    let estimates = of_visits(&repeats.iter().collect::<Vec<_>>());
    let throughput = estimates[&Metric::InferencesPerS];
    let (low, high) = throughput.interval().unwrap();
    assert_eq!(throughput.value, 100.0);
    // A tenth over the root of three, times 4.3.
    assert!((76.0..79.0).contains(&low) && (126.0..131.0).contains(&high), "{low} to {high}");
    repeats[1].inferences_per_j = None;
    let estimates = of_visits(&repeats.iter().collect::<Vec<_>>());
    assert_eq!(estimates[&Metric::InferencesPerJ].interval(), None, "one of the visits has none");
}

#[test]
fn points_that_got_no_response_are_in_no_summary() {
    let mut results = sweep_with_energy();
    results.points.iter_mut().for_each(|point| point.inferences = 0);
    assert_eq!(summary(&results.points), []);
}
