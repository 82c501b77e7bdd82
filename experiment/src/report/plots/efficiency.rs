//! Inferences per joule over inferences per second.

use super::parts::{no_energy, single, style};
use crate::report::cells::{Cell, grouped, line, runs, short_name};
use crate::report::figure::{Dimension, Kind, Mark, Plot, dimension};
use crate::report::fit::Line;
use crate::report::number::significant;
use crate::report::scale::Scale;
use crate::report::series::{efficiency_at, series};
use crate::results::{Point, Results};

/// Pieces of a bent line.
const STEPS: u32 = 60;

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

/// y = a x + b, with R².
fn equation(line: &Line) -> String {
    let sign = if line.intercept < 0.0 { '−' } else { '+' };
    format!(
        "y = {} · x {sign} {}, R² = {:.3}",
        significant(line.slope),
        significant(line.intercept.abs()),
        line.r_squared
    )
}

/// Plot 5: all points, and for each configuration the straight line through them and what follows from the line of power.
pub fn over_throughput(results: &Results, cells: &[Cell]) -> Plot {
    const TITLE: &str = "Energy efficiency over throughput, all points";
    if !results.power.has_energy {
        return Plot::absent(TITLE, no_energy(results));
    }
    let all = series(cells);
    if all.iter().all(|one| one.points.is_empty()) {
        return Plot::absent(TITLE, "No point has a value for energy.");
    }
    let mut caption = String::from("Every repeat is a point.");
    let mut marks = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let name = if all.len() > 1 { format!("{}: ", one.configuration) } else { String::new() };
        let ends = one.points.iter().fold((f64::INFINITY, 0f64), |(a, b), (x, _)| (a.min(*x), b.max(*x)));
        if let Ok(power) = &one.power {
            let (p0, e) = (significant(power.intercept), significant(power.slope));
            let r_squared =
                one.residuals().map_or(String::new(), |(bent, _)| format!(", R² = {:.3}", bent.r_squared));
            let label = Some(format!("{name}from power: y = x / ({p0} W + {e} J · x){r_squared}"));
            let x = (0..=STEPS).map(|step| ends.0 + (ends.1 - ends.0) * f64::from(step) / f64::from(STEPS));
            let points = x.filter_map(|x| Some((x, efficiency_at(power, x)?))).collect();
            marks.push(Mark { label, style: style(all.len(), index, 0), kind: Kind::Bare, points });
        }
        if let Ok(line) = &one.efficiency {
            let label = Some(format!("{name}least squares: {}", equation(line)));
            let points = vec![(ends.0, line.at(ends.0)), (ends.1, line.at(ends.1))];
            marks.push(Mark { label, style: style(all.len(), index, 1), kind: Kind::Bare, points });
        }
        let reasons = [one.power.as_ref().err(), one.efficiency.as_ref().err()];
        reasons.into_iter().flatten().for_each(|reason| caption += &format!(" {name}{reason}."));
    }
    if !marks.is_empty() {
        caption += " The straight line is fitted to these points, of all batch sizes and loads; the other follows from the \
                    line through power, x/(P0 + e·x). R² of both is of efficiency. Throughput is itself a factor of \
                    efficiency: a good fit of the straight line does not prove a cause.";
    }
    let groups = grouped(cells, |cell| (cell.configuration, cell.batch));
    for (style, ((configuration, batch), group)) in groups.into_iter().enumerate() {
        let points = group.iter().flat_map(|cell| &cell.repeats);
        let points = points.filter_map(|p| Some((p.inferences_per_s, p.inferences_per_j?))).collect();
        let label = Some(short_name(cells, configuration, batch));
        marks.push(Mark { label, style, kind: Kind::Dots, points });
    }
    let (x, y) = axes();
    single(("efficiency-over-throughput", TITLE, caption), x, y, &[], marks)
}
