//! CPU time of the server. It is not a measure of energy, and is labelled so.

use super::batch::over_batch;
use super::efficiency::by_group;
use super::parts::single;
use crate::report::cells::Cell;
use crate::report::figure::{Plot, dimension};
use crate::report::number::TimeUnit;
use crate::report::scale::Scale;
use crate::results::Point;

const UNSEEN: &str = "The server's CPU time was not measured: that needs a server on the same machine.";
const NOTE: &str = "CPU time of the server's process and its children; not energy.";

fn used_ns(point: &Point) -> Option<f64> {
    point.cpu_s_per_inference.map(|s| s * 1e9)
}

/// Plot 9: CPU time of an inference over batch size.
pub fn over_batch_size(cells: &[Cell]) -> Plot {
    const NAME: (&str, &str) = ("cpu-over-batch", "Server CPU time per inference (CPU time, not energy)");
    let times = || cells.iter().filter_map(|cell| cell.mean(used_ns));
    if times().next().is_none() {
        return Plot::absent(NAME.1, UNSEEN);
    }
    let unit = TimeUnit::for_range(times());
    let y = dimension(format!("server CPU time per inference ({})", unit.name), Scale::FromZero);
    match over_batch(cells, NAME, y, Vec::new(), |p| used_ns(p).map(|ns| ns / unit.ns)) {
        Plot::Drawn(mut figure) => {
            figure.caption = format!("{NOTE} {}", figure.caption);
            Plot::Drawn(figure)
        }
        absent => absent,
    }
}

/// Plot 9, the other way round: inferences for each CPU second over throughput.
pub fn over_throughput(cells: &[Cell]) -> Plot {
    const TITLE: &str = "Inferences per server CPU second (CPU time, not energy)";
    let marks = by_group(cells, |p| p.cpu_s_per_inference.filter(|s| *s > 0.0).map(|s| 1.0 / s));
    if marks.is_empty() {
        return Plot::absent(TITLE, UNSEEN);
    }
    if cells.len() < 2 {
        return Plot::absent(TITLE, "There are fewer than two different points.");
    }
    let x = dimension("throughput (inferences/s)", Scale::FromZero);
    let y = dimension("inferences per server CPU second (1/s)", Scale::FromZero);
    single(("cpu-over-throughput", TITLE, NOTE.into()), x, y, cells, marks)
}
