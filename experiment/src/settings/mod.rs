//! The settings that the user gives: by flags, in a TOML plan file, or both.

mod batching;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::plan::{
    Arrivals, Configuration, Data, ImageScaling, Load, OwnServer, Plan, PowerChoice, ReconfigureBy,
    SharedMemory, Spread, expect_tolerance, powercap_dir,
};
pub use batching::BatchingSettings;
pub use search::SearchSettings;

/// The settings that the user gives, by flags or in a plan file (there with `_` in place of `-`). The others have
/// defaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The model to send requests to.
    #[arg(long, short, value_name = "NAME", help_heading = "Model and server")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its version [default: the server's choice].
    #[arg(long, value_name = "VERSION", help_heading = "Model and server")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// A running server: HOST:PORT of its HTTP endpoint.
    #[arg(long, short, value_name = "HOST:PORT", help_heading = "Model and server")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Start this tritonserver, and stop it at the end, instead of using a running one.
    #[arg(long, value_name = "FILE", conflicts_with = "url", help_heading = "Model and server")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tritonserver: Option<PathBuf>,
    /// Model repository of the server to start. Its files are not changed.
    #[arg(long, value_name = "FOLDER", help_heading = "Model and server")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_repository: Option<PathBuf>,
    /// An additional argument for the server to start; may be repeated. Example:
    /// --server-arg=--backend-directory=/opt/backends
    #[arg(
        long = "server-arg",
        value_name = "ARGUMENT",
        help_heading = "Model and server",
        allow_hyphen_values = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_arg: Vec<String>,

    /// Batch sizes: rows in each request [default: 1].
    #[arg(long, short, value_name = "N,N,...", value_delimiter = ',', help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batch: Vec<u32>,
    /// Closed loop: numbers of concurrent requests.
    #[arg(long, short, value_name = "N,N,...", value_delimiter = ',', help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<usize>,
    /// Closed loop: double the concurrency until throughput grows by less than 3 % twice in a row, and report the best.
    /// This is the default when no load is given.
    #[arg(long, help_heading = "Batch size and load", num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_throughput: Option<bool>,
    /// Highest concurrency for --max-throughput to try [default: 64].
    #[arg(long, value_name = "N", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<usize>,
    /// Open loop: requests per second, sent on schedule whether or not earlier ones were answered.
    #[arg(long, short, value_name = "R,R,...", value_delimiter = ',', help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate: Vec<f64>,
    /// Open loop: a rate that changes evenly from one to another within --max-time, for example 10..200; may be repeated.
    #[arg(long, value_name = "FROM..TO", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ramp: Vec<String>,
    /// Arrival process for --rate and --ramp [default: poisson].
    #[arg(long, value_name = "KIND", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// Of gamma arrivals: the standard deviation of the gaps over their mean; 1 is Poisson [default: 2].
    #[arg(long, value_name = "NUMBER", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation: Option<f64>,
    /// Of bursty arrivals: the rate in a burst, as a multiple of the mean rate, which is that of --rate [default: 3].
    #[arg(long, value_name = "NUMBER", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_factor: Option<f64>,
    /// Of bursty arrivals: the part of the time that is in bursts [default: 0.2].
    #[arg(long, value_name = "FRACTION", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_share: Option<f64>,
    /// Of bursty arrivals: the mean length of a burst [default: 1].
    #[arg(long, value_name = "SECONDS", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_seconds: Option<f64>,
    /// Open loop: replay arrival times from a file (seconds since the start, one per line); may be repeated.
    #[arg(long, value_name = "FILE", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// Maximum number of connections in an open loop; a request that finds none free waits and counts as late
    /// [default: 256].
    #[arg(long, value_name = "N", help_heading = "Batch size and load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,

    /// Seconds of load before the first window [default: 2].
    #[arg(long, value_name = "SECONDS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<f64>,
    /// Minimum window length in seconds; a window ends with the first response after that [default: 5].
    #[arg(long, value_name = "SECONDS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<f64>,
    /// Minimum number of requests in a window [default: 10].
    #[arg(long, value_name = "N", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_requests: Option<u64>,
    /// A point has settled when each of its last three windows is within this fraction of their mean [default: 0.05].
    #[arg(long, value_name = "FRACTION", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Maximum time in seconds for a point (for each concurrency that --max-throughput tries); a point that has not
    /// settled by then is reported as such. In `compare`, how long each --rate runs [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<f64>,
    /// Number of measurements of each point [default: 1].
    #[arg(long, value_name = "N", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// Seconds without load before each point, to let the machine cool down [default: 0].
    #[arg(long, value_name = "SECONDS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<f64>,
    /// Measure the points in the order given instead of a seeded random order.
    #[arg(long, help_heading = "Measuring", num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_order: Option<bool>,
    /// Seed for the order of points, the arrivals and the input data [default: 1].
    #[arg(long, value_name = "N", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A request sent more than this many milliseconds after it was due counts as late [default: 1].
    #[arg(long, value_name = "MS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<f64>,
    /// A request without a response after this many seconds counts as failed [default: 3600].
    #[arg(long, value_name = "SECONDS", help_heading = "Measuring")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,

    /// Keep each request in requests/VISIT.csv: when it was due, its latency, and its outcome.
    #[arg(long, help_heading = "Measuring", num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_requests: Option<bool>,

    /// How tensors are transferred [default: none, as binary data in the HTTP bodies].
    #[arg(long, value_name = "KIND", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<SharedMemory>,
    /// Contents of the inputs: `random`, `zero`, or a file or folder with rows of inputs (.npy, .npz, .png, .jpg, .json as
    /// for perf_analyzer, .jsonl, raw bytes), of which each request gets some in a seeded order [default: random].
    #[arg(long, visible_alias = "input-data", value_name = "KIND|PATH", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// A file or folder like that of --data with the outputs that are expected, row by row. Wrong answers are counted, the
    /// first is described, and the exit code is 1. (validation_data in a JSON file of --data needs no flag.)
    #[arg(long, value_name = "PATH", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<PathBuf>,
    /// How far a float of an output may be from the expected one, as a fraction of it, or of 1 if it is smaller. All else
    /// has to be equal [default: 0.001].
    #[arg(long, value_name = "FRACTION", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_tolerance: Option<f64>,
    /// Only report wrong answers: they do not change the exit code.
    #[arg(long, help_heading = "Requests", num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_wrong_answers: Option<bool>,
    /// How the values of pictures are scaled [default: none].
    #[arg(long, value_name = "KIND", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_scaling: Option<ImageScaling>,
    /// Read an input from a file: the raw little-endian bytes of one row, repeated for each row of a batch.
    #[arg(long, value_name = "INPUT=FILE", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_file: Vec<String>,
    /// Shape of one row of an input with variable dimensions, without the batch dimension; also INPUT:D,D,...
    #[arg(long, value_name = "INPUT=D,D,...", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shape: Vec<String>,

    /// Source of energy readings [default: auto, the best one available].
    #[arg(long, value_name = "SOURCE", help_heading = "Power")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<PowerChoice>,
    /// URL of the server's metrics endpoint [default: port 8002 of the server].
    #[arg(long, value_name = "URL", help_heading = "Power")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// Process id of the server, for its CPU time [default: the process that listens on its port].
    #[arg(long, value_name = "PID", help_heading = "Power")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_pid: Option<u32>,
    /// NVML indices of the GPUs to measure [default: all].
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', help_heading = "Power")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
    /// Folder with the counters of the processors' energy, for --power rapl [default: /sys/class/powercap].
    #[arg(long, value_name = "FOLDER", help_heading = "Power")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub powercap_dir: Option<PathBuf>,
    /// Seconds at the start for measuring the idle server: with the model loaded and, where there is a meter and the tool
    /// starts the server, before that without it [default: 5].
    #[arg(long, value_name = "SECONDS", help_heading = "Power")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<f64>,
    /// Measure without the model on a running server, too: unload it at the start, and load it again. Other clients of the
    /// model get errors meanwhile. Needs --model-control-mode=explicit.
    #[arg(long, help_heading = "Power", num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_unload: Option<bool>,

    /// Configurations to compare: their changes to the repository's configuration.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<Configuration>,
    /// How configurations are applied [default: auto].
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconfigure: Option<ReconfigureBy>,
    /// Settings that only `batching` has.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batching: Option<BatchingSettings>,
    /// Settings that only `search` has.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSettings>,
}

impl Settings {
    /// The settings of a TOML plan file.
    ///
    /// # Errors
    /// Invalid TOML, or an unknown key or value; with file, line and column.
    pub fn from_toml(text: &str, file: &str) -> Result<Self> {
        toml::from_str(text).with_context(|| format!("invalid plan {file}"))
    }

    /// These settings, with those of `defaults` where one is not given.
    ///
    /// # Errors
    /// None in practice: both are settings.
    pub fn or(&self, defaults: &Self) -> Result<Self> {
        let mut defaults = defaults.clone();
        // The server comes from one side only, and so do the loads.
        if self.url.is_some() {
            defaults =
                Self { tritonserver: None, model_repository: None, server_arg: Vec::new(), ..defaults };
        }
        if self.tritonserver.is_some() {
            defaults.url = None;
        }
        if self.max_throughput.is_some()
            || !(self.concurrency.is_empty()
                && self.rate.is_empty()
                && self.ramp.is_empty()
                && self.trace.is_empty())
        {
            defaults = Self {
                concurrency: Vec::new(),
                rate: Vec::new(),
                ramp: Vec::new(),
                trace: Vec::new(),
                max_throughput: None,
                ..defaults
            };
        }
        let mut merged = serde_json::to_value(defaults)?;
        json_patch::merge(&mut merged, &serde_json::to_value(self)?);
        Ok(serde_json::from_value(merged)?)
    }

    /// The plan, complete and checked.
    ///
    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn into_plan(self) -> Result<Plan> {
        let arrivals = self.arrivals.unwrap_or_default();
        let mut loads: Vec<Load> =
            self.concurrency.iter().map(|&concurrency| Load::Concurrency { concurrency }).collect();
        for rate in &self.rate {
            ensure!(
                rate.is_finite() && (0.001..=1e6).contains(rate),
                "--rate: expected 0.001 to 1000000 requests per second, found {rate}"
            );
            loads.push(Load::Rate { milli_requests_per_s: (rate * 1e3).round() as u64, arrivals });
        }
        for text in &self.ramp {
            loads.push(ramp(text, arrivals)?);
        }
        for file in &self.trace {
            loads.push(Load::Trace { file: absolute(file.as_ref())?.display().to_string() });
        }
        let batches = if self.batch.is_empty() { vec![1] } else { self.batch };
        let (batching, configurations) = match self.batching {
            Some(batching) => {
                ensure!(
                    loads.is_empty() && self.max_throughput.is_none(),
                    "`batching` takes its loads from the traces of the plan: no other load can be given"
                );
                ensure!(
                    batches.len() == 1,
                    "--batch: `batching` sends requests of one size, found {batches:?}"
                );
                let (batching, configurations) = batching.into_batching(self.configuration)?;
                loads.extend(batching.traces.iter().map(|trace| Load::Shaped { trace: trace.name.clone() }));
                (Some(batching), configurations)
            }
            None => (None, self.configuration),
        };
        let search = self.search.map(|search| search.into_search(arrivals)).transpose()?;
        if search.is_some() {
            ensure!(
                loads.is_empty() && self.max_throughput.is_none(),
                "`search` finds the load by itself: no other load can be given"
            );
            ensure!(
                self.repeats.is_none(),
                "--repeats: `search` repeats what chance may have decided, see --attempts"
            );
        } else if self.max_throughput == Some(true) || loads.is_empty() {
            loads.push(Load::MaxThroughput);
        }
        let own_server = match (self.tritonserver, self.model_repository) {
            (Some(tritonserver), Some(model_repository)) => Some(OwnServer {
                tritonserver: absolute(&tritonserver)?,
                model_repository: absolute(&model_repository)?,
                arguments: self.server_arg,
            }),
            (None, None) => {
                ensure!(
                    self.server_arg.is_empty(),
                    "--server-arg is only for a server that the tool starts: give --tritonserver too"
                );
                None
            }
            _ => bail!(
                "--tritonserver and --model-repository go together: give both, so that the tool can start a server"
            ),
        };
        let (data, data_path) = contents(self.data.as_deref())?;
        let plan = Plan {
            model: self.model.unwrap_or_default(),
            version: self.model_version,
            url: self.url,
            own_server,
            batches,
            loads,
            spread: Spread {
                variation: self.variation.unwrap_or(Spread::default().variation),
                burst_factor: self.burst_factor.unwrap_or(Spread::default().burst_factor),
                burst_share: self.burst_share.unwrap_or(Spread::default().burst_share),
                burst_s: self.burst_seconds.unwrap_or(Spread::default().burst_s),
            },
            configurations,
            batching,
            search,
            reconfigure: self.reconfigure.unwrap_or_default(),
            repeats: self.repeats.unwrap_or(1),
            cool_down_s: self.cool_down.unwrap_or(0.0),
            warm_up_s: self.warm_up.unwrap_or(2.0),
            window_s: self.window.unwrap_or(5.0),
            window_requests: self.window_requests.unwrap_or(10),
            tolerance: self.tolerance.unwrap_or(0.05),
            max_time_s: self.max_time.unwrap_or(60.0),
            max_concurrency: self.max_concurrency.unwrap_or(64),
            max_connections: self.max_connections.unwrap_or(256),
            late_ms: self.late.unwrap_or(1.0),
            timeout_s: self.timeout.unwrap_or(3600.0),
            seed: self.seed.unwrap_or(1),
            shuffle: self.in_order != Some(true),
            keep_requests: self.keep_requests == Some(true),
            shared_memory: self.shared_memory.unwrap_or_default(),
            data,
            data_path,
            expect_path: self.expect.map(|path| absolute(&path)).transpose()?,
            expect_tolerance: self.expect_tolerance.unwrap_or_else(expect_tolerance),
            allow_wrong_answers: self.allow_wrong_answers.unwrap_or(false),
            image_scaling: self.image_scaling.unwrap_or_default(),
            input_files: pairs(&self.input_file, "--input-file", "INPUT=FILE", |file| {
                absolute(file.as_ref())
            })?,
            shapes: pairs(&self.shape, "--shape", "INPUT=D,D,...", dims)?,
            power: self.power.unwrap_or_default(),
            metrics_url: self.metrics_url,
            server_pid: self.server_pid,
            gpus: self.gpus,
            powercap_dir: self.powercap_dir.map_or_else(|| Ok(powercap_dir()), |folder| absolute(&folder))?,
            idle_s: self.idle.unwrap_or(5.0),
            idle_unload: self.idle_unload.unwrap_or(false),
        };
        plan.check()?;
        Ok(plan)
    }
}

fn pairs<T>(
    texts: &[String],
    flag: &str,
    form: &str,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for text in texts {
        let wrong = || format!("{flag}: expected {form}, found '{text}'");
        // perf_analyzer writes `--shape INPUT:D,D`.
        let parts = text.split_once('=').or_else(|| text.rsplit_once(':').filter(|_| flag == "--shape"));
        let (name, value) = parts.with_context(wrong)?;
        let value = parse(value).with_context(wrong)?;
        ensure!(all.insert(name.to_owned(), value).is_none(), "{flag}: '{name}' is given twice");
    }
    Ok(all)
}

/// `FROM..TO`, in requests per second.
fn ramp(text: &str, arrivals: Arrivals) -> Result<Load> {
    let rate = |text: &str| {
        let rate: f64 = text.trim().parse().ok()?;
        (0.0..=1e6).contains(&rate).then(|| (rate * 1e3).round() as u64)
    };
    let rates = text.split_once("..").and_then(|(from, to)| Some((rate(from)?, rate(to)?)));
    let (from_milli_requests_per_s, to_milli_requests_per_s) =
        rates.filter(|(from, to)| from + to > 0).with_context(|| {
            format!(
                "--ramp: expected FROM..TO, two rates of 0 to 1000000 requests per second, found '{text}'"
            )
        })?;
    Ok(Load::Ramp { from_milli_requests_per_s, to_milli_requests_per_s, arrivals })
}

/// Seeded random values or zeros, or the place of the data.
fn contents(data: Option<&str>) -> Result<(Data, Option<PathBuf>)> {
    match data {
        None | Some("random") => Ok((Data::Random, None)),
        Some("zero") => Ok((Data::Zero, None)),
        Some(path) => {
            let path = absolute(path.as_ref())?;
            ensure!(
                path.exists(),
                "--data: expected random, zero, or a file or folder, and {} is not there",
                path.display()
            );
            Ok((Data::Random, Some(path)))
        }
    }
}

/// A run may be resumed from another working directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("'{}' is not a path", path.display()))
}

fn dims(text: &str) -> Result<Vec<i64>> {
    let dims = text.split(',').map(|dim| Ok(dim.trim().parse::<i64>()?)).collect::<Result<Vec<_>>>()?;
    ensure!(dims.iter().all(|dim| *dim >= 0), "dimensions must be at least 0");
    Ok(dims)
}
