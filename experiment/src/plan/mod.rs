//! What to measure, with every default filled in. It is part of `results.json`.

mod batching;
mod choices;
mod key;
mod search;
mod spread;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use batching::Batching;
pub use choices::{Data, ImageScaling, PowerChoice, ReconfigureBy, SharedMemory};
pub use key::{Arrivals, Load, PointKey};
pub use search::Search;
pub use spread::Spread;
pub use trace::{Stretch, Trace};

/// A reasonable maximum of connections for one process.
const MOST_IN_FLIGHT: usize = 10_000;

/// How long the last responses of a point may take after its time: so many seconds, or this share of the time.
const GRACE_S: f64 = 2.0;
const GRACE_SHARE: f64 = 0.1;

/// A server that the tool starts and stops.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnServer {
    /// The executable.
    pub tritonserver: PathBuf,
    /// The folder of the models.
    pub model_repository: PathBuf,
    /// Additional arguments.
    pub arguments: Vec<String>,
}

/// One of the configurations that `compare` and `batching` measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// For tables and plots.
    pub name: String,
    /// Changes to the configuration in the repository.
    #[serde(default = "no_change")]
    pub patch: Value,
    /// Keys to remove from the configuration; TOML has no null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

fn no_change() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Configuration {
    /// The whole change, as an RFC 7396 merge patch.
    pub fn merge_patch(&self) -> Value {
        let mut patch = self.patch.clone();
        if let Value::Object(keys) = &mut patch {
            for key in &self.remove {
                keys.insert(key.clone(), Value::Null);
            }
        }
        patch
    }
}

/// All settings, with the defaults filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The model.
    pub model: String,
    /// Its version; none: the server's choice.
    pub version: Option<String>,
    /// A running server.
    pub url: Option<String>,
    /// A server to start.
    pub own_server: Option<OwnServer>,
    /// Rows in each request.
    pub batches: Vec<u32>,
    /// The load levels.
    pub loads: Vec<Load>,
    /// What some arrival processes have besides their rate.
    #[serde(default)]
    pub spread: Spread,
    /// Configurations to compare; none in a sweep.
    pub configurations: Vec<Configuration>,
    /// Settings that only `batching` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// Of `search`: what it looks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// How they are applied.
    pub reconfigure: ReconfigureBy,
    /// Number of measurements of each point.
    pub repeats: u32,
    /// Seconds without load before each point.
    pub cool_down_s: f64,
    /// Seconds of load before the first window.
    pub warm_up_s: f64,
    /// Minimum length of a window, seconds.
    pub window_s: f64,
    /// Minimum number of requests in a window.
    pub window_requests: u64,
    /// How far the last three windows may be from their mean, as a fraction.
    pub tolerance: f64,
    /// Maximum time for a point (for each concurrency of a search), seconds.
    pub max_time_s: f64,
    /// Highest concurrency that the search for the maximum throughput tries.
    pub max_concurrency: usize,
    /// Maximum number of connections in an open loop.
    pub max_connections: usize,
    /// A request sent later than this after it was due counts as late, milliseconds.
    pub late_ms: f64,
    /// A request without a response after this many seconds counts as failed.
    pub timeout_s: f64,
    /// Seed for the order of points, the arrivals and the input data.
    pub seed: u64,
    /// Whether points are measured in a seeded random order.
    pub shuffle: bool,
    /// Whether single requests are kept; those of `batching` always are.
    #[serde(default)]
    pub keep_requests: bool,
    /// How tensors are transferred.
    pub shared_memory: SharedMemory,
    /// Contents of the inputs that no file gives.
    pub data: Data,
    /// A file or folder with rows of inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_path: Option<PathBuf>,
    /// A file or folder with the outputs that are expected of these rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_path: Option<PathBuf>,
    /// How far a number of an output may be from the expected one: times that, where it is larger than 1.
    #[serde(default = "expect_tolerance")]
    pub expect_tolerance: f64,
    /// Whether wrong answers are only reported, and do not fail the run.
    #[serde(default)]
    pub allow_wrong_answers: bool,
    /// How the values of pictures are scaled.
    #[serde(default)]
    pub image_scaling: ImageScaling,
    /// Raw little-endian bytes of one row, by input.
    pub input_files: BTreeMap<String, PathBuf>,
    /// Shapes of one row, for inputs with variable dimensions.
    pub shapes: BTreeMap<String, Vec<i64>>,
    /// Source of energy readings.
    pub power: PowerChoice,
    /// URL of the server's metrics endpoint; none: its usual place.
    pub metrics_url: Option<String>,
    /// The server's process, if it cannot be found by its port.
    pub server_pid: Option<u32>,
    /// NVML indices of the GPUs to measure; empty: all.
    pub gpus: Vec<u32>,
    /// The folder with the counters of the processors' energy.
    #[serde(default = "powercap_dir")]
    pub powercap_dir: PathBuf,
    /// Seconds at the start for measuring the idle server.
    pub idle_s: f64,
    /// Whether a server that was running before unloads the model to be measured without it.
    #[serde(default)]
    pub idle_unload: bool,
}

/// What results of FP32 on different processors are apart, with some room.
pub fn expect_tolerance() -> f64 {
    1e-3
}

/// Where Linux has them.
pub fn powercap_dir() -> PathBuf {
    PathBuf::from("/sys/class/powercap")
}

impl Plan {
    /// The subcommand that it belongs to.
    pub fn command(&self) -> &'static str {
        if self.search.is_some() {
            return "search";
        }
        match (&self.batching, self.configurations.as_slice()) {
            (Some(_), _) => "batching",
            (None, []) => "sweep",
            (None, _) => "compare",
        }
    }

    /// All points, in the order of measurement. A search has none: each follows from those before.
    pub fn points(&self) -> Vec<PointKey> {
        let names: Vec<&str> = if self.configurations.is_empty() {
            vec![""]
        } else {
            self.configurations.iter().map(|configuration| configuration.name.as_str()).collect()
        };
        let mut points = Vec::new();
        for repeat in 0..self.repeats {
            for name in &names {
                for &batch in &self.batches {
                    for load in &self.loads {
                        let configuration = (*name).to_owned();
                        points.push(PointKey { configuration, batch, load: load.clone(), repeat });
                    }
                }
            }
        }
        if self.shuffle {
            points.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        }
        points
    }

    /// Whether the arrivals are replayed once, completely: those of a trace and, in a comparison, those of a rate for
    /// `max_time_s`. All configurations then get identical arrivals.
    pub fn is_replayed(&self, load: &Load) -> bool {
        match load {
            Load::Ramp { .. } | Load::Trace { .. } | Load::Shaped { .. } => true,
            Load::Rate { .. } => !self.configurations.is_empty() && self.search.is_none(),
            Load::Concurrency { .. } | Load::MaxThroughput => false,
        }
    }

    /// The longest that a point waits, with what is left for the last responses after its time, seconds. A request never
    /// waits longer, whatever its own timeout.
    pub fn longest_s(&self) -> f64 {
        self.max_time_s + GRACE_S.max(GRACE_SHARE * self.max_time_s)
    }

    /// The configuration of that name.
    pub fn configuration(&self, name: &str) -> Option<&Configuration> {
        self.configurations.iter().find(|configuration| configuration.name == name)
    }

    /// The maximum number of requests in flight at any point.
    pub fn most_in_flight(&self) -> usize {
        let of = |load: &Load| match load {
            Load::Concurrency { concurrency } => *concurrency,
            Load::MaxThroughput => self.max_concurrency,
            Load::Rate { .. } | Load::Ramp { .. } | Load::Trace { .. } | Load::Shaped { .. } => {
                self.max_connections
            }
        };
        let capacity = self.batching.as_ref().map(|_| self.max_concurrency);
        let search = self.search.as_ref().map(|_| self.max_concurrency.max(self.max_connections));
        self.loads.iter().map(of).chain(capacity).chain(search).max().unwrap_or(1)
    }

    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.model.is_empty(), "no model: give --model NAME");
        match (&self.url, &self.own_server) {
            (Some(_), Some(_)) => {
                bail!("--url is for a running server and --tritonserver starts one: give only one of them")
            }
            (None, None) => bail!(
                "no server: give --url HOST:PORT of a running one, or --tritonserver and --model-repository to start one"
            ),
            _ => {}
        }
        ensure!(
            !self.batches.is_empty() && !self.batches.contains(&0),
            "--batch: expected sizes of at least 1"
        );
        ensure!(
            self.search.is_some() || !self.loads.is_empty(),
            "no load: give --concurrency, --max-throughput, --rate, --ramp or --trace"
        );
        for load in &self.loads {
            match load {
                Load::Concurrency { concurrency } => {
                    ensure!(*concurrency > 0, "--concurrency: expected at least 1, found 0");
                }
                Load::Rate { milli_requests_per_s, .. } => {
                    ensure!(*milli_requests_per_s > 0, "--rate: expected at least 0.001 requests per second");
                }
                Load::Ramp { arrivals, .. } => {
                    ensure!(
                        *arrivals != Arrivals::Bursty,
                        "--ramp: its arrivals can be poisson, constant or gamma"
                    );
                }
                Load::MaxThroughput | Load::Trace { .. } | Load::Shaped { .. } => {}
            }
        }
        self.spread.check()?;
        for (values, flag) in [
            (&self.batches.iter().map(u32::to_string).collect::<Vec<_>>(), "--batch"),
            (&self.loads.iter().map(Load::to_string).collect(), "the loads"),
        ] {
            let mut seen = std::collections::BTreeSet::new();
            if let Some(twice) = values.iter().find(|value| !seen.insert(*value)) {
                bail!("{flag}: '{twice}' is given twice; to measure a point several times, give --repeats");
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for configuration in &self.configurations {
            let name = &configuration.name;
            ensure!(!name.is_empty(), "a configuration has no name");
            ensure!(names.insert(name), "two configurations are called '{name}'");
            ensure!(
                configuration.patch.is_object(),
                "configuration '{name}': expected a JSON object, found {}",
                configuration.patch
            );
        }
        for (name, value, least) in [
            ("--cool-down", self.cool_down_s, 0.0),
            ("--warm-up", self.warm_up_s, 0.0),
            ("--window", self.window_s, 0.01),
            ("--max-time", self.max_time_s, 0.1),
            ("--late", self.late_ms, 0.0),
            ("--timeout", self.timeout_s, 0.001),
            ("--idle", self.idle_s, 0.0),
            ("--tolerance", self.tolerance, 0.0),
            ("--expect-tolerance", self.expect_tolerance, 0.0),
        ] {
            ensure!(
                value.is_finite() && (least..=1e9).contains(&value),
                "{name}: expected {least} to 1e9, found {value}"
            );
        }
        ensure!(
            self.warm_up_s < self.max_time_s,
            "--warm-up {} must be less than --max-time {}",
            self.warm_up_s,
            self.max_time_s
        );
        ensure!(
            !self.idle_unload || self.idle_s > 0.0,
            "--idle-unload measures for the time of --idle: expected more than 0, found 0"
        );
        ensure!(
            self.expect_path.is_none() || self.data_path.is_some(),
            "--expect: expected outputs belong to rows of inputs: give them with --data PATH"
        );
        ensure!(self.repeats > 0, "--repeats: expected at least 1, found 0");
        ensure!(self.window_requests > 0, "--window-requests: expected at least 1, found 0");
        for (name, value) in [
            ("--max-concurrency", self.max_concurrency),
            ("--max-connections", self.max_connections),
            ("--concurrency", self.most_in_flight()),
        ] {
            ensure!(
                (1..=MOST_IN_FLIGHT).contains(&value),
                "{name}: expected 1 to {MOST_IN_FLIGHT}, found {value}"
            );
        }
        Ok(())
    }
}

/// A number of seconds as a duration. [`Plan::check`] has made sure that it is valid.
pub fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
