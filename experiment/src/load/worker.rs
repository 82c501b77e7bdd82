//! The workers of a load, and their shared state.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::connection::{Connection, Exchange};
use super::deck::Deck;
use super::event::{Event, Totals};
use super::response::ServerValuesFrom;
use crate::answers::Output;
use crate::clock::now_ns;
use crate::record::{Failure, Outcome, Recorder};

/// Shared by the workers of one load; they are tasks of one thread.
pub(super) struct Shared {
    state: RefCell<State>,
    deck: Deck,
    /// Wakes the workers that wait for a response, to give it up.
    cut: Notify,
}

struct State {
    turns: Turns,
    /// Whether no more requests will be sent.
    finished: bool,
    recorder: Recorder,
    start_ns: u64,
    from: Option<ServerValuesFrom>,
    unsent: u64,
    events: mpsc::Sender<Event>,
}

/// Whose turn it is to send, and when.
pub(super) enum Turns {
    /// Closed loop: every worker may always send.
    Always,
    /// Open loop: one turn for each request that is due.
    Due {
        /// Due times of requests that wait for a worker.
        queue: VecDeque<u64>,
        /// Workers that wait for a request. The last one is used first, so that few connections stay in use.
        idle: Vec<oneshot::Sender<u64>>,
    },
}

impl Shared {
    pub fn new(
        turns: Turns,
        deck: Deck,
        recorder: Recorder,
        start_ns: u64,
        events: mpsc::Sender<Event>,
    ) -> Rc<Self> {
        let state = State { turns, finished: false, recorder, start_ns, from: None, unsent: 0, events };
        Rc::new(Self { state: RefCell::new(state), deck, cut: Notify::new() })
    }

    /// Gives up all requests in flight: they fail with the kind "timeout".
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Records that a request is due (open loop). Returns whether it has to wait because no worker is idle.
    pub fn is_due(&self, due_ns: u64) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.recorder.scheduled();
        let Turns::Due { queue, idle } = &mut state.turns else { return false };
        if let Some(worker) = idle.pop() {
            return worker.send(due_ns).is_err();
        }
        queue.push_back(due_ns);
        true
    }

    /// Ends the load. Requests that wait are still sent, unless `dropped` is set.
    pub fn finish(&self, dropped: bool) {
        let state = &mut *self.state.borrow_mut();
        state.finished = true;
        if let Turns::Due { queue, idle } = &mut state.turns {
            idle.clear();
            if dropped {
                state.unsent += queue.len() as u64;
                queue.clear();
            }
        }
    }

    /// Reports the totals.
    pub fn end(self: Rc<Self>) {
        let Some(shared) = Rc::into_inner(self) else { unreachable!("the workers are gone") };
        let State { mut recorder, start_ns, from, unsent, events, .. } = shared.state.into_inner();
        let each = recorder.take_each();
        let (rest, all) = recorder.finish();
        let totals = Totals { all, rest, each, start_ns, unsent, server_values_from: from };
        // Nobody may be listening any more.
        let _ = events.send(Event::Ended(Box::new(totals)));
    }

    /// Waits for a turn. Returns when the request is due, or none at the end.
    async fn turn(&self) -> Option<Due> {
        let turn = {
            let state = &mut *self.state.borrow_mut();
            match &mut state.turns {
                Turns::Always => return (!state.finished).then_some(Due::Now),
                Turns::Due { queue, idle } => {
                    if let Some(due_ns) = queue.pop_front() {
                        return Some(Due::At(due_ns));
                    }
                    if state.finished {
                        return None;
                    }
                    let (sender, turn) = oneshot::channel();
                    idle.push(sender);
                    turn
                }
            }
        };
        turn.await.ok().map(Due::At)
    }

    /// Compares the outputs of an answer with those expected.
    fn compare(&self, draw: usize, outputs: &Result<Vec<Output>, String>) {
        let difference = self.deck.difference(draw, outputs);
        self.state.borrow_mut().recorder.compared(difference);
    }

    fn record(&self, outcome: &Outcome, from: Option<ServerValuesFrom>) {
        let state = &mut *self.state.borrow_mut();
        state.from = state.from.max(from);
        let was_open = state.recorder.is_open();
        // Nobody may be listening any more.
        if let Some(window) = state.recorder.record(outcome) {
            let _ = state.events.send(Event::Window(Box::new(window)));
        }
        if !was_open && state.recorder.is_open() {
            let _ = state.events.send(Event::Opened);
        }
    }
}

fn given_up(sent_ns: u64) -> Exchange {
    let done_ns = now_ns();
    let waited = crate::clock::seconds(done_ns - sent_ns);
    let message =
        format!("no response within {waited:.1} s, when the time of the point (--max-time) was over");
    Exchange { sent_ns, done_ns, result: Err(Failure { kind: "timeout".to_owned(), message }) }
}

#[derive(Debug, PartialEq)]
enum Due {
    Now,
    At(u64),
}

/// Sends requests, one after the other, until the end. Each worker has a number of its own.
pub(super) async fn work(shared: Rc<Shared>, mut connection: Connection, number: usize) {
    if shared.deck.checks() {
        connection.keep_outputs();
    }
    tokio::select! {
        // A failure will also be that of the first request.
        _ = connection.open() => {}
        () = shared.cut.notified() => return,
    }
    while let Some(due) = shared.turn().await {
        let draw = shared.deck.draw();
        if let Some(request) = shared.deck.request(draw, number) {
            connection.put(request);
        }
        let begun_ns = now_ns();
        let exchange = tokio::select! {
            exchange = connection.exchange() => exchange,
            () = shared.cut.notified() => given_up(begun_ns),
        };
        if exchange.result.is_ok() && shared.deck.checks() {
            shared.compare(draw, &connection.outputs());
        }
        let scheduled_ns = match due {
            Due::Now => exchange.sent_ns,
            Due::At(due_ns) => due_ns,
        };
        let (result, from) = match exchange.result {
            Ok((values, from)) => (Ok(values), from),
            Err(failure) => (Err(failure), None),
        };
        let outcome = Outcome { scheduled_ns, sent_ns: exchange.sent_ns, done_ns: exchange.done_ns, result };
        shared.record(&outcome, from);
        if let Some(pause) = connection.pause() {
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::load::request::PreparedRequest;
    use crate::record::WindowRule;

    fn shared(turns: Turns) -> (Rc<Shared>, mpsc::Receiver<Event>) {
        let rule =
            WindowRule { warm_up_ns: 0, min_ns: u64::MAX, min_requests: 0, late_ns: 0, keep_each: false };
        let (sender, events) = mpsc::channel();
        let request = PreparedRequest::new("m", None, &[], &[]).unwrap();
        let deck = Deck::new(vec![request], 1, Vec::new().into(), 1).unwrap();
        (Shared::new(turns, deck, Recorder::new(rule, 0), 0, sender), events)
    }

    fn open() -> (Rc<Shared>, mpsc::Receiver<Event>) {
        shared(Turns::Due { queue: VecDeque::new(), idle: Vec::new() })
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn last_idle_worker_goes_first() {
        let (shared, _events) = open();
        let (mut first, mut second) = (pin!(shared.turn()), pin!(shared.turn()));
        assert_eq!(poll(first.as_mut()), Poll::Pending);
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert!(!shared.is_due(10), "a worker is idle");
        assert_eq!(poll(first.as_mut()), Poll::Pending);
        assert_eq!(poll(second.as_mut()), Poll::Ready(Some(Due::At(10))));
        assert!(!shared.is_due(20), "a worker is idle");
        assert_eq!(poll(first.as_mut()), Poll::Ready(Some(Due::At(20))));
        assert!(shared.is_due(30), "no worker is idle");
    }

    #[test]
    fn requests_that_wait_are_taken_in_order_until_dropped() {
        let (shared, events) = open();
        for due_ns in [10, 20, 30, 40] {
            assert!(shared.is_due(due_ns));
        }
        assert_eq!(poll(pin!(shared.turn())), Poll::Ready(Some(Due::At(10))));
        shared.finish(false);
        assert_eq!(poll(pin!(shared.turn())), Poll::Ready(Some(Due::At(20))));
        shared.finish(true);
        assert_eq!(poll(pin!(shared.turn())), Poll::Ready(None));
        shared.end();
        let Ok(Event::Ended(totals)) = events.recv() else { panic!("no totals") };
        assert_eq!((totals.unsent, totals.all.scheduled), (2, 4));
    }

    #[test]
    fn everybody_has_a_turn_until_the_end() {
        let (shared, _events) = shared(Turns::Always);
        assert_eq!(poll(pin!(shared.turn())), Poll::Ready(Some(Due::Now)));
        shared.finish(true);
        assert_eq!(poll(pin!(shared.turn())), Poll::Ready(None));
    }

    #[test]
    fn idle_workers_are_sent_home() {
        let (shared, _events) = open();
        let mut turn = pin!(shared.turn());
        assert_eq!(poll(turn.as_mut()), Poll::Pending);
        shared.finish(false);
        assert_eq!(poll(turn), Poll::Ready(None));
    }
}
