//! `batching`: late responses over the cost of an inference, and latency over the time of a trace.

use super::parts::figures;
use crate::adherence::is_late;
use crate::clock;
use crate::plan::{Load, PointKey, Trace};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::number::{TimeUnit, percent};
use crate::report::scale::Scale;
use crate::report::verdict::{Row, Verdict};
use crate::results::Results;
use crate::samples::{Fate, Sample, Samples};

/// A trace is divided into this many slices. The slowest request of each is drawn: more would only enlarge the file.
const SLICES: f64 = 400.0;

/// The style of lines that are not data.
const LINES: usize = 6;

/// A panel for each trace: the fraction of late responses over the cost of an inference.
pub fn late_over_cost(results: &Results, verdict: &Verdict) -> Vec<Plot> {
    const TITLE: &str = "Late responses over cost";
    let has_energy = results.power.has_energy;
    // The same styles as in the other plots, which have only the names.
    let mut names: Vec<&str> = verdict.rows.iter().map(|row| row.configuration).collect();
    names.sort_unstable();
    names.dedup();
    let x = if has_energy { "J per inference" } else { "CPU ms per inference (not energy)" };
    let mark = |row: &Row| {
        let cost = row.cost? * if has_energy { 1.0 } else { 1e3 };
        let style = names.iter().position(|name| *name == row.configuration)?;
        let points = vec![(cost, row.late_share()? * 100.0)];
        Some(Mark { label: Some(row.configuration.to_owned()), style, kind: Kind::Dots, points })
    };
    let panel = |trace: &Trace| {
        let mut marks: Vec<Mark> = verdict.of_trace(&trace.name).filter_map(mark).collect();
        if !marks.is_empty() {
            let points = vec![(0.0, verdict.batching.allowed_share() * 100.0)];
            marks.push(Mark { label: None, style: LINES, kind: Kind::Rule, points });
        }
        Panel {
            title: trace.name.clone(),
            x: dimension(x, Scale::Linear),
            y: dimension("late (%)", Scale::FromZero),
            marks,
        }
    };
    let mut panels: Vec<Panel> = verdict.batching.traces.iter().map(panel).collect();
    panels.retain(|panel| !panel.marks.is_empty());
    if panels.is_empty() {
        return vec![Plot::absent(TITLE, "Neither energy nor CPU time was measured.")];
    }
    let caption = format!(
        "Late: answered after more than {} ms; of the requests that were not refused. Dashed: the share that the target \
         allows. Lower and further left is better.",
        verdict.batching.target_ms
    );
    figures(("late-over-cost", TITLE, caption), panels, false, false)
}

/// For each trace whose rate changes: the latency of requests over the time when they were due, with a panel for each
/// configuration.
pub fn over_time(results: &Results, verdict: &Verdict, samples: &Samples) -> Vec<Plot> {
    let changing = verdict.batching.traces.iter().filter(|trace| trace.stretches().len() > 1);
    changing.flat_map(|trace| of_trace(results, verdict, samples, trace)).collect()
}

fn of_trace(results: &Results, verdict: &Verdict, samples: &Samples, trace: &Trace) -> Vec<Plot> {
    let title = format!("Latency over the time of arrival: {}", trace.name);
    let load = Load::Shaped { trace: trace.name.clone() };
    // The first of several repeats.
    let shown: Vec<(&Row, &[Sample])> = verdict
        .of_trace(&trace.name)
        .filter_map(|row| {
            let is_it = |key: &PointKey| key.configuration == row.configuration && key.load == load;
            let point = results.points.iter().find(|point| is_it(&point.key))?;
            Some((row, samples.get(&point.visit)?.as_slice()))
        })
        .collect();
    let times = || shown.iter().flat_map(|(_, all)| all.iter()).map(|sample| sample.latency_ns as f64);
    let (Some(low), Some(high)) = (times().reduce(f64::min), times().reduce(f64::max)) else {
        return vec![Plot::absent(&title, "The requests were not kept, or the trace was not measured.")];
    };
    let unit = TimeUnit::for_range(times());
    let target = verdict.batching.target_ns();
    let panel = |(row, all): &(&Row, &[Sample])| {
        let late =
            row.late_share().map_or_else(|| "all refused".into(), |late| format!("{} late", percent(late)));
        let of = |label: &str, style, of: &dyn Fn(&Sample) -> bool| Mark {
            label: Some(label.to_owned()),
            style,
            kind: Kind::Repeats,
            points: slowest(all.iter().filter(|sample| of(sample)), trace.seconds)
                .map(|sample| (clock::seconds(sample.due_ns), sample.latency_ns as f64 / unit.ns))
                .collect(),
        };
        let steps = trace.after_steps().into_iter().map(|after| Mark {
            label: None,
            style: LINES,
            kind: Kind::Stem,
            points: vec![(after.from_s, low / unit.ns), (after.from_s, high.max(target as f64) / unit.ns)],
        });
        let rule = vec![(0.0, target as f64 / unit.ns)];
        let mut marks: Vec<Mark> = steps.collect();
        marks.push(Mark { label: None, style: LINES, kind: Kind::Rule, points: rule });
        marks.push(of("on time", 0, &|s| s.fate == Fate::Answered && !is_late(s, target)));
        marks.push(of("late", 1, &|s| s.fate == Fate::Answered && is_late(s, target)));
        marks.push(of("refused", 2, &|s| s.fate == Fate::Refused));
        marks.push(of("failed", 3, &|s| s.fate == Fate::Failed));
        marks.retain(|mark| !mark.points.is_empty());
        Panel {
            title: format!("{}: {late}", row.configuration),
            x: dimension("due (s)", Scale::FromZero),
            y: dimension(format!("latency ({})", unit.name), Scale::Log),
            marks,
        }
    };
    let caption = format!(
        "Dashed: the target of {} ms. Vertical lines: steps of the rate. The slowest request of every {:.2} s is shown.",
        verdict.batching.target_ms,
        trace.seconds / SLICES
    );
    let name = format!("over-time-{}", trace.name);
    figures((&name, &title, caption), shown.iter().map(panel).collect(), true, true)
}

/// The slowest request of each slice of the trace, in order.
fn slowest<'a>(samples: impl Iterator<Item = &'a Sample>, seconds: f64) -> impl Iterator<Item = &'a Sample> {
    let mut slices = std::collections::BTreeMap::<u64, &Sample>::new();
    for sample in samples {
        let slice = (clock::seconds(sample.due_ns) / seconds * SLICES) as u64;
        let slot = slices.entry(slice).or_insert(sample);
        if sample.latency_ns > slot.latency_ns {
            *slot = sample;
        }
    }
    slices.into_values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_each_slice_is_drawn() {
        let sample = |due_ns, latency_ns| Sample { due_ns, latency_ns, fate: Fate::Answered };
        // Slices of 10 ms.
        let samples = [sample(0, 5), sample(9_000_000, 7), sample(9_999_999, 6), sample(10_000_001, 1)];
        let drawn: Vec<u64> = slowest(samples.iter(), 4.0).map(|sample| sample.latency_ns).collect();
        assert_eq!(drawn, [7, 1]);
    }
}
