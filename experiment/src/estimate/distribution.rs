//! Latencies of several windows, for percentiles of any mixture of them.

use hdrhistogram::Histogram;

/// The relative width of a histogram's bucket: three significant digits.
pub const BUCKET: f64 = 1e-3;

/// The factor of a 95 % interval of the normal distribution.
const Z_95: f64 = 1.959_964;

/// Distributions of several windows over common values.
#[derive(Debug, Default)]
pub struct Distributions {
    /// In ascending order.
    values: Vec<u64>,
    /// For each value its count in each window.
    counts: Vec<u64>,
    totals: Vec<u64>,
}

impl Distributions {
    /// Those of these windows.
    pub fn of(windows: &[Histogram<u64>]) -> Self {
        let mut found = std::collections::BTreeMap::<u64, Vec<u64>>::new();
        for (at, window) in windows.iter().enumerate() {
            for bucket in window.iter_recorded() {
                let counts =
                    found.entry(bucket.value_iterated_to()).or_insert_with(|| vec![0; windows.len()]);
                counts[at] += bucket.count_since_last_iteration();
            }
        }
        let totals = windows.iter().map(Histogram::len).collect();
        let values = found.keys().copied().collect();
        Self { values, counts: found.into_values().flatten().collect(), totals }
    }

    /// The percentiles of the windows, each taken so many times; `quantiles` ascend. Absent without requests.
    pub fn quantiles<const N: usize>(&self, taken: &[u32], quantiles: [f64; N]) -> [Option<f64>; N] {
        let weigh = |counts: &[u64]| -> u64 {
            counts.iter().zip(taken).map(|(count, times)| count * u64::from(*times)).sum()
        };
        let total = weigh(&self.totals);
        let mut found = [None; N];
        if total == 0 {
            return found;
        }
        let ranks = quantiles.map(|quantile| ((quantile * total as f64).ceil() as u64).clamp(1, total));
        let (mut below, mut next) = (0, 0);
        for (value, counts) in self.values.iter().zip(self.counts.chunks_exact(self.totals.len())) {
            below += weigh(counts);
            while next < N && below >= ranks[next] {
                found[next] = Some(*value as f64);
                next += 1;
            }
            if next == N {
                break;
            }
        }
        found
    }

    /// The 95 % interval of a percentile that independent requests would have, from their order: the ranks between which a
    /// binomial count lies. None if the upper rank is above the number of requests.
    pub fn by_order(&self, quantile: f64) -> Option<(f64, f64)> {
        let total = self.totals.iter().sum::<u64>() as f64;
        let half = Z_95 * (total * quantile * (1.0 - quantile)).sqrt();
        let (low, high) = (total * quantile - half, (total * quantile + half).ceil() + 1.0);
        if total == 0.0 || high > total {
            return None;
        }
        let once = vec![1; self.totals.len()];
        let [low, high] = self.quantiles(&once, [(low / total).max(0.0), high / total]);
        Some((low? * (1.0 - BUCKET), high?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn percentiles_of_mixtures_are_those_of_merged_histograms() {
        let windows = [histogram(1..=1000), histogram((1..=500).map(|n| n * 7)), histogram(5..6)];
        let all = Distributions::of(&windows);
        for taken in [[1, 1, 1], [2, 0, 1], [0, 3, 0], [1, 2, 4]] {
            let mut merged = Histogram::<u64>::new(3).unwrap();
            for (window, times) in windows.iter().zip(taken) {
                (0..times).for_each(|_| merged.add(window).unwrap());
            }
            let wanted = [0.5, 0.9, 0.99].map(|quantile| Some(merged.value_at_quantile(quantile) as f64));
            assert_eq!(all.quantiles(&taken, [0.5, 0.9, 0.99]), wanted, "{taken:?}");
        }
        assert_eq!(all.quantiles(&[0, 0, 0], [0.5]), [None]);
        assert_eq!(Distributions::default().quantiles(&[], [0.5]), [None]);
    }

    #[test]
    fn a_high_percentile_of_few_requests_has_no_upper_end() {
        let few = Distributions::of(&[histogram(1..=300)]);
        assert_eq!(few.by_order(0.99), None, "the 99th percentile of 300 may be above all of them");
        let (low, high) = few.by_order(0.9).unwrap();
        assert!((255.0..262.0).contains(&low) && (280.0..284.0).contains(&high), "{low} to {high}");
        assert!(Distributions::of(&[histogram(1..=1000)]).by_order(0.99).is_some());
        assert_eq!(Distributions::default().by_order(0.5), None);
    }
}
