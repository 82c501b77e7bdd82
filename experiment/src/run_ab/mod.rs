//! `ab`: measures two contenders in turn until one is known to be faster, both are known to be alike, or time is up.

mod block;
mod contenders;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::ab::{self, AB_SCHEMA_VERSION, ALPHA, Ab, Contender, Judge, Order, Outcome, Round, Side};
use crate::clock::now_ns;
use crate::host;
use crate::plan::{Configuration, Load, Plan};
use crate::requests::Requests;
use crate::results::Metric;
use crate::target::{Configurations, Interrupted, Target};
use block::Length;
pub use contenders::plan;

/// Rounds between two lines of output where no progress bar is shown.
const QUIET_ROUNDS: usize = 10;

/// What to compare, and for how long.
pub struct Comparison {
    /// The contenders' plans: A, B.
    pub plans: [Plan; 2],
    /// What was given for each alone.
    pub given: [Vec<String>; 2],
    /// What is compared; none: throughput in a closed loop, mean latency in an open one.
    pub metric: Option<Metric>,
    /// The least difference of interest, a fraction.
    pub difference: f64,
    /// The least length of a block, in seconds.
    pub block_s: f64,
    /// Load before each block, in seconds.
    pub lead_s: f64,
    /// The longest time for all rounds, in seconds.
    pub max_s: f64,
    /// Where the result is kept.
    pub folder: PathBuf,
    /// Whether to print only the result.
    pub quiet: bool,
}

impl Comparison {
    /// # Errors
    /// The first invalid setting, and what is allowed.
    pub fn check(&self) -> Result<()> {
        for (name, value, least, most) in [
            ("--difference", self.difference, 0.0, 1.0),
            ("--block", self.block_s, 0.01, 3600.0),
            ("--lead", self.lead_s, 0.0, 3600.0),
            ("--minutes", self.max_s / 60.0, 0.01, 10_000.0),
        ] {
            ensure!((least..=most).contains(&value), "{name}: expected {least} to {most}, found {value}");
        }
        Ok(())
    }

    fn metric(&self) -> Metric {
        let open = self.plans.iter().any(|plan| matches!(plan.loads[0], Load::Rate { .. }));
        self.metric.unwrap_or(if open { Metric::LatencyMeanNs } else { Metric::InferencesPerS })
    }
}

/// Measures until it is decided, and writes `ab.json` after each round.
///
/// # Errors
/// A contender cannot be measured; the rounds before that are kept. Interrupted is no error: what has been measured is the
/// result then, undecided.
pub fn run(comparison: &Comparison, interrupted: Arc<AtomicBool>) -> Result<(Ab, bool)> {
    let [a, b] = &comparison.plans;
    let targets = open(a, b, &interrupted)?;
    // Contenders on one server with one model differ in its configuration, or in their requests.
    let together = targets.len() == 1 && a.model == b.model;
    let mut plans = [a.clone(), b.clone()];
    if plans.iter().any(|plan| !plan.configurations.is_empty()) {
        configure(&mut plans, together)?;
    }
    let target_of = |which: usize| &targets[which.min(targets.len() - 1)];
    let mut configurations = Vec::new();
    for (which, plan) in plans.iter().enumerate().take(if together { 1 } else { 2 }) {
        configurations.push(Configurations::new(target_of(which), plan, None)?);
    }
    let mut contest = Contest { comparison, plans: &plans, target_of: &target_of, together };
    let outcome = contest.attempt(&mut configurations);
    let outcome = outcome.map_err(|error| target_of(0).explain(error));
    for configurations in &mut configurations {
        configurations.restore()?;
    }
    outcome
}

/// One target, or two if the servers differ.
fn open(a: &Plan, b: &Plan, interrupted: &Arc<AtomicBool>) -> Result<Vec<Target>> {
    let server = |plan: &Plan| json!([plan.url, plan.own_server]);
    let open = |plan: &Plan| Target::open(plan, Arc::clone(interrupted), false, |_| {});
    let first = open(a).context("contender A")?;
    if server(a) != server(b) {
        return Ok(vec![first, open(b).context("contender B")?]);
    }
    if a.model != b.model {
        first.also_load(b).context("contender B")?;
    }
    Ok(vec![first])
}

/// Names the configurations by their contenders. One that has none keeps the model's own.
fn configure(plans: &mut [Plan; 2], together: bool) -> Result<()> {
    for (plan, name) in plans.iter_mut().zip(["A", "B"]) {
        match plan.configurations.as_mut_slice() {
            [] => {
                let own = Configuration { name: name.to_owned(), patch: json!({}), remove: Vec::new() };
                plan.configurations.push(own);
            }
            [one] => one.name = name.to_owned(),
            several => bail!("contender {name}: expected one configuration, found {}", several.len()),
        }
    }
    if together {
        let all: Vec<_> = plans.iter().flat_map(|plan| plan.configurations.clone()).collect();
        plans.iter_mut().for_each(|plan| plan.configurations.clone_from(&all));
    }
    Ok(())
}

struct Contest<'a, F: Fn(usize) -> &'a Target> {
    comparison: &'a Comparison,
    plans: &'a [Plan; 2],
    target_of: &'a F,
    /// Whether both use the same model on the same server.
    together: bool,
}

impl<'a, F: Fn(usize) -> &'a Target> Contest<'a, F> {
    fn attempt(&mut self, configurations: &mut [Configurations]) -> Result<(Ab, bool)> {
        let Comparison { folder, difference, block_s, lead_s, max_s, quiet, .. } = self.comparison;
        let metric = self.comparison.metric();
        let length = Length { lead_s: *lead_s, block_s: *block_s };
        let mut requests = Vec::new();
        let mut sides = Vec::new();
        for which in 0..2 {
            let (plan, target) = (&self.plans[which], (self.target_of)(which));
            let configuration = self.choose(configurations, which)?;
            let slots = plan.most_in_flight();
            let made = Requests::make(target, plan, plan.batches[0], slots)
                .and_then(|made| made.probe(target, plan).map(|()| made));
            let made = made.with_context(|| format!("contender {}", ["A", "B"][which]))?;
            // The first requests of a model are slow.
            warm_up(target, plan, &made)?;
            requests.push(made);
            sides.push(Side {
                given: self.comparison.given[which].clone(),
                plan: serde_json::to_value(plan)?,
                server: target.describe_server(),
                model: target.describe_model_of(plan)?,
                configuration,
            });
        }
        let b = sides.pop().context("two contenders")?;
        let a = sides.pop().context("two contenders")?;
        let mut ab = Ab {
            schema_version: AB_SCHEMA_VERSION,
            tool: format!("triton-experiment {}", env!("TENSORFLOW_LATENCY_VERSION")),
            command: std::env::args().collect(),
            started: jiff::Timestamp::now().to_string(),
            host: host::describe(),
            a,
            b,
            metric,
            difference: *difference,
            alpha: ALPHA,
            block_s: *block_s,
            rounds: Vec::new(),
            outcome: Outcome::Undecided,
            ratio: None,
        };
        let bar = bar(*quiet);
        let mut judge = Judge::new(ALPHA, *difference);
        let mut order = Order::new(self.plans[0].seed);
        let start = Instant::now();
        let most = Duration::from_secs_f64(*max_s);
        let mut longest = Duration::ZERO;
        let mut interrupted = false;
        // A round that would not end in time is not begun.
        while start.elapsed() + longest < most && judge.decision().is_none() {
            let began = Instant::now();
            let seed = self.plans[0].seed.wrapping_add(ab.rounds.len() as u64);
            let next = order.next_round();
            let round = self.round(next, configurations, &mut requests, metric, length, seed);
            let values = match round {
                Ok(values) => values,
                Err(error) if error.is::<Interrupted>() => {
                    interrupted = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            longest = longest.max(began.elapsed());
            log::debug!("round {}: {next:?} {values:?}", ab.rounds.len() + 1);
            let difference = ab::difference(metric, &next, &values).context("a value is zero")?;
            judge.add(difference);
            let ratio = ab::ratio(metric, &judge);
            ab.rounds.push(Round { order: next, values, seconds: start.elapsed().as_secs_f64(), ratio });
            (ab.ratio, ab.outcome) = (ratio, judge.decision().into());
            ab.write(folder)?;
            (0..2).for_each(|which| (self.target_of)(which).sampler.forget_before(now_ns()));
            tell(&bar, &ab, *quiet);
        }
        bar.finish_and_clear();
        ab.write(folder)?;
        Ok((ab, interrupted))
    }

    /// Applies the contender's configuration, if it has one; what the server reports.
    fn choose(&self, configurations: &mut [Configurations], which: usize) -> Result<serde_json::Value> {
        let name = match self.plans[which].configurations.is_empty() {
            true => "",
            false => ["A", "B"][which],
        };
        configurations[if self.together { 0 } else { which }].choose(name)
    }

    fn round(
        &self,
        order: [Contender; 4],
        configurations: &mut [Configurations],
        requests: &mut [Requests<'a>],
        metric: Metric,
        length: Length,
        seed: u64,
    ) -> Result<[f64; 4]> {
        let mut values = [0.0; 4];
        for (value, contender) in values.iter_mut().zip(order) {
            let which = usize::from(contender == Contender::B);
            let (plan, target) = (&self.plans[which], (self.target_of)(which));
            if self.together && !plan.configurations.is_empty() {
                self.choose(configurations, which)?;
                // The model has been loaded anew, perhaps with another batch dimension.
                requests[which] = Requests::make(target, plan, plan.batches[0], plan.most_in_flight())?;
                warm_up(target, plan, &requests[which])?;
            }
            *value = block::measure(target, plan, &requests[which], metric, length, seed)
                .map_err(|error| target.explain(error))?;
        }
        Ok(values)
    }
}

/// Load that is not measured, for the time of `--warm-up`.
fn warm_up(target: &Target, plan: &Plan, requests: &Requests) -> Result<()> {
    if plan.warm_up_s > 0.0 {
        let length = Length { lead_s: 0.0, block_s: plan.warm_up_s.max(0.01) };
        block::measure(target, plan, requests, Metric::InferencesPerS, length, plan.seed)?;
    }
    Ok(())
}

fn bar(quiet: bool) -> ProgressBar {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}").expect("the template is valid"),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn tell(bar: &ProgressBar, ab: &Ab, quiet: bool) {
    bar.set_message(ab.sentence());
    if !quiet && bar.is_hidden() && ab.rounds.len().is_multiple_of(QUIET_ROUNDS) {
        println!("{}", ab.sentence());
    }
}
