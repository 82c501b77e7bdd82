//! The findings, in a few cautious sentences.

use super::cells::{Cell, cells, client, configurations, fullest, group_name, grouped, is_open, load_name};
use super::energy::{idle, responses};
use super::number::{count, percent, plural, three, time};
use super::plots::parts::no_energy;
use super::search;
use super::series::{Series, series};
use super::summary::sentences;
use super::verdict::Verdict;
use crate::results::{Point, Results};

/// Smaller batches within this fraction of the best are mentioned.
const CLOSE: f64 = 0.05;
/// Up to this many points are named; more are only counted.
const NAMED: usize = 3;
/// A client that uses more than this fraction of the server's CPU time may distort the result.
const CLIENT_SHARE: f64 = 0.1;

/// The sentences, most important first: findings, then cautions.
pub fn findings(results: &Results) -> Vec<String> {
    let cells = &cells(results);
    let mut found = Vec::new();
    found.extend(answers(results));
    if let Some(verdict) = Verdict::of(results) {
        found.extend(sentences(results, &verdict));
        if !results.power.has_energy {
            found.push(no_energy(results));
        }
        found.extend(responses(results));
        found.extend(cautions(results));
        return found;
    }
    if results.plan.search.is_some() {
        found.extend(search::sentences(results));
    } else if !cells.is_empty() && cells.iter().all(|cell| is_open(cell.load)) {
        found.push(
            "All loads had a given request rate: throughput follows it, and the maximum may be higher."
                .into(),
        );
    } else {
        let sentence = |value| format!("The highest throughput was {} inferences/s", three(value));
        found.extend(best(cells, |p| Some(p.inferences_per_s), sentence));
    }
    if results.power.has_energy {
        found.extend(best(
            cells,
            |p| p.inferences_per_j,
            |value| format!("The best energy efficiency was {} inferences per joule", three(value)),
        ));
        found.extend(series(cells).iter().flat_map(Series::sentences));
        found.extend(idle(results));
    } else {
        found.push(no_energy(results));
    }
    found.extend(best(
        cells,
        |p| p.cpu_s_per_inference.filter(|s| *s > 0.0).map(|s| 1.0 / s),
        |value| format!("The lowest server CPU time (not energy) per inference was {}", time(1e9 / value)),
    ));
    found.extend(responses(results));
    found.extend(comparison(cells));
    found.extend(cautions(results));
    found
}

/// Whether the answers were those expected.
fn answers(results: &Results) -> Option<String> {
    let all = || results.points.iter().filter_map(|point| point.answers.as_ref());
    let compared: u64 = all().map(|answers| answers.compared).sum();
    let wrong: u64 = all().map(|answers| answers.wrong).sum();
    let first = all().find_map(|answers| answers.first_difference.as_deref());
    (compared > 0).then(|| match first {
        Some(first) => {
            format!("{} of {} answers were wrong; the first: {first}.", count(wrong), count(compared))
        }
        None => format!("All {} answers were as expected.", count(compared)),
    })
}

/// The cell with the highest value; of several batch sizes, the smallest that comes close.
fn best(
    cells: &[Cell],
    value: impl Fn(&Point) -> Option<f64>,
    sentence: impl Fn(f64) -> String,
) -> Option<String> {
    let valued: Vec<_> = cells.iter().filter_map(|c| Some((c, c.mean(&value)?))).collect();
    let (cell, highest) = valued.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let repeats = match cell.repeats.len() {
        1 => String::new(),
        n => format!(" (mean of {n} repeats)"),
    };
    let mut text = format!("{}{repeats}, at {}.", sentence(*highest), cell.name());
    let close = valued.iter().filter(|(c, v)| {
        c.configuration == cell.configuration && c.batch < cell.batch && *v >= highest * (1.0 - CLOSE)
    });
    if let Some((smaller, _)) = close.min_by_key(|(c, _)| c.batch) {
        text += &format!(" Batch {} was within {} of it.", smaller.batch, percent(CLOSE));
    }
    Some(text)
}

/// For each load, the configurations with the lowest and the highest p99.
fn comparison(cells: &[Cell]) -> Vec<String> {
    if configurations(cells).len() < 2 {
        return Vec::new();
    }
    let sentence = |((batch, load), group): (_, Vec<&Cell>)| {
        let p99 = |cell: &Cell| cell.mean(|p| client(p, |l| l.p99_ns));
        let values: Vec<_> = group.iter().filter_map(|c| Some((c.configuration, p99(c)?))).collect();
        let low = values.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let high = values.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (low.0 != high.0).then(|| {
            format!(
                "At batch {batch}, {}: client p99 was lowest with “{}” ({}) and highest with “{}” ({}).",
                load_name(load),
                low.0,
                time(low.1),
                high.0,
                time(high.1)
            )
        })
    };
    grouped(cells, |cell| (cell.batch, cell.load)).into_iter().filter_map(sentence).collect()
}

/// What to know before trusting the numbers.
fn cautions(results: &Results) -> Vec<String> {
    let all = results.points.len();
    let mut cautions = Vec::new();
    if all == 0 {
        cautions.push("No point was measured.".to_string());
    }
    if !results.complete {
        cautions.push("The run is incomplete: points of the plan are missing.".into());
    }
    let mut tell = |holds: &dyn Fn(&Point) -> bool, what: &str| {
        let such: Vec<_> = results.points.iter().filter(|p| holds(p)).collect();
        if such.is_empty() {
            return;
        }
        let name = |p: &&Point| {
            format!("{}, {}", group_name(&p.key.configuration, p.key.batch), load_name(&p.key.load))
        };
        let names = match such.len() {
            n if n <= NAMED && all > 1 => {
                format!(" ({})", such.iter().map(name).collect::<Vec<_>>().join("; "))
            }
            _ => String::new(),
        };
        cautions.push(format!("{} of {}: {what}{names}.", plural(such.len(), "point"), count(all as u64)));
    };
    tell(
        &|p| p.inferences == 0 && p.estimates.is_empty(),
        "no request was answered, so the plots do not show it",
    );
    tell(&|p| p.settled == Some(false), "did not settle: the last windows differ by more than the tolerance");
    tell(&|p| !p.errors.is_empty(), "requests failed; see the table of errors");
    tell(
        &|p| p.statistics.as_ref().is_some_and(|s| s.agrees == Some(false)),
        "the server's statistics do not agree with the responses",
    );
    tell(
        &|p| p.consumption.server_cpu_s.is_some_and(|s| p.consumption.client_cpu_s > s * CLIENT_SHARE),
        "this tool used more than a tenth of the server's CPU time, which may distort the result",
    );
    tell(
        &|p| p.pacing.as_ref().is_some_and(|pacing| pacing.late + pacing.unsent > 0),
        "requests were sent late or not at all; see the table of open loops",
    );
    tell(
        &|p| p.consumption.device.as_ref().is_some_and(|d| !d.throttle_reasons.is_empty()),
        "the device throttled its clocks",
    );
    tell(&|p| !p.warnings.is_empty(), "see the table of warnings");
    if fullest(&cells(results)).len() == 1 && all > 0 {
        cautions.push("There is only one point, which shows no trend.".into());
    }
    cautions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn a_sweep_names_its_best_batch_and_its_flaws() {
        let text = findings(&fixtures::sweep_with_energy()).join("\n");
        assert!(text.contains("highest throughput was"), "{text}");
        assert!(text.contains("at batch 16, concurrency 8."), "{text}");
        assert!(text.contains("straight line (R² = "), "{text}");
        assert!(text.contains("1 point of 40: did not settle"), "{text}");
        assert!(text.contains("8 points of 40: this tool used more than a tenth"), "{text}");
    }

    #[test]
    fn nothing_is_claimed_without_a_meter_or_points() {
        let text = findings(&fixtures::empty()).join("\n");
        assert!(text.contains("No energy was measured (power source: cpu-time)."), "{text}");
        assert!(text.contains("No point was measured."), "{text}");
        assert!(!text.contains("best"), "{text}");
        let text = findings(&fixtures::all_failed()).join("\n");
        assert!(text.contains("1 point of 1: no request was answered"), "{text}");
        assert!(!text.contains("highest throughput"), "{text}");
    }

    #[test]
    fn configurations_are_compared_load_by_load() {
        let text = findings(&fixtures::comparison()).join("\n");
        assert!(text.contains("trace evening.csv: client p99 was lowest with “adaptive”"), "{text}");
        assert!(text.contains("highest with “preferred, 50 ms”"), "{text}");
        assert!(text.contains("All loads had a given request rate"), "{text}");
        assert!(!text.contains("highest throughput"), "{text}");
    }
}
