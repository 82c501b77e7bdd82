//! The table of metrics with their confidence intervals.

use super::cells::load_name;
use super::number::{ABSENT, TimeUnit, grouped, three};
use super::table::Table;
use crate::results::{Estimate, Metric, Results, Summary};

/// The columns. Those that no point has are left out.
const COLUMNS: [(Metric, &str); 9] = [
    (Metric::InferencesPerS, "inferences per s"),
    (Metric::LatencyMeanNs, "client mean"),
    (Metric::LatencyP50Ns, "client p50"),
    (Metric::LatencyP95Ns, "client p95"),
    (Metric::LatencyP99Ns, "client p99"),
    (Metric::AveragePowerW, "power (W)"),
    (Metric::JPerInference, "J per inference"),
    (Metric::InferencesPerJ, "inferences per J"),
    (Metric::CpuSPerInference, "CPU time per inference (not energy)"),
];

/// A row for each point of the plan.
pub fn intervals(results: &Results) -> Table {
    let has = |metric| results.summary.iter().any(|summary| summary.estimates.contains_key(&metric));
    let columns: Vec<_> = COLUMNS.into_iter().filter(|(metric, _)| has(*metric)).collect();
    let row = |summary: &Summary| {
        let name = if summary.configuration.is_empty() { ABSENT } else { &summary.configuration };
        let mut row = vec![
            name.into(),
            summary.batch.to_string(),
            load_name(&summary.load),
            summary.visits.to_string(),
        ];
        row.extend(columns.iter().map(|(metric, _)| {
            summary.estimates.get(metric).map_or_else(|| ABSENT.into(), |estimate| text(*metric, estimate))
        }));
        row
    };
    let mut head = vec!["configuration", "batch", "load", "visits"];
    head.extend(columns.iter().map(|(_, name)| *name));
    Table {
        id: "intervals",
        title: "Results with 95 % confidence intervals",
        note: "In brackets: the interval. With one visit it is over the windows of the measured part, and tells nothing of \
               how the result changes from one visit to another; with several (--repeats) it is over the visits. No \
               brackets: one window only, or too few requests for that percentile.",
        head,
        rows: results.summary.iter().map(row).collect(),
    }
}

/// "1,234 [1,220, 1,250]": as many digits as the interval warrants, times in one unit.
pub fn text(metric: Metric, estimate: &Estimate) -> String {
    let (scale, unit) = if metric.is_latency() {
        let unit = TimeUnit::of(estimate.value);
        (1.0 / unit.ns, unit.name)
    } else if metric == Metric::CpuSPerInference {
        let unit = TimeUnit::of(estimate.value * 1e9);
        (1e9 / unit.ns, unit.name)
    } else {
        (1.0, "")
    };
    let value = estimate.value * scale;
    let mut text = match estimate
        .interval()
        .filter(|(low, high)| (low * scale).is_finite() && (high * scale).is_finite())
    {
        None => three(value),
        Some((low, high)) => {
            let decimals = decimals(high * scale - low * scale, value);
            format!(
                "{} [{}, {}]",
                grouped(value, decimals),
                grouped(low * scale, decimals),
                grouped(high * scale, decimals)
            )
            .replace(' ', "\u{a0}")
        }
    };
    if !unit.is_empty() {
        text += &format!("\u{a0}{unit}");
    }
    text
}

/// Two digits of the interval's width, and no more than six of the value.
fn decimals(width: f64, value: f64) -> usize {
    let digits = |of: f64, count: i32| count - 1 - of.abs().log10().floor() as i32;
    let of_width = if width > 0.0 { digits(width, 2) } else { i32::MAX };
    of_width.min(if value == 0.0 { 0 } else { digits(value, 6) }).clamp(0, 12) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn digits_follow_the_interval() {
        let of = |value, low, high| Estimate { value, low: Some(low), high: Some(high) };
        for (metric, estimate, expected) in [
            (Metric::InferencesPerS, of(1234.56, 1220.12, 1249.9), "1,235 [1,220, 1,250]"),
            (Metric::InferencesPerS, of(25.123, 25.01, 25.24), "25.12 [25.01, 25.24]"),
            (Metric::InferencesPerS, of(5.0, 5.0, 5.0), "5.00000 [5.00000, 5.00000]"),
            (Metric::LatencyP99Ns, of(2_500_000.0, 2_400_000.0, 2_650_000.0), "2.50 [2.40, 2.65] ms"),
            (Metric::CpuSPerInference, of(0.0042, 0.0041, 0.0043), "4.20 [4.10, 4.30] ms"),
            (Metric::JPerInference, Estimate::bare(0.0876), "0.0876"),
            (Metric::LatencyMeanNs, of(5_000.0, 900.0, 30_000.0), "5 [1, 30] µs"),
        ] {
            assert_eq!(text(metric, &estimate).replace('\u{a0}', " "), expected);
        }
    }

    #[test]
    fn the_table_has_what_was_measured() {
        let mut results = fixtures::sweep_with_cpu_time();
        results.summary = crate::estimate::summary(&results.points);
        let table = intervals(&results);
        assert!(table.head.contains(&"client p99") && !table.head.contains(&"power (W)"), "{:?}", table.head);
        assert_eq!(table.rows.len(), 20);
        assert!(table.rows.iter().all(|row| row.len() == table.head.len() && row[4].contains('[')));
    }
}
