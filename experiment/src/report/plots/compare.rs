//! Configurations side by side.

use super::parts::figure;
use crate::plan::Load;
use crate::report::cells::{Cell, batches, client, configurations, grouped, load_name};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::number::TimeUnit;
use crate::report::scale::Scale;

/// The fraction of a place on the axis that the configurations of a load occupy.
const SPREAD: f64 = 0.6;

/// Plot 11: latency and efficiency by load, one marker for each configuration.
pub fn side_by_side(cells: &[Cell]) -> Plot {
    const TITLE: &str = "Configurations side by side";
    let configurations = configurations(cells);
    if configurations.len() < 2 {
        return Plot::absent(TITLE, "Fewer than two configurations were measured.");
    }
    let several_batches = batches(cells).len() > 1;
    let places = grouped(cells, |cell| (cell.batch, cell.load));
    // Short words, because the names are side by side below the axis.
    let load_name = |load: &Load| load_name(load).replace("requests/s,", "req/s");
    let name = |(batch, load): (u32, &Load)| {
        if several_batches { format!("batch {batch}, {}", load_name(load)) } else { load_name(load) }
    };
    let x = || dimension("", Scale::Names(places.iter().map(|(key, _)| name(*key)).collect()));
    let spot = |cell: &Cell| {
        let place = places.iter().position(|(key, _)| *key == (cell.batch, cell.load))? as f64;
        let turn = configurations.iter().position(|name| *name == cell.configuration)?;
        let step = SPREAD / (configurations.len() - 1) as f64;
        Some((turn, place - SPREAD / 2.0 + turn as f64 * step))
    };

    let times = cells.iter().filter_map(|cell| cell.mean(|p| client(p, |l| l.p99_ns)));
    let unit = TimeUnit::for_range(times);
    let mut latency = Vec::new();
    for cell in cells {
        let percentile =
            |of: fn(&crate::results::Latency) -> u64| cell.mean(|p| client(p, of)).map(|ns| ns / unit.ns);
        let ends = (spot(cell), percentile(|l| l.p50_ns), percentile(|l| l.p99_ns));
        let (Some((style, x)), Some(p50), Some(p99)) = ends else { continue };
        let label = Some(cell.configuration.to_string());
        latency.push(Mark { label: None, style, kind: Kind::Stem, points: vec![(x, p50), (x, p99)] });
        latency.push(Mark { label, style, kind: Kind::Dots, points: vec![(x, p50)] });
        latency.push(Mark { label: None, style, kind: Kind::Hollow, points: vec![(x, p99)] });
    }
    let lollipops = |value: &dyn Fn(&Cell) -> Option<f64>| -> Vec<Mark> {
        let mut marks = Vec::new();
        for cell in cells {
            let (Some((style, x)), Some(y)) = (spot(cell), value(cell)) else { continue };
            let label = Some(cell.configuration.to_string());
            marks.push(Mark { label: None, style, kind: Kind::Stem, points: vec![(x, 0.0), (x, y)] });
            marks.push(Mark { label, style, kind: Kind::Dots, points: vec![(x, y)] });
        }
        marks
    };
    let panel = |title: &str, y: String, scale: Scale, marks: Vec<Mark>| Panel {
        title: title.into(),
        x: x(),
        y: dimension(y, scale),
        marks,
    };
    let cpu = |cell: &Cell| cell.mean(|p| p.cpu_s_per_inference.filter(|s| *s > 0.0).map(|s| 1.0 / s));
    let mut panels = vec![
        panel("Client latency, p99 hollow", format!("p50 and p99 ({})", unit.name), Scale::Log, latency),
        panel(
            "Throughput",
            "inferences/s".into(),
            Scale::FromZero,
            lollipops(&|cell| cell.mean(|p| Some(p.inferences_per_s))),
        ),
        panel(
            "Energy efficiency",
            "inferences per joule (1/J)".into(),
            Scale::FromZero,
            lollipops(&|cell| cell.mean(|p| p.inferences_per_j)),
        ),
        panel("CPU time, not energy", "inferences / CPU second".into(), Scale::FromZero, lollipops(&cpu)),
    ];
    panels.retain(|panel| !panel.marks.is_empty());
    let caption = "Latency: filled marker p50, hollow marker p99. Repeats are averaged.";
    figure(("configurations", TITLE, caption.into()), panels, true, false)
}
