//! The summary of `batching`, as a table and in sentences.

use super::number::{ABSENT, count, percent, three, time};
use super::verdict::{Row, Standing, Verdict, geometric_mean};
use crate::results::Results;

/// A refusal that takes longer is useless: the client could have had a response.
const SWIFT_NS: f64 = 50e6;

/// The columns of [`table`]. Those from [`PRINTED`] on are only in the report, because a terminal is narrow.
pub const HEAD: [&str; 14] = [
    "trace",
    "configuration",
    "p50",
    "p99",
    "late",
    "refused",
    "cost per inference",
    "mean batch",
    "target",
    "cost to best fixed",
    "requests",
    "longest late burst",
    "last late response after each step",
    "refusals, p99 and max",
];

/// Number of columns of [`HEAD`] that are printed.
const PRINTED: usize = 9;

/// The rows below [`HEAD`].
pub fn table(verdict: &Verdict, has_energy: bool) -> Vec<Vec<String>> {
    let or_absent =
        |value: Option<f64>, text: &dyn Fn(f64) -> String| value.map_or_else(|| ABSENT.into(), text);
    let row = |row: &Row| {
        let best = verdict.best_fixed(row.trace).is_some_and(|best| best.configuration == row.configuration);
        let steps: Vec<String> =
            row.settled_after_s().into_iter().map(|after| or_absent(after, &|s| time(s * 1e9))).collect();
        let refusals = row.refusal_ns(|l| l.p99_ns).zip(row.refusal_ns(|l| l.max_ns));
        vec![
            row.trace.to_owned(),
            row.configuration.to_owned(),
            or_absent(row.p50_ns, &time),
            or_absent(row.p99_ns, &time),
            or_absent(row.late_share(), &percent),
            count(row.sum(|adherence| adherence.refused)),
            or_absent(row.cost, &|cost| cost_text(cost, has_energy)),
            or_absent(row.mean_batch, &three),
            match (row.meets, best) {
                (true, true) => "met, best fixed",
                (true, false) => "met",
                (false, _) => "MISSED",
            }
            .to_owned(),
            or_absent(verdict.cost_ratio(row), &three),
            count(row.sum(|a| a.answered + a.refused + a.failed)),
            or_absent(row.longest_burst_s(), &|seconds| time(seconds * 1e9)),
            if steps.is_empty() { ABSENT.into() } else { steps.join(", ") },
            refusals.map_or_else(|| ABSENT.into(), |(p99, max)| format!("{}, {}", time(p99), time(max))),
        ]
    };
    verdict.rows.iter().map(row).collect()
}

/// The summary for a terminal: of `batching` a table, with an empty line between traces, and sentences; of `search` what was
/// found. None if the run is neither, or has no points.
pub fn text(results: &Results) -> Option<String> {
    if results.plan.search.is_some() {
        return Some(super::search::sentences(results).join("\n")).filter(|text| !text.is_empty());
    }
    let verdict = Verdict::of(results).filter(|verdict| !verdict.rows.is_empty())?;
    let mut rows = table(&verdict, results.power.has_energy);
    rows.insert(0, HEAD.map(str::to_owned).to_vec());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..PRINTED).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 1 && rows[number - 1][0] != row[0] {
            text.push('\n');
        }
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match HEAD[column] {
                "trace" | "configuration" | "target" => text += &format!("{cell:width$}  "),
                _ => text += &format!("{cell:>width$}  "),
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for sentence in sentences(results, &verdict) {
        text += &format!("\n{sentence}");
    }
    Some(text)
}

/// The summary in sentences, most important first.
pub fn sentences(results: &Results, verdict: &Verdict) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(capacity) = &results.capacity {
        let doubt =
            if capacity.settled == Some(false) { " It did not settle, so the rates may be off." } else { "" };
        sentences.push(format!(
            "The capacity (100 % of the traces) was {} inferences/s in a closed loop (batch {}, concurrency {}).{doubt}",
            three(capacity.inferences_per_s),
            capacity.key.batch,
            capacity.concurrency.unwrap_or(1)
        ));
    }
    sentences.extend(of_adaptive(verdict, results.power.has_energy));
    let standings = verdict.standings();
    if let [best, .., worst] = standings.as_slice() {
        sentences.push(format!("The best fixed configuration was {}: {}.", named(best), told(best, verdict)));
        sentences.push(format!(
            "The worst fixed configuration was {}: {}.",
            named(worst),
            told(worst, verdict)
        ));
    }
    sentences.extend(refusals(verdict));
    sentences
}

fn named(standing: &Standing) -> String {
    format!("“{}”", standing.configuration)
}

/// The adaptive configuration against the best fixed one of each trace.
fn of_adaptive(verdict: &Verdict, has_energy: bool) -> Vec<String> {
    let rows = verdict.adaptive();
    let Some(name) = rows.first().map(|row| row.configuration) else { return Vec::new() };
    let batching = verdict.batching;
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| !row.meets)
        .map(|row| {
            format!("{} ({})", row.trace, row.late_share().map_or_else(|| "all refused".into(), percent))
        })
        .collect();
    let mut sentences = vec![format!(
        "“{name}” met the target (at most {} over {}) in {} of {} traces{}.",
        percent(batching.allowed_share()),
        time(batching.target_ms * 1e6),
        rows.len() - missed.len(),
        rows.len(),
        if missed.is_empty() { String::new() } else { format!("; late in {}", missed.join(", ")) }
    )];
    let ratios: Vec<f64> = rows.iter().filter_map(|row| verdict.cost_ratio(row)).collect();
    if let Some(mean) = geometric_mean(&ratios) {
        let (low, high) = ratios.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        sentences.push(format!(
            "Its {} per inference was {} times that of the cheapest fixed configuration that met the target in the same \
             trace (geometric mean; {} to {} over {} traces).",
            cost_name(has_energy),
            three(mean),
            three(low),
            three(high),
            ratios.len()
        ));
    }
    let none: Vec<&str> =
        rows.iter().map(|row| row.trace).filter(|t| verdict.best_fixed(t).is_none()).collect();
    if !none.is_empty() {
        sentences.push(format!("No fixed configuration met the target in {}.", none.join(", ")));
    }
    sentences.extend(settling(name, &rows));
    sentences
}

/// How long responses were late after steps.
fn settling(name: &str, rows: &[&Row]) -> Option<String> {
    let steps: Vec<Option<f64>> = rows.iter().flat_map(|row| row.settled_after_s()).collect();
    let burst = rows.iter().filter_map(|row| row.longest_burst_s()).reduce(f64::max);
    let longest = burst.map_or_else(
        || "no response was late".into(),
        |s| format!("the longest burst of late responses was {}", time(s * 1e9)),
    );
    let ceased: Vec<f64> = steps.iter().copied().flatten().collect();
    let latest = ceased.iter().copied().fold(0.0, f64::max);
    (!steps.is_empty()).then(|| match steps.len() - ceased.len() {
        0 if latest == 0.0 => format!("“{name}” had no late response after a step of the rate; {longest}."),
        0 => format!(
            "After each step of the rate, “{name}” had no late response after {}; {longest}.",
            time(latest * 1e9)
        ),
        open => format!(
            "After {open} of {} steps of the rate, responses of “{name}” were late to the end; {longest}.",
            steps.len()
        ),
    })
}

fn told(standing: &Standing, verdict: &Verdict) -> String {
    let Standing { configuration, met, traces, late_share, cost_ratio } = standing;
    let rows = verdict.rows.iter().filter(|row| row.configuration == *configuration);
    let slowest = rows
        .filter_map(|row| Some((row.p99_ns?, row.trace)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(p99, trace)| format!(", p99 up to {} ({trace})", time(p99)));
    let cost = cost_ratio.map_or_else(String::new, |ratio| {
        format!(", {} times the cost of the best fixed configuration of each trace", three(ratio))
    });
    format!(
        "it met the target in {met} of {traces} traces, with {} late in total{slowest}{cost}",
        percent(*late_share)
    )
}

/// How fast each configuration refused requests.
fn refusals(verdict: &Verdict) -> Vec<String> {
    let mut told: Vec<&str> = Vec::new();
    let mut sentences = Vec::new();
    for row in &verdict.rows {
        if told.contains(&row.configuration) {
            continue;
        }
        told.push(row.configuration);
        let rows = || verdict.rows.iter().filter(|other| other.configuration == row.configuration);
        let refused: u64 = rows().map(|row| row.sum(|a| a.refused)).sum();
        let highest = |figure: fn(&crate::results::Latency) -> u64| {
            rows().filter_map(|row| row.refusal_ns(figure)).reduce(f64::max)
        };
        let (Some(p99), Some(max)) = (highest(|l| l.p99_ns), highest(|l| l.max_ns)) else { continue };
        let slow = if max > SWIFT_NS { ", MORE than the limit of 50 ms" } else { "" };
        sentences.push(format!(
            "“{}” refused {} requests, the slowest after {}{slow} (p99 in the worst trace: {}).",
            row.configuration,
            count(refused),
            time(max),
            time(p99)
        ));
    }
    sentences
}

/// What an inference costs.
pub fn cost_name(has_energy: bool) -> &'static str {
    if has_energy { "energy" } else { "server CPU time (not energy)" }
}

fn cost_text(cost: f64, has_energy: bool) -> String {
    if has_energy { format!("{}\u{a0}J", three(cost)) } else { time(cost * 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{batching, comparison};

    #[test]
    fn the_table_marks_who_kept_the_target_and_the_best_fixed() {
        let results = batching();
        let rows = table(&Verdict::of(&results).unwrap(), false);
        assert!(rows.iter().all(|row| row.len() == HEAD.len()));
        let column = |name: &str| HEAD.iter().position(|head| *head == name).unwrap();
        let of = |name: &str| rows.iter().map(|row| row[column(name)].as_str()).collect::<Vec<_>>();
        assert_eq!(
            of("target"),
            ["MISSED", "met", "met, best fixed", "met", "MISSED", "met, best fixed", "MISSED", "met"]
        );
        assert_eq!(of("late")[0], "20\u{a0}%");
        assert_eq!(of("refused")[7], "20");
        assert_eq!(of("cost per inference")[7], "14.4\u{a0}ms");
        assert_eq!(of("last late response after each step")[4], "–, 0\u{a0}ns");
        assert_eq!(of("refusals, p99 and max")[7], "5.00\u{a0}ms, 5.00\u{a0}ms");
    }

    #[test]
    fn sentences_compare_the_adaptive_with_the_best_and_name_the_worst() {
        let text = text(&batching()).unwrap();
        for part in [
            "“adaptive” met the target (at most 1\u{a0}% over 600\u{a0}ms) in 2 of 2 traces.",
            "Its server CPU time (not energy) per inference was 0.735 times that of the cheapest fixed configuration",
            "(geometric mean; 0.600 to 0.900 over 2 traces)",
            "“adaptive” had no late response after 1.50\u{a0}s; the longest burst of late responses was 200\u{a0}ms",
            "The best fixed configuration was “short”: it met the target in 2 of 2 traces, with 0\u{a0}% late in total",
            "1.10 times the cost of the best fixed configuration of each trace",
            "The worst fixed configuration was “none”: it met the target in 0 of 2 traces, with 20\u{a0}% late",
            "“adaptive” refused 20 requests, the slowest after 5.00\u{a0}ms (p99",
        ] {
            assert!(text.contains(part), "'{part}' is not in:\n{text}");
        }
        assert!(!text.contains("MORE than"), "{text}");
        assert!(super::text(&comparison()).is_none());
    }

    #[test]
    fn slow_refusals_and_late_responses_to_the_end_are_mentioned() {
        let mut results = batching();
        for adherence in results.points.iter_mut().filter_map(|point| point.adherence.as_mut()) {
            if let Some(latency) = &mut adherence.refusal_latency {
                latency.max_ns = 51_000_000;
            }
            adherence.settled_after_s.fill(None);
        }
        let text = text(&results).unwrap();
        assert!(text.contains("MORE than the limit of 50 ms"), "{text}");
        assert!(
            text.contains("After 2 of 2 steps of the rate, responses of “adaptive” were late to the end"),
            "{text}"
        );
    }
}
