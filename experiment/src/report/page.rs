//! The HTML page: the texts for the template.

use anyhow::{Context, Result};
use askama::Template;

use super::energy::energy;
use super::findings::findings;
use super::intervals::intervals;
use super::number::{ABSENT, count, or_absent, or_absent_with_error, significant, three, time, with_error};
use super::search;
use super::summary::{HEAD, table as table_of_summary};
use super::table::{Table, key, table, yes_no};
use super::verdict::Verdict;
use crate::results::{Latency, Point, Results};

/// A plot on the page.
pub enum Shown {
    /// File name without extension, SVG, caption.
    Picture { name: String, svg: String, caption: String },
    /// Title, and why there is no plot.
    Absent { title: String, reason: String },
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    tool: String,
    facts: Vec<(&'static str, String)>,
    findings: Vec<String>,
    summary: Option<Table>,
    points: Table,
    tables: Vec<Table>,
    pictures: Vec<Shown>,
    percentiles: Table,
    details: Vec<(&'static str, String)>,
}

/// The whole page.
///
/// # Errors
///
/// The plan cannot be written as JSON.
pub fn page(results: &Results, pictures: Vec<Shown>) -> Result<String> {
    let mut points: Vec<&Point> = results.points.iter().collect();
    points.sort_by(|a, b| a.key.cmp(&b.key));
    let plan = serde_json::to_value(&results.plan).context("cannot write the plan as JSON")?;
    let tables = [
        search::found(results),
        search::tried(results),
        intervals(results),
        errors(&points),
        warnings(&points),
        energy(&points),
        pacing(&points),
        devices(&points),
        disagreements(&points),
        searches(&points),
    ];
    let page = Page {
        title: format!("Experiment: {}", results.model.name),
        tool: results.tool.clone(),
        facts: facts(results, &plan),
        findings: findings(results),
        summary: Verdict::of(results).map(|verdict| summary(results, &verdict)),
        points: main_table(&points).narrowed(),
        tables: tables.into_iter().filter(|table| !table.rows.is_empty()).map(Table::narrowed).collect(),
        pictures,
        percentiles: percentiles(&points).narrowed(),
        details: vec![
            ("Plan", pretty(&plan)?),
            ("Model metadata", pretty(&results.model.metadata)?),
            ("Configurations", pretty(&serde_json::to_value(&results.configurations)?)?),
        ],
    };
    page.render().context("cannot render report.html")
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    serde_json::to_string_pretty(value).context("cannot write JSON")
}

/// Quoted for a shell.
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn facts(results: &Results, plan: &serde_json::Value) -> Vec<(&'static str, String)> {
    let Results { model, server, host, power, .. } = results;
    let version = match model.version.as_str() {
        "" => "version chosen by the server".into(),
        version => format!("version {version}"),
    };
    let mut facts = vec![
        ("Command", quoted(&results.command)),
        ("Started", results.started.clone()),
        ("Model", format!("{}, {version}", model.name)),
        ("Server", format!("{} {} at {}", server.name, server.version, server.url)),
        (
            "Host of this tool",
            format!(
                "{}: {}, {} CPUs, {} GiB RAM, {}",
                host.name,
                host.cpu,
                host.cpus,
                significant(host.memory_bytes as f64 / (1u64 << 30) as f64),
                host.kernel
            ),
        ),
        ("Power source", format!("{}. {}", power.name, power.description).trim_end().into()),
    ];
    if let Some(command) = &server.command {
        facts.insert(4, ("Server command", quoted(command)));
    }
    if let Some(seed) = plan.get("seed") {
        facts.insert(1, ("Seed", seed.to_string()));
    }
    if !power.devices.is_empty() {
        facts.push(("Measured devices", power.devices.join("; ")));
    }
    if power.interval_s > 0.0 {
        facts.push(("Readings", format!("every {}", time(power.interval_s * 1e9))));
    }
    if !power.learnt.is_empty() {
        facts.push(("Learnt of the meters", power.learnt.join("; ")));
    }
    for (name, idle) in [
        ("Idle power without the model", &results.idle_without_model),
        ("Idle power with the model loaded", &results.idle),
    ] {
        let Some(idle) = idle else { continue };
        if let Some(watts) = idle.average_power_w {
            facts.push((name, format!("{} W", with_error(watts, idle.average_power_error_w))));
        }
        if let Some(reason) = &idle.energy_missing {
            facts.push((name, format!("unknown: {reason}")));
        }
        if !idle.energy_notices.is_empty() {
            facts.push((name, idle.energy_notices.join("; ")));
        }
    }
    if let Some(idle) = &results.idle
        && let Some(cpu) = idle.server_cpu_s.filter(|_| idle.seconds > 0.0)
    {
        facts.push(("Idle server", format!("{} CPU time per second", time(cpu / idle.seconds * 1e9))));
    }
    facts
}

fn summary(results: &Results, verdict: &Verdict) -> Table {
    Table {
        id: "summary",
        title: "Latency target",
        note: "Late: answered after the target, or failed; of the requests that were not refused. Cost per inference: \
               energy if there is a meter, otherwise CPU time of the server, which is not a measure of energy. Best \
               fixed: the cheapest configuration, except for the adaptive one, that met the target in this trace. A \
               late burst ends when all responses are on time for a second. After each step: when the last late \
               response before the next step was due; – if responses were late to its end.",
        head: HEAD.to_vec(),
        rows: table_of_summary(verdict, results.power.has_energy),
    }
}

fn main_table(points: &[&Point]) -> Table {
    let row = |p: &&Point| {
        let latency = |of: fn(&Latency) -> u64| {
            p.client_latency.as_ref().map_or_else(|| ABSENT.into(), |l| time(of(l) as f64))
        };
        let compute = |of: fn(&Latency) -> u64| {
            p.server_times.get("compute_latency_ns").map_or_else(|| ABSENT.into(), |l| time(of(l) as f64))
        };
        let mut row = key(p);
        row.extend([
            three(p.inferences_per_s),
            latency(|l| l.p50_ns),
            latency(|l| l.p95_ns),
            latency(|l| l.p99_ns),
            latency(|l| l.max_ns),
            compute(|l| l.p50_ns),
            compute(|l| l.p99_ns),
            or_absent(p.mean_executed_batch_size()),
            or_absent_with_error(p.consumption.average_power_w, p.consumption.average_power_error_w),
            or_absent_with_error(p.inferences_per_j, p.inferences_per_j_error),
            p.cpu_s_per_inference.map_or_else(|| ABSENT.into(), |s| time(s * 1e9)),
            yes_no(p.settled),
            count(p.errors.iter().map(|e| e.count).sum()),
            yes_no(p.statistics.as_ref().and_then(|s| s.agrees)),
        ]);
        row
    };
    table(
        "points",
        (
            "Points",
            "Client latency: measured by the client, in an open loop from when the request was due. Server compute: \
             from the responses. ±: see the table of energy. CPU time per inference: of the server; not a measure of energy. –: not measured, or \
             not applicable.",
        ),
        &[
            "inferences per s",
            "client p50",
            "client p95",
            "client p99",
            "client max",
            "server compute p50",
            "server compute p99",
            "mean executed batch",
            "power (W)",
            "inferences per J",
            "CPU time per inference (not energy)",
            "settled",
            "errors",
            "statistics agree",
        ],
        points.iter().map(row),
    )
}

fn percentiles(points: &[&Point]) -> Table {
    let row = |p: &Point, of: &str, latency: &Latency| {
        let mut row = key(p);
        row.extend([of.to_string(), count(latency.count), time(latency.mean_ns)]);
        let Latency { min_ns, p50_ns, p90_ns, p95_ns, p99_ns, p99_9_ns, max_ns, .. } = latency;
        row.extend([min_ns, p50_ns, p90_ns, p95_ns, p99_ns, p99_9_ns, max_ns].map(|ns| time(*ns as f64)));
        row
    };
    let rows = points.iter().flat_map(|p| {
        let client = p.client_latency.iter().map(|latency| row(p, "client", latency));
        let server = p.server_times.iter().map(|(name, latency)| row(p, name, latency));
        client.chain(server).collect::<Vec<_>>()
    });
    table(
        "percentiles",
        (
            "All percentiles",
            "Mean, minimum and maximum are exact; percentiles have three significant digits.",
        ),
        &["time", "requests", "mean", "min", "p50", "p90", "p95", "p99", "p99.9", "max"],
        rows,
    )
}

fn errors(points: &[&Point]) -> Table {
    let rows = points.iter().flat_map(|p| {
        p.errors.iter().map(|error| {
            let mut row = key(p);
            row.extend([error.kind.clone(), error.first_message.clone(), count(error.count)]);
            row
        })
    });
    table(
        "errors",
        ("Errors", "Requests that failed in the measured part, by kind."),
        &["kind", "first message", "requests"],
        rows,
    )
}

fn warnings(points: &[&Point]) -> Table {
    let rows = points.iter().flat_map(|p| {
        p.warnings.iter().map(|warning| {
            let mut row = key(p);
            row.push(warning.clone());
            row
        })
    });
    table("warnings", ("Warnings", ""), &["warning"], rows)
}

fn pacing(points: &[&Point]) -> Table {
    let rows = points.iter().filter_map(|p| {
        let pacing = p.pacing.as_ref()?;
        let mut row = key(p);
        row.extend([
            three(pacing.scheduled_per_s),
            three(p.requests_per_s),
            count(pacing.scheduled),
            count(pacing.late),
            count(pacing.unsent),
            time(pacing.max_delay_ns as f64),
        ]);
        Some(row)
    });
    table(
        "pacing",
        ("Open loops", "Late: sent later than the plan allows. Latency counts from when a request was due."),
        &["due/s", "answered/s", "due", "late", "not sent", "longest delay"],
        rows,
    )
}

fn devices(points: &[&Point]) -> Table {
    let rows = points.iter().filter_map(|p| {
        let device = p.consumption.device.as_ref()?;
        let reasons = device.throttle_reasons.iter();
        let reasons: Vec<_> =
            reasons.map(|(reason, share)| format!("{reason} {}", super::number::percent(*share))).collect();
        let mut row = key(p);
        row.extend([
            if reasons.is_empty() { "none".into() } else { reasons.join(", ") },
            or_absent(device.temperature_mean_c),
            or_absent(device.temperature_max_c),
            or_absent(device.clock_mean_mhz),
            or_absent(device.clock_min_mhz),
            or_absent(device.memory_clock_mean_mhz),
        ]);
        Some(row)
    });
    table(
        "devices",
        (
            "Devices",
            "With several devices: the highest temperature, the lowest clocks. Throttle reasons with their share of samples.",
        ),
        &[
            "throttled by",
            "mean temperature (°C)",
            "max temperature (°C)",
            "mean clock (MHz)",
            "min clock (MHz)",
            "mean memory clock (MHz)",
        ],
        rows,
    )
}

fn disagreements(points: &[&Point]) -> Table {
    let rows = points.iter().filter_map(|p| {
        let statistics = p.statistics.as_ref().filter(|s| s.agrees == Some(false))?;
        let mut row = key(p);
        row.push(statistics.agreement.clone());
        Some(row)
    });
    table("statistics", ("Disagreements with the server's statistics", ""), &["what was compared"], rows)
}

fn searches(points: &[&Point]) -> Table {
    let rows = points.iter().flat_map(|p| {
        p.search.iter().map(|step| {
            let mut row = key(p);
            let p50 = step.latency_p50_ns.map_or_else(|| ABSENT.into(), |ns| time(ns as f64));
            row.extend([count(step.concurrency as u64), three(step.inferences_per_s), p50]);
            row
        })
    });
    table(
        "search",
        ("Search for the maximum throughput", "All concurrencies that were tried."),
        &["concurrency tried", "inferences per s", "client p50"],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let words = ["run", "--model", "a b", "it's", ""].map(String::from);
        assert_eq!(quoted(&words), r"run --model 'a b' 'it'\''s' ''");
    }
}
