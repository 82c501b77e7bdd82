//! A device whose energy is shared: what the path of a request calls, and who keeps the thread that reads the meter.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use power_meter::Device;

use super::events::{Inbox, Model, Place};
use super::front::Told;
use super::sampling;
use crate::triton::clock::now_ns;
use crate::triton::{Error, Result, guard};

/// A device and its ledger. Dropping it ends the thread.
pub struct Metering {
    inbox: Arc<Mutex<Inbox>>,
    name: String,
    /// Held as long as the thread is to go on.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An execution whose energy will be told. Dropping it says that it failed.
pub struct Running {
    metering: Arc<Metering>,
    /// None once it has ended.
    place: Option<Box<Place>>,
    start_ns: u64,
}

impl Metering {
    /// Starts to read these meters, which are one device for the ledger.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(name: &str, devices: Vec<Box<dyn Device>>) -> Result<Arc<Self>> {
        let inbox = Arc::<Mutex<Inbox>>::default();
        let (stop, stopped) = bounded(0);
        let thread = spawn(name.to_owned(), devices, Arc::clone(&inbox), stopped)?;
        Ok(Arc::new(Self { inbox, name: name.to_owned(), stop: Some(stop), thread: Some(thread) }))
    }

    /// An execution starts; nothing where it cannot be taken in.
    pub fn begin(self: &Arc<Self>, model: &Arc<Model>, rows: usize, start_ns: u64) -> Option<Running> {
        let place = self.inbox().begin(model, rows, start_ns)?;
        Some(Running { metering: Arc::clone(self), place: Some(place), start_ns })
    }

    /// An execution has ended that did not [begin](Self::begin) here, for it was to be short. What its responses tell, and what
    /// executions of its kind cost as far as is known by now, in microjoules.
    pub fn ran(&self, of: (&Arc<Model>, usize), span: (u64, u64)) -> (Told, Option<f64>) {
        self.inbox().ran(of, span).unwrap_or_default()
    }

    /// The same for one that has failed.
    pub fn failed(&self, of: (&Arc<Model>, usize), span: (u64, u64)) {
        self.inbox().failed(of, span);
    }

    /// No execution of this model comes any more.
    pub fn retire(&self, model: u64) {
        self.inbox().retire(model);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        locked(&self.inbox)
    }
}

fn locked(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(
    name: String,
    devices: Vec<Box<dyn Device>>,
    inbox: Arc<Mutex<Inbox>>,
    stopped: Receiver<()>,
) -> Result<JoinHandle<()>> {
    let run = move || {
        // A panic is logged by the hook.
        let _ = guard(|| {
            sampling::run(&name, devices, &inbox, &stopped);
            Ok(())
        });
        locked(&inbox).close();
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
    /// It has ended; what its responses tell, and what executions of its kind cost as far as is known by now, in microjoules.
    pub fn end(mut self, end_ns: u64) -> (Told, Option<f64>) {
        let Some(place) = self.place.take() else { return Default::default() };
        let cost = place.cost();
        let told = place.tell(self.start_ns, end_ns);
        let learns = self.metering.inbox().end(place, (self.start_ns, end_ns), told);
        // What the ledger does not learn of is not told, or the books would not balance.
        if learns { (told, cost) } else { Default::default() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        self.metering.inbox().fail(place, (self.start_ns, now_ns()));
    }
}
