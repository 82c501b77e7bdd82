//! Average power over inferences per second.

use super::parts::{no_energy, single, style};
use crate::report::cells::{Cell, grouped, short_name};
use crate::report::figure::{Kind, Mark, Plot, dimension};
use crate::report::number::significant;
use crate::report::scale::Scale;
use crate::report::series::series;
use crate::results::Results;

/// All points, the line through those of each configuration, and idle power.
pub fn over_throughput(results: &Results, cells: &[Cell]) -> Plot {
    const TITLE: &str = "Average power over throughput, all points";
    if !results.power.has_energy {
        return Plot::absent(TITLE, no_energy(results));
    }
    let mut dots = Vec::new();
    for (style, ((configuration, batch), group)) in
        grouped(cells, |cell| (cell.configuration, cell.batch)).into_iter().enumerate()
    {
        let points = group.iter().flat_map(|cell| &cell.repeats);
        let points: Vec<_> =
            points.filter_map(|p| Some((p.inferences_per_s, p.consumption.average_power_w?))).collect();
        if !points.is_empty() {
            let label = Some(short_name(cells, configuration, batch));
            dots.push(Mark { label, style, kind: Kind::Dots, points });
        }
    }
    if dots.is_empty() {
        return Plot::absent(TITLE, "No point has a value for energy.");
    }
    let mut caption = String::from("Every repeat is a point.");
    let mut marks = Vec::new();
    let all = series(cells);
    for (index, one) in all.iter().enumerate() {
        match &one.power {
            Ok(line) => {
                let most = one.points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
                let name = if all.len() > 1 { format!("{}: ", one.configuration) } else { String::new() };
                let label = Some(format!(
                    "{name}least squares: P = {} W + {} J · x, R² = {:.3}",
                    significant(line.intercept),
                    significant(line.slope),
                    line.r_squared
                ));
                let style = style(all.len(), index, 0);
                // To the axis, where it says P0.
                marks.push(Mark {
                    label,
                    style,
                    kind: Kind::Bare,
                    points: vec![(0.0, line.intercept), (most, line.at(most))],
                });
            }
            Err(reason) => caption += &format!(" {reason}."),
        }
    }
    if !marks.is_empty() {
        caption += " The line is continued to where nothing runs; a device that is awake draws more there than an idle one.";
    }
    for (name, idle) in [("idle", &results.idle), ("idle without the model", &results.idle_without_model)] {
        if let Some(watts) = idle.as_ref().and_then(|idle| idle.average_power_w) {
            let label = Some(format!("{name}: {} W", significant(watts)));
            marks.push(Mark { label, style: style(1, 0, 1), kind: Kind::Rule, points: vec![(0.0, watts)] });
        }
    }
    marks.extend(dots);
    let x = dimension("throughput (inferences/s)", Scale::FromZero);
    let y = dimension("average power (W)", Scale::FromZero);
    single(("power-over-throughput", TITLE, caption), x, y, &[], marks)
}
