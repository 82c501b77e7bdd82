//! Arrivals that come in bunches, and rates that change.

use std::f64::consts::TAU;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::uniform::{gap_ns, unit};

/// Endless arrivals, on average `rate_per_s` per second, with independent gaps of a gamma distribution. `variation` is the
/// gaps' standard deviation over their mean: 1 is Poisson, below 1 more regular, above 1 in bunches. The same seed gives
/// the same times.
///
/// # Panics
///
/// Unless rate and variation are above zero and finite.
pub fn gamma(rate_per_s: f64, variation: f64, seed: u64) -> impl Iterator<Item = Duration> + Send {
    assert!(variation > 0.0 && variation.is_finite(), "a variation of {variation}");
    let gap_ns = gap_ns(rate_per_s);
    // A gamma distribution of shape k has the variation k^(-1/2).
    let shape = 1.0 / (variation * variation);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut due_ns = 0_f64;
    std::iter::repeat_with(move || {
        due_ns += gamma_value(shape, &mut random) / shape * gap_ns;
        Duration::from_nanos(due_ns.round() as u64)
    })
}

/// A value of the gamma distribution with this shape and scale 1: Marsaglia and Tsang, "A simple method for generating gamma
/// variables", 2000. For a shape below 1, one of a shape larger by 1 times U^(1/shape).
fn gamma_value(shape: f64, random: &mut ChaCha8Rng) -> f64 {
    if shape < 1.0 {
        let uniform = 1.0 - unit(random);
        return gamma_value(shape + 1.0, random) * uniform.powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let normal = normal(random);
        let cube = (1.0 + c * normal).powi(3);
        let uniform = 1.0 - unit(random);
        if cube > 0.0 && uniform.ln() < 0.5 * normal * normal + d - d * cube + d * cube.ln() {
            return d * cube;
        }
    }
}

/// A value of the standard normal distribution, by Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (uniform, angle) = (1.0 - unit(random), unit(random));
    (-2.0 * uniform.ln()).sqrt() * (TAU * angle).cos()
}

/// Bursts: a Poisson process that changes between two rates at random times (a Markov-modulated Poisson process, MMPP).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// The rate in a burst, as a multiple of the mean rate. At least 1.
    pub factor: f64,
    /// The part of the time that is in bursts, above 0 and below 1. Times `factor` at most 1, so that the rate between bursts
    /// is not negative.
    pub share: f64,
    /// The mean length of a burst in seconds; lengths have an exponential distribution, and so have the pauses.
    pub mean_s: f64,
}

/// Endless arrivals in bursts, on average `rate_per_s` per second. The same seed gives the same times.
///
/// # Panics
///
/// Unless the rate is above zero and finite, and the bursts are as described there.
pub fn bursty(rate_per_s: f64, bursts: Bursts, seed: u64) -> impl Iterator<Item = Duration> + Send {
    assert!(rate_per_s > 0.0 && rate_per_s.is_finite(), "a rate of {rate_per_s} requests per second");
    let Bursts { factor, share, mean_s } = bursts;
    assert!(
        factor >= 1.0 && share > 0.0 && share < 1.0 && factor * share <= 1.0 && mean_s > 0.0,
        "bursts of {bursts:?}"
    );
    let calm = (rate_per_s * (1.0 - factor * share) / (1.0 - share)).max(0.0);
    let rates = [calm, rate_per_s * factor];
    // So that the mean part of bursts is `share`.
    let lengths_s = [mean_s * (1.0 - share) / share, mean_s];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let exponential = |mean: f64, random: &mut ChaCha8Rng| -(1.0 - unit(random)).ln() * mean;
    let mut state = usize::from(unit(&mut random) < share);
    let mut now_s = 0.0;
    let mut until_s = exponential(lengths_s[state], &mut random);
    std::iter::repeat_with(move || {
        // So many expected arrivals lie between two; the rates say how long that is.
        let mut wanted = exponential(1.0, &mut random);
        loop {
            let in_state = rates[state] * (until_s - now_s);
            if wanted < in_state {
                now_s += wanted / rates[state];
                return Duration::from_secs_f64(now_s);
            }
            wanted -= in_state;
            now_s = until_s;
            state = 1 - state;
            until_s = now_s + exponential(lengths_s[state], &mut random);
        }
    })
}

/// Arrivals whose rate changes evenly from one to another in so many seconds, and which end then. `units` are arrivals at a
/// rate of 1 per second.
///
/// # Panics
///
/// Unless the rates are not negative and finite, one is above zero, and the time is above zero.
pub fn ramp(
    units: impl Iterator<Item = Duration> + Send,
    from_per_s: f64,
    to_per_s: f64,
    seconds: f64,
) -> impl Iterator<Item = Duration> + Send {
    assert!(
        from_per_s >= 0.0 && to_per_s >= 0.0 && (from_per_s + to_per_s) > 0.0 && seconds > 0.0,
        "a ramp from {from_per_s} to {to_per_s} in {seconds} s"
    );
    let total = (from_per_s + to_per_s) / 2.0 * seconds;
    let slope = (to_per_s - from_per_s) / seconds;
    units.map(|unit| unit.as_secs_f64()).take_while(move |wanted| *wanted <= total).map(move |wanted| {
        // The time t at which from * t + slope * t^2 / 2 arrivals are due, in a form that a slope near 0 does not disturb.
        let root = (from_per_s * from_per_s + 2.0 * slope * wanted).max(0.0).sqrt();
        Duration::from_secs_f64((2.0 * wanted / (from_per_s + root)).min(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 200_000;

    /// The mean of gaps in seconds, and their standard deviation over that.
    fn gaps(times: impl Iterator<Item = Duration>) -> (f64, f64) {
        let times: Vec<f64> = times.take(COUNT).map(|due| due.as_secs_f64()).collect();
        assert!(times.is_sorted());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn gamma_has_its_rate_and_its_variation() {
        for variation in [0.1, 0.5, 1.0, 2.0, 4.0] {
            let (mean, found) = gaps(gamma(200.0, variation, 3));
            // Five standard errors of the mean.
            assert!(
                (mean * 200.0 - 1.0).abs() < 5.0 * variation / (COUNT as f64).sqrt(),
                "{variation}: {mean}"
            );
            assert!((found / variation - 1.0).abs() < 0.05, "{variation}: {found}");
        }
        let first = |seed| gamma(10.0, 2.0, seed).take(5).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn a_variation_of_one_has_exponential_gaps() {
        let times: Vec<f64> = gamma(1.0, 1.0, 9).take(COUNT).map(|due| due.as_secs_f64()).collect();
        let longer = |than: f64| {
            times.windows(2).filter(|pair| pair[1] - pair[0] > than).count() as f64 / COUNT as f64
        };
        for than in [0.1, 1.0, 3.0] {
            assert!((longer(than) - (-than).exp()).abs() < 0.005, "{than}: {}", longer(than));
        }
    }

    #[test]
    fn bursts_keep_the_mean_rate_and_have_their_share() {
        let bursts = Bursts { factor: 4.0, share: 0.2, mean_s: 0.5 };
        let times: Vec<f64> = bursty(100.0, bursts, 5).take(COUNT).map(|due| due.as_secs_f64()).collect();
        assert!(times.is_sorted());
        let end = *times.last().unwrap();
        assert!((COUNT as f64 / end / 100.0 - 1.0).abs() < 0.05, "{}", COUNT as f64 / end);
        // Counts over 0.1 s: in bursts 40 are expected, between them 5. A Poisson process has a variance as large as its mean.
        let mut counts = vec![0_f64; (end / 0.1) as usize + 1];
        times.iter().for_each(|time| counts[(time / 0.1) as usize] += 1.0);
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!(variance > 10.0 * mean, "mean {mean}, variance {variance}");
        let high = counts.iter().filter(|count| **count > 20.0).count() as f64 / counts.len() as f64;
        assert!((high - 0.2).abs() < 0.04, "{high} of the time is in bursts");
    }

    #[test]
    fn all_arrivals_may_be_in_bursts_and_no_burst_is_poisson() {
        let silent = Bursts { factor: 5.0, share: 0.2, mean_s: 1.0 };
        let (mean, variation) = gaps(bursty(50.0, silent, 2));
        assert!((mean * 50.0 - 1.0).abs() < 0.1 && variation > 2.0, "{mean}, {variation}");
        let (mean, variation) = gaps(bursty(50.0, Bursts { factor: 1.0, ..silent }, 2));
        assert!((mean * 50.0 - 1.0).abs() < 0.02 && (variation - 1.0).abs() < 0.02, "{mean}, {variation}");
    }

    #[test]
    fn a_ramp_has_its_rate_at_each_time_and_ends() {
        for (from, to) in [(10.0, 200.0), (200.0, 10.0), (0.0, 100.0), (100.0, 0.0), (50.0, 50.0)] {
            let times: Vec<f64> =
                ramp((1..).map(Duration::from_secs), from, to, 60.0).map(|due| due.as_secs_f64()).collect();
            assert!(times.is_sorted() && *times.last().unwrap() <= 60.0);
            assert!(
                (times.len() as f64 - (from + to) * 30.0).abs() <= 1.0,
                "{from} to {to}: {}",
                times.len()
            );
            for begin in [0.0, 25.0, 55.0] {
                let found = times.iter().filter(|time| (begin..begin + 5.0).contains(*time)).count() as f64;
                let expected = 5.0 * (from + (to - from) * (begin + 2.5) / 60.0);
                assert!((found - expected).abs() <= 2.0, "{from} to {to} at {begin}: {found} of {expected}");
            }
        }
        let random = ramp(gamma(1.0, 1.0, 3), 100.0, 300.0, 100.0).count() as f64;
        assert!((random - 20_000.0).abs() < 5.0 * 20_000_f64.sqrt(), "{random}");
    }
}
