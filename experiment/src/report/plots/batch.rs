//! Throughput, power and efficiency over batch size.

use super::parts::{no_energy, single};
use crate::plan::Load;
use crate::report::cells::{Cell, batches, configurations, fullest, grouped, line, load_name};
use crate::report::figure::{Dimension, Kind, Mark, Plot, dimension};
use crate::report::number::significant;
use crate::report::scale::Scale;
use crate::results::{Point, Results};

/// Plot 1: inferences per second.
pub fn throughput(cells: &[Cell]) -> Plot {
    let y = dimension("inferences/s", Scale::FromZero);
    over_batch(cells, ("throughput-over-batch", "Throughput over batch size"), y, Vec::new(), |p| {
        Some(p.inferences_per_s)
    })
}

/// Plot 2: average power, with that of the idle server.
pub fn power(results: &Results, cells: &[Cell]) -> Plot {
    const NAME: (&str, &str) = ("power-over-batch", "Average power over batch size");
    if !results.power.has_energy {
        return Plot::absent(NAME.1, no_energy(results));
    }
    let idle = results.idle.as_ref().and_then(|idle| idle.average_power_w).map(|watts| Mark {
        label: Some(format!("idle: {} W", significant(watts))),
        style: 6,
        kind: Kind::Rule,
        points: vec![(1.0, watts)],
    });
    let y = dimension("average power (W)", Scale::FromZero);
    over_batch(cells, NAME, y, idle.into_iter().collect(), |p| p.consumption.average_power_w)
}

/// Plot 3: inferences per joule.
pub fn efficiency(results: &Results, cells: &[Cell]) -> Plot {
    const NAME: (&str, &str) = ("efficiency-over-batch", "Energy efficiency over batch size");
    if !results.power.has_energy {
        return Plot::absent(NAME.1, no_energy(results));
    }
    let y = dimension("inferences per joule (1/J)", Scale::FromZero);
    over_batch(cells, NAME, y, Vec::new(), |p| p.inferences_per_j)
}

/// One line for each load, or for each configuration at the highest throughput.
pub fn over_batch(
    cells: &[Cell],
    (name, title): (&str, &str),
    y: Dimension,
    mut marks: Vec<Mark>,
    value: impl Fn(&Point) -> Option<f64>,
) -> Plot {
    let sizes = batches(cells);
    if sizes.len() < 2 {
        return Plot::absent(title, few_batches(cells));
    }
    let shown = fullest(cells);
    let several = configurations(cells).len() > 1;
    let mut any = false;
    for (style, ((configuration, load), cells)) in
        grouped(shown.iter().copied(), |c| (c.configuration, c.load)).into_iter().enumerate()
    {
        let load = load_name(load);
        let label = if several { format!("{configuration}, {load}") } else { load };
        let line = line(&label, style, &cells, |p| Some(f64::from(p.key.batch)), &value);
        any |= !line.is_empty();
        marks.extend(line);
    }
    if !any {
        return Plot::absent(title, "No point has this value.");
    }
    let at_most = shown.iter().all(|cell| *cell.load == Load::MaxThroughput);
    let caption = if at_most {
        "At the concurrency at which throughput stops growing, for each batch size."
    } else {
        "One line for each load."
    };
    let x = batch_axis(&sizes);
    single((name, title, caption.into()), x, y, cells, marks)
}

/// The axis of batch sizes.
fn batch_axis(sizes: &[u32]) -> Dimension {
    dimension("batch size", Scale::Sizes(sizes.iter().map(|size| f64::from(*size)).collect()))
}

/// Why nothing is plotted over batch size.
fn few_batches(cells: &[Cell]) -> String {
    match batches(cells).first() {
        None => "No point with an answered request was measured.".into(),
        Some(batch) => format!("Only batch size {batch} was measured."),
    }
}
