//! What the paths of requests tell the thread that keeps a device's ledger, and where.
//!
//! A list under a lock, which the thread takes whole, and not the ring of a bounded channel: that goes through all of its
//! memory before it comes back to its start, so that each event would have to wait for memory that no cache has. The list
//! starts again in the same few cache lines after each reading of the meter. The lock is held for some hundred instructions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::front::{Measured, Prices, Progress, Told};
use super::ledger::Slot;
use super::records::Class;

/// Events of executions that wait for the thread: what 300,000 executions in a second make while it reads its meter for 100 ms.
/// An execution for which there is no room is told no energy.
const MOST_EVENTS: usize = 1 << 16;
/// What the list keeps of its room: what 4,000 executions in a second make in a quarter of one.
const KEPT_EVENTS: usize = 1 << 11;

/// The slot of executions of which the ledger learns when they have ended: none is ever seen to run in it.
const NOWHERE: Slot = Slot::MAX;

static NEXT_CLASS: AtomicU64 = AtomicU64::new(0);

/// A version of a model.
#[derive(Debug)]
pub struct Model {
    /// No other model has it in this process.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
}

/// What the paths of requests tell the thread. Times are ns of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub enum Event {
    Opened { class: Class, model: Arc<Model>, prices: Arc<Prices> },
    Retired { class: Class },
    Attached { slot: Slot, progress: Arc<Progress> },
    Started { slot: Slot, class: Class, start_ns: u64, sequence: u64 },
    Ended { slot: Slot, class: Class, start_ns: u64, end_ns: u64, told: Told },
    Failed { slot: Slot, class: Class, start_ns: u64, end_ns: u64 },
}

/// Where one execution at a time runs, as the ledger sees it.
#[derive(Debug)]
pub struct Place {
    slot: Slot,
    progress: Arc<Progress>,
    /// Of its last execution.
    sequence: u64,
    /// What ran here last, and most often runs here next: a model's number and rows.
    kind: (u64, usize),
    class: Class,
    prices: Arc<Prices>,
}

/// The events that wait for the thread, and the places where no execution runs at present.
#[derive(Debug)]
pub struct Inbox {
    events: Vec<Event>,
    /// For so many events.
    room: usize,
    // In boxes: they are handed on from the start of an execution to its end.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Place>>,
    next_slot: Slot,
    /// By a model's number and rows.
    classes: HashMap<(u64, usize), (Class, Arc<Prices>)>,
    /// What ran last without a place, and most often runs next.
    last: Option<((u64, usize), Class, Arc<Prices>)>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (events, free, classes) = (Vec::new(), Vec::new(), HashMap::new());
        Self { events, room: MOST_EVENTS, free, next_slot: 0, classes, last: None }
    }
}

impl Inbox {
    /// An execution of so many rows starts; nothing where there is no room for it.
    pub fn begin(&mut self, model: &Arc<Model>, rows: usize, start_ns: u64) -> Option<Box<Place>> {
        if self.events.len() >= self.room {
            return None;
        }
        let kind = (model.number, rows);
        let mut place = match self.free.pop() {
            Some(mut place) => {
                if place.kind != kind {
                    (place.class, place.prices) = self.class(model, kind);
                    place.kind = kind;
                }
                place
            }
            None => self.attach(model, kind),
        };
        place.sequence += 1;
        let Place { slot, class, sequence, .. } = *place;
        self.events.push(Event::Started { slot, class, start_ns, sequence });
        Some(place)
    }

    /// The execution in this place has ended, and its responses are told this; whether the ledger will learn of it.
    pub fn end(&mut self, place: Box<Place>, (start_ns, end_ns): (u64, u64), told: Told) -> bool {
        let Place { slot, class, .. } = *place;
        let has_room = self.events.len() < self.room;
        if has_room {
            self.events.push(Event::Ended { slot, class, start_ns, end_ns, told });
        }
        self.free.push(place);
        has_room
    }

    /// The execution in this place has failed.
    pub fn fail(&mut self, place: Box<Place>, (start_ns, end_ns): (u64, u64)) {
        let Place { slot, class, .. } = *place;
        if self.events.len() < self.room {
            self.events.push(Event::Failed { slot, class, start_ns, end_ns });
        }
        self.free.push(place);
    }

    /// An execution that never had a place has ended. What its responses are told, and what executions of its kind cost as far
    /// as is known by now, in microjoules; nothing where there is no room for it.
    pub fn ran(&mut self, of: (&Arc<Model>, usize), span: (u64, u64)) -> Option<(Told, Option<f64>)> {
        let (class, prices) = self.without_place(of)?;
        let (start_ns, end_ns) = span;
        let (told, cost) = (prices.tell(start_ns, end_ns, Measured::default()), prices.cost());
        self.events.push(Event::Ended { slot: NOWHERE, class, start_ns, end_ns, told });
        Some((told, cost))
    }

    /// An execution that never had a place has failed.
    pub fn failed(&mut self, of: (&Arc<Model>, usize), (start_ns, end_ns): (u64, u64)) {
        if let Some((class, _)) = self.without_place(of) {
            self.events.push(Event::Failed { slot: NOWHERE, class, start_ns, end_ns });
        }
    }

    /// The class of executions without a place; nothing where there is no room for events.
    fn without_place(&mut self, (model, rows): (&Arc<Model>, usize)) -> Option<(Class, &Prices)> {
        if self.events.len() >= self.room {
            return None;
        }
        let kind = (model.number, rows);
        if self.last.as_ref().is_none_or(|(last, ..)| *last != kind) {
            let (class, prices) = self.class(model, kind);
            self.last = Some((kind, class, prices));
        }
        self.last.as_ref().map(|(_, class, prices)| (*class, &**prices))
    }

    /// No execution of this model comes any more.
    pub fn retire(&mut self, model: u64) {
        let Self { events, classes, .. } = self;
        classes.retain(|&(of, _), (class, _)| {
            let is_gone = of == model;
            if is_gone {
                events.push(Event::Retired { class: *class });
            }
            !is_gone
        });
    }

    /// Nobody takes anything out any more.
    pub fn close(&mut self) {
        self.room = 0;
    }

    /// What has happened since the last time, in place of `taken`, of which only the room is used.
    pub fn take(&mut self, taken: &mut Vec<Event>) {
        taken.clear();
        taken.shrink_to(KEPT_EVENTS);
        std::mem::swap(&mut self.events, taken);
    }

    fn class(&mut self, model: &Arc<Model>, kind: (u64, usize)) -> (Class, Arc<Prices>) {
        match self.classes.entry(kind) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let class = Class(NEXT_CLASS.fetch_add(1, Ordering::Relaxed));
                let prices = Arc::new(Prices::default());
                // Before the first execution of it.
                let (model, shown) = (Arc::clone(model), Arc::clone(&prices));
                self.events.push(Event::Opened { class, model, prices: shown });
                new.insert((class, prices)).clone()
            }
        }
    }

    #[cold]
    fn attach(&mut self, model: &Arc<Model>, kind: (u64, usize)) -> Box<Place> {
        let slot = self.next_slot;
        self.next_slot += 1;
        let progress = Arc::new(Progress::default());
        self.events.push(Event::Attached { slot, progress: Arc::clone(&progress) });
        let (class, prices) = self.class(model, kind);
        Box::new(Place { slot, progress, sequence: 0, kind, class, prices })
    }
}

impl Place {
    /// What the responses of its execution are told. Once for each execution: see [`Prices::tell`].
    pub fn tell(&self, start_ns: u64, end_ns: u64) -> Told {
        self.prices.tell(start_ns, end_ns, self.progress.of(self.sequence))
    }

    /// What executions of its kind cost in microjoules, as far as is known by now.
    pub fn cost(&self) -> Option<f64> {
        self.prices.cost()
    }
}
