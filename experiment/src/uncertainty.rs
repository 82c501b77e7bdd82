//! Errors of figures: from the spread of repeated values, and of several sources together.

/// The factor of a 95 % confidence interval by degrees of freedom, from 1: the 97.5th percentile of Student's t
/// distribution.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The same of the normal distribution.
const Z_95: f64 = 1.959_964;

/// The factor of a 95 % confidence interval with so many degrees of freedom; without any there is no interval.
pub fn t_95(degrees: usize) -> Option<f64> {
    match degrees {
        0 => None,
        1..=30 => Some(T_95[degrees - 1]),
        // The first terms of its expansion around the normal distribution (Abramowitz and Stegun, 26.7.5): to 0.0005.
        _ => {
            let (z, n) = (Z_95, degrees as f64);
            let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
            Some(z + (z.powi(3) + z) / 4.0 / n + second / n.powi(2))
        }
    }
}

/// Half the 95 % confidence interval of the mean of values that differ by chance. None for fewer than two.
pub fn of_mean(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let factor = t_95(values.len().checked_sub(1)?)?;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = factor * (squares / (n - 1.0) / n).sqrt();
    half.is_finite().then_some(half)
}

/// Several independent errors of one figure: the root of the sum of their squares.
pub fn together(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().map(|error| error * error).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_falls_to_that_of_the_normal_distribution() {
        assert_eq!((t_95(0), t_95(1), t_95(2), t_95(30)), (None, Some(12.706), Some(4.303), Some(2.042)));
        for (degrees, expected) in [(31, 2.0395), (40, 2.0211), (60, 2.0003), (120, 1.9799), (100_000, 1.96)]
        {
            let factor = t_95(degrees).unwrap();
            assert!((factor - expected).abs() < 5e-4, "{degrees}: {factor}");
        }
        let falls = (1..100).all(|degrees| t_95(degrees + 1) < t_95(degrees));
        assert!(falls);
    }

    #[test]
    fn the_error_of_a_mean() {
        // Standard deviation 1, so 4.303 / sqrt(3).
        assert!((of_mean(&[9.0, 10.0, 11.0]).unwrap() - 2.4843).abs() < 1e-3);
        assert_eq!(of_mean(&[5.0, 5.0]), Some(0.0));
        assert_eq!((of_mean(&[5.0]), of_mean(&[])), (None, None), "one value has no spread");
        assert_eq!((of_mean(&[5.0, f64::NAN]), of_mean(&[5.0, f64::INFINITY])), (None, None));
    }

    #[test]
    fn independent_errors_add_up_by_their_squares() {
        assert_eq!(together([3.0, 4.0]), 5.0);
        assert_eq!(together([-3.0, 4.0]), 5.0);
        assert_eq!((together([]), together([0.5])), (0.0, 0.5));
        assert!(together([f64::NAN]).is_nan());
    }
}
