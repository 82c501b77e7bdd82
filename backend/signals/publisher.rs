//! The thread that passes on what has been counted, and who counts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::cost::MeanCost;
use super::metrics::{Families, Shown};
use super::tally::{About, Reason, Seen, Tally};
use crate::triton::clock::now_ns;
use crate::triton::{Error, Result, guard};

/// The pause between two looks while something happens.
const PAUSE: Duration = Duration::from_millis(250);

/// Publishes what the models of a backend count. Dropping it ends its thread.
pub struct Publisher {
    shared: Arc<Shared>,
    families: Families,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Taken by the thread for each look, and when a model comes or goes; by no request.
    models: Mutex<Vec<Published>>,
    bell: Arc<Bell>,
    stop: AtomicBool,
}

/// What wakes the thread. Who has counted something looks whether it sleeps; before it does, it says so and looks once more. So
/// one of them sees the other, as all of this is in one order.
#[derive(Debug, Default)]
struct Bell {
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    fn ring(&self) {
        if self.sleeps.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        if self.sleeps.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// A model whose metrics are there.
struct Published {
    signals: Arc<Counting>,
    shown: Shown,
    seen: Seen,
    mean_cost: MeanCost,
    /// When it was looked at last.
    at_ns: u64,
    instances: usize,
    cost: u64,
}

/// What a model counts.
#[derive(Debug)]
struct Counting {
    tally: Tally,
    instances: AtomicUsize,
    /// Bits of an f64, in seconds; 0 where nobody has told it.
    cost: AtomicU64,
    is_adaptive: bool,
    bell: Arc<Bell>,
}

/// Counts what happens to the requests of a model. Its metrics are there until it is dropped.
pub struct Signals {
    counting: Arc<Counting>,
    shared: Arc<Shared>,
}

/// An instance that is counted, until it is dropped.
pub struct Counted(Arc<Signals>);

impl Publisher {
    /// Starts its thread.
    ///
    /// # Errors
    /// The server has no metrics of backends, or was started without metrics; or the system has no thread left.
    pub fn start() -> Result<Self> {
        let families = Families::new()?;
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                // A panic is logged by the hook; the metrics are still needed.
                while guard(|| {
                    of_thread.run();
                    Ok(())
                })
                .is_err()
                {
                    thread::sleep(PAUSE);
                }
            })
            .map_err(|e| {
                Error::internal(format!("the system starts no thread that publishes metrics: {e}"))
            })?;
        // Who rings before finds nobody to wake, and the thread looks once before it sleeps.
        let _ = shared.bell.thread.set(thread.thread().clone());
        Ok(Self { shared, families, thread: Some(thread) })
    }

    /// A model is there.
    ///
    /// # Errors
    /// The server's own.
    pub fn publish(&self, about: &About) -> Result<Arc<Signals>> {
        let shown = Shown::new(&self.families, about)?;
        let counting = Arc::new(Counting {
            tally: Tally::new(about),
            instances: AtomicUsize::new(0),
            cost: AtomicU64::new(0),
            is_adaptive: about.is_adaptive,
            bell: Arc::clone(&self.shared.bell),
        });
        let signals = Arc::clone(&counting);
        self.shared.models().push(Published {
            signals,
            shown,
            seen: Seen::default(),
            mean_cost: MeanCost::default(),
            at_ns: now_ns(),
            instances: 0,
            cost: 0,
        });
        Ok(Arc::new(Signals { counting, shared: Arc::clone(&self.shared) }))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The library may be closed once the backend is gone.
            if thread.join().is_err() {
                log::error!("the thread that publishes metrics ended in a panic");
            }
        }
    }
}

impl Shared {
    fn models(&self) -> MutexGuard<'_, Vec<Published>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            self.bell.sleeps.store(false, Ordering::SeqCst);
            if self.look() {
                thread::park_timeout(PAUSE);
                continue;
            }
            self.bell.sleeps.store(true, Ordering::SeqCst);
            // Who has counted something before that did not wake anybody.
            if !self.look() && !self.stop.load(Ordering::SeqCst) && self.bell.sleeps.load(Ordering::SeqCst) {
                thread::park();
            }
        }
    }

    /// Passes on what is new, if anything is.
    fn look(&self) -> bool {
        // All of them, not up to the first that has something new.
        let mut any = false;
        for model in self.models().iter_mut() {
            any |= model.look();
        }
        any
    }

    /// A model is gone, and with it its metrics.
    fn remove(&self, counting: &Arc<Counting>) {
        let mut models = self.models();
        models.retain(|model| !Arc::ptr_eq(&model.signals, counting));
        // The gauges that another one of the same name and version shares with it are set again.
        models.iter_mut().for_each(|model| {
            model.look();
            model.show(&Default::default());
        });
    }
}

impl Published {
    fn look(&mut self) -> bool {
        let growth = self.signals.tally.since(&mut self.seen);
        let instances = self.signals.instances.load(Ordering::SeqCst);
        let cost = self.signals.cost.load(Ordering::SeqCst);
        if growth.is_none() && instances == self.instances && cost == self.cost {
            return false;
        }
        (self.instances, self.cost) = (instances, cost);
        let now = now_ns();
        let since_ns = now.saturating_sub(std::mem::replace(&mut self.at_ns, now));
        self.mean_cost.add(growth.executed, growth.busy_s, since_ns as f64 / 1e9);
        self.show(&growth);
        true
    }

    fn show(&self, growth: &super::tally::Growth) {
        let told = Some(f64::from_bits(self.cost)).filter(|cost| *cost > 0.0);
        let cost = if self.signals.is_adaptive { told } else { self.mean_cost.of_row() };
        self.shown.show(growth, self.instances, cost);
    }
}

impl Signals {
    /// Requests of so many rows have come to the queue of this backend.
    pub fn arrived(&self, rows: usize) {
        self.counting.tally.arrived(rows as u64);
        self.counting.bell.ring();
    }

    /// A request was not run.
    pub fn refused(&self, reason: Reason) {
        self.counting.tally.refused(reason);
        self.counting.bell.ring();
    }

    /// A request was answered, so long after it had come. [`Self::executed`] has to follow.
    pub fn answered(&self, ns: u64) {
        self.counting.tally.answered(ns);
    }

    /// An instance was busy for so long with so many rows.
    pub fn executed(&self, busy_ns: u64, rows: usize) {
        self.counting.tally.executed(busy_ns, rows as u64);
        self.counting.bell.ring();
    }

    /// What a row costs, in ns of an instance, in the best batch that keeps the target.
    pub fn set_cost(&self, ns: f64) {
        if ns.is_finite() && ns > 0.0 {
            self.counting.cost.store((ns / 1e9).to_bits(), Ordering::SeqCst);
            self.counting.bell.ring();
        }
    }

    /// There is one more instance.
    pub fn count(self: &Arc<Self>) -> Counted {
        self.counting.instances.fetch_add(1, Ordering::SeqCst);
        self.counting.bell.ring();
        Counted(Arc::clone(self))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.shared.remove(&self.counting);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counting.instances.fetch_sub(1, Ordering::SeqCst);
        self.0.counting.bell.ring();
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counting.fmt(f)
    }
}
