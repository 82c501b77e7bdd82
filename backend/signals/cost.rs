//! What an inference costs, from what executions took.

/// Half of what a second of an instance told is forgotten after so many seconds in which there were executions: long enough for
/// a mean over many batches, and short enough to follow the load, on which their size depends.
const HALF_LIFE_S: f64 = 60.0;
/// Looks that are further apart tell no more than this of the time in which something ran.
const LONGEST_LOOK_S: f64 = 10.0;

/// The mean cost of a row, in seconds of an instance, lately.
#[derive(Debug, Default)]
pub struct MeanCost {
    busy_s: f64,
    rows: f64,
}

impl MeanCost {
    /// So many rows were executed in so many seconds of instances, since the last look, which is so long ago.
    pub fn add(&mut self, rows: u64, busy_s: f64, since_s: f64) {
        if rows == 0 && busy_s == 0.0 {
            return;
        }
        let kept = (-since_s.clamp(0.0, LONGEST_LOOK_S) / HALF_LIFE_S).exp2();
        self.busy_s = self.busy_s * kept + busy_s;
        self.rows = self.rows * kept + rows as f64;
    }

    /// In seconds; nothing before the first row.
    pub fn of_row(&self) -> Option<f64> {
        (self.rows > 0.0 && self.busy_s > 0.0).then(|| self.busy_s / self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(cost: &MeanCost, expected: f64) {
        let of_row = cost.of_row().expect("rows have run");
        assert!((of_row / expected - 1.0).abs() < 0.05, "{of_row}, expected {expected}");
    }

    #[test]
    fn it_follows_the_load_and_stays_while_there_is_none() {
        let mut cost = MeanCost::default();
        assert_eq!(cost.of_row(), None);
        // One row in 10 ms, four times in a second.
        (0..400).for_each(|_| cost.add(1, 0.01, 0.25));
        is_near(&cost, 0.01);
        (0..40_000).for_each(|_| cost.add(0, 0.0, 0.25));
        is_near(&cost, 0.01);
        // Batches of 8 in 16 ms.
        (0..4 * 120).for_each(|_| cost.add(80, 0.16, 0.25));
        is_near(&cost, 0.002);
    }

    #[test]
    fn a_long_silence_is_no_reason_to_forget() {
        let mut cost = MeanCost::default();
        (0..400).for_each(|_| cost.add(10, 0.01, 0.25));
        cost.add(1, 0.1, 86_400.0);
        assert!(cost.of_row().is_some_and(|of_row| of_row < 0.002), "{cost:?}");
    }

    #[test]
    fn executions_that_computed_no_row_are_no_division_by_zero() {
        let mut cost = MeanCost::default();
        cost.add(0, 0.5, 0.25);
        assert_eq!(cost.of_row(), None);
    }
}
