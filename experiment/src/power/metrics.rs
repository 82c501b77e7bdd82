//! Triton's metrics endpoint: energy of the server's GPUs, also on another machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use prometheus_parse::{Scrape, Value};

use super::counters::{Counters, Trapezoid};
use super::meter::{Meter, Reading};
use crate::clock;
use crate::results::PowerSource;

/// Joules since the server started.
const ENERGY: &str = "nv_energy_consumption";
/// Watts.
const POWER: &str = "nv_gpu_power_usage";

/// Much shorter than the server's own interval, so that the time of each update is known well.
const INTERVAL: Duration = Duration::from_millis(250);

/// The server's interval is 2 s unless set otherwise (`--metrics-interval-ms`).
const PATIENCE: Duration = Duration::from_secs(6);

enum Energy {
    Counted(Counters),
    Integrated(Trapezoid),
}

/// The meter of the metrics endpoint.
pub(super) struct Metrics {
    agent: ureq::Agent,
    url: String,
    /// UUIDs, in order.
    gpus: Vec<String>,
    energy: Energy,
}

impl Metrics {
    /// # Errors
    /// There is no endpoint, or it reports no energy.
    pub fn open(url: Option<&str>, wanted: &[u32]) -> Result<Self> {
        let url = url.context(
            "the metrics endpoint is unknown: give --metrics-url (usually http://HOST:8002/metrics)",
        )?;
        ensure!(
            wanted.is_empty(),
            "--power metrics measures all GPUs of the server, because its endpoint lists them by UUID and not by index: leave \
             out --gpus"
        );
        // Without a proxy, which might answer in place of the server.
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).proxy(None);
        let agent = ureq::Agent::new_with_config(config.build());
        let scrape = fetch(&agent, url)?;
        let (energy, by_gpu) = match (values(&scrape, ENERGY)?, values(&scrape, POWER)?) {
            (joules, _) if !joules.is_empty() => {
                (Energy::Counted(Counters::new(joules.values().copied().collect())), joules)
            }
            (_, watts) if !watts.is_empty() => (Energy::Integrated(Trapezoid::default()), watts),
            _ => bail!(
                "{url} has neither {ENERGY} nor {POWER}: the server has no NVIDIA GPU, or it was started with \
                 --allow-gpu-metrics=false. Use --power rapl or cpu-time on the server's machine"
            ),
        };
        Ok(Self { agent, url: url.to_owned(), gpus: by_gpu.into_keys().collect(), energy })
    }
}

fn fetch(agent: &ureq::Agent, url: &str) -> Result<Scrape> {
    let get = || agent.get(url).call()?.into_body().read_to_string();
    let text = get().with_context(|| format!("cannot read the metrics endpoint {url}"))?;
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))
        .with_context(|| format!("the response of {url} is not in Prometheus' text format"))
}

/// A metric's values by GPU.
fn values(scrape: &Scrape, metric: &str) -> Result<BTreeMap<String, f64>> {
    let mut values = BTreeMap::new();
    for sample in scrape.samples.iter().filter(|sample| sample.metric == metric) {
        let (Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value)) = sample.value else {
            continue;
        };
        let gpu = sample.labels.get("gpu_uuid").unwrap_or("GPU");
        ensure!(
            value.is_finite() && value >= 0.0,
            "{metric} of {gpu} is {value}, which is not a valid reading"
        );
        values.insert(gpu.to_owned(), value);
    }
    Ok(values)
}

impl Meter for Metrics {
    fn source(&self) -> PowerSource {
        let how = match self.energy {
            Energy::Counted(_) => format!(
                "{ENERGY}, read every {} ms. Energy between two updates is assumed to be spent evenly",
                INTERVAL.as_millis()
            ),
            Energy::Integrated(_) => format!(
                "{POWER}, read every {} ms and integrated with the trapezoidal rule. Changes between two updates are \
                 missed, and a reading lags by up to one update interval",
                INTERVAL.as_millis()
            ),
        };
        PowerSource {
            name: "metrics".to_owned(),
            description: format!(
                "Triton's metrics endpoint {}: {how}. The server updates its metrics every 2 s unless \
                 --metrics-interval-ms is set, so periods of a few seconds are coarse. Whole GPUs, including other \
                 processes; no CPU, no RAM.",
                self.url
            ),
            devices: self.gpus.clone(),
            has_energy: true,
            interval_s: INTERVAL.as_secs_f64(),
        }
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn read(&mut self) -> Result<Reading> {
        let metric = if matches!(self.energy, Energy::Counted(_)) { ENERGY } else { POWER };
        let by_gpu = values(&fetch(&self.agent, &self.url)?, metric)?;
        let now: Option<Vec<f64>> = self.gpus.iter().map(|gpu| by_gpu.get(gpu).copied()).collect();
        let now = now.filter(|now| now.len() == by_gpu.len()).with_context(|| {
            let gpus: Vec<_> = by_gpu.keys().collect();
            format!("{} reports {metric} for {gpus:?}, but at first it was {:?}", self.url, self.gpus)
        })?;
        let joules = match &mut self.energy {
            // A value that has not moved belongs to the moment of its last renewal, not to this one.
            Energy::Counted(counters) => {
                let (joules, renewed) = counters.sum(&self.gpus, now)?;
                renewed.then_some(joules)
            }
            Energy::Integrated(energy) => Some(energy.add(clock::now_ns(), now.iter().sum())),
        };
        Ok(Reading { joules, device: None })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;

    /// A stub of the endpoint that answers with whatever text it holds.
    fn stub(text: &str) -> (String, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let text = Arc::new(Mutex::new(text.to_owned()));
        let held = text.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
                while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let text = held.lock().unwrap().clone();
                let (status, body) = if text.is_empty() { ("404 Not Found", "") } else { ("200 OK", &*text) };
                let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}")
                    .unwrap();
            }
        });
        (url, text)
    }

    /// In the format of Triton 2.51 with two GPUs.
    fn recorded(energy: [f64; 2], power: [f64; 2]) -> String {
        format!(
            r#"# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="m",version="1"}} 3
# HELP nv_gpu_power_usage GPU power usage in watts
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{{gpu_uuid="GPU-11111111-aaaa"}} {}
nv_gpu_power_usage{{gpu_uuid="GPU-22222222-bbbb"}} {}
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{{gpu_uuid="GPU-11111111-aaaa"}} {}
nv_energy_consumption{{gpu_uuid="GPU-22222222-bbbb"}} {}
"#,
            power[0], power[1], energy[0], energy[1]
        )
    }

    fn without(text: &str, metric: &str) -> String {
        text.lines().filter(|line| !line.contains(metric)).map(|line| format!("{line}\n")).collect()
    }

    fn refusal(url: Option<&str>, gpus: &[u32]) -> String {
        format!("{:#}", Metrics::open(url, gpus).err().unwrap())
    }

    #[test]
    fn energy_counters_count_when_they_are_renewed() {
        let (url, text) = stub(&recorded([5555.1, 100.0], [25.3, 30.0]));
        let mut metrics = Metrics::open(Some(&url), &[]).unwrap();
        let source = metrics.source();
        assert_eq!(source.devices, ["GPU-11111111-aaaa", "GPU-22222222-bbbb"]);
        assert!(source.description.contains("--metrics-interval-ms") && source.has_energy);
        assert_eq!(metrics.read().unwrap().joules, None);
        *text.lock().unwrap() = recorded([5560.0, 150.5], [25.3, 30.0]);
        assert_eq!(metrics.read().unwrap().joules, Some(5710.5));
        assert_eq!(metrics.read().unwrap().joules, None);
        *text.lock().unwrap() = recorded([3.0, 3.0], [25.3, 30.0]);
        let error = metrics.read().unwrap_err().to_string();
        assert!(error.contains("restarted") && error.contains("GPU-11111111-aaaa"), "{error}");
    }

    #[test]
    fn power_is_integrated_when_there_is_no_energy() {
        let (url, text) = stub(&without(&recorded([0.0, 0.0], [100.0, 50.0]), ENERGY));
        let mut metrics = Metrics::open(Some(&url), &[]).unwrap();
        assert!(metrics.source().description.contains("trapezoidal"), "{}", metrics.source().description);
        let before = clock::now_ns();
        assert_eq!(metrics.read().unwrap().joules, Some(0.0));
        thread::sleep(Duration::from_millis(50));
        let joules = metrics.read().unwrap().joules.unwrap();
        let most = 150.0 * clock::seconds(clock::now_ns() - before);
        assert!(joules > 150.0 * 0.04 && joules <= most, "{joules} J, at most {most} J");
        let one_left = without(&recorded([0.0, 0.0], [100.0, 50.0]), "22222222");
        *text.lock().unwrap() = without(&one_left, ENERGY);
        let error = metrics.read().unwrap_err().to_string();
        assert!(error.contains("GPU-22222222-bbbb"), "{error}");
    }

    #[test]
    fn a_server_without_gpus_is_refused() {
        let (url, _) = stub(&without(&without(&recorded([0.0; 2], [0.0; 2]), ENERGY), POWER));
        let error = refusal(Some(&url), &[]);
        assert!(error.contains("neither nv_energy_consumption nor nv_gpu_power_usage"), "{error}");
    }

    #[test]
    fn no_answer_and_no_number_are_errors_with_the_address() {
        let (url, text) = stub(&recorded([1.0; 2], [1.0; 2]));
        let mut metrics = Metrics::open(Some(&url), &[]).unwrap();
        *text.lock().unwrap() = String::new();
        let error = format!("{:#}", metrics.read().unwrap_err());
        assert!(error.contains(&url) && error.contains("404"), "{error}");
        *text.lock().unwrap() = recorded([f64::NAN, 1.0], [1.0; 2]);
        assert!(metrics.read().unwrap_err().to_string().contains("NaN"));

        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = refusal(Some(&format!("http://{nobody}/metrics")), &[]);
        assert!(error.contains(&nobody.to_string()), "{error}");
        assert!(refusal(Some(&url), &[0]).contains("UUID"));
        assert!(refusal(None, &[]).contains("8002/metrics"));
    }
}
