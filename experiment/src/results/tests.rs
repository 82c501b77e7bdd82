//! What is computed from a point.

use super::Point;
use crate::report::fixtures::sweep_with_energy;

#[test]
fn sizes_count_inferences_not_batches() {
    let mut point = sweep_with_energy().points.remove(0);
    point.key.batch = 2;
    point.statistics = None;
    point.executed_batch_sizes = [(2, 10), (8, 20)].into();
    assert_eq!(point.inferences_by_executed_size(), [(2, 20), (8, 40)].into());
    assert_eq!(point.mean_executed_batch_size(), Some(60.0 / 15.0));
    point.statistics = Some(Default::default());
    assert_eq!(point.mean_executed_batch_size(), Some(4.0));
    point.statistics.as_mut().unwrap().executions_by_batch_size = [(1, 30), (10, 3)].into();
    assert_eq!(point.inferences_by_executed_size(), [(1, 30), (10, 30)].into());
    assert_eq!(point.mean_executed_batch_size(), Some(60.0 / 33.0));
}

/// Folders of versions that did not know of errors and of the responses' energy.
#[test]
fn results_of_earlier_versions_are_read() {
    let mut results = serde_json::to_value(sweep_with_energy()).unwrap();
    let remove = |value: &mut serde_json::Value, names: &[&str]| {
        names.iter().for_each(|name| drop(value.as_object_mut().unwrap().remove(*name)));
    };
    remove(&mut results, &["idle_without_model"]);
    remove(&mut results["plan"], &["powercap_dir", "idle_unload"]);
    for point in results["points"].as_array_mut().unwrap() {
        remove(point, &["inferences_per_j_error", "j_per_inference_error_j", "response_energy"]);
        remove(
            &mut point["consumption"],
            &["average_power_error_w", "average_power_spread_w", "energy_error_j"],
        );
    }
    let read: super::Results = serde_json::from_value(results).unwrap();
    assert_eq!(read.plan.powercap_dir.to_str(), Some("/sys/class/powercap"));
    assert!(read.points.iter().all(|point| point.response_energy.is_none()));
}

/// A run that is resumed reads its results and writes them again.
#[test]
fn numbers_that_are_read_and_written_again_stay_as_they_are() {
    let mut point = sweep_with_energy().points.remove(0);
    // The fractional parts of multiples of the golden ratio, over many magnitudes.
    for number in 1..10_000 {
        let (fraction, exponent) =
            ((f64::from(number) * 0.618_033_988_749_894_8).fract(), number % 600 - 300);
        point.seconds = fraction * 10_f64.powi(exponent);
        let written = serde_json::to_string(&point).unwrap();
        let read: Point = serde_json::from_str(&written).unwrap();
        assert_eq!(read.seconds.to_bits(), point.seconds.to_bits(), "{}", point.seconds);
    }
}
