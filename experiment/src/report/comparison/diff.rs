//! The page and the text of `diff`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::page::{Page, aligned, write as write_page};
use crate::diff::{Diff, MetricDiff, PointDiff, Severity, Verdict};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::intervals;
use crate::report::number::{ABSENT, plural};
use crate::report::plots::parts::figures;
use crate::report::scale::Scale;
use crate::report::table::Table;
use crate::results::{Metric, Results};

/// What is compared, with the names that the user gave.
pub struct Named<'a> {
    /// The name of the first, a folder.
    pub first: (&'a str, &'a Results),
    /// The name of the second.
    pub second: (&'a str, &'a Results),
}

/// The metrics of the plot, most important first.
const PLOTTED: [Metric; 6] = [
    Metric::InferencesPerS,
    Metric::LatencyP50Ns,
    Metric::LatencyP99Ns,
    Metric::JPerInference,
    Metric::CpuSPerInference,
    Metric::LatencyMeanNs,
];

/// Styles of marks: blue, vermilion and black, each in a shape of its own.
fn style(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Better => 0,
        Verdict::Worse => 1,
        Verdict::Same => 2,
        Verdict::Undecided => 6,
    }
}

/// The comparison for a terminal: what differs between the runs, a row for each point and metric, and a count.
pub fn text(diff: &Diff) -> String {
    let mut text = String::new();
    for difference in &diff.differences {
        text += &format!("{difference}\n");
    }
    let mut rows = vec![["point", "metric", "A", "B", "B/A", "verdict"].map(str::to_owned).to_vec()];
    for point in &diff.points {
        rows.extend(point.metrics.iter().map(|metric| row(point, metric)));
    }
    if rows.len() > 1 {
        text += &format!("\n{}\n", aligned(&rows, &[0, 1, 5]).replace('\u{a0}', " "));
    }
    text + &findings(diff).join("\n")
}

fn row(point: &PointDiff, metric: &MetricDiff) -> Vec<String> {
    vec![
        point.name(),
        metric.metric.to_string(),
        intervals::text(metric.metric, &metric.first),
        intervals::text(metric.metric, &metric.second),
        ratio(metric),
        metric.verdict.word(metric.metric).to_owned(),
    ]
}

fn ratio(metric: &MetricDiff) -> String {
    match metric.ratio.interval() {
        None => format!("{:.3}", metric.ratio.value),
        Some((low, high)) => format!("{:.3}\u{a0}[{low:.3},\u{a0}{high:.3}]", metric.ratio.value),
    }
}

/// In sentences, most important first.
fn findings(diff: &Diff) -> Vec<String> {
    let all: usize = diff.points.iter().map(|point| point.metrics.len()).sum();
    let count = |verdict| diff.count(verdict);
    let mut found = vec![format!(
        "{} of {}: B is better in {}, worse in {}{}, undecided in {}.",
        plural(all, "metric"),
        plural(diff.points.len(), "common point"),
        count(Verdict::Better),
        count(Verdict::Worse),
        match diff.threshold {
            0.0 => String::new(),
            threshold =>
                format!(" (by more than {} %), the same in {}", threshold * 100.0, count(Verdict::Same)),
        },
        count(Verdict::Undecided)
    )];
    let by_chance = all as f64 * 0.05;
    if by_chance >= 1.0 && diff.threshold == 0.0 {
        found.push(format!(
            "Where nothing differs, about {by_chance:.0} of {all} would be called better or worse by chance (95 % intervals)."
        ));
    }
    for (which, only) in [("A", &diff.only_first), ("B", &diff.only_second)] {
        if !only.is_empty() {
            found.push(format!("Only {which} has: {}.", only.join("; ")));
        }
    }
    found
}

/// Writes `diff.html` and its plots to the folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(diff: &Diff, named: &Named, folder: &Path) -> Result<PathBuf> {
    let about = |(name, results): (&str, &Results)| {
        let Results { started, model, server, host, .. } = results;
        format!("{name}: {}, {} {}, {}, {started}", model.name, server.name, server.version, host.name)
    };
    let differences = diff.differences.iter().map(|difference| {
        let severity = match difference.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        vec![severity.to_owned(), difference.text.clone()]
    });
    let rows = diff.points.iter().flat_map(|point| {
        point.metrics.iter().map(move |metric| {
            let name = if point.configuration.is_empty() { ABSENT } else { &point.configuration };
            let mut cells = row(point, metric);
            cells.splice(0..1, [name.to_owned(), point.batch.to_string(), point.load.to_string()]);
            cells
        })
    });
    let mut metrics = Table {
        id: "metrics",
        title: "Metrics",
        note: "In brackets: 95 % confidence intervals. The ratio is B over A; a verdict needs its whole interval on one \
               side (of the threshold, if there is one).",
        head: vec!["configuration", "batch", "load", "metric", "A", "B", "B/A", "verdict"],
        rows: rows.collect(),
    };
    metrics = metrics.narrowed();
    let page = Page {
        title: format!("Comparison: {} and {}", named.first.0, named.second.0),
        tool: format!("triton-experiment {}", env!("TENSORFLOW_LATENCY_VERSION")),
        facts: vec![("A", about(named.first)), ("B", about(named.second))],
        findings: findings(diff),
        tables: vec![
            Table {
                id: "differences",
                title: "What else differs",
                note: "Differences of the runs, apart from their results.",
                head: vec!["kind", "warning"],
                rows: differences.collect(),
            },
            metrics,
        ],
        pictures: Vec::new(),
    };
    write_page(page, plots(diff), folder, "diff.html")
}

fn plots(diff: &Diff) -> Vec<Plot> {
    const TITLE: &str = "B over A";
    let places: Vec<String> = diff.points.iter().map(short_name).collect();
    let panel = |metric: Metric| {
        let mut marks = vec![rule(1.0)];
        for (at, point) in diff.points.iter().enumerate() {
            let Some(found) = point.metrics.iter().find(|found| found.metric == metric) else { continue };
            let (x, style) = (at as f64, style(found.verdict));
            if let Some((low, high)) = found.ratio.interval() {
                marks.push(Mark { label: None, style, kind: Kind::Stem, points: vec![(x, low), (x, high)] });
            }
            let word = match found.verdict {
                Verdict::Better => "B is better",
                Verdict::Worse => "B is worse",
                Verdict::Same => "the same",
                Verdict::Undecided => "undecided",
            };
            let (label, points) = (Some(word.to_owned()), vec![(x, found.ratio.value)]);
            marks.push(Mark { label, style, kind: Kind::Dots, points });
        }
        Panel {
            title: metric.to_string(),
            x: dimension("", Scale::Names(places.clone())),
            y: dimension("ratio", Scale::Linear),
            marks,
        }
    };
    let has = |metric: &Metric| {
        diff.points.iter().flat_map(|point| &point.metrics).any(|found| found.metric == *metric)
    };
    let panels: Vec<Panel> = PLOTTED.into_iter().filter(has).take(4).map(panel).collect();
    if panels.is_empty() {
        return vec![Plot::absent(TITLE, "The results have no point in common.")];
    }
    let caption = "Ratio with its 95 % confidence interval. Above the dashed line B has more: good for throughput, bad for \
                   latency, energy and CPU time.";
    figures(("ratios", TITLE, caption.into()), panels, true, false)
}

/// The dashed line where both are equal.
fn rule(at: f64) -> Mark {
    Mark { label: None, style: 6, kind: Kind::Rule, points: vec![(0.0, at)] }
}

fn short_name(point: &PointDiff) -> String {
    let load = point.load.to_string().replace("concurrency ", "c").replace(" requests/s, ", "/s ");
    match point.configuration.as_str() {
        "" => format!("b{} {load}", point.batch),
        name => format!("{name} b{} {load}", point.batch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::diff;
    use crate::estimate;
    use crate::report::fixtures;

    #[test]
    fn text_and_page_say_what_differs_and_which_is_better() {
        let mut first = fixtures::sweep_with_energy();
        first.points.retain(|point| point.key.batch < 4);
        estimate::complete(&mut first);
        let mut second = first.clone();
        second.host.name = "<lab>".into();
        for estimate in second.summary[0].estimates.values_mut() {
            *estimate = crate::results::Estimate { value: 1.0, low: Some(1.0), high: Some(1.0) };
        }
        let diff = diff(&first, &second, 0.0);
        let out = text(&diff);
        for part in
            ["warning: the machine differs: lab-3 and <lab>", "B/A", "undecided", "slower", "would be called"]
        {
            assert!(out.contains(part), "'{part}' is not in:\n{out}");
        }
        let folder = tempfile::tempdir().unwrap();
        let named = Named { first: ("one", &first), second: ("two", &second) };
        let page = std::fs::read_to_string(write(&diff, &named, folder.path()).unwrap()).unwrap();
        assert!(page.contains("&#60;lab&#62;") || page.contains("&lt;lab&gt;"), "markup is text");
        assert!(!page.contains("<lab>") && page.contains("B is worse"));
        assert!(folder.path().join("plots/ratios.png").exists());
    }
}
