//! What a search has found: sentences, a table, a plot.

use super::cells::group_name;
use super::figure::{Kind, Mark, Panel, Plot, dimension};
use super::number::{ABSENT, count, percent, three, time};
use super::plots::parts::figure;
use super::scale::Scale;
use super::table::{Table, key, table};
use crate::plan::Search;
use crate::results::{Found, Point, Results};
use crate::search::{late_share, verdict};

/// What was found, most important first: the best, the cheapest, then each. Empty if the run is no search.
pub fn sentences(results: &Results) -> Vec<String> {
    let Some(search) = &results.plan.search else { return Vec::new() };
    let target =
        format!("{} % of requests within {}", three_short(search.percentile), time(search.target_ms * 1e6));
    let kept: Vec<&Found> = results.found.iter().filter(|found| found.requests_per_s.is_some()).collect();
    let mut sentences = Vec::new();
    let by = |value: fn(&Found) -> Option<f64>, most: bool| {
        let valued = kept.iter().filter_map(|found| Some((*found, value(found)?)));
        valued.reduce(|a, b| if (b.1 > a.1) == most { b } else { a })
    };
    if let Some((best, goodput)) = by(|found| found.goodput_inferences_per_s, true) {
        sentences.push(format!(
            "The highest load with {target} was {} inferences/s in time (goodput), at {}: {} requests/s.",
            three(goodput),
            group_name(&best.configuration, best.batch),
            three(best.requests_per_s.unwrap_or(0.0)),
        ));
        if kept.len() > 1
            && let Some((cheapest, cost)) = by(Found::cost, false)
        {
            let what = if cheapest.j_per_inference.is_some() {
                format!("{} J", three(cost))
            } else {
                format!("{} of CPU time (not energy)", time(cost * 1e9))
            };
            sentences.push(format!(
                "An inference cost least at {}: {what}, each at its own highest rate.",
                group_name(&cheapest.configuration, cheapest.batch)
            ));
        }
    }
    let none: Vec<String> = results
        .found
        .iter()
        .filter(|found| found.requests_per_s.is_none() && found.missed_requests_per_s.is_some())
        .map(|found| group_name(&found.configuration, found.batch))
        .collect();
    if !none.is_empty() {
        sentences.push(format!("No rate had {target} at {}.", none.join("; ")));
    }
    sentences
}

fn three_short(value: f64) -> String {
    format!("{value}")
}

/// What was found for each configuration and batch size.
pub fn found(results: &Results) -> Table {
    let or_absent = |value: Option<f64>| value.map_or_else(|| ABSENT.into(), three);
    let row = |found: &Found| {
        let name = if found.configuration.is_empty() { ABSENT } else { &found.configuration };
        vec![
            name.into(),
            found.batch.to_string(),
            or_absent(found.requests_per_s),
            or_absent(found.missed_requests_per_s),
            or_absent(found.goodput_inferences_per_s),
            found.late_share.map_or_else(|| ABSENT.into(), percent),
            or_absent(found.j_per_inference),
            found.cpu_s_per_inference.map_or_else(|| ABSENT.into(), |seconds| time(seconds * 1e9)),
            count(found.points as u64),
        ]
    };
    Table {
        id: "found",
        title: "Highest rates that keep the target",
        note: "Late: answered after the target, failed, or not sent. Goodput: inferences of requests that were answered in \
               time. A rate is known to be too high by the one beside it that missed the target.",
        head: vec![
            "configuration",
            "batch",
            "highest rate (requests/s)",
            "lowest that missed",
            "goodput (inferences/s)",
            "late",
            "J per inference",
            "CPU time per inference (not energy)",
            "points",
        ],
        rows: results.found.iter().map(row).collect(),
    }
}

/// Every rate that was tried, in the order of the search.
pub fn tried(results: &Results) -> Table {
    let mut points: Vec<&Point> = results.points.iter().collect();
    points.sort_by_key(|point| point.visit);
    let row = |search: &Search, point: &Point| {
        let mut row = key(point);
        row.extend([
            count(point.visit as u64 + 1),
            percent(late_share(search, point)?),
            point
                .client_latency
                .as_ref()
                .map_or_else(|| ABSENT.into(), |latency| time(latency.p99_ns as f64)),
            verdict(search, point)?.to_owned(),
        ]);
        Some(row)
    };
    let search = results.plan.search.as_ref();
    let rows = points.into_iter().filter_map(|point| row(search?, point));
    table(
        "tried",
        ("Rates that were tried", "In order. The verdict is of that measurement alone."),
        &["visit", "late", "client p99", "target"],
        rows,
    )
}

/// Late requests over the rate, for each configuration and batch size.
pub fn plot(results: &Results) -> Option<Plot> {
    const TITLE: &str = "Late requests over the rate";
    let search = results.plan.search.as_ref()?;
    let groups: Vec<(&str, u32)> =
        results.found.iter().map(|found| (found.configuration.as_str(), found.batch)).collect();
    let mut marks = vec![Mark {
        label: Some(format!("allowed: {}", percent(search.allowed_share()))),
        style: 6,
        kind: Kind::Rule,
        points: vec![(0.0, search.allowed_share() * 100.0)],
    }];
    for (style, (configuration, batch)) in groups.iter().enumerate() {
        let of_group = results
            .points
            .iter()
            .filter(|point| point.key.configuration == *configuration && point.key.batch == *batch);
        let mut points: Vec<(f64, f64)> = of_group
            .filter_map(|point| {
                let rate = point.pacing.as_ref()?.scheduled_per_s;
                Some((rate, late_share(search, point)? * 100.0))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !points.is_empty() {
            let label = Some(group_name(configuration, *batch));
            marks.push(Mark { label, style, kind: Kind::Line, points });
        }
    }
    if marks.len() < 2 {
        return Some(Plot::absent(TITLE, "No rate was measured."));
    }
    let panel = Panel {
        title: String::new(),
        x: dimension("requests/s", Scale::Linear),
        y: dimension("late requests (%)", Scale::FromZero),
        marks,
    };
    let caption = format!(
        "Each measurement: the share of requests answered later than {}, failed, or not sent.",
        time(search.target_ms * 1e6)
    );
    Some(figure(("late-over-rate", TITLE, caption), vec![panel], false, false))
}
