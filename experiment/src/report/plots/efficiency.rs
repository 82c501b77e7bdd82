//! Inferences per joule over inferences per second.

use super::parts::{no_energy, single};
use crate::report::cells::{Cell, grouped, line, runs, short_name};
use crate::report::figure::{Dimension, Kind, Mark, Plot, dimension};
use crate::report::fit::{Line, fit};
use crate::report::number::significant;
use crate::report::scale::Scale;
use crate::results::{Point, Results};

fn axes() -> (Dimension, Dimension) {
    (
        dimension("throughput (inferences/s)", Scale::FromZero),
        dimension("inferences per joule (1/J)", Scale::FromZero),
    )
}

/// Plot 4: one line per batch size.
pub fn over_load(results: &Results, cells: &[Cell]) -> Plot {
    const TITLE: &str = "Energy efficiency over inferences per second, by batch size";
    if !results.power.has_energy {
        return Plot::absent(TITLE, no_energy(results));
    }
    if cells.len() < 2 {
        return Plot::absent(TITLE, "There are fewer than two different points.");
    }
    let marks = by_group(cells, |p| p.inferences_per_j);
    if marks.is_empty() {
        return Plot::absent(TITLE, "No point has a value for energy.");
    }
    let caption = "Lines join the loads of one batch size, from the lowest to the highest; open and closed loops are not joined.".into();
    let (x, y) = axes();
    single(("efficiency-over-rate", TITLE, caption), x, y, cells, marks)
}

/// A line for each configuration and batch: a value over inferences per second.
pub fn by_group(cells: &[Cell], value: impl Fn(&Point) -> Option<f64>) -> Vec<Mark> {
    let groups = grouped(cells, |cell| (cell.configuration, cell.batch)).into_iter().enumerate();
    groups
        .flat_map(|(style, ((configuration, batch), group))| {
            let name = short_name(cells, configuration, batch);
            let line = |run: Vec<&Cell>| line(&name, style, &run, |p| Some(p.inferences_per_s), &value);
            runs(&group).into_iter().flat_map(line).collect::<Vec<_>>()
        })
        .collect()
}

/// Throughput and efficiency of every point, repeats one by one.
fn measured(cells: &[Cell]) -> Vec<(f64, f64)> {
    let points = cells.iter().flat_map(|cell| &cell.repeats);
    points.filter_map(|p| Some((p.inferences_per_s, p.inferences_per_j?))).collect()
}

/// The line through [`measured`], and how many points it is of.
pub fn line_through(cells: &[Cell]) -> (Result<Line, &'static str>, usize) {
    let points = measured(cells);
    (fit(&points), points.len())
}

/// y = a x + b, with R².
pub fn equation(line: &Line) -> String {
    let sign = if line.intercept < 0.0 { '−' } else { '+' };
    format!(
        "y = {} · x {sign} {}, R² = {:.3}",
        significant(line.slope),
        significant(line.intercept.abs()),
        line.r_squared
    )
}

/// Plot 5: all points and the line through them.
pub fn over_throughput(results: &Results, cells: &[Cell]) -> Plot {
    const TITLE: &str = "Energy efficiency over throughput, all points";
    if !results.power.has_energy {
        return Plot::absent(TITLE, no_energy(results));
    }
    let points = measured(cells);
    if points.is_empty() {
        return Plot::absent(TITLE, "No point has a value for energy.");
    }
    let mut marks = Vec::new();
    let groups = grouped(cells, |cell| (cell.configuration, cell.batch));
    for (style, ((configuration, batch), group)) in groups.into_iter().enumerate() {
        let points = group.iter().flat_map(|cell| &cell.repeats);
        let points = points.filter_map(|p| Some((p.inferences_per_s, p.inferences_per_j?))).collect();
        let label = Some(short_name(cells, configuration, batch));
        marks.push(Mark { label, style, kind: Kind::Dots, points });
    }
    let caption = match fit(&points) {
        Ok(line) => {
            let ends = points.iter().fold((f64::INFINITY, 0f64), |(a, b), (x, _)| (a.min(*x), b.max(*x)));
            let at = |x: f64| (x, line.slope * x + line.intercept);
            let label = Some(format!("least squares: {}", equation(&line)));
            let points = vec![at(ends.0), at(ends.1)];
            // Style 6 is black and no group's before the seventh.
            marks.insert(0, Mark { label, style: 6, kind: Kind::Bare, points });
            "Every repeat is a point. The line is fitted to all points, of all batch sizes and loads; since \
             throughput is itself a factor of efficiency, a good fit does not prove a cause."
                .into()
        }
        Err(reason) => format!("Every repeat is a point. {reason}."),
    };
    let (x, y) = axes();
    single(("efficiency-over-throughput", TITLE, caption), x, y, &[], marks)
}
