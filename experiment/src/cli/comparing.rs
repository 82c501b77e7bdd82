//! The commands `diff` and `ab`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::judging::AbFailure;
use crate::ab::Ab;
use crate::condition::percentage;
use crate::diff;
use crate::report::comparison::{self, Named};
use crate::results::Metric;
use crate::run;
use crate::run_ab::{self, Comparison};
use crate::settings::Settings;
use crate::store::Store;

/// Help on `ab`.
pub const AB: &str = "\
Both contenders have the settings of `sweep`; --a and --b give what is different, as KEY=VALUE with the name of a flag:
  Two models of one server:
    triton-experiment ab --url localhost:8000 --model resnet --b model=resnet_int8 --concurrency 4
  Two servers:
    triton-experiment ab --url old:8000 --b url=new:8000 --model resnet --rate 50 --metric p99
  Two configurations of a model (it is loaded anew for each block):
    triton-experiment ab --url localhost:8000 --model resnet --concurrency 8 \\
      --b 'configuration={\"dynamic_batching\":{}}'

They are measured in rounds of A B B A or B A A B, whichever a coin says, until one is known to be faster, both are known to
be within --difference of each other, or --minutes are over. The test is valid however often one looks: one contender is
called different from itself in at most 5 % of all comparisons, whatever noise and drift there are.

Exit codes: 0 compared, 1 a contender could not be measured, 2 invalid command line, 3 what --fail-if names is so, 4 with
--fail-if: undecided, 130 interrupted.";

/// Arguments of `diff`.
#[derive(Args)]
pub struct Diffing {
    /// The folder of the first results.
    a: PathBuf,
    /// The folder of the second results, which are compared with the first.
    b: PathBuf,
    /// Ratios up to this count as no difference, in percent: a verdict of more needs the whole interval beyond it.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percentage)]
    threshold: f64,
    /// Compare results of other models or machines, too.
    #[arg(long)]
    force: bool,
    /// Folder for diff.json, diff.html and its plots; created if missing.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Compares two folders.
///
/// # Errors
/// One has no results, or they cannot be compared.
pub fn diff(diffing: &Diffing) -> Result<ExitCode> {
    let (first, second) = (Store::open(&diffing.a)?, Store::open(&diffing.b)?);
    let (first, second) = (first.results(), second.results());
    let diff = diff::diff(first, second, diffing.threshold);
    if diff.points.is_empty() {
        bail!(
            "{} and {} have no point in common: {} and {}",
            diffing.a.display(),
            diffing.b.display(),
            some(&diff.only_first),
            some(&diff.only_second)
        );
    }
    if !diff.is_comparable() && !diffing.force {
        let errors = diff.differences.iter().filter(|found| found.severity == diff::Severity::Error);
        let texts: Vec<&str> = errors.map(|error| error.text.as_str()).collect();
        bail!("these results cannot be compared: {}. To do it all the same, give --force", texts.join("; "));
    }
    println!("{}", comparison::diff_text(&diff));
    if let Some(folder) = &diffing.output {
        std::fs::create_dir_all(folder)
            .and_then(|()| {
                std::fs::write(folder.join("diff.json"), serde_json::to_string_pretty(&diff)? + "\n")
            })
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let (a, b) = (diffing.a.display().to_string(), diffing.b.display().to_string());
        let named = Named { first: (&a, first), second: (&b, second) };
        println!("Report: {}", comparison::write_diff(&diff, &named, folder)?.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn some(points: &[String]) -> String {
    match points {
        [] => "none".to_owned(),
        points => points.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
    }
}

/// Arguments of `ab`, beside the settings of a sweep.
#[derive(Args)]
pub struct AbFlags {
    /// A TOML file with settings; flags override it.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Folder for ab.json and ab.html; created if missing [default: triton-experiment-DATE-TIME, in UTC].
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Print only the result.
    #[arg(long, short)]
    quiet: bool,
    /// A setting of the first contender alone; may be repeated. Example: --a shared-memory=system
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Comparison")]
    a: Vec<String>,
    /// A setting of the second contender alone; may be repeated. Example: --b model=other
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Comparison")]
    b: Vec<String>,
    /// What is compared [default: throughput in a closed loop, mean in an open one].
    #[arg(long, value_name = "METRIC", help_heading = "Comparison")]
    metric: Option<AbMetric>,
    /// The least difference of interest, in percent: contenders within it are equivalent.
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percentage, help_heading = "Comparison")]
    difference: f64,
    /// Least length of a block in seconds; it ends with the first response after that and after --window-requests.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, help_heading = "Comparison")]
    block: f64,
    /// Seconds of load before each block that are not measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2, help_heading = "Comparison")]
    lead: f64,
    /// The longest time for all rounds, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, help_heading = "Comparison")]
    minutes: f64,
    /// End with exit code 3 if this is the result, and with 4 if there is none.
    #[arg(long, value_name = "RESULT", help_heading = "Comparison")]
    fail_if: Vec<AbFailure>,
}

/// Metrics of `ab`, by their short names.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AbMetric {
    /// Inferences per second
    Throughput,
    /// Mean client latency
    Mean,
    /// Median client latency
    P50,
    /// Client latency
    P90,
    /// Client latency
    P95,
    /// Client latency
    P99,
    /// Energy per inference; blocks have to be much longer than a tick of the meter
    Energy,
    /// CPU time of the server per inference
    Cpu,
}

impl AbMetric {
    fn metric(self) -> Metric {
        match self {
            Self::Throughput => Metric::InferencesPerS,
            Self::Mean => Metric::LatencyMeanNs,
            Self::P50 => Metric::LatencyP50Ns,
            Self::P90 => Metric::LatencyP90Ns,
            Self::P95 => Metric::LatencyP95Ns,
            Self::P99 => Metric::LatencyP99Ns,
            Self::Energy => Metric::JPerInference,
            Self::Cpu => Metric::CpuSPerInference,
        }
    }
}

impl AbFlags {
    /// The comparison; `settings` are those that both share.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn comparison(&self, settings: &Settings, default_folder: PathBuf) -> Result<Comparison> {
        let comparison = Comparison {
            plans: [run_ab::plan("A", &self.a, settings)?, run_ab::plan("B", &self.b, settings)?],
            given: [self.a.clone(), self.b.clone()],
            metric: self.metric.map(AbMetric::metric),
            difference: self.difference,
            block_s: self.block,
            lead_s: self.lead,
            max_s: self.minutes * 60.0,
            folder: self.output.clone().unwrap_or(default_folder),
            quiet: self.quiet,
        };
        comparison.check()?;
        Ab::check_unused(&comparison.folder)?;
        Ok(comparison)
    }

    /// Measures, and prints the result.
    ///
    /// # Errors
    /// A contender could not be measured.
    pub fn run(&self, comparison: &Comparison) -> Result<ExitCode> {
        let (ab, interrupted) = run_ab::run(comparison, run::watch_signals()?)?;
        println!("{}", ab.sentence());
        println!("Report: {}", comparison::write_ab(&ab, &comparison.folder)?.display());
        if interrupted {
            eprintln!("Interrupted.");
            return Ok(ExitCode::from(130));
        }
        Ok(AbFailure::code(&self.fail_if, ab.outcome))
    }
}
