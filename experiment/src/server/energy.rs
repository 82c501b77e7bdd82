//! Whose energy the responses tell, by the server's metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prometheus_parse::Scrape;
use ureq::Agent;

/// What this project's backend books for a model's executions, by device.
const FAMILY: &str = "tensorflow_latency_model_energy_joules_total";

const TIMEOUT: Duration = Duration::from_secs(5);

/// The devices (`cpu`, `gpu`) for which the backend has books of the model's energy.
///
/// # Errors
/// The metrics cannot be read, or have no energy of the model.
pub fn energy_devices(metrics_url: &str, model: &str, version: Option<&str>) -> Result<Vec<String>> {
    // Without a proxy, which might answer in place of the server.
    let agent: Agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build().new_agent();
    let text = agent
        .get(metrics_url)
        .call()
        .and_then(|response| response.into_body().read_to_string())
        .with_context(|| format!("the server's metrics at {metrics_url} cannot be read (--metrics-url)"))?;
    let devices = devices_in(&text, model, version)?;
    ensure!(
        !devices.is_empty(),
        "the server's metrics at {metrics_url} have no {FAMILY} of model '{model}': they need Triton 22.04"
    );
    Ok(devices)
}

fn devices_in(text: &str, model: &str, version: Option<&str>) -> Result<Vec<String>> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).context("the server's metrics are not in Prometheus' text format")?;
    let version = version.filter(|version| !version.is_empty());
    let ours = scrape.samples.iter().filter(|sample| {
        sample.metric == FAMILY
            && sample.labels.get("model") == Some(model)
            && version.is_none_or(|version| sample.labels.get("version") == Some(version))
    });
    let devices: BTreeSet<String> =
        ours.filter_map(|sample| sample.labels.get("device").map(str::to_owned)).collect();
    Ok(devices.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"# HELP tensorflow_latency_model_energy_joules_total Energy
# TYPE tensorflow_latency_model_energy_joules_total counter
tensorflow_latency_model_energy_joules_total{device="cpu",model="m",version="1"} 12.5
tensorflow_latency_model_energy_joules_total{device="gpu",model="m",version="2"} 0
tensorflow_latency_model_energy_joules_total{device="gpu",model="other",version="1"} 3
tensorflow_latency_idle_power_watts{device="gpu"} 70
"#;

    #[test]
    fn the_devices_are_those_of_the_model_and_version() {
        let of = |model, version| devices_in(METRICS, model, version).unwrap();
        assert_eq!(of("m", None), ["cpu", "gpu"]);
        assert_eq!(of("m", Some("")), ["cpu", "gpu"]);
        assert_eq!(of("m", Some("1")), ["cpu"]);
        assert_eq!(of("other", None), ["gpu"]);
        assert!(of("nobody", None).is_empty());
    }

    #[test]
    fn metrics_that_are_not_there_are_named() {
        let error = format!("{:#}", energy_devices("http://127.0.0.1:1/metrics", "m", None).unwrap_err());
        assert!(error.contains("127.0.0.1:1/metrics") && error.contains("--metrics-url"), "{error}");
    }
}
