//! What `batching` measures beside the configurations: a latency target, and traces of arrivals.

use std::fmt::Display;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Arrivals, Configuration};
use crate::traces::Trace;

/// Settings of `batching` as they are given, by flags or in the table `[batching]` of a plan file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct BatchingSettings {
    /// The latency that requests are to keep, in milliseconds [default: 600].
    #[arg(long, value_name = "MS", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ms: Option<f64>,
    /// Per cent of the requests that are to keep it [default: 99].
    #[arg(long, value_name = "PERCENT", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Images in each request of the closed loop that measures the capacity [default: 16].
    #[arg(long, value_name = "N", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_batch: Option<u32>,
    /// The length of a trace in seconds; those whose `length` is not 1 take so many times as long [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_seconds: Option<f64>,
    /// Of the plan's traces only these.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Batching")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_traces: Vec<String>,
    /// Of the plan's configurations only these.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Batching")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_configurations: Vec<String>,
    /// The name of the configuration that finds its batch sizes by itself. The others are fixed.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<String>,
    /// The traces.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<TraceSettings>,
}

/// A trace as a plan file gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// For tables and plots.
    pub name: String,
    /// How arrivals are spread around the rate.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// How many times as long as the others it is.
    #[serde(default = "once")]
    pub length: f64,
    /// The rate in parts of equal length, as per cent of the capacity.
    pub percent: Vec<f64>,
}

fn once() -> f64 {
    1.0
}

/// What `batching` measures beside the configurations, with every default filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batching {
    /// The latency that requests are to keep.
    pub target_ms: f64,
    /// Per cent of the requests that are to keep it.
    pub percentile: f64,
    /// Images in each request of the closed loop that measures the capacity.
    pub capacity_batch: u32,
    /// The name of the configuration that finds its batch sizes by itself, when it is measured.
    pub adaptive: Option<String>,
    /// The arrivals.
    pub traces: Vec<Trace>,
}

impl BatchingSettings {
    /// The settings with their defaults, and those of the configurations that are to be measured, in which
    /// `{target_ms}` and `{percentile}` have become the target's numbers.
    ///
    /// # Errors
    /// The first setting that cannot be, named with what it may be.
    pub fn into_batching(self, configurations: Vec<Configuration>) -> Result<(Batching, Vec<Configuration>)> {
        let trace_seconds = self.trace_seconds.unwrap_or(60.0);
        let names: Vec<&String> = configurations.iter().map(|configuration| &configuration.name).collect();
        if let Some(adaptive) = &self.adaptive {
            ensure!(names.contains(&adaptive), "adaptive: no configuration is called '{adaptive}'");
        }
        let mut configurations =
            chosen(configurations, &self.only_configurations, "--only-configurations", |one| &one.name)?;
        let traces = chosen(self.trace, &self.only_traces, "--only-traces", |trace| &trace.name)?
            .into_iter()
            .map(|TraceSettings { name, arrivals, length, percent }| Trace {
                name,
                arrivals,
                seconds: trace_seconds * length,
                percent,
            })
            .collect();
        let measured = |adaptive: &String| configurations.iter().any(|one| one.name == *adaptive);
        let batching = Batching {
            target_ms: self.target_ms.unwrap_or(600.0),
            percentile: self.percentile.unwrap_or(99.0),
            capacity_batch: self.capacity_batch.unwrap_or(16),
            adaptive: self.adaptive.filter(measured),
            traces,
        };
        batching.check()?;
        for configuration in &mut configurations {
            fill_in(&mut configuration.patch, "{target_ms}", batching.target_ms);
            fill_in(&mut configuration.patch, "{percentile}", batching.percentile);
        }
        Ok((batching, configurations))
    }
}

impl Batching {
    /// The target in nanoseconds.
    pub fn target_ns(&self) -> u64 {
        (self.target_ms * 1e6) as u64
    }

    /// The share of requests that may be late, 0 to 1.
    pub fn allowed_share(&self) -> f64 {
        (100.0 - self.percentile) / 100.0
    }

    /// The trace of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn trace(&self, name: &str) -> Result<&Trace> {
        let found = self.traces.iter().find(|trace| trace.name == name);
        found.with_context(|| format!("the plan has no trace '{name}'"))
    }

    fn check(&self) -> Result<()> {
        let Self { target_ms, percentile, capacity_batch, traces, .. } = self;
        ensure!((0.001..=1e9).contains(target_ms), "--target-ms: expected 0.001 to 1e9, found {target_ms}");
        ensure!(
            (1.0..100.0).contains(percentile),
            "--percentile: expected 1 to below 100, found {percentile}"
        );
        ensure!(*capacity_batch > 0, "--capacity-batch: expected at least 1, found 0");
        if traces.is_empty() {
            bail!("no trace: a plan of `batching` has a table [[batching.trace]] for each");
        }
        traces.iter().try_for_each(Trace::check)
    }
}

/// Those with one of these names; without names, all.
fn chosen<T>(all: Vec<T>, names: &[String], flag: &str, name: impl Fn(&T) -> &String) -> Result<Vec<T>> {
    let known: Vec<&str> = all.iter().map(|one| name(one).as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("{flag}: the plan has no '{unknown}'; it has {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|one| names.is_empty() || names.contains(name(one))).collect())
}

/// Writes a number in place of its name wherever a text of a patch has it: parameters of a model are texts.
fn fill_in(patch: &mut Value, name: &str, number: impl Display + Copy) {
    match patch {
        Value::String(text) => *text = text.replace(name, &number.to_string()),
        Value::Array(list) => list.iter_mut().for_each(|value| fill_in(value, name, number)),
        Value::Object(map) => map.values_mut().for_each(|value| fill_in(value, name, number)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Load;
    use crate::settings::Settings;

    const PLAN: &str = r#"
        model = "m"
        url = "localhost"

        [batching]
        target_ms = 50
        trace_seconds = 10
        adaptive = "own"

        [[batching.trace]]
        name = "even"
        arrivals = "constant"
        percent = [50]

        [[batching.trace]]
        name = "step"
        length = 2.5
        percent = [20, 80, 20]

        [[configuration]]
        name = "none"
        remove = ["dynamic_batching"]

        [[configuration]]
        name = "own"
        patch.parameters.latency_target_ms.string_value = "{target_ms}"
        patch.parameters.note.string_value = "p{percentile} of {target_ms}"
    "#;

    fn settings(change: impl Fn(&mut Settings)) -> Settings {
        let mut flags = Settings { batching: Some(BatchingSettings::default()), ..Settings::default() };
        change(&mut flags);
        flags.or(&Settings::from_toml(PLAN, "plan.toml").unwrap()).unwrap()
    }

    fn given(change: impl Fn(&mut BatchingSettings)) -> Settings {
        settings(|flags| change(flags.batching.as_mut().unwrap()))
    }

    #[test]
    fn a_plan_becomes_traces_and_configurations_with_the_target_in_them() {
        let plan = given(|_| ()).into_plan().unwrap();
        let batching = plan.batching.as_ref().unwrap();
        assert_eq!((batching.target_ns(), batching.percentile), (50_000_000, 99.0));
        assert!((batching.allowed_share() - 0.01).abs() < 1e-12);
        assert_eq!(batching.adaptive.as_deref(), Some("own"));
        let traces: Vec<_> =
            batching.traces.iter().map(|t| (t.name.as_str(), t.seconds, t.arrivals)).collect();
        assert_eq!(traces, [("even", 10.0, Arrivals::Constant), ("step", 25.0, Arrivals::Poisson)]);
        let shaped = |trace: &str| Load::Shaped { trace: trace.to_owned() };
        assert_eq!(plan.loads, [shaped("even"), shaped("step")]);
        assert_eq!(plan.points().len(), 4);
        let parameters = &plan.configurations[1].patch["parameters"];
        assert_eq!(parameters["latency_target_ms"]["string_value"], "50");
        assert_eq!(parameters["note"]["string_value"], "p99 of 50");
        assert_eq!(plan.command(), "batching");
    }

    #[test]
    fn the_plan_of_the_makefile_can_be_used() {
        let text = include_str!("../plans/batching.toml");
        let flags = Settings { url: Some("localhost".to_owned()), ..Settings::default() };
        let plan =
            flags.or(&Settings::from_toml(text, "batching.toml").unwrap()).unwrap().into_plan().unwrap();
        assert_eq!((plan.configurations.len(), plan.loads.len()), (9, 9));
        let adaptive = plan.configurations.last().unwrap().merge_patch();
        assert_eq!(adaptive["parameters"]["latency_target_ms"]["string_value"], "600");
        assert!(adaptive["dynamic_batching"].is_null() && adaptive.as_object().unwrap().len() == 2);
        let seconds: f64 = plan.batching.unwrap().traces.iter().map(|trace| trace.seconds).sum();
        // With some 6 s around each trace, half an hour at most.
        assert!(9.0 * (seconds + 9.0 * 6.0) < 1800.0, "{seconds} s of traces");
    }

    #[test]
    fn flags_choose_among_traces_and_configurations() {
        let plan = given(|flags| {
            flags.only_traces = vec!["step".to_owned()];
            flags.only_configurations = vec!["none".to_owned()];
            flags.trace_seconds = Some(2.0);
        });
        let plan = plan.into_plan().unwrap();
        let batching = plan.batching.as_ref().unwrap();
        assert_eq!((batching.traces.len(), batching.traces[0].seconds), (1, 5.0));
        assert_eq!((plan.configurations.len(), &batching.adaptive), (1, &None), "it is not measured");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = |settings: Settings| format!("{:#}", settings.into_plan().unwrap_err());
        for (error, part) in [
            (
                error(given(|s| s.only_traces = vec!["x".into()])),
                "--only-traces: the plan has no 'x'; it has even, step",
            ),
            (error(given(|s| s.only_configurations = vec!["x".into()])), "it has none, own"),
            (error(given(|s| s.adaptive = Some("x".into()))), "no configuration is called 'x'"),
            (error(given(|s| s.percentile = Some(100.0))), "--percentile: expected 1 to below 100"),
            (error(given(|s| s.target_ms = Some(0.0))), "--target-ms"),
            (error(given(|s| s.trace_seconds = Some(0.0))), "trace 'even': expected a length"),
            (error(settings(|s| s.rate = vec![5.0])), "`batching` has its traces for loads"),
            (error(settings(|s| s.batch = vec![1, 2])), "one size of requests"),
        ] {
            assert!(error.contains(part), "'{part}' is not in: {error}");
        }
    }
}
