//! The plots of a report, from the results.

mod batch;
mod batching;
mod compare;
mod cpu;
pub mod efficiency;
mod latency;
mod sizes;
mod visits;

use super::cells::{Cell, cells, repeats_note};
use super::figure::{Dimension, Figure, Panel, Plot};
use super::verdict::Verdict;
use crate::results::Results;
use crate::samples::Samples;

/// Panels of a figure that still fit onto a page.
const PANELS: usize = 6;

/// Every plot, or why it isn't there, in the order of the report.
///
/// # Errors
///
/// When a point's histogram cannot be read.
pub fn plots(results: &Results, samples: &Samples) -> anyhow::Result<Vec<Plot>> {
    let cells = &cells(results);
    if let Some(verdict) = Verdict::of(results) {
        // Over the load nothing is drawn: traces of the same mean rate are different loads.
        let mut plots = batching::late_over_cost(results, &verdict);
        plots.extend(batching::over_time(results, &verdict, samples));
        plots.push(compare::side_by_side(cells));
        plots.push(visits::over_visits(results, cells));
        return Ok(plots);
    }
    let mut plots = vec![
        batch::throughput(cells),
        batch::power(results, cells),
        batch::efficiency(results, cells),
        efficiency::over_load(results, cells),
        efficiency::over_throughput(results, cells),
        cpu::over_batch_size(cells),
        cpu::over_throughput(cells),
    ];
    plots.extend(latency::over_load(cells));
    plots.extend(latency::distribution(cells)?);
    plots.extend(sizes::executed(cells));
    plots.push(compare::side_by_side(cells));
    plots.push(visits::over_visits(results, cells));
    Ok(plots)
}

/// "No energy was measured (power source: cpu-time)."
pub fn no_energy(results: &Results) -> String {
    format!("No energy was measured (power source: {}).", results.power.name)
}

/// A figure of one panel; its axes are labelled with quantity and unit.
fn single(
    (name, title, caption): (&str, &str, String),
    x: Dimension,
    y: Dimension,
    cells: &[Cell],
    marks: Vec<super::figure::Mark>,
) -> Plot {
    let panel = Panel { title: String::new(), x, y, marks };
    let caption = caption + repeats_note(cells);
    figure((name, title, caption), vec![panel], false, false)
}

fn figure(
    (name, title, caption): (&str, &str, String),
    panels: Vec<Panel>,
    share_x: bool,
    share_y: bool,
) -> Plot {
    let (name, title) = (name.into(), title.into());
    Plot::Drawn(Box::new(Figure { name, title, caption, panels, share_x, share_y }))
}

/// As many figures as the panels need, numbered when it is more than one.
fn figures(
    (name, title, caption): (&str, &str, String),
    panels: Vec<Panel>,
    share_x: bool,
    share_y: bool,
) -> Vec<Plot> {
    let parts = panels.len().div_ceil(PANELS);
    let part = |(at, panels): (usize, &[Panel])| {
        let (name, title) = if parts == 1 {
            (name.into(), title.into())
        } else {
            (format!("{name}-{}", at + 1), format!("{title} ({} of {parts})", at + 1))
        };
        figure((&name, &title, caption.clone()), panels.to_vec(), share_x, share_y)
    };
    panels.chunks(PANELS).enumerate().map(part).collect()
}
