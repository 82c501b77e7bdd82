//! Standard errors by the bootstrap.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::uncertainty::{t_95, together};

/// Resamples. Their number leaves 2 % of error in a standard error: 1 / sqrt(2 · 1000).
const RESAMPLES: usize = 1000;

/// Any number; the same for every run, so that the same results give the same intervals.
const SEED: u64 = 0x626f_6f74;

/// The standard errors of the logarithms of statistics of `blocks` blocks that may be drawn for one another.
///
/// `statistics` computes them from how often each block was drawn. A statistic that is absent, zero or infinite in any
/// resample has none; neither has one of fewer than two blocks.
///
/// A resample of n blocks has (n − 1) / n of the variance of a new sample; the result is corrected for that.
pub fn log_errors<const N: usize>(
    blocks: usize,
    mut statistics: impl FnMut(&[u32]) -> [Option<f64>; N],
) -> [Option<f64>; N] {
    if blocks < 2 {
        return [None; N];
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut spreads = [Some(Spread::default()); N];
    let mut drawn = vec![0; blocks];
    for _ in 0..RESAMPLES {
        draw(&mut random, &mut drawn);
        for (spread, value) in spreads.iter_mut().zip(statistics(&drawn)) {
            let log = value.map(f64::ln).filter(|log| log.is_finite());
            *spread = spread.take().zip(log).map(|(spread, log)| spread.with(log));
        }
    }
    let correction = blocks as f64 / (blocks as f64 - 1.0);
    spreads.map(|spread| spread.map(|spread| (spread.variance() * correction).sqrt()))
}

fn draw(random: &mut impl Rng, drawn: &mut [u32]) {
    drawn.fill(0);
    for _ in 0..drawn.len() {
        drawn[random.random_range(0..drawn.len())] += 1;
    }
}

/// A variance in one pass (Welford).
#[derive(Clone, Copy, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn with(mut self, value: f64) -> Self {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
        self
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

/// The 95 % confidence interval of a value above zero, from the standard error of its logarithm with so many blocks, and
/// from other relative errors (95 %) that are independent of it.
///
/// On the scale of logarithms the interval of a rate and that of its inverse are the same, and none reaches zero. The factor
/// is Student's, because the error itself is known from few blocks.
pub fn interval(value: f64, log_error: f64, blocks: usize, others: f64) -> Option<(f64, f64)> {
    let half = together([log_error * t_95(blocks.checked_sub(1)?)?, others]);
    let (low, high) = (value * (-half).exp(), value * half.exp());
    (value > 0.0 && low.is_finite() && high.is_finite()).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: &[f64]) -> impl FnMut(&[u32]) -> [Option<f64>; 1] + '_ {
        |drawn| {
            let sum: f64 = values.iter().zip(drawn).map(|(value, times)| value * f64::from(*times)).sum();
            [Some(sum / values.len() as f64)]
        }
    }

    /// For a mean it is known: the standard deviation over the root of the number.
    #[test]
    fn the_error_of_a_mean_is_the_textbooks() {
        let values = [98.0, 101.0, 100.0, 103.0, 97.0, 101.0];
        let n = values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - 100.0_f64).powi(2)).sum();
        let expected = (squares / (n - 1.0) / n).sqrt() / 100.0;
        let [error] = log_errors(values.len(), mean_of(&values));
        let ratio = error.unwrap() / expected;
        assert!((0.93..1.07).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_same_blocks_give_the_same_error() {
        let values = [1.0, 2.0, 3.0];
        assert_eq!(log_errors(3, mean_of(&values)), log_errors(3, mean_of(&values)));
    }

    #[test]
    fn what_has_no_logarithm_has_no_error() {
        assert_eq!(log_errors(1, mean_of(&[1.0])), [None], "one block has no spread");
        assert_eq!(log_errors(2, mean_of(&[0.0, 1.0])), [None], "zero, if the first is drawn twice");
        assert_eq!(
            log_errors(2, |drawn: &[u32]| [(drawn[0] > 0).then_some(1.0), Some(1.0)]),
            [None, Some(0.0)]
        );
        assert_eq!(interval(0.0, 0.1, 3, 0.0), None);
        assert_eq!(interval(1.0, 0.1, 1, 0.0), None);
    }

    #[test]
    fn an_interval_has_the_factor_of_its_blocks_and_the_other_errors() {
        let (low, high) = interval(100.0, 0.01, 3, 0.0).unwrap();
        assert!((high / 100.0 - (0.04303_f64).exp()).abs() < 1e-9 && (low * high - 1e4).abs() < 1e-6);
        let (_, wider) = interval(100.0, 0.01, 3, 0.04303).unwrap();
        assert!(((wider / 100.0).ln() / 0.04303 - 2_f64.sqrt()).abs() < 1e-9);
    }

    /// Of normal noise, 95 % of the intervals over three blocks, and over many, contain the truth.
    #[test]
    fn intervals_cover_what_they_say() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        // A sum of twelve uniform numbers is nearly normal, with a standard deviation of 1.
        let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        for blocks in [3, 5, 20] {
            let rounds = 400;
            let covered = (0..rounds)
                .filter(|_| {
                    let values: Vec<f64> = (0..blocks).map(|_| 100.0 + 3.0 * normal()).collect();
                    let [error] = log_errors(blocks, mean_of(&values));
                    let mean = values.iter().sum::<f64>() / blocks as f64;
                    let (low, high) = interval(mean, error.unwrap(), blocks, 0.0).unwrap();
                    (low..=high).contains(&100.0)
                })
                .count();
            let share = covered as f64 / f64::from(rounds);
            assert!((0.92..0.98).contains(&share), "{blocks} blocks: {share}");
        }
    }
}
