//! The queue of a model in the server: what the requests tell, how they are refused, and the thread that keeps their time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use super::advice;
use super::gauges::{Families, Gauges};
use super::line::Shape;
use super::policy::Goal;
use super::queue::{Host, Queue, Refusal};
use super::scheduler::{Arrival, Scheduler, Seen};
use super::service_times::ServiceTimes;
use crate::config::Adaptive;
use crate::model::Model;
use crate::signals::{Reason, Signals};
use crate::triton::clock::now_ns;
use crate::triton::request::{Probe, Request};
use crate::triton::{Code, Error, Result, guard};

/// For so long after a version of a model was loaded, requests to its other versions wait for no company: the server
/// may be about to unload them, which it does not say.
const HURRY_NS: u64 = 2_000_000_000;

/// The queue of a model; dropping ends its thread.
pub struct ModelQueue {
    /// Where the requests are.
    pub queue: Arc<Queue<ServerHost>>,
    keeper: Option<JoinHandle<()>>,
}

/// The server, as the queue of a model sees it.
pub struct ServerHost {
    /// The model's, for messages.
    name: String,
    target_size: Mutex<usize>,
    gauges: Option<Gauges>,
    signals: Option<Arc<Signals>>,
}

/// All queues that there are.
static QUEUES: Mutex<Vec<Weak<Queue<ServerHost>>>> = Mutex::new(Vec::new());

impl ModelQueue {
    /// The empty queue of a model whose service times are known as far as `service` knows them.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        model: &Model,
        version: u64,
        adaptive: Adaptive,
        service: ServiceTimes,
        (families, signals): (Option<&Families>, Option<Arc<Signals>>),
    ) -> Result<Self> {
        let (name, max_batch_size) = (model.name.clone(), model.max_batch_size);
        let gauges = families.and_then(|families| {
            Gauges::new(families, &name, version, max_batch_size)
                .inspect_err(|e| log::warn!("model '{name}': no metrics of its adaptive batching: {e}"))
                .ok()
        });
        let goal = Goal { max_batch_size, target: adaptive.target, max_wait_ns: adaptive.max_wait_ns };
        for advice in advice::of(&adaptive, &service) {
            log::warn!("model '{name}': {advice}");
        }
        let max_queue_size = adaptive.max_queue_size.map(|rows| rows as usize);
        let scheduler = Scheduler::new(goal, max_queue_size, service, now_ns());
        if let (Some(signals), Some(ns)) = (&signals, scheduler.seen(now_ns()).cost_ns) {
            signals.set_cost(ns);
        }
        let host = ServerHost { name, target_size: Mutex::new(0), gauges, signals };
        let queue = Arc::new(Queue::new(host, scheduler));
        let of_thread = Arc::clone(&queue);
        let keeper = thread::Builder::new()
            .name("batch timeouts".into())
            .spawn(move || {
                // A panic is logged by the hook; the thread is still needed.
                while guard(|| {
                    of_thread.keep_time();
                    Ok(())
                })
                .is_err()
                {}
            })
            .map_err(|e| {
                Error::internal(format!("the system starts no thread for the queue of a model: {e}"))
            })?;
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        drop(queues);
        Ok(Self { queue, keeper: Some(keeper) })
    }
}

impl Drop for ModelQueue {
    fn drop(&mut self) {
        self.queue.end_time();
        // The library may be closed once the model is gone.
        if let Some(Err(_)) = self.keeper.take().map(JoinHandle::join) {
            log::error!("the thread of a queue ended in a panic");
        }
    }
}

impl fmt::Debug for ModelQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelQueue").field("name", &self.queue.host.name).finish_non_exhaustive()
    }
}

/// While it exists a model is being loaded, and for a while after: other versions of it, or the one that it replaces, may
/// be unloaded soon.
pub struct Loading(Vec<Arc<Queue<ServerHost>>>);

impl Loading {
    /// A version of a model is being loaded.
    pub fn of(name: &str) -> Self {
        let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        let same = queues.iter().filter_map(Weak::upgrade).filter(|queue| queue.host.name == name);
        let loading = Self(same.collect());
        drop(queues);
        loading.0.iter().for_each(|queue| queue.hurry(u64::MAX));
        loading
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.iter().for_each(|queue| queue.hurry(now_ns() + HURRY_NS));
    }
}

impl Host for ServerHost {
    type Request = Request;
    type Probe = Probe;

    fn now(&self) -> u64 {
        now_ns()
    }

    fn knows_cancelled(&self) -> bool {
        Probe::knows_cancelled()
    }

    fn probe(&self, request: &Request) -> Probe {
        request.probe()
    }

    fn is_cancelled(&self, probe: &Probe) -> bool {
        probe.is_cancelled()
    }

    fn refuse(&self, request: Request, why: Refusal) {
        let waited_us = now_ns().saturating_sub(request.arrival()) / 1000;
        if let Some(signals) = &self.signals {
            signals.refused(match why {
                Refusal::Full { .. } => Reason::QueueFull,
                Refusal::Expired => Reason::Timeout,
                Refusal::Cancelled => Reason::Cancelled,
            });
        }
        let (code, text) = match why {
            Refusal::Full { rows, longest } => {
                (Code::Unavailable, format!("queue full ({rows} of {longest} rows); retry later"))
            }
            Refusal::Cancelled => (Code::Cancelled, "the request was cancelled before it ran".into()),
            Refusal::Expired => (
                Code::Unavailable,
                format!(
                    "the request was not run: its timeout is {} us, and it waited {waited_us} us in the queue",
                    request.timeout().unwrap_or(0) / 1000
                ),
            ),
        };
        drop(request.fail(Error::new(code, format!("model '{}': {text}", self.name))));
    }

    fn is_told(&self) -> bool {
        self.gauges.is_some() || self.signals.is_some() || log::log_enabled!(log::Level::Debug)
    }

    fn tell(&self, seen: &Seen, times: &dyn Fn(usize) -> Option<f64>) {
        let Seen { rate, target_size, rows, cost_ns } = *seen;
        let mut told = self.target_size.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *told, target_size) != target_size {
            let time = times(target_size);
            let time = time.map_or_else(|| "of unknown time".into(), |ns| format!("of {:.3} ms", ns / 1e6));
            log::debug!(
                "model '{}': batches of up to {target_size} rows {time}, at {rate:.1} rows/s, with {rows} waiting",
                self.name
            );
        }
        if let Some(gauges) = &self.gauges {
            gauges.set(seen, times);
        }
        if let (Some(signals), Some(ns)) = (&self.signals, cost_ns) {
            signals.set_cost(ns);
        }
    }
}

/// What the queue goes by. What is wrong with a request is found, and answered, when it is executed.
pub fn describe(model: &Model, request: Request) -> Arrival<Request> {
    let mut rows = None;
    let mut shape = Shape::new();
    if model.batching {
        for spec in &model.inputs {
            // Requests that differ in a ragged input can share a batch.
            let open = spec.dims.contains(&-1) && !spec.is_ragged;
            if rows.is_some() && !open && !spec.sets_apart() {
                continue;
            }
            let input = request.input(&spec.c_name);
            if spec.sets_apart() {
                shape.push(input.is_ok().into());
            }
            // One that is left out.
            let Ok(input) = input else { continue };
            rows = rows.or(input.shape.first().map(|&rows| rows.max(1) as usize));
            if open {
                shape.extend(input.shape.iter().skip(1).copied());
            }
        }
    }
    let rows = rows.unwrap_or(1);
    Arrival { at: request.arrival(), rows, shape, timeout: request.timeout(), request }
}
