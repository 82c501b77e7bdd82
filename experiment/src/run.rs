//! A whole run: server, idle power, all points in their order, report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::plan::{Load, Plan, PointKey};
use crate::progress::Progress;
use crate::results::{Results, SCHEMA_VERSION};
use crate::store::Store;
use crate::target::{Configurations, Interrupted, Target};
use crate::{arrivals, host, point, report, requests, search};

/// Files that a run opens besides its connections: results, pipes, the control plane.
const FILES_BESIDE: u64 = 100;

/// What to measure, and where to keep the results.
pub struct Run {
    /// What to measure.
    pub plan: Plan,
    /// Where to keep the results.
    pub folder: PathBuf,
    /// The results of an interrupted run of the same plan, to resume.
    pub earlier: Option<Store>,
    /// Whether to print only errors and the path of the report.
    pub quiet: bool,
}

/// How a run ended.
pub enum Ending {
    /// Every point was measured.
    Complete,
    /// Ctrl-C or SIGTERM; the results so far are kept.
    Interrupted,
}

/// Measures all points that are missing, and writes the report.
///
/// # Errors
/// A point could not be measured; the points before it are kept.
pub fn run(run: Run) -> Result<Ending> {
    let Run { plan, folder, earlier, quiet } = run;
    let interrupted = watch_signals()?;
    let points = plan.points();
    let progress = Progress::start(points.len(), quiet);
    let outcome = attempt(&plan, &folder, earlier, &points, &progress, interrupted);
    // Also for an unfinished run, with the points so far.
    let store = Store::open(&folder);
    if let Ok(store) = &store {
        let report = report::write(store.results(), &folder)?;
        progress.finish(store.results());
        if let Some(summary) = report::summary(store.results()) {
            progress.say(&format!("\n{summary}\n"));
        }
        println!("Report: {}", report.display());
    }
    match outcome {
        Ok(()) => {}
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("Interrupted. {}", kept(&folder));
            return Ok(Ending::Interrupted);
        }
        Err(error) => bail!("{error:#}. {}", kept(&folder)),
    }
    let store = store?;
    let measured = &store.results().points;
    let wrong = measured
        .iter()
        .filter_map(|point| point.answers.as_ref())
        .filter(|answers| answers.wrong > 0)
        .count();
    ensure!(
        wrong == 0 || plan.allow_wrong_answers,
        "answers were wrong at {wrong} of {} points; see the warnings, and --expect-tolerance or --allow-wrong-answers",
        measured.len()
    );
    let unanswered = measured.iter().filter(|point| point.requests == 0).count();
    ensure!(unanswered == 0, "all requests failed at {unanswered} of {} points", measured.len());
    Ok(Ending::Complete)
}

/// The state of an unfinished run, and how to resume it.
fn kept(folder: &Path) -> String {
    match Store::open(folder) {
        Ok(store) => {
            let results = store.results();
            let command = results.plan.command();
            format!(
                "{} points are in {folder}; run `triton-experiment {command} --resume {folder}` to measure the rest",
                match results.plan.points().len() {
                    0 => results.points.len().to_string(),
                    all => format!("{} of {all}", results.points.len()),
                },
                folder = folder.display()
            )
        }
        Err(_) => "No results were written.".to_owned(),
    }
}

/// The first SIGINT or SIGTERM requests a stop; the second ends the process at once.
///
/// # Errors
/// The handlers cannot be installed.
pub fn watch_signals() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .context("cannot install signal handlers")?;
    }
    Ok(interrupted)
}

fn attempt(
    plan: &Plan,
    folder: &Path,
    earlier: Option<Store>,
    points: &[PointKey],
    progress: &Progress,
    interrupted: Arc<AtomicBool>,
) -> Result<()> {
    progress.say("connecting to the server");
    let unmeasured = earlier.as_ref().is_none_or(|store| store.results().idle.is_none());
    let target = Target::open(plan, interrupted, plan.idle_s > 0.0 && unmeasured, |text| progress.say(text))?;
    target.set_teller(progress.teller());
    progress.say(&format!(
        "{} {}, model {}, power: {}",
        target.describe_server().name,
        target.describe_server().version,
        plan.model,
        target.sampler.source().name
    ));
    if let Some(store) = &earlier {
        check_same(store, &target, plan)?;
    }
    let original = earlier.as_ref().and_then(|store| store.results().original_configuration.clone());
    let mut configurations = Configurations::new(&target, plan, original.as_ref())?;
    check_points(plan, &target)?;
    let mut store = match earlier {
        Some(store) => store,
        None => Store::create(folder, begin(plan, &target, &configurations))?,
    };
    let outcome = measure_all(plan, points, &target, &mut configurations, &mut store, progress);
    let outcome = outcome.map_err(|error| target.explain(error));
    let restored = configurations.restore();
    outcome.and(restored)?;
    store.update(|results| results.complete = true)
}

/// Checks the requests of every point before the first measurement, so that an error does not show up after hours.
fn check_points(plan: &Plan, target: &Target) -> Result<()> {
    raise_file_limit(plan.most_in_flight())?;
    for load in &plan.loads {
        if let Load::Trace { file } = load {
            arrivals::read_trace(file.as_ref())?;
        }
    }
    if let Some(batching) = &plan.batching {
        requests::check(target, plan, batching.capacity_batch, None).context("capacity")?;
    }
    for &batch in &plan.batches {
        if plan.configurations.is_empty() {
            requests::check(target, plan, batch, None)?;
        }
        for configuration in &plan.configurations {
            requests::check(target, plan, batch, Some(&configuration.merge_patch()))
                .with_context(|| format!("configuration '{}'", configuration.name))?;
        }
    }
    Ok(())
}

/// Each request in flight needs a connection, and a connection is an open file.
fn raise_file_limit(connections: usize) -> Result<()> {
    let needed = connections as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        ensure!(
            limit.maximum.is_none_or(|maximum| needed <= maximum),
            "{connections} requests in flight need {needed} open files, but this process is limited to {}: use fewer, or \
             raise the limit (ulimit -Hn)",
            limit.maximum.unwrap_or(0)
        );
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit })
            .context("cannot raise the limit of open files")?;
    }
    Ok(())
}

fn begin(plan: &Plan, target: &Target, configurations: &Configurations) -> Results {
    Results {
        schema_version: SCHEMA_VERSION,
        tool: format!("triton-experiment {}", env!("TENSORFLOW_LATENCY_VERSION")),
        command: std::env::args().collect(),
        started: jiff::Timestamp::now().to_string(),
        complete: false,
        plan: plan.clone(),
        host: host::describe(),
        server: target.describe_server(),
        model: target.describe_model(plan),
        original_configuration: configurations.original().cloned(),
        configurations: BTreeMap::new(),
        power: target.sampler.source().clone(),
        idle: None,
        idle_without_model: target.idle_without_model.clone(),
        capacity: None,
        points: Vec::new(),
        summary: Vec::new(),
        found: Vec::new(),
    }
}

/// All points of a run have to be comparable.
fn check_same(store: &Store, target: &Target, plan: &Plan) -> Result<()> {
    let (earlier, now) = (store.results(), target.describe_server());
    let pairs = [
        ("server's version", earlier.server.version.clone(), now.version),
        ("model", earlier.model.metadata.to_string(), target.describe_model(plan).metadata.to_string()),
        ("power source", earlier.power.name.clone(), target.sampler.source().name.clone()),
        ("machine", earlier.host.name.clone(), host::describe().name),
    ];
    for (what, before, now) in pairs {
        ensure!(
            before == now,
            "the {what} differs from the run to resume: it was {before} and is now {now}. Start a new run"
        );
    }
    Ok(())
}

fn measure_all(
    plan: &Plan,
    points: &[PointKey],
    target: &Target,
    configurations: &mut Configurations,
    store: &mut Store,
    progress: &Progress,
) -> Result<()> {
    if store.results().idle.is_none() && plan.idle_s > 0.0 && target.sampler.source().name != "none" {
        progress.say("measuring the idle server with the model loaded");
        let idle = target.measure_idle(plan.idle_s)?;
        store.update(|results| {
            results.idle = Some(idle);
            // Of an interrupted run that had not come so far.
            results.idle_without_model = target.idle_without_model.clone();
        })?;
    }
    if let Some(batching) = &plan.batching
        && store.results().capacity.is_none()
    {
        progress.say("measuring the capacity");
        let key = PointKey {
            configuration: String::new(),
            batch: batching.capacity_batch,
            load: Load::MaxThroughput,
            repeat: 0,
        };
        let (capacity, _) = point::measure(target, plan, &key, 0, None)?;
        ensure!(capacity.inferences > 0, "no request was answered while measuring the capacity");
        progress.capacity(&capacity);
        store.update(|results| results.capacity = Some(capacity))?;
    }
    let measured = store.measured();
    progress.skip(measured.len());
    for key in points.iter().filter(|key| !measured.contains(key)) {
        measure_point(plan, key, target, configurations, store, progress)?;
    }
    let Some(search) = &plan.search else { return Ok(()) };
    while let Some(key) = search::next(plan, search, &store.results().points) {
        measure_point(plan, &key, target, configurations, store, progress)?;
        store.update(|results| results.found = search::found(plan, search, &results.points))?;
    }
    Ok(())
}

fn measure_point(
    plan: &Plan,
    key: &PointKey,
    target: &Target,
    configurations: &mut Configurations,
    store: &mut Store,
    progress: &Progress,
) -> Result<()> {
    progress.begin(key);
    log::debug!("measuring {key:?}");
    let in_force = configurations.choose(&key.configuration)?;
    if let Some(earlier) = store.results().configurations.get(&key.configuration) {
        ensure!(
            *earlier == in_force,
            "the model's configuration{} differs from the one at the points so far: restore it, or start a new run",
            if key.configuration.is_empty() { String::new() } else { format!(" '{}'", key.configuration) }
        );
    }
    target.rest(plan.cool_down_s)?;
    let visit = store.results().points.len();
    let capacity = store.results().capacity.as_ref().map(|capacity| capacity.inferences_per_s);
    let (mut point, requests) = point::measure(target, plan, key, visit, capacity)?;
    point::hold_energy(&mut point, target, plan, store.results().idle.as_ref());
    target.sampler.forget_before(crate::clock::now_ns());
    store.add(point, &requests, in_force)?;
    store.update(|results| results.power.learnt = target.sampler.learnt())?;
    progress.end(&store.results().points[visit]);
    Ok(())
}
