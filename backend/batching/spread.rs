//! How far the times of batches scatter around what was expected of them.

/// Classes of ratios, each [`WIDTH`] wide, from 1 upwards; the last one has all that is above.
const CLASSES: usize = 64;
const WIDTH: f64 = 0.02;
/// What an observation weighs after the next one.
const KEPT: f64 = 0.995;
/// Sums are scaled down before they lose their small parts.
const LARGEST: f64 = 1e12;
/// What is assumed at first: of so many batches,
const ASSUMED: f64 = 30.0;
/// this many take
const ASSUMED_LATE: f64 = 1.0;
/// this much.
const ASSUMED_RATIO: f64 = 1.25;

/// A histogram of the ratio of a batch's time to the expected one, that forgets.
pub struct Spread {
    weights: [f64; CLASSES],
    total: f64,
    /// What the next observation weighs. It grows, in place of all the others' becoming less.
    next: f64,
}

impl Default for Spread {
    fn default() -> Self {
        let mut weights = [0.0; CLASSES];
        weights[class(1.0)] = ASSUMED - ASSUMED_LATE;
        weights[class(ASSUMED_RATIO)] = ASSUMED_LATE;
        Self { weights, total: ASSUMED, next: 1.0 }
    }
}

fn class(ratio: f64) -> usize {
    // Saturates: what is below 1 is in the first class.
    (((ratio - 1.0) / WIDTH) as usize).min(CLASSES - 1)
}

impl Spread {
    /// A batch took `ratio` times as long as expected.
    pub fn observe(&mut self, ratio: f64) {
        self.next /= KEPT;
        if self.next > LARGEST {
            self.weights.iter_mut().for_each(|weight| *weight /= self.next);
            self.total /= self.next;
            self.next = 1.0;
        }
        self.weights[class(ratio)] += self.next;
        self.total += self.next;
    }

    /// The ratio that `percentile` percent of the batches stay below, at least 1.
    pub fn quantile(&self, percentile: f64) -> f64 {
        let mut above = self.total * (1.0 - percentile / 100.0);
        for class in (0..CLASSES).rev() {
            above -= self.weights[class];
            if above < 0.0 {
                return 1.0 + WIDTH * (class + 1) as f64;
            }
        }
        1.0
    }
}
