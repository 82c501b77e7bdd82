//! Power and efficiency over throughput, as far as a formula describes them.
//!
//! A device draws a constant power and some energy for each inference: P = P0 + e · x. Efficiency then is x / (P0 + e · x),
//! which bends. It is held against a straight line of efficiency over throughput, which is what such points are often said
//! to lie on.

use super::cells::{Cell, grouped};
use super::fit::{Line, fit};
use super::number::{significant, with_error};

/// A residual that is less than this part smaller is not called smaller.
const ALIKE: f64 = 0.02;

/// All points of one configuration that have energy: every batch size, load and repeat.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Empty in a sweep.
    pub configuration: &'a str,
    /// Power over throughput: P0 is its intercept (W), e its slope (J).
    pub power: Result<Line, String>,
    /// Efficiency over throughput.
    pub efficiency: Result<Line, String>,
    /// Throughput and efficiency.
    pub points: Vec<(f64, f64)>,
}

/// How far the measured efficiencies are from those of a formula.
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// The root of the mean square of the differences, inferences per joule.
    pub rms: f64,
    /// The fraction of the variance of efficiency that the formula explains; below 0 if a constant would do better.
    pub r_squared: f64,
}

/// The series of these cells, one for each configuration.
pub fn series<'a>(cells: &[Cell<'a>]) -> Vec<Series<'a>> {
    let groups = grouped(cells, |cell| cell.configuration).into_iter();
    let one = |(configuration, group): (&'a str, Vec<&Cell<'a>>)| {
        let points = group.iter().flat_map(|cell| &cell.repeats);
        let measured: Vec<(f64, f64, f64)> = points
            .filter_map(|p| Some((p.inferences_per_s, p.consumption.average_power_w?, p.inferences_per_j?)))
            .collect();
        let power: Vec<_> = measured.iter().map(|(x, watts, _)| (*x, *watts)).collect();
        let points: Vec<_> = measured.iter().map(|(x, _, efficiency)| (*x, *efficiency)).collect();
        Series { configuration, power: fit(&power, "power"), efficiency: fit(&points, "efficiency"), points }
    };
    groups.map(one).collect()
}

/// The efficiency that follows from a line of power; none where that is not positive.
pub fn efficiency_at(power: &Line, x: f64) -> Option<f64> {
    let watts = power.at(x);
    (watts > 0.0).then(|| x / watts)
}

impl Series<'_> {
    /// The residuals of efficiency: that of x / (P0 + e · x), and that of the straight line.
    pub fn residuals(&self) -> Option<(Residual, Residual)> {
        let (power, line) = (self.power.as_ref().ok()?, self.efficiency.as_ref().ok()?);
        let bent = residual(&self.points, |x| efficiency_at(power, x))?;
        Some((bent, residual(&self.points, |x| Some(line.at(x)))?))
    }

    /// What was found, in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let of = match self.configuration {
            "" => String::new(),
            name => format!("“{name}”: "),
        };
        let mut found = vec![match &self.power {
            Ok(line) => format!(
                "{of}Power over throughput is {} (95 % confidence, R² = {:.3}, {} points).",
                power_equation(line),
                line.r_squared,
                line.points
            ),
            Err(reason) => format!("{of}No statement about power over throughput: {reason}."),
        }];
        found.push(match &self.efficiency {
            Ok(line) => format!(
                "{of}Energy efficiency over throughput is {} (R² = {:.3}, {} points).",
                match line.r_squared {
                    r if r >= 0.95 => "close to a straight line",
                    r if r >= 0.8 => "only roughly a straight line",
                    _ => "not a straight line",
                },
                line.r_squared,
                line.points
            ),
            Err(reason) => format!("{of}No statement about energy efficiency over throughput: {reason}."),
        });
        found.extend(self.residuals().map(|(bent, straight)| {
            let verdict = match bent.rms / straight.rms {
                ratio if ratio < 1.0 - ALIKE => "x/(P0 + e·x) fits better",
                ratio if ratio > 1.0 + ALIKE => "the straight line fits better",
                _ => "both fit alike",
            };
            format!(
                "{of}Of efficiency, {verdict}: the root mean square of the residuals is {} inferences per joule with \
                 x/(P0 + e·x), R² = {:.3}, and {} with the straight line, R² = {:.3}. Both have two parameters; only the \
                 line was fitted to efficiency itself.",
                significant(bent.rms),
                bent.r_squared,
                significant(straight.rms),
                straight.r_squared
            )
        }));
        found
    }
}

/// P = P0 + e · x, with intervals.
pub fn power_equation(line: &Line) -> String {
    format!(
        "P = P0 + e·x with P0 = {} W and e = {} J per inference",
        with_error(line.intercept, Some(line.intercept_error)),
        with_error(line.slope, Some(line.slope_error))
    )
}

fn residual(points: &[(f64, f64)], formula: impl Fn(f64) -> Option<f64>) -> Option<Residual> {
    let n = points.len() as f64;
    let mean = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let mut squares = 0.0;
    for (x, y) in points {
        squares += (y - formula(*x)?).powi(2);
    }
    let variance: f64 = points.iter().map(|(_, y)| (y - mean).powi(2)).sum();
    Some(Residual { rms: (squares / n).sqrt(), r_squared: 1.0 - squares / variance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::cells::cells;
    use crate::report::fixtures::{sweep_with_energy, sweep_with_power};
    use crate::results::Results;

    fn one(results: &Results) -> Series<'_> {
        let cells = cells(results);
        let mut all = series(&cells);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// What an H100 showed: 137 W and 0.088 J, over throughputs from 110 to 1,686 inferences/s.
    #[test]
    fn a_line_of_power_bends_efficiency() {
        let results = sweep_with_power(|x| 137.0 + 0.088 * x);
        let series = one(&results);
        let power = series.power.as_ref().unwrap();
        assert!((power.intercept - 137.0).abs() < 1e-6 && (power.slope - 0.088).abs() < 1e-9, "{power:?}");
        let (bent, straight) = series.residuals().unwrap();
        assert!(bent.rms < 1e-9 * straight.rms && bent.r_squared > 0.999_999, "{bent:?} {straight:?}");
        assert!(straight.r_squared < 0.999, "{straight:?}");
        let text = series.sentences().join("\n");
        assert!(text.contains("P0 = 137\u{a0}±\u{a0}0 W"), "{text}");
        assert!(text.contains("x/(P0 + e·x) fits better"), "{text}");
    }

    /// Of constant power, efficiency is a straight line; of power that is none, too, the line may win.
    #[test]
    fn the_straight_line_wins_where_efficiency_is_one() {
        let results = sweep_with_power(|x| x / (0.5 + 0.01 * x));
        let series = one(&results);
        let (bent, straight) = series.residuals().unwrap();
        assert!(straight.rms < 1e-9 && bent.rms > 1e-3, "{bent:?} {straight:?}");
        assert!(series.sentences().join("\n").contains("the straight line fits better"));
    }

    #[test]
    fn the_residuals_are_of_efficiency_for_both() {
        let results = sweep_with_energy();
        let series = one(&results);
        let line = series.efficiency.as_ref().unwrap();
        let (_, straight) = series.residuals().unwrap();
        assert!((straight.r_squared - line.r_squared).abs() < 1e-9, "{straight:?} {line:?}");
    }

    #[test]
    fn points_without_energy_or_at_one_throughput_have_a_reason_instead() {
        let mut results = sweep_with_energy();
        results.points.iter_mut().skip(2).for_each(|point| point.inferences_per_j = None);
        let text = one(&results).sentences().join("\n");
        assert!(text.contains("No statement about power over throughput: fewer than 3 points"), "{text}");
        assert!(one(&results).residuals().is_none());
        let mut results = sweep_with_energy();
        results.points.iter_mut().for_each(|point| point.inferences_per_s = 50.0);
        let text = one(&results).sentences().join("\n");
        assert!(text.contains("all points have the same throughput"), "{text}");
    }

    #[test]
    fn a_power_that_is_not_positive_gives_no_efficiency() {
        let line = fit(&[(1., 1.), (2., 2.), (3., 3.01)], "power").unwrap();
        assert_eq!(efficiency_at(&Line { intercept: -5.0, ..line }, 2.0), None);
        assert_eq!(efficiency_at(&Line { intercept: 0.0, slope: 0.0, ..line }, 0.0), None);
    }

    #[test]
    fn each_configuration_has_its_own_line() {
        let mut results = sweep_with_power(|x| 100.0 + 0.1 * x);
        let others = sweep_with_power(|x| 50.0 + 0.2 * x).points.into_iter().map(|mut point| {
            point.key.configuration = "other".to_owned();
            point
        });
        results.points.extend(others);
        let cells = cells(&results);
        let all = series(&cells);
        let e: Vec<_> =
            all.iter().map(|one| (one.configuration, one.power.as_ref().unwrap().slope)).collect();
        assert_eq!((e[0].0, e[1].0), ("", "other"));
        assert!((e[0].1 - 0.1).abs() < 1e-9 && (e[1].1 - 0.2).abs() < 1e-9, "{e:?}");
        assert!(all[1].sentences().iter().all(|text| text.starts_with("“other”: ")));
    }
}
