//! The page of `ab`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::page::{Page, write as write_page};
use crate::ab::{Ab, Contender, Side};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::number::{TimeUnit, count, three};
use crate::report::page::quoted;
use crate::report::plots::parts::figure;
use crate::report::scale::Scale;
use crate::report::table::Table;
use crate::results::{Estimate, Metric};

/// Writes `ab.html` and its plots to the folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(ab: &Ab, folder: &Path) -> Result<PathBuf> {
    let about = |side: &Side| {
        let Side { given, server, model, .. } = side;
        let given = if given.is_empty() { String::new() } else { format!(" ({})", given.join(", ")) };
        format!("{} on {} {} at {}{given}", model.name, server.name, server.version, server.url)
    };
    let (scale, unit) = unit(ab);
    let rounds = ab.rounds.iter().enumerate().map(|(number, round)| {
        let order: String =
            round.order.iter().map(|one| if *one == Contender::A { 'A' } else { 'B' }).collect();
        let mut row = vec![count(number as u64 + 1), format!("{:.1}", round.seconds), order];
        row.extend(round.values.map(|value| three(value * scale)));
        row.push(round.ratio.map_or_else(String::new, |ratio| {
            let estimate = Estimate { value: ratio.value, low: ratio.low, high: ratio.high };
            crate::report::intervals::text(Metric::InferencesPerS, &estimate)
        }));
        row
    });
    let page = Page {
        title: format!("A/B: {}", ab.metric),
        tool: ab.tool.clone(),
        facts: vec![
            ("Command", quoted(&ab.command)),
            ("Started", ab.started.clone()),
            ("A", about(&ab.a)),
            ("B", about(&ab.b)),
            ("Host of this tool", format!("{}: {}, {} CPUs", ab.host.name, ab.host.cpu, ab.host.cpus)),
        ],
        findings: vec![
            ab.sentence() + ".",
            format!(
                "However often one looks, a contender is called better or worse than itself with a probability of at most \
                 {} %: the order within each round was drawn by a fair coin, and the test assumes nothing about the noise.",
                ab.alpha * 100.0
            ),
        ],
        tables: vec![Table {
            id: "rounds",
            title: "Rounds",
            note: "Four blocks each, in this order. The ratio is B over A, from all rounds so far.",
            head: vec![
                "round",
                "seconds",
                "order",
                "block 1",
                "block 2",
                "block 3",
                "block 4",
                "ratio so far",
            ],
            rows: rounds.collect(),
        }],
        pictures: Vec::new(),
    };
    write_page(page, plots(ab, scale, unit), folder, "ab.html")
}

/// The factor and the name of the unit that fits the values.
fn unit(ab: &Ab) -> (f64, &'static str) {
    let values = ab.rounds.iter().flat_map(|round| round.values);
    match ab.metric {
        metric if metric.is_latency() => {
            let unit = TimeUnit::for_range(values);
            (1.0 / unit.ns, unit.name)
        }
        Metric::CpuSPerInference => {
            let unit = TimeUnit::for_range(values.map(|seconds| seconds * 1e9));
            (1e9 / unit.ns, unit.name)
        }
        Metric::InferencesPerS => (1.0, "inferences/s"),
        Metric::AveragePowerW => (1.0, "W"),
        Metric::JPerInference => (1.0, "J"),
        _ => (1.0, "1/J"),
    }
}

fn plots(ab: &Ab, scale: f64, unit: &str) -> Vec<Plot> {
    if ab.rounds.is_empty() {
        return vec![Plot::absent("Ratio by round", "No round was measured.")];
    }
    let ratios =
        || ab.rounds.iter().enumerate().filter_map(|(at, round)| Some((at as f64 + 1.0, round.ratio?)));
    let bound = |end: fn(&crate::diff::Ratio) -> Option<f64>| -> Vec<(f64, f64)> {
        ratios().filter_map(|(x, ratio)| Some((x, end(&ratio)?))).collect()
    };
    // The first intervals are far wider than anything of interest.
    let most =
        ratios().map(|(_, ratio)| (ratio.value - 1.0).abs()).fold(0.0, f64::max).max(ab.difference) * 3.0;
    let shown = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        points.into_iter().filter(|(_, y)| (y - 1.0).abs() <= most).collect()
    };
    let line = |label: Option<&str>, style, kind, points| Mark {
        label: label.map(str::to_owned),
        style,
        kind,
        points,
    };
    let rule = |at: f64| line(None, 6, Kind::Rule, vec![(0.0, at)]);
    let mut marks = vec![rule(1.0)];
    if ab.difference > 0.0 {
        marks.extend([rule(1.0 + ab.difference), rule(1.0 / (1.0 + ab.difference))]);
    }
    marks.push(line(Some("bounds"), 1, Kind::Bare, shown(bound(|ratio| ratio.low))));
    marks.push(line(Some("bounds"), 1, Kind::Bare, shown(bound(|ratio| ratio.high))));
    marks.push(line(Some("B over A"), 0, Kind::Line, ratios().map(|(x, ratio)| (x, ratio.value)).collect()));
    let panel = |title: &str, x: &str, y: String, marks: Vec<Mark>| Panel {
        title: title.to_owned(),
        x: dimension(x, Scale::Linear),
        y: dimension(y, Scale::Linear),
        marks: marks.into_iter().filter(|mark| !mark.points.is_empty()).collect(),
    };
    let blocks = |contender: Contender| -> Vec<(f64, f64)> {
        let all = ab.rounds.iter().flat_map(|round| round.order.iter().zip(round.values));
        let numbered = all.enumerate().filter(|(_, (one, _))| **one == contender);
        numbered.map(|(at, (_, value))| (at as f64 + 1.0, value * scale)).collect()
    };
    let of_blocks = vec![
        line(Some("A"), 2, Kind::Hollow, blocks(Contender::A)),
        line(Some("B"), 0, Kind::Dots, blocks(Contender::B)),
    ];
    let metric = ab.metric;
    let ratio = "Ratio of B to A after each round, with bounds that hold at all rounds together (95 %). Dashed: no \
                 difference, and the least difference of interest.";
    let single = |name: &str, title: &str, caption: &str, panel: Panel| {
        figure((name, title, caption.to_owned()), vec![panel], false, false)
    };
    vec![
        single("ratio", "Ratio by round", ratio, panel("", "round", format!("{metric}, B over A"), marks)),
        single(
            "blocks",
            "Blocks in order",
            "Each block of each contender. What both have in common is drift.",
            panel("", "block", format!("{metric} ({unit})"), of_blocks),
        ),
    ]
}
