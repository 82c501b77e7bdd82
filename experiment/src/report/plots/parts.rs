//! Parts that the plots share.

use crate::report::cells::{Cell, repeats_note};
use crate::report::figure::{Dimension, Figure, Mark, Panel, Plot};
use crate::results::Results;

/// Maximum number of panels in a figure, so that it fits on a page.
const PANELS: usize = 6;

/// "No energy was measured (power source: cpu-time)."
pub fn no_energy(results: &Results) -> String {
    format!("No energy was measured (power source: {}).", results.power.name)
}

/// The style of a formula's line: black if it is the only one, otherwise a colour for each configuration. `dashes` tells
/// formulas of one configuration apart; 0 is a solid line.
pub fn style(configurations: usize, index: usize, dashes: usize) -> usize {
    const BLACK: usize = 6;
    let colour = if configurations == 1 { BLACK } else { index % BLACK };
    // The number below 35 with this remainder by 7, the number of colours, and that by 5, the number of dashes.
    (15 * colour + 21 * dashes) % 35
}

/// A figure with one panel.
pub fn single(
    (name, title, caption): (&str, &str, String),
    x: Dimension,
    y: Dimension,
    cells: &[Cell],
    marks: Vec<Mark>,
) -> Plot {
    let panel = Panel { title: String::new(), x, y, marks };
    let caption = caption + repeats_note(cells);
    figure((name, title, caption), vec![panel], false, false)
}

/// A figure of these panels.
pub fn figure(
    (name, title, caption): (&str, &str, String),
    panels: Vec<Panel>,
    share_x: bool,
    share_y: bool,
) -> Plot {
    let (name, title) = (name.into(), title.into());
    Plot::Drawn(Box::new(Figure { name, title, caption, panels, share_x, share_y }))
}

/// As many figures as the panels need, numbered if there are several.
pub fn figures(
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
