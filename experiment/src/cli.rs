//! The command line.

mod comparing;
mod exchanging;
mod judging;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::exchange::{Document, write};
use crate::plain::plain;
use crate::plan::{Configuration, Plan, ReconfigureBy};
use crate::report;
use crate::run::{self, Ending, Run};
use crate::settings::{BatchingSettings, SearchSettings, Settings};
use crate::store::Store;
use comparing::{AB, AbFlags, Diffing};
use exchanging::{Exporting, Importing};
use judging::{CONDITIONS, Checking, Conditions};

const EXAMPLES: &str = "\
Examples:
  Throughput, power and efficiency by batch size, on a running server:
    triton-experiment sweep --url localhost:8000 --model inception_v3 --batch 1,2,4,8,16 --max-throughput

  Latency by request rate (open loop), on a server that the tool starts:
    triton-experiment sweep --tritonserver /opt/tritonserver/bin/tritonserver --model-repository models \\
      --model inception_v3 --rate 5,10,20,25 --window 20

  Three batching configurations under identical arrivals:
    triton-experiment compare --url localhost:8000 --model inception_v3 --rate 20 \\
      --configuration 'none={}' --configuration 'default={\"dynamic_batching\":{}}' \\
      --configuration 'wait={\"dynamic_batching\":{\"preferred_batch_size\":[8],\"max_queue_delay_microseconds\":300000}}'

  Fixed batching configurations and an adaptive one under identical arrivals, with a latency target:
    triton-experiment batching --plan experiment/plans/batching.toml --url localhost:8000 --target-ms 400

  Two runs against each other; two models in turn until one is known to be faster:
    triton-experiment diff before after
    triton-experiment ab --url localhost:8000 --model resnet --b model=resnet_int8 --concurrency 4

  In continuous integration:
    triton-experiment sweep --url localhost:8000 --model resnet --rate 20 --fail-if 'p99 > 50 ms'

  Rows of files as inputs, and whether the answers are right:
    triton-experiment sweep --url localhost:8000 --model my_model --data inputs.npz --expect outputs.npz

  Resume an interrupted run; rebuild the report:
    triton-experiment sweep --resume triton-experiment-20260131-120000
    triton-experiment report triton-experiment-20260131-120000

Exit codes: 0 every point was measured, 1 the run failed (results so far are kept) or answers were wrong, 2 invalid command line or
plan, 3 a condition of --fail-if is met, 4 one is undecided, 5 one could not be judged, 130 interrupted (results so far are kept).";

const PLAN_FILE: &str = "\
A plan file holds the same settings in TOML, with _ in place of -. Flags override it:

  model = \"inception_v3\"
  url = \"localhost:8000\"
  batch = [1, 2, 4, 8, 16]
  rate = [5, 20]
  shared_memory = \"system\"
  shape = [\"input=299,299,3\"]

  [[configuration]]            # for compare
  name = \"preferred 8\"
  remove = []                  # keys to remove from the model's configuration
  patch.dynamic_batching = { preferred_batch_size = [8], max_queue_delay_microseconds = 300000 }";

const BATCHING_FILE: &str = "\
The plan file defines the configurations, as for `compare`, and the traces:

  [batching]
  target_ms = 600
  adaptive = \"adaptive\"        # the configuration that is compared with the fixed ones

  [[batching.trace]]
  name = \"step\"
  length = 2                   # in multiples of --trace-seconds
  percent = [20, 80, 20]       # of capacity, in parts of equal length

In the strings of a configuration's patch, {target_ms} and {percentile} are replaced by these settings.";

const SEARCH: &str = "\
  triton-experiment search --url localhost:8000 --model resnet --target-ms 50 --batch 1,4

The throughput of a closed loop is measured first, then rates: half of it, up until one misses the target, and between the two.
A rate at which chance may have decided is measured again, and so is the best. A plan file has these settings in a table:

  [search]
  target_ms = 50";

/// Measures how batch size and request rate affect latency, throughput, power and energy of a model on Triton
/// Inference Server.
#[derive(Parser)]
#[command(name = "triton-experiment", version = env!("TENSORFLOW_LATENCY_VERSION"), after_help = EXAMPLES, max_term_width = 110, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure one model at every combination of batch size and load.
    #[command(after_help = PLAN_FILE, args_override_self = true)]
    Sweep(Measuring),
    /// Compare configurations of one model under identical load.
    #[command(after_help = PLAN_FILE, args_override_self = true)]
    Compare {
        #[command(flatten)]
        measuring: Measuring,
        #[command(flatten)]
        comparing: Comparing,
    },
    /// Compare fixed batching configurations with an adaptive one, under traces scaled to the server's capacity: which
    /// ones meet a latency target, and at what cost.
    #[command(after_help = BATCHING_FILE, args_override_self = true)]
    Batching {
        #[command(flatten)]
        measuring: Measuring,
        #[command(flatten)]
        comparing: Comparing,
        #[command(flatten)]
        batching: BatchingSettings,
    },
    /// Find the highest rate that keeps a latency target, for each batch size and configuration, and what it costs.
    #[command(after_help = SEARCH, args_override_self = true)]
    Search {
        #[command(flatten)]
        measuring: Measuring,
        #[command(flatten)]
        comparing: Comparing,
        #[command(flatten)]
        search: SearchSettings,
    },
    /// Compare two models, servers or configurations in turn until one is known to be faster.
    #[command(after_help = AB, args_override_self = true)]
    Ab {
        #[command(flatten)]
        flags: AbFlags,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Compare the results of two runs: for each common point, which is faster, with confidence intervals.
    Diff(Diffing),
    /// Check the results of a run against conditions.
    #[command(after_help = CONDITIONS)]
    Check(Checking),
    /// Build the report of a finished or interrupted run: report.html, and each plot as SVG and PNG.
    Report {
        /// The folder that holds results.json.
        folder: PathBuf,
    },
    /// Write results in a format that other programs read.
    Export(Exporting),
    /// Make a folder of results of a file that perf_analyzer has written.
    Import(Importing),
    /// Print the JSON schema of a document that the tool writes.
    Schema {
        /// The document.
        document: Document,
    },
    /// Print a shell completion script.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print a manual page: that of the tool, or of one of its commands.
    Man {
        /// The command.
        command: Option<String>,
    },
}

#[derive(Args)]
struct Measuring {
    /// A TOML file with settings; flags override it.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Folder for results.json, results.csv and the report; created if missing [default:
    /// triton-experiment-DATE-TIME, in UTC].
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Resume the run in this folder with its original plan. Only --url and --server-pid may be given with it, for a
    /// server that has moved.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["plan", "output"])]
    resume: Option<PathBuf>,
    /// Print only errors and, at the end, the path of the report.
    #[arg(long, short)]
    quiet: bool,
    /// End with exit code 3 if this holds for the results; may be repeated. `check --help` describes conditions.
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What is compared.
#[derive(Args, Default)]
struct Comparing {
    /// A configuration: its name, and its changes to the repository's configuration as JSON, for example
    /// 'default={"dynamic_batching":{}}'. {} changes nothing, null removes a key. May be repeated.
    #[arg(long, value_name = "NAME=JSON", help_heading = "Configurations")]
    configuration: Vec<String>,
    /// How to apply configurations: through the server's repository API, by rewriting the model folder of a server
    /// that the tool started, or by the first of these that works [default: auto].
    #[arg(long, value_name = "WAY", help_heading = "Configurations")]
    reconfigure: Option<ReconfigureBy>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // RUST_LOG; nothing without it.
    env_logger::init();
    match Cli::parse().command {
        Command::Sweep(measuring) => measure("sweep", &measuring, Comparing::default(), Special::default()),
        Command::Compare { measuring, comparing } => {
            measure("compare", &measuring, comparing, Special::default())
        }
        Command::Batching { measuring, comparing, batching } => {
            measure("batching", &measuring, comparing, Special { batching: Some(batching), search: None })
        }
        Command::Search { measuring, comparing, search } => {
            measure("search", &measuring, comparing, Special { batching: None, search: Some(search) })
        }
        Command::Ab { flags, settings } => compare_in_turn(&flags, *settings),
        Command::Diff(diffing) => done(comparing::diff(&diffing)),
        Command::Check(checking) => match Conditions::read(checking.texts()) {
            Ok(conditions) => done(judging::check(&checking, &conditions)),
            Err(error) => invalid(&error),
        },
        Command::Export(exporting) => done(exchanging::export(&exporting).map(|()| ExitCode::SUCCESS)),
        Command::Import(importing) => done(exchanging::import(&importing).map(|()| ExitCode::SUCCESS)),
        Command::Schema { document } => {
            done(document.schema().and_then(|text| write(&text, None)).map(|()| ExitCode::SUCCESS))
        }
        Command::Report { folder } => done(report(&folder).map(|()| ExitCode::SUCCESS)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "triton-experiment", &mut io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { command } => match manual(command.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => invalid(&error),
        },
    }
}

/// Prints a manual page in roff.
fn manual(name: Option<&str>) -> Result<()> {
    let mut tool = Cli::command();
    // Names of the commands become those of pages: triton-experiment-sweep.
    tool.build();
    let command = match name {
        None => tool,
        Some(name) => {
            let names: Vec<&str> = tool.get_subcommands().map(clap::Command::get_name).collect();
            let unknown = || format!("there is no command '{name}'; there are {}", names.join(", "));
            tool.find_subcommand(name).with_context(unknown)?.clone()
        }
    };
    clap_mangen::Man::new(command).render(&mut io::stdout()).context("cannot write the manual page")
}

fn compare_in_turn(flags: &AbFlags, settings: Settings) -> ExitCode {
    let comparison = with_plan_file(flags.plan.as_deref(), settings)
        .and_then(|settings| flags.comparison(&settings, default_folder()));
    match comparison {
        Ok(comparison) => done(flags.run(&comparison)),
        Err(error) => invalid(&error),
    }
}

fn invalid(error: &anyhow::Error) -> ExitCode {
    eprintln!("Error: {}", plain(&format!("{error:#}")));
    ExitCode::from(2)
}

/// Settings that one command alone has.
#[derive(Default)]
struct Special {
    batching: Option<BatchingSettings>,
    search: Option<SearchSettings>,
}

fn measure(command: &str, measuring: &Measuring, comparing: Comparing, special: Special) -> ExitCode {
    let given = settings(measuring, comparing, special);
    let prepared = given.and_then(|settings| prepare(command, measuring, settings));
    let (run, conditions) = match prepared.and_then(|run| Ok((run, Conditions::read(&measuring.fail_if)?))) {
        Ok(prepared) => prepared,
        Err(error) => return invalid(&error),
    };
    let folder = run.folder.clone();
    done(run::run(run).and_then(|ending| match ending {
        Ending::Complete => conditions.judge_folder(&folder),
        Ending::Interrupted => Ok(ExitCode::from(130)),
    }))
}

fn done(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("Error: {}", plain(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}

/// All settings given by flags.
fn settings(measuring: &Measuring, comparing: Comparing, special: Special) -> Result<Settings> {
    let configuration =
        comparing.configuration.iter().map(|text| configuration(text)).collect::<Result<_>>()?;
    let Special { batching, search } = special;
    Ok(Settings {
        configuration,
        reconfigure: comparing.reconfigure,
        batching,
        search,
        ..measuring.settings.clone()
    })
}

fn prepare(command: &str, measuring: &Measuring, mut settings: Settings) -> Result<Run> {
    let quiet = measuring.quiet;
    if let Some(folder) = &measuring.resume {
        let (url, server_pid) = (settings.url.take(), settings.server_pid.take());
        // The subcommand sets it even when none of its own flags is given.
        settings.batching.take_if(|batching| *batching == BatchingSettings::default());
        settings.search.take_if(|search| *search == SearchSettings::default());
        let others = serde_json::to_value(&settings)?.as_object().is_some_and(|given| !given.is_empty());
        ensure!(
            !others,
            "--resume uses the original plan of the run: of the settings only --url and --server-pid may be given"
        );
        let store = Store::resume(folder)?;
        let mut plan = store.results().plan.clone();
        let kind = plan.command();
        ensure!(
            kind == command,
            "{} holds a {kind}: resume it with `triton-experiment {kind} --resume`",
            folder.display()
        );
        ensure!(
            url.is_none() || plan.own_server.is_none(),
            "--url: the run in {} starts its own server",
            folder.display()
        );
        plan.url = url.or(plan.url);
        plan.server_pid = server_pid.or(plan.server_pid);
        return Ok(Run { plan, folder: folder.clone(), earlier: Some(store), quiet });
    }
    let plan = plan(command, measuring, settings)?;
    let folder = measuring.output.clone().unwrap_or_else(default_folder);
    Store::check_unused(&folder)?;
    Ok(Run { plan, folder, earlier: None, quiet })
}

fn default_folder() -> PathBuf {
    jiff::Timestamp::now().strftime("triton-experiment-%Y%m%d-%H%M%S").to_string().into()
}

/// The settings, and those of the file where none is given.
fn with_plan_file(file: Option<&Path>, settings: Settings) -> Result<Settings> {
    let Some(file) = file else { return Ok(settings) };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the plan {}", file.display()))?;
    settings.or(&Settings::from_toml(&text, &file.display().to_string())?)
}

fn plan(command: &str, measuring: &Measuring, settings: Settings) -> Result<Plan> {
    let settings = with_plan_file(measuring.plan.as_deref(), settings)?;
    ensure!(
        settings.batching.is_none() || command == "batching",
        "the plan has a table [batching], which `{command}` does not use: run `triton-experiment batching`"
    );
    ensure!(
        settings.search.is_none() || command == "search",
        "the plan has a table [search], which `{command}` does not use: run `triton-experiment search`"
    );
    match (command, settings.configuration.is_empty()) {
        ("sweep", false) => {
            bail!("the plan has configurations, which `sweep` does not use: run `triton-experiment compare`")
        }
        ("compare" | "batching", true) => {
            bail!("nothing to compare: give --configuration NAME=JSON for each configuration")
        }
        _ => settings.into_plan(),
    }
}

fn configuration(text: &str) -> Result<Configuration> {
    let wrong = || format!("--configuration: expected NAME=JSON, found '{text}'");
    let (name, json) = text.split_once('=').with_context(wrong)?;
    let patch = serde_json::from_str(json).with_context(wrong)?;
    Ok(Configuration { name: name.to_owned(), patch, remove: Vec::new() })
}

fn report(folder: &Path) -> Result<()> {
    let store = Store::open(folder)?;
    println!("{}", report::write(store.results(), folder)?.display());
    Ok(())
}
