//! How far times scatter around what was expected of them.

/// Classes of ratios from 1 upwards, each a little wider than the one before; the last one, from some 160, has all that
/// is above. A quick execution that another thread has interrupted takes a hundred times as long.
const CLASSES: usize = 256;
/// The width of a class, in the logarithm of the ratio.
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

/// A histogram, that forgets, of ratios of what was to what was expected.
pub struct Spread {
    weights: Box<[f64]>,
    total: f64,
    /// What the next observation weighs. It grows, in place of all the others' becoming less.
    next: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self::assuming(ASSUMED_RATIO)
    }
}

fn class(ratio: f64) -> usize {
    // Saturates: what is below 1 is in the first class.
    ((ratio.ln() / WIDTH) as usize).min(CLASSES - 1)
}

impl Spread {
    /// Nothing seen yet; until there is, one in so many is taken to be this far off.
    pub fn assuming(ratio: f64) -> Self {
        let mut weights: Box<[f64]> = vec![0.0; CLASSES].into();
        weights[class(1.0)] = ASSUMED - ASSUMED_LATE;
        weights[class(ratio)] += ASSUMED_LATE;
        Self { weights, total: ASSUMED, next: 1.0 }
    }

    /// Something took `ratio` times as long as expected.
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

    /// The ratio that `percentile` percent of them stay below, at least 1.
    pub fn quantile(&self, percentile: f64) -> f64 {
        let mut above = self.total * (1.0 - percentile / 100.0);
        for class in (0..CLASSES).rev() {
            above -= self.weights[class];
            if above < 0.0 {
                return (WIDTH * (class + 1) as f64).exp();
            }
        }
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_what_was_seen() {
        let mut spread = Spread::default();
        for number in 0..4_000 {
            spread.observe(if number % 50 == 0 { 1.5 } else { 0.9 + f64::from(number % 20) / 100.0 });
        }
        assert!((1.08..1.13).contains(&spread.quantile(97.0)), "{}", spread.quantile(97.0));
        assert!((1.5..1.55).contains(&spread.quantile(99.0)), "{}", spread.quantile(99.0));
        assert!(spread.quantile(30.0) < 1.03, "{}", spread.quantile(30.0));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut spread = Spread::default();
        for ratio in [2.0, 1.0] {
            (0..20_000).for_each(|_| spread.observe(ratio));
            assert!((spread.quantile(99.9) - ratio).abs() < 0.05, "{}", spread.quantile(99.9));
        }
    }

    #[test]
    fn any_ratio_and_any_percentile_will_do() {
        let mut spread = Spread::default();
        [0.0, 1e9, f64::INFINITY].into_iter().for_each(|ratio| spread.observe(ratio));
        for percentile in [0.0, 50.0, 100.0] {
            assert!((1.0..=170.0).contains(&spread.quantile(percentile)));
        }
    }
}
