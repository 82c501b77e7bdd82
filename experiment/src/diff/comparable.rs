//! Whether two results may be compared.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::results::Results;

/// How much a difference between two runs matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Perhaps the very thing that is compared.
    Note,
    /// It may explain a difference of the results.
    Warning,
    /// The results measure different things.
    Error,
}

/// Something that two runs do not have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// How much it matters.
    pub severity: Severity,
    /// What differs, with both values.
    pub text: String,
    /// Whether it makes figures of energy incomparable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub energy: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.text)
    }
}

/// What two runs do not have in common, most important first.
pub fn differences(first: &Results, second: &Results) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut unless_same = |severity, what: &str, one: &str, other: &str| {
        // What is not known, as of imported results, differs from nothing.
        if one != other && !one.is_empty() && !other.is_empty() {
            let text = format!("the {what} differs: {one} and {other}");
            found.push(Difference { severity, text, energy: false });
        }
    };
    let (one, other) = (&first.host, &second.host);
    unless_same(Severity::Error, "model", &first.model.name, &second.model.name);
    unless_same(Severity::Error, "processor", &one.cpu, &other.cpu);
    unless_same(Severity::Error, "number of processors", &count(one.cpus), &count(other.cpus));
    unless_same(Severity::Error, "interface of the model", &interface(first), &interface(second));
    unless_same(Severity::Warning, "machine", &one.name, &other.name);
    unless_same(Severity::Warning, "kernel", &one.kernel, &other.kernel);
    unless_same(Severity::Warning, "server", &server(first), &server(second));
    unless_same(Severity::Note, "model's version", &first.model.version, &second.model.version);
    unless_same(Severity::Note, "tool", &first.tool, &second.tool);
    settings(first, second, &mut found);
    configurations(first, second, &mut found);
    energy(first, second, &mut found);
    for (which, results) in [("first", first), ("second", second)] {
        let mut warn =
            |text: String| found.push(Difference { severity: Severity::Warning, text, energy: false });
        if !results.complete {
            warn(format!("the {which} run is incomplete"));
        }
        let unsettled = results.points.iter().filter(|point| point.settled == Some(false)).count();
        if unsettled > 0 {
            warn(format!("{unsettled} of {} points of the {which} run did not settle", results.points.len()));
        }
        let failed = results.points.iter().filter(|point| !point.errors.is_empty()).count();
        if failed > 0 {
            warn(format!(
                "at {failed} of {} points of the {which} run requests failed",
                results.points.len()
            ));
        }
    }
    if first.summary.iter().chain(&second.summary).all(|summary| summary.visits < 2) {
        found.push(Difference {
            severity: Severity::Note,
            text: "each point was measured once: intervals do not contain how results change from run to run; --repeats 3 \
                   or more measures that, and `ab` compares without it"
                .to_owned(),
            energy: false,
        });
    }
    found.sort_by_key(|difference| std::cmp::Reverse(difference.severity));
    found
}

fn count(number: usize) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn server(results: &Results) -> String {
    let server = &results.server;
    if server.version.is_empty() { String::new() } else { format!("{} {}", server.name, server.version) }
}

/// The inputs of the model. Outputs may be added to a model without changing what is asked of it.
fn interface(results: &Results) -> String {
    match &results.model.metadata["inputs"] {
        Value::Array(inputs) => {
            let text = |input: &Value| {
                format!("{} {} {}", text(&input["name"]), text(&input["datatype"]), input["shape"])
            };
            inputs.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Settings that change what is measured. Others, such as the address of the server, do not.
fn settings(first: &Results, second: &Results, found: &mut Vec<Difference>) {
    const MEANT: [&str; 13] = [
        "warm_up_s",
        "window_s",
        "tolerance",
        "max_time_s",
        "max_concurrency",
        "max_connections",
        "timeout_s",
        "seed",
        "shared_memory",
        "data",
        "input_files",
        "shapes",
        "batching",
    ];
    if first.host.name.is_empty() || second.host.name.is_empty() {
        // Imported: the settings are not those of this tool.
        return;
    }
    let plans = [first, second].map(|results| serde_json::to_value(&results.plan).unwrap_or_default());
    for name in MEANT {
        let [one, other] = [&plans[0][name], &plans[1][name]];
        if one != other {
            let text =
                format!("--{} differs: {one} and {other}", name.trim_end_matches("_s").replace('_', "-"));
            found.push(Difference { severity: Severity::Warning, text, energy: false });
        }
    }
}

/// Configurations of the same name with other contents: often what is compared.
fn configurations(first: &Results, second: &Results, found: &mut Vec<Difference>) {
    for (name, one) in &first.configurations {
        let Some(other) = second.configurations.get(name).filter(|other| *other != one) else { continue };
        let keys: Vec<&str> = one
            .as_object()
            .into_iter()
            .chain(other.as_object())
            .flat_map(|object| object.keys())
            .filter(|key| one[key.as_str()] != other[key.as_str()])
            .map(String::as_str)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let of = if name.is_empty() { String::new() } else { format!(" '{name}'") };
        found.push(Difference {
            severity: Severity::Note,
            text: format!("the model's configuration{of} differs in {}", keys.join(", ")),
            energy: false,
        });
    }
}

fn energy(first: &Results, second: &Results, found: &mut Vec<Difference>) {
    if !first.power.has_energy || !second.power.has_energy {
        return;
    }
    let told = |results: &Results| format!("{} ({})", results.power.name, results.power.devices.join("; "));
    let (one, other) = (told(first), told(second));
    if one != other {
        found.push(Difference {
            severity: Severity::Warning,
            text: format!(
                "power and energy are not compared, because they are of different devices: {one} and {other}"
            ),
            energy: true,
        });
    }
}
