//! The times of requests, counted by size.

use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bounds of the buckets, in seconds: each 1.3 to 2 times the one before, so that a percentile that is interpolated
/// between two of them is near. They are the same for every model and in every version of the backend, as percentiles over
/// several servers are told from sums of buckets.
pub const BOUNDS: [f64; 24] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
    0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
];
/// With the one of all that are longer.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// In ns.
const BOUNDS_NS: [u64; BOUNDS.len()] = {
    let mut bounds = [0; BOUNDS.len()];
    let mut index = 0;
    while index < BOUNDS.len() {
        bounds[index] = (BOUNDS[index] * 1e9 + 0.5) as u64;
        index += 1;
    }
    bounds
};

/// A bucket is one number, so that nobody sees a count without its sum: the count in the upper bits, and in so many lower ones
/// the sum, in microseconds. What carries from the sum into the count, and out of the count, does no harm: differences are right
/// as long as they fit, which are 16 million requests and 12 days.
const SUM_BITS: u32 = 40;

/// Counts of durations. They only grow, and wrap around.
#[derive(Debug)]
pub struct Durations([AtomicU64; BUCKETS]);

/// What [`Durations`] were at a time.
#[derive(Clone, Debug)]
pub struct Seen([u64; BUCKETS]);

/// What has come into a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grown {
    /// So many durations.
    pub count: u64,
    /// Of so many seconds together.
    pub seconds: f64,
}

impl Default for Durations {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Durations {
    /// Counts one.
    pub fn add(&self, ns: u64) {
        let bucket = BOUNDS_NS.partition_point(|&bound| bound < ns);
        let us = (ns.saturating_add(500) / 1000).min((1 << SUM_BITS) - 1);
        self.0[bucket].fetch_add((1 << SUM_BITS) + us, Ordering::SeqCst);
    }

    /// What has come into each bucket since `seen`, which is brought up to date; nothing if that is none.
    pub fn since(&self, seen: &mut Seen) -> Option<[Grown; BUCKETS]> {
        let mut grown = [Grown::default(); BUCKETS];
        for ((bucket, seen), grown) in self.0.iter().zip(&mut seen.0).zip(&mut grown) {
            let now = bucket.load(Ordering::SeqCst);
            let difference = now.wrapping_sub(std::mem::replace(seen, now));
            let us = difference & ((1 << SUM_BITS) - 1);
            *grown = Grown { count: difference >> SUM_BITS, seconds: us as f64 / 1e6 };
        }
        grown.iter().any(|grown| grown.count > 0).then_some(grown)
    }
}

impl Grown {
    /// A duration that stands for each of these, which came into the bucket of this place: so many of it have the same sum, up
    /// to the rounding of microseconds at the bucket's bounds.
    pub fn typical(&self, bucket: usize) -> f64 {
        let mean = self.seconds / self.count.max(1) as f64;
        let least = if bucket > 0 { BOUNDS[bucket - 1].next_up() } else { 0.0 };
        mean.clamp(least, BOUNDS.get(bucket).copied().unwrap_or(f64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    fn buckets(durations: &[u64]) -> [Grown; BUCKETS] {
        let counted = Durations::default();
        durations.iter().for_each(|&ns| counted.add(ns));
        counted.since(&mut Seen::default()).expect("something came")
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        for (index, bound) in BOUNDS_NS.into_iter().enumerate() {
            assert_eq!(buckets(&[bound])[index].count, 1, "{bound} ns");
            assert_eq!(buckets(&[bound + 1])[index + 1].count, 1, "{bound} ns and one more");
        }
        assert_eq!(buckets(&[0])[0], Grown { count: 1, seconds: 0.0 });
        assert_eq!(buckets(&[u64::MAX])[BUCKETS - 1].count, 1);
    }

    #[test]
    fn bounds_are_ascending_and_the_same_in_both_units() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
        for (seconds, ns) in BOUNDS.into_iter().zip(BOUNDS_NS) {
            assert_eq!(ns as f64 / 1e9, seconds, "a duration at the bound must not seem longer than it");
        }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (counted, mut seen) = (Durations::default(), Seen::default());
        assert_eq!(counted.since(&mut seen), None);
        counted.add(4 * MS);
        counted.add(5 * MS);
        let grown = counted.since(&mut seen).unwrap();
        assert_eq!(grown[4], Grown { count: 2, seconds: 0.009 });
        assert_eq!(grown.iter().map(|grown| grown.count).sum::<u64>(), 2);
        assert_eq!(counted.since(&mut seen), None);
        counted.add(700 * MS);
        let grown = counted.since(&mut seen).unwrap();
        assert_eq!((grown[4].count, grown[17]), (0, Grown { count: 1, seconds: 0.7 }));
    }

    /// Beyond what the bits of a sum hold in all, and beyond what those of a count do.
    #[test]
    fn numbers_that_wrap_around_are_still_right() {
        let (counted, mut seen) = (Durations::default(), Seen::default());
        let longest = ((1 << SUM_BITS) - 1) * US;
        for _ in 0..5 {
            counted.add(longest);
            let grown = counted.since(&mut seen).unwrap()[BUCKETS - 1];
            assert_eq!(grown, Grown { count: 1, seconds: (longest / US) as f64 / 1e6 });
        }
        counted.0[3].store(u64::MAX - 1, Ordering::SeqCst);
        counted.since(&mut seen);
        counted.add(3 * MS);
        assert_eq!(counted.since(&mut seen).unwrap()[3], Grown { count: 1, seconds: 0.003 });
    }

    #[test]
    fn what_stands_for_a_bucket_is_in_it_and_has_its_sum() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let ns = (random.f64() * 23.0).exp2() as u64 * 2_000;
            let all: Vec<u64> = (0..random.usize(1..5)).map(|_| ns + random.u64(0..ns / 8 + 2)).collect();
            for (bucket, grown) in buckets(&all).iter().enumerate().filter(|(_, grown)| grown.count > 0) {
                let typical = grown.typical(bucket);
                assert_eq!(BOUNDS.partition_point(|&bound| bound < typical), bucket, "{all:?}");
                let off = (typical * grown.count as f64 - grown.seconds).abs();
                assert!(off <= 0.6e-6 * grown.count as f64, "{all:?}: {off}");
            }
        }
    }
}
