//! The results of `batching`: which configuration met the target in which trace, and at what cost.

use std::cmp::Ordering;

use crate::plan::{Batching, Load};
use crate::results::{Adherence, Latency, Point, Results};

/// A configuration in a trace, with its repeats combined.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The trace's name.
    pub trace: &'a str,
    /// The configuration's name.
    pub configuration: &'a str,
    /// Comparison with the target, one for each repeat.
    pub adherences: Vec<&'a Adherence>,
    /// Client latency, mean of the repeats.
    pub p50_ns: Option<f64>,
    /// Client latency, mean of the repeats.
    pub p99_ns: Option<f64>,
    /// Cost of an inference, in joules if there is a meter, otherwise in CPU seconds of the server. Mean of the repeats.
    pub cost: Option<f64>,
    /// Inferences per batch, mean of the repeats.
    pub mean_batch: Option<f64>,
    /// Whether it met the target: no more requests were late than allowed.
    pub meets: bool,
}

/// A fixed configuration over all traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<'a> {
    /// The configuration's name.
    pub configuration: &'a str,
    /// Number of traces in which it met the target.
    pub met: usize,
    /// Number of traces in which it was measured.
    pub traces: usize,
    /// Fraction of late requests in all traces together.
    pub late_share: f64,
    /// Cost relative to the cheapest fixed configuration that met the target, geometric mean over the traces that have
    /// one.
    pub cost_ratio: Option<f64>,
}

/// All rows of a run, in the order of its plan.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The settings.
    pub batching: &'a Batching,
    /// By trace, then by configuration.
    pub rows: Vec<Row<'a>>,
}

impl<'a> Verdict<'a> {
    /// None if the run is not one of `batching`.
    pub fn of(results: &'a Results) -> Option<Self> {
        let batching = results.plan.batching.as_ref()?;
        let mut rows = Vec::new();
        for trace in &batching.traces {
            for configuration in &results.plan.configurations {
                let repeats = results.points.iter().filter(|point| {
                    point.key.configuration == configuration.name
                        && matches!(&point.key.load, Load::Shaped { trace: name } if *name == trace.name)
                });
                rows.extend(row(&trace.name, &configuration.name, repeats.collect(), batching, results));
            }
        }
        Some(Self { batching, rows })
    }

    /// The rows of a trace.
    pub fn of_trace(&self, trace: &str) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(move |row| row.trace == trace)
    }

    /// The cheapest of the fixed configurations that met the target in a trace; without costs, the one with the lowest
    /// p99.
    pub fn best_fixed(&self, trace: &str) -> Option<&Row<'a>> {
        let price = |row: &&Row| row.cost.or(row.p99_ns).unwrap_or(f64::INFINITY);
        self.of_trace(trace)
            .filter(|row| row.meets && !self.is_adaptive(row.configuration))
            .min_by(|a, b| price(a).total_cmp(&price(b)))
    }

    /// A row's cost relative to the best fixed configuration in the same trace.
    pub fn cost_ratio(&self, row: &Row) -> Option<f64> {
        let best = self.best_fixed(row.trace)?.cost.filter(|cost| *cost > 0.0)?;
        Some(row.cost? / best)
    }

    /// The rows of the adaptive configuration.
    pub fn adaptive(&self) -> Vec<&Row<'a>> {
        self.rows.iter().filter(|row| self.is_adaptive(row.configuration)).collect()
    }

    /// The fixed configurations, best first: by the number of traces in which they met the target, then by the fraction
    /// of late requests, then by cost.
    pub fn standings(&self) -> Vec<Standing<'a>> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !self.is_adaptive(row.configuration) && !names.contains(&row.configuration) {
                names.push(row.configuration);
            }
        }
        let mut standings: Vec<Standing> = names.into_iter().filter_map(|name| self.standing(name)).collect();
        let cost = |standing: &Standing| standing.cost_ratio.unwrap_or(f64::INFINITY);
        standings.sort_by(|a, b| -> Ordering {
            (b.met.cmp(&a.met)).then(a.late_share.total_cmp(&b.late_share)).then(cost(a).total_cmp(&cost(b)))
        });
        standings
    }

    fn standing(&self, configuration: &'a str) -> Option<Standing<'a>> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.configuration == configuration).collect();
        let late_share = late_share(rows.iter().flat_map(|row| &row.adherences).copied())?;
        let ratios: Vec<f64> = rows.iter().filter_map(|row| self.cost_ratio(row)).collect();
        Some(Standing {
            configuration,
            met: rows.iter().filter(|row| row.meets).count(),
            traces: rows.len(),
            late_share,
            cost_ratio: geometric_mean(&ratios),
        })
    }

    fn is_adaptive(&self, configuration: &str) -> bool {
        self.batching.adaptive.as_deref() == Some(configuration)
    }
}

impl Row<'_> {
    /// The fraction of late requests; none if all were refused.
    pub fn late_share(&self) -> Option<f64> {
        late_share(self.adherences.iter().copied())
    }

    /// A sum over the repeats.
    pub fn sum(&self, count: impl Fn(&Adherence) -> u64) -> u64 {
        self.adherences.iter().map(|adherence| count(adherence)).sum()
    }

    /// The longest burst of late responses in any repeat, in seconds.
    pub fn longest_burst_s(&self) -> Option<f64> {
        self.adherences.iter().filter_map(|adherence| adherence.longest_burst_s).reduce(f64::max)
    }

    /// The highest value of a figure of the refusals' latency in any repeat, in nanoseconds.
    pub fn refusal_ns(&self, figure: impl Fn(&Latency) -> u64) -> Option<f64> {
        let refusals = self.adherences.iter().filter_map(|adherence| adherence.refusal_latency.as_ref());
        refusals.map(|latency| figure(latency) as f64).reduce(f64::max)
    }

    /// For each step of the rate, seconds until the last late response: the maximum of the repeats, none if responses were
    /// late to the end in one of them.
    pub fn settled_after_s(&self) -> Vec<Option<f64>> {
        let steps =
            self.adherences.iter().map(|adherence| adherence.settled_after_s.len()).min().unwrap_or(0);
        let latest = |step: usize| {
            let times: Option<Vec<f64>> =
                self.adherences.iter().map(|adherence| adherence.settled_after_s[step]).collect();
            times.map(|times| times.into_iter().fold(0.0, f64::max))
        };
        (0..steps).map(latest).collect()
    }
}

/// The geometric mean; none without values.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms = values.iter().map(|value| value.ln()).sum::<f64>();
    (!values.is_empty()).then(|| (logarithms / values.len() as f64).exp())
}

fn row<'a>(
    trace: &'a str,
    configuration: &'a str,
    repeats: Vec<&'a Point>,
    batching: &Batching,
    results: &Results,
) -> Option<Row<'a>> {
    let adherences: Vec<&Adherence> = repeats.iter().filter_map(|point| point.adherence.as_ref()).collect();
    if adherences.is_empty() {
        return None;
    }
    let mean = |value: &dyn Fn(&Point) -> Option<f64>| {
        let values: Vec<f64> = repeats.iter().filter_map(|point| value(point)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let latency = |of: fn(&Latency) -> u64| mean(&|p| p.client_latency.as_ref().map(|l| of(l) as f64));
    let late = late_share(adherences.iter().copied());
    Some(Row {
        trace,
        configuration,
        p50_ns: latency(|l| l.p50_ns),
        p99_ns: latency(|l| l.p99_ns),
        cost: match results.power.has_energy {
            true => mean(&|point| point.j_per_inference),
            false => mean(&|point| point.cpu_s_per_inference),
        },
        mean_batch: mean(&Point::mean_executed_batch_size),
        meets: late.is_some_and(|late| late <= batching.allowed_share() + f64::EPSILON),
        adherences,
    })
}

fn late_share<'a>(adherences: impl Iterator<Item = &'a Adherence>) -> Option<f64> {
    let (mut late, mut taken) = (0, 0);
    for adherence in adherences {
        late += adherence.over_target + adherence.failed;
        taken += adherence.answered + adherence.failed;
    }
    (taken > 0).then(|| late as f64 / taken as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{batching, comparison};

    #[test]
    fn rows_follow_the_plan_and_put_repeats_together() {
        let results = batching();
        let verdict = Verdict::of(&results).unwrap();
        let names: Vec<_> = verdict.rows.iter().map(|row| (row.trace, row.configuration)).collect();
        assert_eq!(names[..4], [("even", "none"), ("even", "short"), ("even", "long"), ("even", "adaptive")]);
        assert_eq!(names.len(), 8);
        let row = &verdict.rows[0];
        assert_eq!(row.adherences.len(), 2);
        assert_eq!((row.sum(|a| a.answered), row.late_share()), (200, Some(0.2)));
        assert!(!row.meets);
        let adaptive = &verdict.rows[7];
        assert_eq!((adaptive.sum(|a| a.refused), adaptive.late_share()), (20, Some(0.01)));
        assert!(adaptive.meets, "one in a hundred is allowed");
        assert_eq!(adaptive.refusal_ns(|l| l.max_ns), Some(5e6));
        assert_eq!(adaptive.settled_after_s(), [Some(1.5), Some(0.0)]);
        assert_eq!(verdict.rows[4].settled_after_s(), [None, Some(0.0)], "one repeat did not settle");
        assert!(Verdict::of(&comparison()).is_none());
    }

    #[test]
    fn the_best_fixed_is_the_cheapest_that_keeps_the_target() {
        let results = batching();
        let verdict = Verdict::of(&results).unwrap();
        // "none" is cheaper and late; "adaptive" is cheaper and not fixed.
        assert_eq!(verdict.best_fixed("even").unwrap().configuration, "long");
        assert_eq!(verdict.best_fixed("step").unwrap().configuration, "short");
        let ratios: Vec<f64> = verdict.adaptive().iter().filter_map(|row| verdict.cost_ratio(row)).collect();
        assert_eq!(ratios.len(), 2);
        assert!((ratios[0] - 0.9).abs() < 1e-9 && (ratios[1] - 0.6).abs() < 1e-9, "{ratios:?}");
    }

    #[test]
    fn standings_go_by_targets_met_then_by_lateness() {
        let results = batching();
        let verdict = Verdict::of(&results).unwrap();
        let standings = verdict.standings();
        let order: Vec<_> = standings.iter().map(|s| (s.configuration, s.met, s.traces)).collect();
        assert_eq!(order, [("short", 2, 2), ("long", 1, 2), ("none", 0, 2)]);
        // 1.2 times the best under one trace, the best itself under the other.
        assert!((standings[0].cost_ratio.unwrap() - 1.2f64.sqrt()).abs() < 1e-9);
        assert!((standings[2].late_share - 0.2).abs() < 1e-9);
    }

    #[test]
    fn without_a_configuration_that_keeps_the_target_there_is_no_ratio() {
        let mut results = batching();
        results.plan.batching.as_mut().unwrap().adaptive = None;
        for adherence in results.points.iter_mut().filter_map(|point| point.adherence.as_mut()) {
            adherence.failed = 50;
        }
        let verdict = Verdict::of(&results).unwrap();
        assert!(verdict.best_fixed("even").is_none() && verdict.adaptive().is_empty());
        assert_eq!(verdict.cost_ratio(&verdict.rows[0]), None);
        assert_eq!(verdict.standings()[0].cost_ratio, None);
        assert_eq!(verdict.standings().len(), 4);
        assert_eq!(geometric_mean(&[1.0, 4.0]), Some(2.0));
    }
}
