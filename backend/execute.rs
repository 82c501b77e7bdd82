//! The pipeline: what happens to the requests of one execution, from end to end.

use std::borrow::Cow;
use std::ops::Range;

use crate::config::Step;
use crate::few::Few;
use crate::gather::gather;
use crate::model::{Model, Selection};
use crate::scatter::{self, Computed};
use crate::timing::{self, BatchTimes};
use crate::triton::Result;
use crate::triton::clock::now_ns;
use crate::triton::request::{Request, Stamps, report_batch};

/// A request that is part of the batch.
struct Member<'m> {
    request: Request,
    rows: Range<usize>,
    wanted: Cow<'m, Selection>,
}

/// A batch that was executed.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    /// Images (rows) in it.
    pub rows: usize,
    /// From its start to the end of its last request, in nanoseconds.
    pub ns: u64,
}

/// Executes requests that the server handed over together, and answers every one of them.
pub fn execute(model: &Model, requests: Few<Request>) {
    if model.batching {
        execute_batch(model, requests);
    } else {
        // Without a batch dimension there is nothing to put two requests into.
        for request in requests {
            execute_batch(model, Few::from_iter([request]));
        }
    }
}

/// Executes requests as one batch and answers every one of them. Nothing is returned where nothing was
/// computed.
pub fn execute_batch(model: &Model, requests: Few<Request>) -> Option<Executed> {
    let exec_start = now_ns();
    planted_panic(model, Step::Execute, &requests);

    let gathered = gather(model, &requests);
    planted_panic(model, Step::Gather, &requests);
    let mut members = admit(model, requests, gathered.rows);
    if members.is_empty() {
        return None;
    }
    let rows = gathered.total_rows;
    let outputs = scatter::to_compute(model, members.iter().map(|member| &*member.wanted));

    let compute_start = now_ns();
    let result = model.session.run(&gathered.tensors, &outputs, model.calling_thread.run_options(rows));
    let compute_end = now_ns();

    let times = BatchTimes { exec_start, compute_start, compute_end, executed_batch_size: rows };
    let computed = result.and_then(|tensors| {
        let computed = Computed { outputs: &outputs, tensors, rows };
        scatter::check(model, &computed).map(|()| computed)
    });
    let executed = answer_all(model, computed, &times, &mut members);
    model.pool.give_back(gathered.tensors);
    // The members go now: each one's statistics and its release, after every answer has left.
    executed
}

/// Answers the members of a batch with what was computed for them, or all with the same error.
fn answer_all(
    model: &Model,
    computed: Result<Computed<'_>>,
    times: &BatchTimes,
    members: &mut [Member<'_>],
) -> Option<Executed> {
    match computed {
        Ok(computed) => {
            let mut last = times.end(members[0].request.arrival());
            for member in &mut *members {
                last = answer(model, &computed, times, member).unwrap_or(last);
            }
            report_batch(&members[0].request, computed.rows as u64, last);
            Some(Executed { rows: computed.rows, ns: last.request_end - times.exec_start })
        }
        Err(error) => {
            let error = error.context(format!("model '{}'", model.name));
            members.iter_mut().for_each(|member| member.request.fail(error.clone()));
            None
        }
    }
}

/// Keeps the requests that can run together and answers the others with their error.
fn admit(model: &Model, requests: Few<Request>, rows: Few<Result<Range<usize>>>) -> Few<Member<'_>> {
    let mut members = Few::with_capacity(requests.len());
    for (mut request, rows) in requests.into_iter().zip(rows) {
        match rows.and_then(|rows| Ok((rows, scatter::wanted(model, &request)?))) {
            Ok((rows, wanted)) => members.push(Member { request, rows, wanted }),
            Err(error) => request.fail(error),
        }
    }
    members
}

/// Writes a request's outputs, takes its end, attaches its times, sends the response. Returns the
/// request's stamps, or nothing when it got an error instead.
fn answer(
    model: &Model,
    computed: &Computed<'_>,
    times: &BatchTimes,
    member: &mut Member<'_>,
) -> Option<Stamps> {
    let Member { request, rows, wanted } = member;
    planted_panic(model, Step::Scatter, std::slice::from_ref(request));
    let filled = request.respond().and_then(|response| {
        scatter::write(model, computed, wanted, rows, &response)?;
        let own_rows = model.batching.then_some(rows.len());
        let (outputs, parameters) = (&wanted.measures, model.latency_parameters);
        let stamps = timing::attach(times, request.arrival(), &response, own_rows, outputs, parameters)?;
        Ok((response, stamps))
    });
    match filled {
        Ok((response, stamps)) => {
            request.send(response, stamps);
            Some(stamps)
        }
        Err(error) => {
            request.fail(error);
            None
        }
    }
}

/// For tests: panics in the step that the model's parameter names, for a request with the id "panic".
fn planted_panic(model: &Model, step: Step, requests: &[Request]) {
    if model.test_panic == Some(step) && requests.iter().any(|request| request.id() == Ok("panic")) {
        panic!("planted by the parameter test_panic, in {step:?}");
    }
}
