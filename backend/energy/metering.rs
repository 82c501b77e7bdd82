//! A device whose energy is shared: what the path of a request calls, and who keeps the thread that reads the meter.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use power_meter::Device;

use super::events::{Event, Model};
use super::front::{Prices, Progress, Told};
use super::ledger::Slot;
use super::records::Class;
use super::sampling;
use crate::triton::clock::now_ns;
use crate::triton::{Error, Result, guard};

/// Events that wait for the thread: what 300,000 executions in a second make while it reads its meter for 100 ms. An execution
/// for which there is no room is told no energy.
const MOST_EVENTS: usize = 1 << 16;

static NEXT_CLASS: AtomicU64 = AtomicU64::new(0);

/// A device and its ledger. Dropping it ends the thread.
pub struct Metering {
    name: String,
    events: Sender<Event>,
    /// By model and rows.
    classes: RwLock<HashMap<(u64, usize), Priced>>,
    /// Where no execution runs at present.
    free: Mutex<Vec<Place>>,
    next_slot: AtomicU64,
    /// Held as long as the thread is to go on.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A class, and what its executions cost.
type Priced = (Class, Arc<Prices>);

/// Where one execution at a time runs, as the ledger sees it.
struct Place {
    slot: Slot,
    progress: Arc<Progress>,
    /// Of its last execution.
    sequence: u64,
}

/// An execution whose energy will be told. Dropping it says that it failed.
pub struct Running {
    metering: Arc<Metering>,
    /// None once it has ended.
    place: Option<Place>,
    class: Class,
    prices: Arc<Prices>,
    start_ns: u64,
}

impl Metering {
    /// Starts to read these meters, which are one device for the ledger.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(name: &str, devices: Vec<Box<dyn Device>>) -> Result<Arc<Self>> {
        let (events, received) = bounded(MOST_EVENTS);
        let (stop, stopped) = bounded(0);
        let thread = spawn(name.to_owned(), devices, received, stopped)?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            events,
            classes: RwLock::default(),
            free: Mutex::default(),
            next_slot: AtomicU64::new(0),
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// An execution starts; nothing where it cannot be taken in.
    pub fn begin(self: &Arc<Self>, model: &Arc<Model>, rows: usize, start_ns: u64) -> Option<Running> {
        let (class, prices) = self.class(model, rows)?;
        let mut place = self.place()?;
        place.sequence += 1;
        let event = Event::Started { slot: place.slot, class, start_ns, sequence: place.sequence };
        if self.events.try_send(event).is_err() {
            self.give_back(place);
            return None;
        }
        Some(Running { metering: Arc::clone(self), place: Some(place), class, prices, start_ns })
    }

    /// No execution of this model comes any more.
    pub fn retire(&self, model: u64) {
        let mut classes = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        classes.retain(|&(of, _), (class, _)| {
            // It waits for room: the thread takes events out even if its meter does not answer for a while.
            let is_gone = of == model;
            if is_gone {
                let _ = self.events.send(Event::Retired { class: *class });
            }
            !is_gone
        });
    }

    fn class(&self, model: &Arc<Model>, rows: usize) -> Option<Priced> {
        let key = (model.number, rows);
        if let Some((class, prices)) = self.classes.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some((*class, Arc::clone(prices)));
        }
        let mut classes = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((class, prices)) = classes.get(&key) {
            return Some((*class, Arc::clone(prices)));
        }
        let class = Class(NEXT_CLASS.fetch_add(1, Ordering::Relaxed));
        let prices = Arc::new(Prices::default());
        // Under the lock: the ledger knows of a class before anybody can start an execution of it.
        let event = Event::Opened { class, model: Arc::clone(model), prices: Arc::clone(&prices) };
        self.events.try_send(event).ok()?;
        classes.insert(key, (class, Arc::clone(&prices)));
        Some((class, prices))
    }

    fn place(&self) -> Option<Place> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if free.is_some() {
            return free;
        }
        let slot = self.next_slot.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::new(Progress::default());
        let event = Event::Attached { slot, progress: Arc::clone(&progress) };
        self.events.try_send(event).ok()?;
        Some(Place { slot, progress, sequence: 0 })
    }

    fn give_back(&self, place: Place) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}

fn spawn(
    name: String,
    devices: Vec<Box<dyn Device>>,
    events: Receiver<Event>,
    stopped: Receiver<()>,
) -> Result<JoinHandle<()>> {
    let run = move || {
        // A panic is logged by the hook. Executions are told nothing then, since nobody takes their events any more.
        let _ = guard(|| {
            sampling::run(&name, devices, &events, &stopped);
            Ok(())
        });
    };
    thread::Builder::new().name("energy".into()).spawn(run).map_err(|e| {
        Error::internal(format!("the system starts no thread that reads a meter of energy: {e}"))
    })
}

impl Drop for Metering {
    fn drop(&mut self) {
        self.stop = None;
        // The library may be closed once the last model is gone.
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the thread that reads {} ended in a panic", self.name);
        }
    }
}

impl fmt::Debug for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metering").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Running {
    /// It has ended; what its responses tell.
    pub fn end(mut self, end_ns: u64) -> Told {
        let Some(place) = self.place.take() else { return Told::default() };
        let measured = place.progress.of(place.sequence);
        let told = self.prices.tell(self.start_ns, end_ns, measured);
        let Self { class, start_ns, .. } = self;
        let event = Event::Ended { slot: place.slot, class, start_ns, end_ns, told };
        // What the ledger does not learn of is not told, or the books would not balance.
        let told = if self.metering.events.try_send(event).is_ok() { told } else { Told::default() };
        self.metering.give_back(place);
        told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let Self { class, start_ns, .. } = *self;
        let event = Event::Failed { slot: place.slot, class, start_ns, end_ns: now_ns() };
        let _ = self.metering.events.try_send(event);
        self.metering.give_back(place);
    }
}
