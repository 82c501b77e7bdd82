//! A straight line through points.

use crate::uncertainty::t_95;

/// The least-squares line y = `slope` · x + `intercept`.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Of y for each x.
    pub slope: f64,
    /// Half its 95 % confidence interval.
    pub slope_error: f64,
    /// y at x = 0.
    pub intercept: f64,
    /// Half its 95 % confidence interval.
    pub intercept_error: f64,
    /// The fraction of the variance of y that the line explains, 0 to 1.
    pub r_squared: f64,
    /// How many points it is of.
    pub points: usize,
}

impl Line {
    /// y at an x.
    pub fn at(&self, x: f64) -> f64 {
        self.slope * x + self.intercept
    }
}

/// Fits a line to points of throughput and `what`, or returns the reason why there is none.
pub fn fit(points: &[(f64, f64)], what: &str) -> Result<Line, String> {
    if points.len() < 3 {
        return Err(format!("fewer than 3 points with {what}: no fit"));
    }
    if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return Err(format!("a point has no finite throughput or {what}: no fit"));
    }
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 1e-18 * n * mean_x * mean_x {
        return Err("all points have the same throughput: no fit".to_owned());
    }
    if yy <= 1e-18 * n * mean_y * mean_y {
        return Err(format!("all points have the same {what}: no fit"));
    }
    let slope = xy / xx;
    let factor = t_95(points.len() - 2).expect("there are 3 points or more");
    // The standard deviation of the points around the line.
    let around = ((yy - slope * xy).max(0.0) / (n - 2.0)).sqrt();
    Ok(Line {
        slope,
        slope_error: factor * around / xx.sqrt(),
        intercept: mean_y - slope * mean_x,
        intercept_error: factor * around * (1.0 / n + mean_x * mean_x / xx).sqrt(),
        r_squared: (xy * xy / (xx * yy)).min(1.0),
        points: points.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_line() {
        let points: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) - 2.0)).collect();
        let line = fit(&points, "y").unwrap();
        assert!((line.slope - 3.0).abs() < 1e-12);
        assert!((line.intercept + 2.0).abs() < 1e-12);
        assert!((line.r_squared - 1.0).abs() < 1e-12);
        assert!(line.slope_error < 1e-6 && line.intercept_error < 1e-6, "{line:?}");
        assert!((line.at(100.0) - 298.0).abs() < 1e-9);
    }

    /// The standard errors of the publication are 0.118 and 1.125; t of 9 degrees of freedom is 2.262.
    #[test]
    fn anscombes_first_set() {
        let x = [10., 8., 13., 9., 11., 14., 6., 4., 12., 7., 5.];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let line = fit(&x.into_iter().zip(y).collect::<Vec<_>>(), "y").unwrap();
        assert!((line.slope - 0.5001).abs() < 1e-4);
        assert!((line.intercept - 3.0001).abs() < 1e-4);
        assert!((line.r_squared - 0.6665).abs() < 1e-4);
        assert!((line.slope_error - 2.262 * 0.1179).abs() < 1e-3, "{line:?}");
        assert!((line.intercept_error - 2.262 * 1.1247).abs() < 1e-3, "{line:?}");
        assert_eq!(line.points, 11);
    }

    #[test]
    fn three_points_are_enough_and_their_interval_is_wide() {
        let line = fit(&[(1., 1.), (2., 2.), (3., 4.)], "y").unwrap();
        assert!((line.slope - 1.5).abs() < 1e-12 && (line.intercept + 2.0 / 3.0).abs() < 1e-12);
        assert!((line.slope_error - 12.706 * (1.0f64 / 6.0 / 2.0).sqrt()).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn no_line_without_the_points_for_it() {
        let reason = |points: &[(f64, f64)]| fit(points, "power").unwrap_err();
        assert_eq!(reason(&[(1., 1.), (2., 2.)]), "fewer than 3 points with power: no fit");
        assert_eq!(reason(&[]), "fewer than 3 points with power: no fit");
        assert!(reason(&[(1., 1.), (1., 2.), (1., 4.)]).contains("the same throughput"));
        assert!(reason(&[(1., 0.1), (2., 0.1), (3., 0.1)]).contains("the same power"));
        assert!(reason(&[(1., 1.), (2., f64::NAN), (3., 3.)]).contains("no finite"));
        assert!(reason(&[(1., 1.), (f64::INFINITY, 2.), (3., 3.)]).contains("no finite"));
    }
}
