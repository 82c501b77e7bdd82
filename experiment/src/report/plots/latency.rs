//! Latency: percentiles over load, and whole distributions.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::parts::figures;
use crate::report::cells::{
    Cell, at_highest_load, client, configurations, grouped, line, offered, repeats_note, runs, short_name,
    titles,
};
use crate::report::figure::{Kind, Mark, Panel, Plot, dimension};
use crate::report::number::TimeUnit;
use crate::report::scale::Scale;
use crate::results::{Latency, Point};
use crate::times;

type Percentile = (&'static str, fn(&Latency) -> u64);

const PERCENTILES: [Percentile; 3] =
    [("p50", |latency| latency.p50_ns), ("p95", |latency| latency.p95_ns), ("p99", |latency| latency.p99_ns)];

/// Plot 6: a panel for each batch size or configuration.
pub fn over_load(cells: &[Cell]) -> Vec<Plot> {
    const TITLE: &str = "Client latency over load";
    let groups: Vec<_> = grouped(cells, |cell| (cell.configuration, cell.batch))
        .into_iter()
        .filter(|(_, group)| group.len() > 1)
        .collect();
    if groups.is_empty() {
        let reason = "No configuration and batch size was measured under more than one load; see the table of percentiles.";
        return vec![Plot::absent(TITLE, reason)];
    }
    let shown = || groups.iter().flat_map(|(_, group)| group.iter().copied());
    let times = PERCENTILES.iter().flat_map(|(_, of)| shown().filter_map(move |c| c.mean(|p| client(p, of))));
    let unit = TimeUnit::for_range(times);
    // The load is the scheduled rate in an open loop, and the achieved rate in a closed one.
    let open = shown().filter(|cell| cell.repeats.iter().all(|p| p.pacing.is_some())).count();
    let x = match open {
        0 => "achieved requests/s",
        all if all == shown().count() => "offered requests/s",
        _ => "requests/s (offered or achieved)",
    };
    let panel = |((configuration, batch), group): &((&str, u32), Vec<&Cell>)| Panel {
        title: short_name(cells, configuration, *batch),
        x: dimension(x, Scale::FromZero),
        y: dimension(format!("client latency ({})", unit.name), Scale::Log),
        marks: PERCENTILES
            .iter()
            .enumerate()
            .flat_map(|(style, (name, of))| {
                let value = move |p: &Point| client(p, of).map(|ns| ns / unit.ns);
                runs(group).into_iter().flat_map(move |run| line(name, style, &run, offered, value))
            })
            .collect(),
    };
    let caption = match open {
        0 => "Lines connect the loads from the lowest to the highest concurrency.",
        _ => {
            "Latency in an open loop counts from when a request was due. Open and closed loops are not connected."
        }
    };
    let caption = caption.to_string() + repeats_note(cells);
    figures(("latency-over-load", TITLE, caption), groups.iter().map(panel).collect(), false, true)
}

/// Fraction of requests that took no longer, for plot 7.
struct Curve {
    /// Nanoseconds and fraction.
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// The distribution of all repeats together.
    fn of(latencies: &[&Latency]) -> Result<Option<Self>> {
        let mut all = Histogram::<u64>::new(3).context("three significant digits are possible")?;
        for latency in latencies {
            let one = times::decode(&latency.histogram)?;
            all.add(&one).context("the histogram grows by itself")?;
        }
        let total = all.len() as f64;
        let longest = latencies.iter().map(|latency| latency.max_ns).max();
        let (Some(longest), true) = (longest, total > 0.0) else { return Ok(None) };
        let mut points: Vec<(f64, f64)> = Vec::new();
        let (mut below, mut bin) = (0, i64::MIN);
        for value in all.iter_recorded() {
            // 400 bins per decade are finer than print; thousands of points would only enlarge the file.
            let ns = value.value_iterated_to().clamp(1, longest.max(1)) as f64;
            if points.is_empty() {
                points.push((ns, 0.0));
            }
            below += value.count_since_last_iteration();
            let point = (ns, below as f64 / total);
            let next = (ns.log10() * 400.0) as i64;
            match points.last_mut() {
                Some(last) if next == bin => *last = point,
                _ => points.push(point),
            }
            bin = next;
        }
        Ok(Some(Self { points }))
    }
}

const MEASURES: [(&str, &str); 3] = [
    ("", "client"),
    ("request_latency_ns", "server, request_latency_ns"),
    ("compute_latency_ns", "server, compute_latency_ns"),
];

fn measured<'a>(point: &'a Point, measure: &str) -> Option<&'a Latency> {
    if measure.is_empty() { point.client_latency.as_ref() } else { point.server_times.get(measure) }
}

/// Plot 7: a panel for each batch size at its highest load, with client and server. With several configurations, a
/// panel for the client and for the server, each with all configurations.
pub fn distribution(cells: &[Cell]) -> Result<Vec<Plot>> {
    const TITLE: &str = "Latency distribution at the highest load";
    // Group, measure, curve.
    let mut curves: Vec<(&Cell, usize, Curve)> = Vec::new();
    let groups = at_highest_load(cells);
    for cell in &groups {
        for (at, (measure, name)) in MEASURES.iter().enumerate() {
            let latencies: Vec<_> = cell.repeats.iter().filter_map(|p| measured(p, measure)).collect();
            let curve = Curve::of(&latencies)
                .with_context(|| format!("cannot read the histogram of {name} latency of {}", cell.name()))?;
            curves.extend(curve.map(|curve| (*cell, at, curve)));
        }
    }
    if curves.is_empty() {
        return Ok(vec![Plot::absent(TITLE, "No point with an answered request was measured.")]);
    }
    let unit = TimeUnit::for_range(curves.iter().flat_map(|(_, _, c)| c.points.iter().map(|p| p.0)));
    let (title, names) = titles(cells, &groups, TITLE);
    let mark = |label: String, style: usize, curve: &Curve| Mark {
        label: Some(label),
        style,
        kind: Kind::Steps,
        points: curve.points.iter().map(|(ns, share)| (ns / unit.ns, share * 100.0)).collect(),
    };
    let panel = |title: String, marks: Vec<Mark>| Panel {
        title,
        x: dimension(format!("latency ({})", unit.name), Scale::Log),
        y: dimension("requests (%)", Scale::FromZero),
        marks,
    };
    let panels = if configurations(cells).len() > 1 {
        let of_measure = |(at, (_, title)): (usize, &(&str, &str))| {
            let marks = groups.iter().zip(&names).enumerate().filter_map(|(style, (cell, name))| {
                let found = curves.iter().find(|(c, m, _)| std::ptr::eq(*c, *cell) && *m == at);
                found.map(|(_, _, curve)| mark(name.clone(), style, curve))
            });
            panel((*title).into(), marks.collect())
        };
        let panels = MEASURES.iter().enumerate().map(of_measure);
        panels.filter(|panel| !panel.marks.is_empty()).collect()
    } else {
        let of_group = |(cell, name): (&&Cell, &String)| {
            let marks = curves.iter().filter(|(c, ..)| std::ptr::eq(*c, *cell));
            let marks = marks.map(|(_, at, curve)| mark(MEASURES[*at].1.into(), *at, curve));
            panel(name.clone(), marks.collect())
        };
        groups.iter().zip(&names).map(of_group).collect()
    };
    let mut caption = String::from("Share of requests that took no longer. Each curve ends at the maximum.");
    if cells.iter().any(|cell| cell.repeats.len() > 1) {
        caption += " Repeats are combined.";
    }
    Ok(figures(("latency-distribution", &title, caption), panels, true, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::latency;

    #[test]
    fn a_curve_rises_from_nothing_to_all_and_ends_at_the_exact_maximum() {
        let one = latency(&[1_000_000, 2_000_000, 3_000_000, 123_456_789]);
        let other = latency(&[500_000]);
        let curve = Curve::of(&[&one, &other]).unwrap().unwrap().points;
        assert_eq!(curve.first().unwrap().1, 0.0);
        assert_eq!(curve[1].1, 0.2);
        assert_eq!(*curve.last().unwrap(), (123_456_789.0, 1.0));
        assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]), "{curve:?}");
    }

    #[test]
    fn an_invalid_histogram_is_an_error() {
        let mut broken = latency(&[1_000_000]);
        broken.histogram = "%".into();
        assert!(Curve::of(&[&broken]).is_err());
    }
}
