//! Measuring things in turn, and what to make of it.

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
}

impl Ratio {
    pub fn of(values: &[f64], to: &[f64]) -> Self {
        let ratios: Vec<f64> = values.iter().zip(to).map(|(value, to)| value / to).collect();
        Self {
            median: median(&ratios),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
        }
    }

    /// The least and the most of them, for a column of a table.
    pub fn range(&self) -> String {
        format!("{:.3}-{:.3}", self.least, self.most)
    }
}
