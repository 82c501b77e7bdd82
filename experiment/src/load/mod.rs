//! Sends requests at their times and gathers the outcomes.
//!
//! A load runs on one thread, with one connection for each request in flight, so that it takes little CPU time from a
//! server on the same machine.

mod connection;
mod data;
mod deck;
mod event;
#[cfg(test)]
mod hostile_tests;
mod outputs;
mod pacer;
mod region;
mod request;
mod response;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

pub use data::{Fill, tensor, tensor_size};
pub use event::{Event, Totals};
pub use region::{Region, unique_name};
pub use request::{Input, InputData, Output, PreparedRequest, SharedRange};
pub use response::ServerValuesFrom;

use crate::answers::Expected;
use crate::clock::now_ns;
use crate::record::{Recorder, WindowRule};
use connection::Connection;
use deck::Deck;
use pacer::Pacer;
use worker::{Shared, Turns, work};

/// Maximum number of requests that are handed over at once, before workers and orders get a turn.
const MOST_AT_ONCE: usize = 256;

/// Interval of the check whether to go on waiting for the end of a load.
const LOOK: Duration = Duration::from_millis(100);

/// What to send, where, and when.
pub struct Workload {
    /// The server.
    pub address: SocketAddr,
    /// For the header `Host`.
    pub host: String,
    /// Those of each draw, one draw after the other: one for each request in flight if they differ (in the shared memory of
    /// their outputs), or one for all.
    pub requests: Vec<PreparedRequest>,
    /// Number of draws. They are sent in their order, over and over.
    pub draws: usize,
    /// What is expected of the answers to each draw; empty: they are not compared.
    pub expected: Arc<[Expected]>,
    /// When requests are sent.
    pub pacing: Pacing,
    /// How outcomes are gathered.
    pub rule: WindowRule,
    /// A request without a response after this time fails with the kind "timeout".
    pub timeout: Duration,
}

/// When requests are sent.
pub enum Pacing {
    /// Closed loop: each worker sends its next request as soon as the last one is answered.
    Closed {
        /// Number of workers, and so of concurrent requests.
        concurrency: usize,
    },
    /// Open loop: at times that do not depend on the answers. A request's latency counts from when it was due.
    Open {
        /// Due times since the start, ascending. The load ends when all of these requests are answered.
        arrivals: Box<dyn Iterator<Item = Duration> + Send>,
        /// Maximum number of requests in flight; further ones wait.
        max_connections: usize,
    },
}

/// A running load. Dropping it before its end abandons the requests in flight.
#[derive(Debug)]
pub struct Running {
    order: watch::Sender<Order>,
    events: mpsc::Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Order {
    Run,
    Finish,
    Cut,
    Abort,
}

/// Starts a load.
///
/// # Errors
///
/// The workload has no workers or too few requests for them, or no thread can be started.
pub fn start(workload: Workload) -> Result<Running> {
    let (order, orders) = watch::channel(Order::Run);
    let (sender, events) = mpsc::channel();
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let driver = {
        let _runtime = runtime.enter();
        Driver::new(workload)?
    };
    let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
        let local = LocalSet::new();
        // As a separate task it is not polled whenever a worker makes progress.
        let done = local.spawn_local(driver.drive(orders, sender));
        if let Err(error) = local.block_on(&runtime, done) {
            panic::resume_unwind(error.into_panic());
        }
    });
    let thread = thread.context("cannot start a thread")?;
    Ok(Running { order, events, thread: Some(thread) })
}

impl Running {
    /// Events as they happen; [`Event::Ended`] is the last.
    pub fn events(&self) -> &mpsc::Receiver<Event> {
        &self.events
    }

    /// Waits for the end, as long as `go_on` returns no error.
    ///
    /// # Errors
    ///
    /// That of `go_on`, or the load failed.
    pub fn ended(&self, go_on: impl Fn() -> Result<()>) -> Result<Totals> {
        loop {
            go_on()?;
            match self.events.recv_timeout(LOOK) {
                Ok(Event::Ended(totals)) => return Ok(*totals),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the load ended without a result"),
            }
        }
    }

    /// Sends no more requests. [`Event::Ended`] follows when those in flight are answered or have timed out. Requests
    /// that are due and wait are counted as unsent.
    pub fn stop(&self) {
        self.order.send_replace(Order::Finish);
    }

    /// As [`Running::stop`], and gives up the requests in flight: they fail with the kind "timeout".
    pub fn cut(&self) {
        self.order.send_replace(Order::Cut);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.order.send_replace(Order::Abort);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// Hands out turns and starts the workers.
struct Driver {
    /// Connections of workers that are not started, the next one last.
    connections: Vec<Connection>,
    /// Number of workers that have been started.
    started: usize,
    deck: Option<Deck>,
    /// Number of workers at the start.
    first: usize,
    /// The pacer of an open loop that is not over.
    pacer: Option<Pacer>,
    rule: WindowRule,
}

impl Driver {
    /// Needs to be called inside a runtime.
    fn new(workload: Workload) -> Result<Self> {
        let Workload { address, host, requests, draws, expected, pacing, rule, timeout } = workload;
        let (workers, first, pacer) = match pacing {
            Pacing::Closed { concurrency } => (concurrency, concurrency, None),
            Pacing::Open { arrivals, max_connections } => {
                let pacer = Pacer::new(arrivals).context("cannot make a timer")?;
                (max_connections, max_connections.min(2), Some(pacer))
            }
        };
        ensure!(workers > 0, "0 requests in flight: expected 1 or more");
        let deck = Deck::new(requests, draws, expected, workers)?;
        let connections = (0..workers)
            .rev()
            .map(|slot| Connection::new(address, &host, deck.first(slot), timeout))
            .collect::<Result<_>>()?;
        Ok(Self { connections, started: 0, deck: Some(deck), first, pacer, rule })
    }

    async fn drive(mut self, mut orders: watch::Receiver<Order>, events: mpsc::Sender<Event>) {
        tokio::select! {
            () = self.connect() => {}
            order = next_order(&mut orders, Order::Run) => if order == Order::Abort { return },
        }
        let start_ns = now_ns();
        let turns = match &mut self.pacer {
            Some(pacer) => {
                pacer.start(start_ns);
                Turns::Due { queue: VecDeque::new(), idle: Vec::new() }
            }
            None => Turns::Always,
        };
        let deck = self.deck.take().expect("a load is driven once");
        let shared = Shared::new(turns, deck, Recorder::new(self.rule, start_ns), start_ns, events);
        let mut workers = JoinSet::new();
        for _ in 0..self.first {
            self.start_worker(&shared, &mut workers);
        }
        let mut order = Order::Run;
        loop {
            self.hand_over(&shared, &mut workers);
            if order >= Order::Finish {
                shared.finish(true);
                self.pacer = None;
                if order == Order::Cut {
                    shared.cut();
                }
            } else if self.pacer.as_mut().is_some_and(Pacer::is_over) {
                shared.finish(false);
                self.pacer = None;
            }
            tokio::select! {
                waited = async { self.pacer.as_mut().expect("asked for").wait().await }, if self.pacer.is_some() => {
                    waited.expect("the kernel's timer works");
                }
                next = next_order(&mut orders, order) => match next {
                    Order::Abort => return,
                    next => order = next,
                },
                ended = workers.join_next() => match ended {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(error)) => panic::resume_unwind(error.into_panic()),
                }
            }
        }
        shared.end();
    }

    /// Connects the first workers. Stops at the first failure: an absent server is not tried for each of them.
    async fn connect(&mut self) {
        for connection in self.connections.iter_mut().rev().take(self.first) {
            if !connection.open().await {
                return;
            }
        }
    }

    /// Hands over all requests that are due, and starts a worker for each that finds none idle.
    fn hand_over(&mut self, shared: &Rc<Shared>, workers: &mut JoinSet<()>) {
        for _ in 0..MOST_AT_ONCE {
            let Some(due_ns) = self.pacer.as_mut().and_then(Pacer::due) else { return };
            if shared.is_due(due_ns) {
                self.start_worker(shared, workers);
            }
        }
    }

    /// Starts another worker, if one is left.
    fn start_worker(&mut self, shared: &Rc<Shared>, workers: &mut JoinSet<()>) {
        if let Some(connection) = self.connections.pop() {
            workers.spawn_local(work(shared.clone(), connection, self.started));
            self.started += 1;
        }
    }
}

/// The order that follows this one; to abort, if nobody is left to give orders.
async fn next_order(orders: &mut watch::Receiver<Order>, last: Order) -> Order {
    orders.wait_for(|order| *order > last).await.map_or(Order::Abort, |order| *order)
}
