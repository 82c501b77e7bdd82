//! Outcomes of requests, in windows and totals.

use std::collections::BTreeMap;

use crate::samples::{Fate, Sample};
use crate::times::Times;
use crate::told::Told;

/// The values of a response that the tool reads: names of outputs or response parameters. Nanoseconds up to
/// `executed_batch_size`, a count; `energy_uj` are microjoules, and `energy_measured_percent` is a percentage of them.
pub const SERVER_VALUES: [&str; 9] = [
    "compute_latency_ns",
    "compute_input_ns",
    "compute_infer_ns",
    "compute_output_ns",
    "queue_ns",
    "request_latency_ns",
    "executed_batch_size",
    "energy_uj",
    "energy_measured_percent",
];

/// The index of `executed_batch_size` in [`SERVER_VALUES`].
pub const EXECUTED_BATCH_SIZE: usize = 6;

/// The index of `energy_uj` in [`SERVER_VALUES`].
pub const ENERGY: usize = 7;

/// The index of `energy_measured_percent` in [`SERVER_VALUES`].
pub const ENERGY_MEASURED: usize = 8;

/// A response's values, in the order of [`SERVER_VALUES`].
pub type ServerValues = [Option<i64>; SERVER_VALUES.len()];

/// The outcome of a request. Times on [`now_ns`](crate::clock::now_ns)'s clock.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it was due (open loop); when it was sent (closed loop).
    pub scheduled_ns: u64,
    /// When its first byte was written to the connection.
    pub sent_ns: u64,
    /// When the last byte of the response arrived, or the failure.
    pub done_ns: u64,
    /// The values of the response, or the failure.
    pub result: Result<ServerValues, Failure>,
}

/// The kind of failure of a refusal: the server's queue is full.
const REFUSED: &str = "HTTP 503";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// "HTTP 503", "connection refused", "cannot connect", "connection closed", "timeout", "bad response".
    pub kind: String,
    /// The message of the server, or of the connection.
    pub message: String,
}

impl Outcome {
    fn sample(&self, start_ns: u64) -> Sample {
        Sample {
            due_ns: self.scheduled_ns - start_ns,
            latency_ns: self.done_ns - self.scheduled_ns,
            fate: match &self.result {
                Ok(_) => Fate::Answered,
                Err(failure) if failure.kind == REFUSED => Fate::Refused,
                Err(_) => Fate::Failed,
            },
        }
    }
}

/// When a window ends: at the first response after both minimums.
#[derive(Clone, Copy, Debug)]
pub struct WindowRule {
    /// Time since the start before the first window.
    pub warm_up_ns: u64,
    /// Minimum length of a window. [`u64::MAX`]: one window until the end.
    pub min_ns: u64,
    /// Minimum number of requests in a window.
    pub min_requests: u64,
    /// A request sent later than this after it was due counts as late.
    pub late_ns: u64,
    /// Whether single requests are kept besides the distributions.
    pub keep_each: bool,
}

/// Answers that were compared with what was expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// All of them.
    pub answers: u64,
    /// Those that were wrong.
    pub wrong: u64,
    /// What was wrong with the first of them.
    pub first_difference: Option<String>,
}

impl Compared {
    fn record(&mut self, difference: Option<&str>) {
        self.answers += 1;
        if let Some(difference) = difference {
            self.wrong += 1;
            self.first_difference.get_or_insert_with(|| difference.to_owned());
        }
    }

    /// Adds later ones.
    fn add(&mut self, next: &Self) {
        self.answers += next.answers;
        self.wrong += next.wrong;
        if self.first_difference.is_none() {
            self.first_difference.clone_from(&next.first_difference);
        }
    }
}

/// The requests of a period.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// The response that opened it (or the end of the warm-up).
    pub start_ns: u64,
    /// The response that closed it.
    pub end_ns: u64,
    /// Client latency of the requests that were answered.
    pub latency: Times,
    /// The server's times, in the order of [`SERVER_VALUES`], up to [`EXECUTED_BATCH_SIZE`].
    pub server_times: [Times; EXECUTED_BATCH_SIZE],
    /// Requests by the size of the batch in which they ran.
    pub executed_batch_sizes: BTreeMap<u64, u64>,
    /// The energy that the responses told.
    pub energy: Told,
    /// Failures by kind: count and first message.
    pub failures: BTreeMap<String, (u64, String)>,
    /// The answers that were compared with what was expected.
    pub compared: Compared,
    /// Requests that were due (open loop).
    pub scheduled: u64,
    /// Sent late (open loop).
    pub late: u64,
    /// The longest delay between due and sent.
    pub max_delay_ns: u64,
    /// These delays.
    pub delays: Times,
}

impl Window {
    /// Adds the requests of the window that follows, and moves the end.
    pub fn add(&mut self, next: &Self) {
        if self.end_ns == 0 {
            self.start_ns = next.start_ns;
        }
        self.end_ns = next.end_ns;
        self.latency.add(&next.latency);
        for (times, others) in self.server_times.iter_mut().zip(&next.server_times) {
            times.add(others);
        }
        self.energy.add(&next.energy);
        for (size, count) in &next.executed_batch_sizes {
            *self.executed_batch_sizes.entry(*size).or_default() += count;
        }
        for (kind, (count, message)) in &next.failures {
            self.failures.entry(kind.clone()).or_insert_with(|| (0, message.clone())).0 += count;
        }
        self.compared.add(&next.compared);
        self.scheduled += next.scheduled;
        self.late += next.late;
        self.max_delay_ns = self.max_delay_ns.max(next.max_delay_ns);
        self.delays.add(&next.delays);
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        crate::clock::seconds(self.end_ns - self.start_ns)
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }

    fn record(&mut self, outcome: &Outcome, late_ns: u64) {
        let delay = outcome.sent_ns.saturating_sub(outcome.scheduled_ns);
        self.late += u64::from(delay > late_ns);
        self.max_delay_ns = self.max_delay_ns.max(delay);
        self.delays.record(delay);
        match &outcome.result {
            Ok(values) => {
                self.latency.record(outcome.done_ns - outcome.scheduled_ns);
                for (times, value) in self.server_times.iter_mut().zip(values) {
                    if let Some(ns) = value {
                        times.record(u64::try_from(*ns).unwrap_or(0));
                    }
                }
                if let Some(size) = values[EXECUTED_BATCH_SIZE] {
                    *self.executed_batch_sizes.entry(size.unsigned_abs()).or_default() += 1;
                }
                if let Some(uj) = values[ENERGY] {
                    self.energy.record(uj, values[ENERGY_MEASURED]);
                }
            }
            Err(failure) => {
                self.failures
                    .entry(failure.kind.clone())
                    .or_insert_with(|| (0, failure.message.clone()))
                    .0 += 1;
            }
        }
    }
}

/// Gathers outcomes, on the thread that drives the load.
#[derive(Debug)]
pub struct Recorder {
    rule: WindowRule,
    opens_at_ns: u64,
    window: Option<Window>,
    totals: Window,
    each: Vec<Sample>,
}

impl Recorder {
    /// The load starts at `start_ns`.
    pub fn new(rule: WindowRule, start_ns: u64) -> Self {
        let empty = Window { start_ns, end_ns: start_ns, ..Window::default() };
        // Without a warm-up (a trace) the first request counts, too.
        let window = (rule.warm_up_ns == 0).then(|| empty.clone());
        Self {
            rule,
            opens_at_ns: start_ns.saturating_add(rule.warm_up_ns),
            window,
            totals: empty,
            each: Vec::new(),
        }
    }

    /// Whether the warm-up is over.
    pub fn is_open(&self) -> bool {
        self.window.is_some()
    }

    /// A request has become due (open loop).
    pub fn scheduled(&mut self) {
        self.totals.scheduled += 1;
        if let Some(window) = &mut self.window {
            window.scheduled += 1;
        }
    }

    /// An answer, which is recorded next, was compared with what was expected: what is wrong with it.
    pub fn compared(&mut self, difference: Option<String>) {
        self.totals.compared.record(difference.as_deref());
        if let Some(window) = &mut self.window {
            window.compared.record(difference.as_deref());
        }
    }

    /// Records a request that is done. Returns the window that it closes, if it does.
    ///
    /// Windows begin and end with a response: a fixed length would cut off parts of requests, which distorts the
    /// throughput of few long ones.
    pub fn record(&mut self, outcome: &Outcome) -> Option<Window> {
        self.totals.record(outcome, self.rule.late_ns);
        self.totals.end_ns = outcome.done_ns;
        if self.rule.keep_each {
            self.each.push(outcome.sample(self.totals.start_ns));
        }
        let Some(window) = &mut self.window else {
            if outcome.done_ns >= self.opens_at_ns {
                let done = outcome.done_ns;
                self.window = Some(Window { start_ns: done, end_ns: done, ..Window::default() });
            }
            return None;
        };
        window.record(outcome, self.rule.late_ns);
        window.end_ns = outcome.done_ns;
        let requests = window.latency.count() + window.failed();
        let full = window.end_ns - window.start_ns >= self.rule.min_ns && requests >= self.rule.min_requests;
        full.then(|| {
            let next = Window { start_ns: outcome.done_ns, end_ns: outcome.done_ns, ..Window::default() };
            self.window.replace(next).expect("there was a window")
        })
    }

    /// The single requests so far, if they are kept, in order of completion.
    pub fn take_each(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.each)
    }

    /// Returns the last window, which was not full, and the totals since the start.
    pub fn finish(self) -> (Option<Window>, Window) {
        (self.window, self.totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: WindowRule =
        WindowRule { warm_up_ns: 100, min_ns: 50, min_requests: 2, late_ns: 5, keep_each: false };

    fn outcome(
        scheduled_ns: u64,
        sent_ns: u64,
        done_ns: u64,
        result: Result<ServerValues, Failure>,
    ) -> Outcome {
        Outcome { scheduled_ns, sent_ns, done_ns, result }
    }

    fn good(sent_ns: u64, done_ns: u64) -> Outcome {
        outcome(sent_ns, sent_ns, done_ns, Ok(ServerValues::default()))
    }

    fn failed(kind: &str, message: &str) -> Result<ServerValues, Failure> {
        Err(Failure { kind: kind.to_owned(), message: message.to_owned() })
    }

    #[test]
    fn windows_begin_and_end_with_responses() {
        let mut recorder = Recorder::new(RULE, 1000);
        // Warm-up; the first response after it opens the window and is not in it.
        assert!(recorder.record(&good(1000, 1099)).is_none());
        assert!(recorder.record(&good(1099, 1110)).is_none());
        // Long enough, but one request only.
        assert!(recorder.record(&good(1110, 1170)).is_none());
        let first = recorder.record(&good(1170, 1180)).expect("long enough, with two requests");
        assert_eq!((first.start_ns, first.end_ns, first.latency.count()), (1110, 1180, 2));
        // Two requests, but too short; then one more.
        assert!(recorder.record(&good(1180, 1190)).is_none());
        assert!(recorder.record(&good(1190, 1229)).is_none());
        let second = recorder.record(&good(1229, 1230)).expect("long enough now");
        assert_eq!((second.start_ns, second.end_ns, second.latency.count()), (1180, 1230, 3));
        assert!(recorder.record(&good(1230, 1240)).is_none());
        let (rest, all) = recorder.finish();
        let rest = rest.expect("a window had begun");
        assert_eq!((rest.start_ns, rest.end_ns, rest.latency.count()), (1230, 1240, 1));
        assert_eq!((all.start_ns, all.end_ns, all.latency.count()), (1000, 1240, 8));
    }

    #[test]
    fn without_warm_up_the_first_request_counts() {
        let rule =
            WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 0, late_ns: 0, keep_each: false };
        let mut recorder = Recorder::new(rule, 1000);
        for number in 0..100 {
            recorder.scheduled();
            assert!(recorder.record(&good(1000 + number, 1001 + number)).is_none());
        }
        let (rest, all) = recorder.finish();
        let rest = rest.expect("the one window");
        assert_eq!((rest.start_ns, rest.latency.count(), rest.scheduled), (1000, 100, 100));
        assert_eq!((all.latency.count(), all.scheduled), (100, 100));
    }

    #[test]
    fn warm_up_that_never_ends_leaves_no_window() {
        let mut recorder = Recorder::new(WindowRule { warm_up_ns: u64::MAX, ..RULE }, 1000);
        assert!(recorder.record(&good(1000, 1_000_000)).is_none());
        let (rest, all) = recorder.finish();
        assert!(rest.is_none());
        assert_eq!(all.latency.count(), 1);
    }

    #[test]
    fn everything_of_an_outcome_is_kept() {
        let mut window = Window::default();
        let mut values = ServerValues::default();
        values[0] = Some(40);
        values[EXECUTED_BATCH_SIZE] = Some(4);
        values[ENERGY] = Some(2_000_000);
        values[ENERGY_MEASURED] = Some(25);
        // Latency counts from when it was due.
        window.record(&outcome(100, 107, 200, Ok(values)), 5);
        window.record(&outcome(100, 105, 150, Ok(ServerValues::default())), 5);
        window.record(&outcome(100, 109, 300, failed("timeout", "first")), 5);
        window.record(&outcome(100, 100, 300, failed("timeout", "second")), 5);
        assert_eq!((window.latency.count(), window.latency.min_ns, window.latency.max_ns), (2, 50, 100));
        assert_eq!(window.latency.mean(), Some(75.0));
        assert_eq!((window.late, window.max_delay_ns), (2, 9));
        assert_eq!((window.server_times[0].count(), window.server_times[0].mean()), (1, Some(40.0)));
        assert_eq!(window.server_times[1].mean(), None);
        assert_eq!(window.executed_batch_sizes, BTreeMap::from([(4, 1)]));
        assert_eq!(window.energy.responses, 1, "the other response told none");
        assert_eq!((window.energy.joules(), window.energy.measured_share()), (Some(2.0), Some(0.25)));
        assert_eq!(window.failures, BTreeMap::from([("timeout".to_owned(), (2, "first".to_owned()))]));
        assert_eq!(window.failed(), 2);
    }

    #[test]
    fn each_request_is_kept_where_asked_for() {
        let rule =
            WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 0, late_ns: 0, keep_each: true };
        let mut recorder = Recorder::new(rule, 1000);
        recorder.record(&outcome(1500, 1500, 1600, failed("HTTP 503", "full")));
        recorder.record(&outcome(1000, 1100, 1700, Ok(ServerValues::default())));
        recorder.record(&outcome(1000, 1000, 1800, failed("HTTP 400", "wrong")));
        let sample = |due_ns, latency_ns, fate| Sample { due_ns, latency_ns, fate };
        assert_eq!(
            recorder.take_each(),
            [sample(500, 100, Fate::Refused), sample(0, 700, Fate::Answered), sample(0, 800, Fate::Failed)]
        );
        let mut recorder = Recorder::new(WindowRule { keep_each: false, ..rule }, 1000);
        recorder.record(&good(1000, 1100));
        assert_eq!(recorder.take_each(), []);
    }

    #[test]
    fn merged_windows_add_up() {
        let mut recorder = Recorder::new(RULE, 0);
        let mut windows = Vec::new();
        let mut values = ServerValues::default();
        values[2] = Some(9);
        values[ENERGY] = Some(11);
        for number in 0..200_u64 {
            recorder.scheduled();
            values[EXECUTED_BATCH_SIZE] = Some((number % 3) as i64);
            let result = match number % 7 {
                0 => failed("HTTP 503", &format!("number {number}")),
                _ => Ok(values),
            };
            let done_ns = (number + 1) * 10;
            windows.extend(recorder.record(&outcome(done_ns - 9, done_ns - number % 9, done_ns, result)));
        }
        assert!(windows.len() > 10, "{} windows", windows.len());
        let (rest, all) = recorder.finish();
        let mut sum = Window::default();
        for window in windows.iter().chain(&rest) {
            assert!(sum.end_ns == 0 || sum.end_ns == window.start_ns, "a gap between windows");
            sum.add(window);
        }
        // The warm-up is what all of it has and the windows do not: its last response opened the first one.
        assert_eq!((sum.start_ns, sum.end_ns), (100, all.end_ns));
        assert_eq!(sum.seconds(), 1.9e-6);
        assert_eq!((sum.latency.count() + sum.failed(), all.latency.count() + all.failed()), (190, 200));
        assert_eq!(sum.scheduled, 190);
        assert_eq!(sum.failures["HTTP 503"], (27, "number 14".to_owned()));
        assert_eq!(
            (sum.max_delay_ns, sum.late),
            (all.max_delay_ns, windows.iter().chain(&rest).map(|w| w.late).sum())
        );
        assert_eq!(sum.server_times[2].sum_ns, 9 * u128::from(sum.latency.count()));
        assert_eq!(sum.executed_batch_sizes.values().sum::<u64>(), sum.latency.count());
        assert_eq!(
            (sum.energy.responses, sum.energy.uj),
            (sum.latency.count(), 11 * i128::from(sum.latency.count()))
        );
    }
}
