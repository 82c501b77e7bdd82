//! What holds after every life, whatever failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{Message, Metric, MetricArgs, MetricFamily, Output, Parameter, Pinned, Response};
use crate::call::ErrorObject;
use crate::cuda;
use crate::faults::Kind;
use crate::library;
use crate::objects;
use crate::request::{Answer, Input, Record, Request};
use crate::scenario::{Errors, Life, Part};
use crate::violations;

/// Ends the process, for which there is no way on; the violations are told.
pub fn end_process() -> ! {
    crate::points::tell(&violations::take());
    std::process::exit(3);
}

/// Checks a life that is over.
pub fn after(life: &Life) {
    let all = || life.records.iter().chain(&life.last);
    all().for_each(|record| one_answer_one_release(life, record));
    if let Some(last) = &life.last {
        the_last_is_answered_well(life, last);
    }
    if life.scenario.part != Part::Traffic {
        neighbours_are_answered_well(life);
    }
    let errors = errors();
    if life.scenario.part == Part::Execute && errors > life.errors_before {
        violations::add(format!("{} errors more than before", errors - life.errors_before));
    }
    nothing_is_left::<Response>("responses", |_| String::new());
    nothing_is_left::<Output>("outputs", |_| String::new());
    nothing_is_left::<Request>("requests", |request| request.record.number.to_string());
    nothing_is_left::<Input>("inputs", |input| input.name.to_string_lossy().into_owned());
    nothing_is_left::<Parameter>("labels", |_| String::new());
}

/// How many error objects there are.
pub fn errors() -> usize {
    objects::count::<ErrorObject>()
}

/// Checks that the backend, which was unloaded, has left nothing.
pub fn nothing_is_loaded() {
    library::no_thread_is_left();
    nothing_is_left::<ErrorObject>("errors", |error| error.text.to_string_lossy().into_owned());
    nothing_is_left::<Message>("messages", |message| message.text.to_string_lossy().into_owned());
    inputs_are_let_go();
    nothing_is_left::<Pinned>("pieces of page-locked memory", |_| String::new());
    nothing_is_left::<Metric>("metrics", |_| String::new());
    nothing_is_left::<MetricArgs>("arguments of metrics", |_| String::new());
    nothing_is_left::<MetricFamily>("families of metrics", |_| String::new());
}

/// Waits until TensorFlow has let go of the inputs of its last runs, which it may use for a moment after them. On a busy machine
/// that moment can be longer than an unload.
fn inputs_are_let_go() {
    let patience = Instant::now() + Duration::from_secs(10);
    while objects::count::<Pinned>() > 0 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(1));
    }
}

fn nothing_is_left<T: Send + Sync + 'static>(what: &str, text: impl Fn(&T) -> String) {
    let left: Vec<String> = objects::remove_all::<T>().iter().map(|object: &Arc<T>| text(object)).collect();
    if !left.is_empty() {
        violations::add(format!("{} {what} are left: {left:?}", left.len()));
    }
}

fn one_answer_one_release(life: &Life, record: &Record) {
    let number = record.number;
    let (answers, releases, reports) =
        (record.answers(), record.releases.load(Ordering::Acquire), record.reports.load(Ordering::Relaxed));
    if releases != 1 {
        violations::add(format!("request {number}: released {releases} times"));
    }
    let by_server = matches!(answers[..], [Answer::ByServer(_)]);
    if reports != u32::from(!by_server) {
        violations::add(format!("request {number}: reported {reports} times, answered {answers:?}"));
    }
    if answers.len() != 1 && !(answers.is_empty() && may_stay_unanswered(life, record)) {
        violations::add(format!("request {number}: answered {} times: {answers:?}", answers.len()));
    }
    if let Some(reason) = record.asked.refused_for {
        let tells = |answer: &Answer| matches!(answer, Answer::Error(text) if text.contains(reason));
        let may_be_another = life.fault.is_some() || life.errors != Errors::Made;
        if answers.contains(&Answer::Well) || !may_be_another && !answers.iter().all(tells) {
            violations::add(format!(
                "request {number}: not refused for {reason:?}, but answered {answers:?}"
            ));
        }
    }
    if record.asked.is_bad && answers.contains(&Answer::Well) {
        violations::add(format!("request {number}: is bad, and was answered with a success"));
    }
}

/// Where the server has never made an error, nobody can be told of one: without an error a response is a success. So the
/// request is released, and the log says why. It is the only case.
fn may_stay_unanswered(life: &Life, record: &Record) -> bool {
    let failed = life.fault.is_some() || life.scenario.part == Part::Traffic;
    life.errors == Errors::NeverMade && (failed || !record.asked.is_good())
}

/// If loading has succeeded, as far as the server knows, the model is there.
fn the_last_is_answered_well(life: &Life, last: &Record) {
    // Without errors it does not know.
    if life.errors == Errors::NeverMade && life.fault.is_some() {
        return;
    }
    if last.answers() != [Answer::Well] || life.of_last.is_err() {
        violations::add(format!(
            "when nothing failed any more, a request was answered {:?}, and Execute returned {:?}",
            last.answers(),
            life.of_last
        ));
    }
}

/// A fault costs the answer of one request at most, and of none where the call is not for the answer.
fn neighbours_are_answered_well(life: &Life) {
    let failed =
        life.records.iter().filter(|record| record.asked.is_good() && record.answers() != [Answer::Well]);
    let failed: Vec<String> =
        failed.map(|record| format!("request {}: {:?}", record.number, record.answers())).collect();
    // A call of the driver's that fails is named to the client.
    if let Some(fault) = life.fault.as_ref().filter(|fault| cuda::has(&fault.function))
        && life.errors == Errors::Made
        && !failed.iter().all(|text| text.contains(&fault.function) && text.contains("GPU"))
    {
        violations::add(format!("not named {}: {}", fault.function, failed.join("; ")));
    }
    let most =
        life.fault.as_ref().map_or(0, |fault| usize::from(is_for_an_answer(&fault.function, fault.kind)));
    if failed.len() > most {
        violations::add(format!(
            "{} good requests were not answered well: {}",
            failed.len(),
            failed.join("; ")
        ));
    }
}

fn is_for_an_answer(function: &str, kind: Kind) -> bool {
    if cuda::has(function) {
        return true;
    }
    let name = function.strip_prefix("TRITONBACKEND_").unwrap_or_default();
    match name {
        "RequestIsCancelled" | "RequestRelease" | "RequestId" => false,
        // The client has it.
        "ResponseSend" => kind == Kind::Error,
        _ => ["Request", "Input", "Response", "Output"].iter().any(|of| name.starts_with(of)),
    }
}
