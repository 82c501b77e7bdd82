//! What is computed from a point.

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
