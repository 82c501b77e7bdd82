//! What happens to the requests of one execution, from end to end.

use std::sync::Arc;

use super::apart::apart;
use super::batch_outputs::{Part, Parts};
use super::gather::{Gathered, gather};
use super::inline::InlineRows;
use super::scatter::{self, Computed, Share};
use super::timing::{self, BatchTimes};
use crate::config::Step;
use crate::energy::{self, Execution, ModelEnergy};
use crate::few::Few;
use crate::model::Model;
use crate::signals::Signals;
use crate::tensorflow::{Fed, Tensor, TensorPool};
use crate::triton::Error;
use crate::triton::clock::now_ns;
use crate::triton::request::{Answered, Request};

/// A model with what it takes to execute batches of it.
#[derive(Debug)]
pub struct Executor {
    /// The model.
    pub model: Model,
    /// Which batches run inline.
    pub inline: InlineRows,
    /// Which devices' energy its executions take, and whether responses tell it; none while the model is tried out.
    pub energy: Option<Arc<ModelEnergy>>,
    /// Who counts them; none while the model is tried out, and where the server has no metrics.
    pub signals: Option<Arc<Signals>>,
    /// The input tensors of earlier batches, for later ones.
    pool: TensorPool,
    /// [`execute`], [`prepare`] and [`compute`], or for the tests of panics the same with a fault planted.
    steps: Steps,
    /// Where that fault is.
    test_panic: Option<Step>,
}

/// The pipeline, whole and in two parts.
#[derive(Clone, Copy, Debug)]
struct Steps {
    execute: fn(&Executor, Few<Request>) -> Option<Executed>,
    prepare: fn(&Executor, Few<Request>) -> Option<Gathering>,
    compute: fn(&Executor, Gathering) -> Option<Executed>,
}

impl Steps {
    const fn with<F: Fault>() -> Self {
        Self { execute: execute::<F>, prepare: prepare::<F>, compute: compute::<F> }
    }
}

/// A batch whose inputs are gathered.
pub struct Gathering {
    requests: Few<Request>,
    gathered: Gathered,
    exec_start: u64,
    /// Since when the instance was busy with this batch alone.
    busy_from: u64,
}

impl Gathering {
    /// Its rows.
    pub fn rows(&self) -> usize {
        self.gathered.size.executed
    }

    /// The bytes of its inputs.
    pub fn bytes(&self) -> usize {
        self.gathered.tensors.iter().flatten().map(|tensor| tensor.bytes().len()).sum()
    }

    /// Until then the instance was busy with another batch.
    pub fn busy_after(&mut self, other: u64) {
        self.busy_from = self.busy_from.max(other);
    }
}

/// A batch that was executed.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    /// Rows of its requests.
    pub rows: usize,
    /// From its start to the end of its last request, in nanoseconds.
    pub ns: u64,
    /// What executions of so many rows cost in microjoules, as far as is known by now; only where the model asks for energy.
    pub energy_uj: Option<u64>,
}

impl Executor {
    /// Executes batches of `model`, in TensorFlow's threads, with input tensors out of `pool`. `test_panic` plants a panic
    /// for a request whose id is "panic", for tests.
    pub fn new(model: Model, pool: TensorPool, test_panic: Option<Step>) -> Self {
        let steps =
            if test_panic.is_some() { Steps::with::<PlantedPanic>() } else { Steps::with::<NoFault>() };
        Self { model, inline: InlineRows::NONE, energy: None, signals: None, pool, steps, test_panic }
    }

    /// Executes requests that the server handed over together, and answers every one of them.
    pub fn execute(&self, requests: Few<Request>) {
        if self.model.batching && !self.model.sets_apart {
            self.execute_batch(requests);
        } else {
            for requests in apart(&self.model, requests) {
                self.execute_batch(requests);
            }
        }
    }

    /// Executes requests as one batch and answers every one of them. Returns nothing if nothing was computed.
    pub fn execute_batch(&self, requests: Few<Request>) -> Option<Executed> {
        (self.steps.execute)(self, requests)
    }

    /// Gathers the inputs of a batch. Requests that cannot be part of it are answered; nothing is returned if no other is left.
    pub fn gather(&self, requests: Few<Request>) -> Option<Gathering> {
        (self.steps.prepare)(self, requests)
    }

    /// Computes a batch and answers every one of its requests.
    pub fn compute(&self, gathering: Gathering) -> Option<Executed> {
        (self.steps.compute)(self, gathering)
    }
}

// What is gathered stays where it was made: memory that TensorFlow's last run has driven out of the caches would cost more to
// move it to than all that is done here.
fn execute<F: Fault>(executor: &Executor, mut requests: Few<Request>) -> Option<Executed> {
    let exec_start = now_ns();
    // Read here, where it waits for memory together with what the gathering reads.
    let tells_energy = energy::is_asked();
    let gathered = gather_all::<F>(executor, &mut requests);
    if requests.is_empty() {
        return None;
    }
    run_and_answer::<F>(executor, (exec_start, exec_start, tells_energy), requests, gathered)
}

fn prepare<F: Fault>(executor: &Executor, mut requests: Few<Request>) -> Option<Gathering> {
    let exec_start = now_ns();
    let gathered = gather_all::<F>(executor, &mut requests);
    if requests.is_empty() {
        None
    } else {
        Some(Gathering { requests, gathered, exec_start, busy_from: exec_start })
    }
}

fn compute<F: Fault>(executor: &Executor, batch: Gathering) -> Option<Executed> {
    let Gathering { requests, gathered, exec_start, busy_from } = batch;
    run_and_answer::<F>(executor, (exec_start, busy_from, energy::is_asked()), requests, gathered)
}

/// Gathers the inputs of the batch, and answers those of `requests` that cannot be part of it; the others stay.
#[inline(always)]
fn gather_all<F: Fault>(executor: &Executor, requests: &mut Few<Request>) -> Gathered {
    F::at(executor, Step::Execute, requests);
    let mut gathered = gather(&executor.model, &executor.pool, requests);
    F::at(executor, Step::Gather, requests);
    if !gathered.refused.is_empty() {
        *requests = refuse(std::mem::take(requests), std::mem::take(&mut gathered.refused));
    }
    gathered
}

#[inline(always)]
fn run_and_answer<F: Fault>(
    executor: &Executor,
    (exec_start, busy_from, tells_energy): (u64, u64, bool),
    requests: Few<Request>,
    mut gathered: Gathered,
) -> Option<Executed> {
    let Executor { model, pool, .. } = executor;
    let size = gathered.size;
    let outputs = scatter::to_compute(model, &gathered.shares);

    let execution = if tells_energy { begin(executor, size.executed, exec_start) } else { None };
    let compute_start = now_ns();
    let result = match &gathered.tensors {
        Ok(inputs) => {
            model.session.run_fed(gathered.fed, inputs, &outputs, executor.inline.run_options(size.padded))
        }
        Err(error) => Err(error.clone()),
    };
    let compute_end = now_ns();

    // One that has failed tells nothing.
    let execution = execution.filter(|_| result.is_ok());
    let energy = execution.and_then(|execution| execution.end(compute_end));
    let times = BatchTimes { exec_start, compute_start, compute_end, size, energy };
    let (answered, executed) = match (&result, &gathered.tensors) {
        (Ok(tensors), _) => {
            let computed = Computed { outputs: &outputs, tensors, size };
            answer_all::<F>(executor, &computed, &times, requests, &gathered.shares)
        }
        // What failed may be an output that only some of them want. (The parts of a ragged output are those of the whole batch.)
        (Err(_), Ok(inputs))
            if scatter::want_different(&gathered.shares)
                && !model.session.may_act()
                && model.ragged.is_none() =>
        {
            let shares = std::mem::take(&mut gathered.shares);
            answer_apart::<F>(executor, (gathered.fed, inputs), &times, requests, shares)
        }
        (Err(error), _) => (fail_all(model, error, requests), None),
    };
    if let Some(signals) = &executor.signals {
        count(signals, &answered, busy_from, size.executed);
    }
    // Each request's release, after every answer has left; that of one whose buffer is lent waits for the buffer. The server
    // counts a step of an ensemble when it has the request back, so nothing is freed before.
    drop(answered);
    // The outputs first: one may be an input.
    drop(result);
    pool.give_back(gathered.tensors.into_iter().flatten());
    executed
}

/// Counts these requests and the time that an instance has spent on them, until the last one's end.
// Not cold, for the same reason as `begin`.
#[inline(never)]
fn count(signals: &Signals, answered: &[Answered], busy_from: u64, rows: usize) {
    let mut end = 0;
    for stamps in answered.iter().filter_map(Answered::stamps) {
        signals.answered(stamps.request_end.saturating_sub(stamps.arrival));
        end = stamps.request_end;
    }
    // Where none has succeeded nobody has taken the time.
    let end = if end > 0 { end } else { now_ns() };
    signals.executed(end.saturating_sub(busy_from), rows);
}

/// An execution takes part in the books of energy.
// Not cold: where it is wanted at all, it would be far away from the rest of the path, in memory that is not at hand.
#[inline(never)]
fn begin(executor: &Executor, rows: usize, start: u64) -> Option<Execution<'_>> {
    executor.energy.as_ref()?.begin(rows, start)
}

/// Answers the requests that cannot be part of the batch, each with its error, and returns the others.
#[cold]
#[inline(never)]
fn refuse(requests: Few<Request>, refused: Vec<(usize, Error)>) -> Few<Request> {
    let mut others = Few::new();
    let mut refused = refused.into_iter().peekable();
    for (index, request) in requests.into_iter().enumerate() {
        match refused.next_if(|(place, _)| *place == index) {
            Some((_, error)) => drop(request.fail(error)),
            None => others.push(request),
        }
    }
    others
}

/// Answers the requests of a batch with what was computed for them, or all with the same error.
fn answer_all<F: Fault>(
    executor: &Executor,
    computed: &Computed<'_>,
    times: &BatchTimes,
    requests: Few<Request>,
    shares: &[Share],
) -> (Few<Answered>, Option<Executed>) {
    let model = &executor.model;
    let parts = scatter::check(model, computed)
        .and_then(|()| Parts::of_batch(model, (computed.outputs, computed.tensors), &requests));
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => return (fail_all(model, &error, requests), None),
    };
    let mut answered: Few<Answered> = Few::with_capacity(requests.len());
    let mut last = None;
    let mut rows = 0;
    for (place, (request, share)) in requests.into_iter().zip(shares).enumerate() {
        let request = answer::<F>(executor, computed, times, request, (share, rows, parts.of_request(place)));
        last = request.stamps().copied().or(last);
        rows += share.rows.len();
        answered.push(request);
    }
    let last = last.unwrap_or_else(|| times.end(times.exec_start));
    Answered::report(&mut answered, rows, &last);
    let energy_uj = times.energy.and_then(|energy| energy.learnt_uj());
    (answered, Some(Executed { rows, ns: last.request_end - times.exec_start, energy_uj }))
}

/// Computes a batch again, once for all requests that want the same outputs, so that only those fail that want what fails.
#[cold]
#[inline(never)]
fn answer_apart<F: Fault>(
    executor: &Executor,
    (fed, inputs): (Fed, &[Box<Tensor>]),
    times: &BatchTimes,
    requests: Few<Request>,
    shares: Few<Share>,
) -> (Few<Answered>, Option<Executed>) {
    let model = &executor.model;
    let mut others: Vec<(Request, Share)> = requests.into_iter().zip(shares).collect();
    let (mut answered, mut executed) = (Few::new(), None);
    while let Some((_, first)) = others.first() {
        let outputs = scatter::to_compute(model, std::slice::from_ref(first)).into_owned();
        let wants_these = |share: &Share| *scatter::to_compute(model, std::slice::from_ref(share)) == outputs;
        let (these, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, share)| wants_these(share));
        others = rest;
        let (requests, shares): (Few<Request>, Few<Share>) = these.into_iter().unzip();
        let rows = shares.iter().map(|share| share.rows.len()).sum();
        let execution = if energy::is_asked() { begin(executor, rows, now_ns()) } else { None };
        let result =
            model.session.run_fed(fed, inputs, &outputs, executor.inline.run_options(times.size.padded));
        match &result {
            Ok(tensors) => {
                let compute_end = now_ns();
                let energy = execution.and_then(|execution| execution.end(compute_end));
                let times = BatchTimes { compute_end, energy, ..*times };
                let computed = Computed { outputs: &outputs, tensors, size: times.size };
                let (these, done) = answer_all::<F>(executor, &computed, &times, requests, &shares);
                answered.extend(these);
                executed = done.or(executed);
            }
            Err(error) => answered.extend(fail_all(model, error, requests)),
        }
    }
    (answered, executed)
}

/// Answers all requests of a batch with the same error.
#[cold]
#[inline(never)]
fn fail_all(model: &Model, error: &Error, requests: Few<Request>) -> Few<Answered> {
    let error = error.clone().context(format!("model '{}'", model.name));
    requests.into_iter().map(|request| request.fail(error.clone())).collect()
}

/// Writes a request's outputs, takes its end, attaches its times and its energy, which it shares with requests before it of so
/// many rows and those behind it; sends the response.
fn answer<F: Fault>(
    executor: &Executor,
    computed: &Computed<'_>,
    times: &BatchTimes,
    request: Request,
    (share, before, parts): (&Share, usize, &[Part]),
) -> Answered {
    let model = &executor.model;
    F::at(executor, Step::Scatter, std::slice::from_ref(&request));
    let response = match request.respond() {
        Ok(response) => response,
        Err(answered) => return answered,
    };
    let filled = scatter::write(model, computed, share, parts, &response).and_then(|()| {
        let rows = (before..before + share.rows.len(), model.batching);
        timing::attach(times, &response, rows, share.wanted.measures(model), model.latency_parameters)
    });
    match filled {
        Ok(stamps) => response.send(stamps),
        Err(error) => response.fail(error),
    }
}

/// What goes wrong on purpose in the steps of an execution. The choice is made at load, so that the pipeline that
/// users run has none of it.
trait Fault {
    fn at(executor: &Executor, step: Step, requests: &[Request]);
}

struct NoFault;

impl Fault for NoFault {
    fn at(_: &Executor, _: Step, _: &[Request]) {}
}

/// Panics in the step that the model's parameter `test_panic` names, for a request with the id "panic".
struct PlantedPanic;

impl Fault for PlantedPanic {
    fn at(executor: &Executor, step: Step, requests: &[Request]) {
        if executor.test_panic == Some(step) && requests.iter().any(|request| request.id() == Ok("panic")) {
            panic!("planted by the parameter test_panic, in {step:?}");
        }
    }
}
