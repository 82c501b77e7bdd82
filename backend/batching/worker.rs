//! A worker: the thread that executes batches, one for each instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::model_queue::{ServerHost, describe};
use super::queue::{Host, Queue, Refusal};
use super::scheduler::Took;
use crate::execute::{Executed, Executor};
use crate::few::Few;
use crate::triton::request::Request;
use crate::triton::{Error, Result, guard};

/// The thread of an instance; dropping ends it.
pub struct Worker {
    executor: Arc<Executor>,
    queue: Arc<Queue<ServerHost>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which takes batches from `queue` and executes them.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(executor: Arc<Executor>, queue: Arc<Queue<ServerHost>>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let of_thread = (Arc::clone(&executor), Arc::clone(&queue), Arc::clone(&stop));
        queue.join();
        let spawned = thread::Builder::new().name("batches".into()).spawn(move || {
            let (executor, queue, stop) = of_thread;
            // A panic outside of an execution is a fault in the queue or the policy. What waits would wait
            // forever: it is answered with an error, and the worker starts over.
            while guard(|| work(&executor, &queue, &stop)).is_err() {
                queue.give_up();
            }
        });
        let thread = spawned
            .inspect_err(|_| queue.leave(|| ()))
            .map_err(|e| Error::internal(format!("the system starts no thread for an instance: {e}")))?;
        Ok(Self { executor, queue, stop, thread: Some(thread) })
    }

    /// Takes requests into the queue.
    pub fn accept(&self, requests: Few<Request>) {
        let arrivals: Few<_> =
            requests.into_iter().map(|request| describe(&self.executor.model, request)).collect();
        if let Some(signals) = &self.executor.signals {
            signals.arrived(arrivals.iter().map(|arrival| arrival.rows).sum());
        }
        if let Some(batch) = self.queue.accept(arrivals) {
            self.queue.done_here(batch.running, execute(&self.executor, &self.queue, batch.requests));
        }
    }

    /// Whether its thread is there to take batches.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// The instance gets no further requests: what waits is run without waiting for others.
    pub fn finish(&self) {
        self.queue.close();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.leave(|| self.stop.store(true, Ordering::Relaxed));
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            log::error!("the thread of an instance ended in a panic");
        }
    }
}

fn work(executor: &Executor, queue: &Queue<ServerHost>, stop: &AtomicBool) -> Result<()> {
    while let Some(batch) = queue.next(|| stop.load(Ordering::Relaxed)) {
        queue.done(batch.running, execute(executor, queue, batch.requests));
    }
    Ok(())
}

/// Executes a batch out of the queue. Returns what it took if it was computed.
fn execute(executor: &Executor, queue: &Queue<ServerHost>, batch: Few<Request>) -> Option<Took> {
    let wanted = |request: Request| {
        if !request.is_cancelled() {
            return Some(request);
        }
        queue.host.refuse(request, Refusal::Cancelled);
        None
    };
    let batch = batch.into_iter().filter_map(wanted).collect();
    // A panic here was logged by the hook, and reached the clients as their requests were dropped.
    let executed = guard(|| Ok(executor.execute_batch(batch))).ok().flatten();
    executed.map(|Executed { rows, ns, energy_uj }| Took { rows, ns, energy_uj })
}
