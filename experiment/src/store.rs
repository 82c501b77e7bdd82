//! The folder of a run: `results.json` and `results.csv`, complete after every point.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::estimate;
use crate::plan::PointKey;
use crate::record::{EXECUTED_BATCH_SIZE, SERVER_VALUES};
use crate::results::{Adherence, Latency, Metric, Point, Results, SCHEMA_VERSION};
use crate::samples::{self, Sample};

const JSON: &str = "results.json";
const CSV: &str = "results.csv";

/// Results and their folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    results: Results,
    /// Held while measuring: two runs in one folder would overwrite each other's points.
    lock: Option<File>,
}

impl Store {
    /// # Errors
    /// The folder holds the results of an earlier run.
    pub fn check_unused(folder: &Path) -> Result<()> {
        let file = folder.join(JSON);
        ensure!(
            !file.exists(),
            "{} already exists: give another --output, or resume that run with --resume {}",
            file.display(),
            folder.display()
        );
        Ok(())
    }

    /// Begins a run: makes the folder and writes the results without points.
    ///
    /// # Errors
    /// The folder cannot be created or written.
    pub fn create(folder: &Path, results: Results) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let lock = lock(folder)?;
        Self::check_unused(folder)?;
        let store = Self { folder: folder.to_owned(), results, lock: Some(lock) };
        store.write()?;
        Ok(store)
    }

    /// The results of an earlier run, to resume it.
    ///
    /// # Errors
    /// As [`Store::open`], or another process is writing to the folder.
    pub fn resume(folder: &Path) -> Result<Self> {
        let lock = lock(folder)?;
        Ok(Self { lock: Some(lock), ..Self::open(folder)? })
    }

    /// The results of an earlier run.
    ///
    /// # Errors
    /// No `results.json`, not a file of this tool, or written by a newer version of it.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join(JSON);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("no results: cannot read {}", file.display()))?;
        let not_ours = || format!("{} is not a results file of triton-experiment", file.display());
        let value: Value = serde_json::from_str(&text).with_context(not_ours)?;
        match value["schema_version"].as_u64() {
            Some(version) if version > u64::from(SCHEMA_VERSION) => bail!(
                "{} has schema version {version}, but this tool supports up to {SCHEMA_VERSION}: use a newer triton-experiment",
                file.display()
            ),
            Some(_) => {}
            None => bail!(not_ours()),
        }
        let mut results: Results = serde_json::from_value(value).with_context(not_ours)?;
        estimate::complete(&mut results);
        Ok(Self { folder: folder.to_owned(), results, lock: None })
    }

    /// The results so far.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// The keys of the points so far.
    pub fn measured(&self) -> BTreeSet<PointKey> {
        self.results.points.iter().map(|point| point.key.clone()).collect()
    }

    /// Adds a point and, if they were kept, its requests.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn add(&mut self, point: Point, requests: &[Sample], in_force: Value) -> Result<()> {
        if !requests.is_empty() {
            samples::write(&self.folder, point.visit, requests)?;
        }
        self.update(|results| {
            results.configurations.insert(point.key.configuration.clone(), in_force);
            results.points.push(point);
            results.summary = estimate::summary(&results.points);
        })
    }

    /// Changes the results and writes them.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn update(&mut self, change: impl FnOnce(&mut Results)) -> Result<()> {
        debug_assert!(self.lock.is_some(), "only a run writes results");
        change(&mut self.results);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(&self.results)?;
        json.push(b'\n');
        replace(&self.folder.join(JSON), &json)?;
        replace(&self.folder.join(CSV), &table(&self.results.points)?)
    }
}

/// Held until the file is dropped or the process ends in any way.
fn lock(folder: &Path) -> Result<File> {
    let opened = File::open(folder)
        .with_context(|| format!("no results: cannot read the folder {}", folder.display()))?;
    flock(&opened, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another run is writing to {}: wait until it ends", folder.display()))?;
    Ok(opened)
}

/// Replaces the contents of a file atomically.
fn replace(file: &Path, contents: &[u8]) -> Result<()> {
    let beside = file.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut new = File::create(&beside)?;
        new.write_all(contents)?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// A row for each point. A value that was not measured is an empty cell.
fn table(points: &[Point]) -> Result<Vec<u8>> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    if points.is_empty() {
        rows.write_record(header())?;
    }
    for (index, point) in points.iter().enumerate() {
        if index == 0 {
            rows.write_record(header())?;
        }
        rows.write_record(row(point))?;
    }
    Ok(rows.into_inner()?)
}

const LATENCY_COLUMNS: [&str; 8] = ["mean", "p50", "p90", "p95", "p99", "p99_9", "max", "count"];
fn server_times() -> &'static [&'static str] {
    &SERVER_VALUES[..EXECUTED_BATCH_SIZE]
}

fn header() -> Vec<String> {
    let mut names: Vec<String> = [
        "visit",
        "configuration",
        "batch",
        "load",
        "repeat",
        "started",
        "settled",
        "concurrency",
        "seconds",
        "requests",
        "inferences",
        "requests_per_s",
        "inferences_per_s",
        "errors",
        "scheduled",
        "late",
        "unsent",
        "energy_j",
        "average_power_w",
        "inferences_per_j",
        "j_per_inference",
        "server_cpu_s",
        "cpu_s_per_inference",
        "client_cpu_s",
        "temperature_max_c",
        "clock_mean_mhz",
        "mean_executed_batch_size",
        "statistics_agree",
        "over_target",
        "refused",
        "late_share",
        "longest_burst_s",
        "energy_error_j",
        "average_power_error_w",
        "inferences_per_j_error",
        "j_per_inference_error_j",
        "response_energy_j",
        "response_energy_error_j",
        "response_energy_measured_share",
        "response_j_per_inference",
        "response_j_per_inference_error_j",
        "energy_above_idle_j",
        "energy_above_idle_error_j",
        "energy_difference_j",
        "energy_difference_error_j",
        "energy_agrees",
        "send_delay_p50_ns",
        "send_delay_p99_ns",
        "send_delay_max_ns",
        "answers_compared",
        "wrong_answers",
    ]
    .map(str::to_owned)
    .to_vec();
    for time in ["client_latency_ns"].iter().chain(server_times()) {
        let stem = time.trim_end_matches("_ns");
        names.extend(LATENCY_COLUMNS.iter().map(|column| match *column {
            "count" => format!("{stem}_count"),
            _ => format!("{stem}_{column}_ns"),
        }));
    }
    for metric in Metric::ALL {
        names.extend(["low", "high"].map(|end| format!("{}_{end}", metric.name())));
    }
    names
}

fn row(point: &Point) -> Vec<String> {
    fn cell<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    let consumption = &point.consumption;
    let device = consumption.device.as_ref();
    let pacing = point.pacing.as_ref();
    let adherence = point.adherence.as_ref();
    let told = point.response_energy.as_ref();
    let compared = told.and_then(|told| told.comparison.as_ref());
    let mut cells = vec![
        point.visit.to_string(),
        point.key.configuration.clone(),
        point.key.batch.to_string(),
        point.key.load.to_string(),
        point.key.repeat.to_string(),
        point.started.clone(),
        cell(point.settled),
        cell(point.concurrency),
        point.seconds.to_string(),
        point.requests.to_string(),
        point.inferences.to_string(),
        point.requests_per_s.to_string(),
        point.inferences_per_s.to_string(),
        point.errors.iter().map(|error| error.count).sum::<u64>().to_string(),
        cell(pacing.map(|pacing| pacing.scheduled)),
        cell(pacing.map(|pacing| pacing.late)),
        cell(pacing.map(|pacing| pacing.unsent)),
        cell(consumption.energy_j),
        cell(consumption.average_power_w),
        cell(point.inferences_per_j),
        cell(point.j_per_inference),
        cell(consumption.server_cpu_s),
        cell(point.cpu_s_per_inference),
        consumption.client_cpu_s.to_string(),
        cell(device.and_then(|device| device.temperature_max_c)),
        cell(device.and_then(|device| device.clock_mean_mhz)),
        cell(point.mean_executed_batch_size()),
        cell(point.statistics.as_ref().and_then(|statistics| statistics.agrees)),
        cell(adherence.map(|adherence| adherence.over_target)),
        cell(adherence.map(|adherence| adherence.refused)),
        cell(adherence.and_then(Adherence::late_share)),
        cell(adherence.and_then(|adherence| adherence.longest_burst_s)),
        cell(consumption.energy_error_j),
        cell(consumption.average_power_error_w),
        cell(point.inferences_per_j_error),
        cell(point.j_per_inference_error_j),
        cell(told.map(|told| told.energy_j)),
        cell(told.map(|told| told.energy_error_j)),
        cell(told.and_then(|told| told.measured_share)),
        cell(told.map(|told| told.j_per_inference)),
        cell(told.map(|told| told.j_per_inference_error_j)),
        cell(compared.and_then(|compared| compared.above_idle_j)),
        cell(compared.and_then(|compared| compared.above_idle_error_j)),
        cell(compared.and_then(|compared| compared.difference_j)),
        cell(compared.and_then(|compared| compared.error_j)),
        cell(compared.and_then(|compared| compared.agrees)),
        cell(pacing.and_then(|pacing| pacing.delay_p50_ns)),
        cell(pacing.and_then(|pacing| pacing.delay_p99_ns)),
        cell(pacing.map(|pacing| pacing.max_delay_ns)),
        cell(point.answers.as_ref().map(|answers| answers.compared)),
        cell(point.answers.as_ref().map(|answers| answers.wrong)),
    ];
    let of_server = server_times().iter().map(|name| point.server_times.get(*name));
    for latency in std::iter::once(point.client_latency.as_ref()).chain(of_server) {
        cells.extend(latency.map_or_else(|| vec![String::new(); LATENCY_COLUMNS.len()], latency_cells));
    }
    for metric in Metric::ALL {
        let estimate = point.estimates.get(&metric);
        cells.extend([cell(estimate.and_then(|e| e.low)), cell(estimate.and_then(|e| e.high))]);
    }
    cells
}

fn latency_cells(latency: &Latency) -> Vec<String> {
    let mut cells = vec![latency.mean_ns.to_string()];
    cells.extend(
        [
            latency.p50_ns,
            latency.p90_ns,
            latency.p95_ns,
            latency.p99_ns,
            latency.p99_9_ns,
            latency.max_ns,
            latency.count,
        ]
        .map(|value| value.to_string()),
    );
    cells
}
