//! Prometheus's text format: gauges in base units, a sample for each point.

use std::fmt::Write;

use crate::results::{Metric, Results, Summary};

/// Names and help of the metrics. Latencies share one, with a label for the statistic.
fn family(metric: Metric) -> (&'static str, &'static str, &'static str) {
    const LATENCY: &str = "triton_experiment_latency_seconds";
    const HELP: &str = "Latency of requests at the client.";
    match metric {
        Metric::InferencesPerS => {
            ("triton_experiment_throughput_inferences_per_second", "Inferences per second.", "")
        }
        Metric::LatencyMeanNs => (LATENCY, HELP, "mean"),
        Metric::LatencyP50Ns => (LATENCY, HELP, "p50"),
        Metric::LatencyP90Ns => (LATENCY, HELP, "p90"),
        Metric::LatencyP95Ns => (LATENCY, HELP, "p95"),
        Metric::LatencyP99Ns => (LATENCY, HELP, "p99"),
        Metric::LatencyP999Ns => (LATENCY, HELP, "p99.9"),
        Metric::AveragePowerW => ("triton_experiment_power_watts", "Average power.", ""),
        Metric::JPerInference => {
            ("triton_experiment_energy_joules_per_inference", "Energy of an inference.", "")
        }
        Metric::InferencesPerJ => ("triton_experiment_inferences_per_joule", "Energy efficiency.", ""),
        Metric::CpuSPerInference => (
            "triton_experiment_cpu_seconds_per_inference",
            "CPU time of the server for an inference; not a measure of energy.",
            "",
        ),
    }
}

/// All metrics of these points. Each has the labels of its point, and `bound` is value, low or high (95 %).
pub fn text(results: &Results, summaries: &[&Summary]) -> String {
    let mut text = String::new();
    let mut last = "";
    for metric in Metric::ALL {
        let (name, help, statistic) = family(metric);
        for summary in summaries {
            let Some(estimate) = summary.estimates.get(&metric) else { continue };
            if name != last {
                // A string takes everything.
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
                last = name;
            }
            let mut labels = vec![
                ("model", results.model.name.as_str()),
                ("configuration", summary.configuration.as_str()),
            ];
            let (batch, load) = (summary.batch.to_string(), summary.load.to_string());
            labels.extend([("batch", batch.as_str()), ("load", load.as_str())]);
            if !statistic.is_empty() {
                labels.push(("statistic", statistic));
            }
            let bounds = [("value", Some(estimate.value)), ("low", estimate.low), ("high", estimate.high)];
            for (bound, value) in bounds {
                let Some(value) = value else { continue };
                let labels: Vec<String> = labels
                    .iter()
                    .chain(&[("bound", bound)])
                    .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                    .collect();
                let _ = writeln!(text, "{name}{{{}}} {}", labels.join(","), value * base_unit(metric));
            }
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// The unit of a metric's name in Prometheus, and the factor to it.
fn base_unit(metric: Metric) -> f64 {
    if metric.is_latency() { 1e-9 } else { 1.0 }
}
