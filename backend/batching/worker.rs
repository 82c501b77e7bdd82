//! A worker: the thread that executes batches, one for each instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::queue::Queue;
use crate::execute::{Executed, Executor};
use crate::few::Few;
use crate::triton::clock::now_ns;
use crate::triton::request::Request;
use crate::triton::{Code, Error, Result, guard};

/// The thread of an instance; dropping ends it.
pub struct Worker {
    executor: Arc<Executor>,
    queue: Arc<Queue>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which takes batches from `queue` and executes them.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(executor: Arc<Executor>, queue: Arc<Queue>) -> Result<Self> {
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
            .inspect_err(|_| queue.missing())
            .map_err(|e| Error::internal(format!("the system starts no thread for an instance: {e}")))?;
        Ok(Self { executor, queue, stop, thread: Some(thread) })
    }

    /// Takes requests into the queue.
    pub fn accept(&self, requests: Few<Request>) {
        if let Some(batch) = self.queue.accept(&self.executor.model, requests) {
            self.queue.done_here(batch.running, execute(&self.executor, batch.requests));
        }
    }

    /// The instance gets no further requests: what waits is run without waiting for others.
    pub fn finish(&self) {
        self.queue.finish();
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

fn work(executor: &Executor, queue: &Queue, stop: &AtomicBool) -> Result<()> {
    while let Some(batch) = queue.next(|| stop.load(Ordering::Relaxed)) {
        queue.done(batch.running, execute(executor, batch.requests));
    }
    Ok(())
}

/// Executes a batch out of the queue.
fn execute(executor: &Executor, batch: Few<Request>) -> Option<Executed> {
    let wanted = |batch| still_wanted(&executor.model.name, batch);
    // A panic here was logged by the hook, and reached the clients as their requests were dropped.
    guard(|| Ok(executor.execute_batch(wanted(batch)))).ok().flatten()
}

/// Answers the requests whose clients no longer wait for them, and keeps the others.
fn still_wanted(model: &str, requests: Few<Request>) -> Few<Request> {
    let now = now_ns();
    let unwanted = |request: &Request| {
        if request.is_cancelled() {
            let text = format!("model '{model}': the request was cancelled before it ran");
            return Some(Error::new(Code::Cancelled, text));
        }
        let waited = now.saturating_sub(request.arrival());
        let timeout = request.timeout().filter(|&timeout| waited > timeout)?;
        let text = format!(
            "model '{model}': the request was not run: its timeout is {} us, and it waited {} us in the queue",
            timeout / 1000,
            waited / 1000
        );
        Some(Error::new(Code::Unavailable, text))
    };
    let wanted = |request: Request| match unwanted(&request) {
        Some(error) => {
            request.fail(error);
            None
        }
        None => Some(request),
    };
    requests.into_iter().filter_map(wanted).collect()
}
