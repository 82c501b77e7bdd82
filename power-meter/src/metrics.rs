//! Triton's metrics endpoint: energy of the server's GPUs, also on another machine.
//!
//! A reading is a request over HTTP for all GPUs together. The server renews energy and power every 2 s unless
//! `--metrics-interval-ms` is set, so that windows of a few seconds are coarse. Whole boards, including other processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_parse::{Scrape, Value};

use crate::clock::now_ns;
use crate::device::{Also, Device, Limits, Reading};
use crate::error::{Error, Result};

/// Joules since the server started.
const ENERGY: &str = "nv_energy_consumption";
/// Watts.
const POWER: &str = "nv_gpu_power_usage";

const SECOND_NS: u64 = 1_000_000_000;

/// The server's interval unless it is set.
const TICK_NS: u64 = 2 * SECOND_NS;

/// As of NVML, where the server has it from.
const MOST_W: f64 = 5000.0;

/// What the server said of its GPUs, by UUID.
#[derive(Clone, Debug)]
struct Scraped {
    begin_ns: u64,
    end_ns: u64,
    joules: BTreeMap<String, f64>,
    watts: BTreeMap<String, f64>,
}

/// The endpoint that the devices of a server share.
struct Endpoint {
    agent: ureq::Agent,
    url: String,
    /// The GPUs at first.
    gpus: BTreeSet<String>,
    last: Result<Scraped>,
    /// Who has had the last answer: one request serves all devices, and none gets the same twice.
    served: BTreeSet<String>,
}

impl Endpoint {
    fn scrape(&self) -> Result<Scraped> {
        let get = || self.agent.get(&self.url).call()?.into_body().read_to_string();
        let begin_ns = now_ns();
        let text = get()
            .map_err(|error| Error::new(format!("cannot read the metrics endpoint {}: {error}", self.url)))?;
        let end_ns = now_ns();
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).map_err(|error| {
            Error::new(format!("the response of {} is not in Prometheus' text format: {error}", self.url))
        })?;
        Ok(Scraped { begin_ns, end_ns, joules: values(&scrape, ENERGY), watts: values(&scrape, POWER) })
    }

    fn of(&mut self, gpu: &str) -> Result<Scraped> {
        if self.served.contains(gpu) {
            self.last = self.scrape();
            self.served.clear();
        }
        self.served.insert(gpu.to_owned());
        let scraped = self.last.clone()?;
        let now: BTreeSet<&String> = scraped.joules.keys().chain(scraped.watts.keys()).collect();
        if !now.contains(&gpu.to_owned()) || now.iter().any(|other| !self.gpus.contains(*other)) {
            return Err(Error::new(format!(
                "{} reports energy or power for {now:?}, but at first it was {:?}",
                self.url, self.gpus
            )));
        }
        Ok(scraped)
    }
}

/// A metric's values by GPU.
fn values(scrape: &Scrape, metric: &str) -> BTreeMap<String, f64> {
    let samples = scrape.samples.iter().filter(|sample| sample.metric == metric);
    let value = |sample: &prometheus_parse::Sample| {
        let (Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value)) = sample.value else {
            return None;
        };
        Some((sample.labels.get("gpu_uuid").unwrap_or("GPU").to_owned(), value))
    };
    samples.filter_map(value).collect()
}

/// Opens the endpoint, for example `http://localhost:8002/metrics`: one device for each GPU that it reports.
///
/// # Errors
/// There is no answer, or it has no GPU.
pub fn open(url: &str) -> Result<Vec<Box<dyn Device>>> {
    // Without a proxy, which might answer in place of the server.
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    let last = Err(Error::new("not read"));
    let mut endpoint =
        Endpoint { agent, url: url.to_owned(), gpus: BTreeSet::new(), last, served: BTreeSet::new() };
    let first = endpoint.scrape()?;
    let gpus: BTreeSet<String> = first.joules.keys().chain(first.watts.keys()).cloned().collect();
    if gpus.is_empty() {
        return Err(Error::new(format!(
            "{url} has neither {ENERGY} nor {POWER}: the server has no NVIDIA GPU, or it was started with \
             --allow-gpu-metrics=false"
        )));
    }
    endpoint.gpus.clone_from(&gpus);
    endpoint.last = Ok(first.clone());
    let endpoint = Arc::new(Mutex::new(endpoint));
    let device = |gpu: String| {
        let has_counter = first.joules.contains_key(&gpu);
        Box::new(MetricsDevice { endpoint: endpoint.clone(), gpu, has_counter }) as Box<dyn Device>
    };
    Ok(gpus.into_iter().map(device).collect())
}

struct MetricsDevice {
    endpoint: Arc<Mutex<Endpoint>>,
    gpu: String,
    has_counter: bool,
}

impl Device for MetricsDevice {
    fn name(&self) -> &str {
        &self.gpu
    }

    fn limits(&self) -> Limits {
        Limits {
            has_counter: self.has_counter,
            range_uj: None,
            tick_ns: TICK_NS,
            most_w: MOST_W,
            // Two of the server's intervals and a half.
            standstill_ns: 5 * SECOND_NS,
            blind_standstill_ns: 30 * SECOND_NS,
        }
    }

    fn read(&mut self, _: Also) -> Result<Reading> {
        let scraped = self.endpoint.lock().expect("no thread panics while it reads").of(&self.gpu)?;
        let joules = scraped.joules.get(&self.gpu).copied();
        let possible = |joules: &f64| joules.is_finite() && *joules >= 0.0;
        let average_w = scraped.watts.get(&self.gpu).copied();
        let fault = joules
            .filter(|joules| !possible(joules))
            .map(|joules| format!("{ENERGY} of {} is {joules}, which is not a valid reading", self.gpu));
        Ok(Reading {
            begin_ns: scraped.begin_ns,
            end_ns: scraped.end_ns,
            counter_uj: joules.filter(possible).map(|joules| (joules * 1e6) as u64),
            power_ns: scraped.end_ns,
            average_w,
            fault,
            ..Reading::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
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

    fn refusal(url: &str) -> String {
        open(url).err().unwrap().to_string()
    }

    fn read(device: &mut Box<dyn Device>) -> Result<Reading> {
        device.read(Also { power: true, state: false })
    }

    #[test]
    fn one_answer_serves_all_gpus_and_none_gets_it_twice() {
        let (url, text) = stub(&recorded([5555.1, 100.0], [25.3, 30.0]));
        let mut gpus = open(&url).unwrap();
        let names: Vec<_> = gpus.iter().map(|gpu| gpu.name().to_owned()).collect();
        assert_eq!(names, ["GPU-11111111-aaaa", "GPU-22222222-bbbb"]);
        let first = read(&mut gpus[0]).unwrap();
        assert_eq!((first.counter_uj, first.average_w), (Some(5_555_100_000), Some(25.3)));
        *text.lock().unwrap() = recorded([5560.0, 150.5], [26.0, 31.0]);
        assert_eq!(read(&mut gpus[1]).unwrap().counter_uj, Some(100_000_000));
        let again = read(&mut gpus[1]).unwrap();
        assert_eq!((again.counter_uj, again.average_w), (Some(150_500_000), Some(31.0)));
        assert!(again.begin_ns > first.end_ns);
        let other = read(&mut gpus[0]).unwrap();
        assert_eq!((other.counter_uj, other.begin_ns), (Some(5_560_000_000), again.begin_ns));
    }

    #[test]
    fn a_gpu_that_vanishes_and_one_that_appears_are_told() {
        let both = recorded([1.0, 2.0], [100.0, 50.0]);
        let (url, text) = stub(&without(&both, ENERGY));
        let mut gpus = open(&url).unwrap();
        assert!(!gpus[0].limits().has_counter);
        assert_eq!(read(&mut gpus[1]).unwrap().average_w, Some(50.0));
        *text.lock().unwrap() = without(&both, "22222222");
        let error = read(&mut gpus[1]).unwrap_err().to_string();
        assert!(error.contains("GPU-22222222-bbbb"), "{error}");
        *text.lock().unwrap() = both.clone() + "nv_gpu_power_usage{gpu_uuid=\"GPU-3\"} 5\n";
        assert!(read(&mut gpus[1]).unwrap_err().to_string().contains("GPU-3"));
    }

    #[test]
    fn a_server_without_gpus_is_refused() {
        let (url, _) = stub(&without(&without(&recorded([0.0; 2], [0.0; 2]), ENERGY), POWER));
        let error = refusal(&url);
        assert!(error.contains("neither nv_energy_consumption nor nv_gpu_power_usage"), "{error}");
    }

    #[test]
    fn no_answer_is_an_error_with_the_address_and_no_number_is_no_reading() {
        let (url, text) = stub(&recorded([1.0; 2], [1.0; 2]));
        let mut gpus = open(&url).unwrap();
        read(&mut gpus[0]).unwrap();
        *text.lock().unwrap() = String::new();
        let error = read(&mut gpus[0]).unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("404"), "{error}");
        *text.lock().unwrap() = recorded([f64::NAN, 1.0], [1.0; 2]);
        let reading = read(&mut gpus[0]).unwrap();
        assert!(reading.counter_uj.is_none() && reading.fault.unwrap().contains("NaN"));

        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = refusal(&format!("http://{nobody}/metrics"));
        assert!(error.contains(&nobody.to_string()), "{error}");
    }
}
