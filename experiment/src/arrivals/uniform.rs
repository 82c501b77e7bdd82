//! Uniform random numbers, and the mean gap of a rate.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// In nanoseconds.
///
/// # Panics
///
/// Unless the rate is above zero and finite.
pub fn gap_ns(rate_per_s: f64) -> f64 {
    assert!(rate_per_s > 0.0 && rate_per_s.is_finite(), "a rate of {rate_per_s} requests per second");
    1e9 / rate_per_s
}

/// Uniform in [0, 1). Our own, because a seed must give the same values with every release of the crates.
pub fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
