//! Settings that only `batching` has.

#[cfg(test)]
mod tests;

use std::fmt::Display;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Arrivals, Batching, Configuration, Trace};

/// The settings of `batching` that the user gives, by flags or in the table `[batching]` of a plan file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct BatchingSettings {
    /// Latency target in milliseconds [default: 600].
    #[arg(long, value_name = "MS", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ms: Option<f64>,
    /// Percentage of requests that must meet the target [default: 99].
    #[arg(long, value_name = "PERCENT", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Rows in each request of the closed loop that measures the capacity [default: 16].
    #[arg(long, value_name = "N", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_batch: Option<u32>,
    /// Length of a trace in seconds, multiplied by the `length` of the trace in the plan [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = "Batching")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_seconds: Option<f64>,
    /// Run only these traces of the plan.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Batching")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_traces: Vec<String>,
    /// Run only these configurations of the plan.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Batching")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_configurations: Vec<String>,
    /// Name of the configuration that chooses its batch sizes itself. The others are fixed.
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
    /// The arrival process.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Its length in multiples of `trace_seconds`.
    #[serde(default = "once")]
    pub length: f64,
    /// The rate in parts of equal length, as a percentage of capacity.
    pub percent: Vec<f64>,
}

fn once() -> f64 {
    1.0
}

impl BatchingSettings {
    /// The settings with their defaults, and the configurations to measure, with `{target_ms}` and `{percentile}`
    /// replaced by their values.
    ///
    /// # Errors
    /// The first invalid setting, and what is allowed.
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

/// The items with one of these names, or all if no names are given.
fn chosen<T>(all: Vec<T>, names: &[String], flag: &str, name: impl Fn(&T) -> &String) -> Result<Vec<T>> {
    let known: Vec<&str> = all.iter().map(|one| name(one).as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("{flag}: the plan has no '{unknown}'; it has {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|one| names.is_empty() || names.contains(name(one))).collect())
}

/// Replaces a name by a number in all strings of a patch: the parameters of a model are strings.
fn fill_in(patch: &mut Value, name: &str, number: impl Display + Copy) {
    match patch {
        Value::String(text) => *text = text.replace(name, &number.to_string()),
        Value::Array(list) => list.iter_mut().for_each(|value| fill_in(value, name, number)),
        Value::Object(map) => map.values_mut().for_each(|value| fill_in(value, name, number)),
        _ => {}
    }
}
