//! Measuring things in turn, and what to make of it.

use crate::support::Random;

/// Calls all of `things` once in each round, every other round in the opposite order: neither a machine whose
/// speed drifts nor the place in a round favours one of them. The values of each of them, round by round.
pub fn in_turn<T, const N: usize>(rounds: usize, things: [&dyn Fn() -> T; N]) -> [Vec<T>; N] {
    let mut found = [const { Vec::new() }; N];
    for round in 0..rounds {
        for place in 0..N {
            let thing = if round % 2 == 0 { place } else { N - 1 - place };
            found[thing].push(things[thing]());
        }
    }
    found
}

/// The middle of the values, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// The median of what `value` makes of each of them.
pub fn median_by<T>(all: &[T], value: impl Fn(&T) -> f64) -> f64 {
    median(&all.iter().map(value).collect::<Vec<_>>())
}

/// The ratios of two things within each round.
pub struct Ratio {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    /// From where to where the median lies with 95 % confidence (bootstrap, percentiles).
    pub interval: (f64, f64),
}

/// Resamples of the bootstrap: enough for two digits of the interval behind the point.
const RESAMPLES: usize = 10_000;

impl Ratio {
    pub fn of(values: &[f64], to: &[f64]) -> Self {
        let ratios: Vec<f64> = values.iter().zip(to).map(|(value, to)| value / to).collect();
        Self {
            median: median(&ratios),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
            interval: interval(&ratios),
        }
    }

    /// The least and the most of them, for a column of a table.
    pub fn range(&self) -> String {
        format!("{:.3}-{:.3}", self.least, self.most)
    }
}

/// The median of the differences within each round, and from where to where it lies with 95 % confidence.
pub fn difference(values: &[f64], to: &[f64]) -> (f64, (f64, f64)) {
    let differences: Vec<f64> = values.iter().zip(to).map(|(value, to)| value - to).collect();
    (median(&differences), interval(&differences))
}

fn interval(values: &[f64]) -> (f64, f64) {
    // The same for the same values.
    let mut random = Random::new(14);
    let count = values.len() as u64;
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| median(&values.iter().map(|_| values[random.below(count) as usize]).collect::<Vec<_>>()))
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40])
}
