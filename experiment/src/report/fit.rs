//! A straight line through points.

/// The least-squares line y = `slope` · x + `intercept`.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Of y for each x.
    pub slope: f64,
    /// y at x = 0.
    pub intercept: f64,
    /// The fraction of the variance of y that the line explains, 0 to 1.
    pub r_squared: f64,
}

/// Fits a line, or returns the reason why there is none.
pub fn fit(points: &[(f64, f64)]) -> Result<Line, &'static str> {
    if points.len() <= 3 {
        return Err("3 points or fewer: no fit");
    }
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 1e-18 * n * mean_x * mean_x {
        return Err("all points have the same throughput: no fit");
    }
    if yy <= 1e-18 * n * mean_y * mean_y {
        return Err("all points have the same efficiency: no fit");
    }
    let slope = xy / xx;
    Ok(Line { slope, intercept: mean_y - slope * mean_x, r_squared: (xy * xy / (xx * yy)).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_line() {
        let points: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) - 2.0)).collect();
        let line = fit(&points).unwrap();
        assert!((line.slope - 3.0).abs() < 1e-12);
        assert!((line.intercept + 2.0).abs() < 1e-12);
        assert!((line.r_squared - 1.0).abs() < 1e-12);
    }

    #[test]
    fn anscombes_first_set() {
        let x = [10., 8., 13., 9., 11., 14., 6., 4., 12., 7., 5.];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let line = fit(&x.into_iter().zip(y).collect::<Vec<_>>()).unwrap();
        assert!((line.slope - 0.5001).abs() < 1e-4);
        assert!((line.intercept - 3.0001).abs() < 1e-4);
        assert!((line.r_squared - 0.6665).abs() < 1e-4);
    }

    #[test]
    fn no_line_without_the_points_for_it() {
        assert!(fit(&[(1., 1.), (2., 2.), (3., 4.)]).unwrap_err().contains("3 points or fewer: no fit"));
        assert!(fit(&[(1., 1.), (1., 2.), (1., 4.), (1., 3.)]).is_err());
        assert!(fit(&[(1., 0.1), (2., 0.1), (3., 0.1), (4., 0.1)]).is_err());
    }
}
