//! The energy of one model: which devices count, and what its executions are told.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use smallvec::SmallVec;

use super::devices::{self, Domain};
use super::events::Model;
use super::front::Told;
use super::metering::{Metering, Running};
use crate::config::MeterPlaces;
use crate::triton::Result;
use crate::triton::clock::now_ns;

/// A model's executions count as short as long as none of the last was longer. Of a tick they are a small part, so that the ledger
/// need not know of them before they have ended: if a tick is booked meanwhile, what ran before it is others'.
const SHORT_NS: u64 = 200_000;
/// The part of a difference by which shorter executions lower what counts as the longest.
const FADES: u64 = 64;

static NEXT_MODEL: AtomicU64 = AtomicU64::new(0);

/// The devices whose energy some model has asked for.
static ASKED: [Asked; 2] = [const { Asked::by_nobody() }; 2];

/// Whether any model asks for any device's. All that is read of energy where nobody does.
static BY_ANY: AtomicBool = AtomicBool::new(false);

/// Whether any model asks for energy.
#[inline(always)]
pub fn is_asked() -> bool {
    BY_ANY.load(Ordering::Relaxed)
}

/// One at a time: a meter is opened once, however many models ask for it.
static OPENING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Asked(RwLock<Weak<Metering>>);

impl Asked {
    const fn by_nobody() -> Self {
        Self(RwLock::new(Weak::new()))
    }

    fn of(domain: Domain) -> &'static Self {
        &ASKED[domain as usize]
    }

    /// The device's metering, if some model asks for it.
    fn metering(&self) -> Option<Arc<Metering>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// What a model version does about energy. Its executions have a part in the books of the devices that it computes on while
/// any model asks for their energy.
#[derive(Debug)]
pub struct ModelEnergy {
    model: Arc<Model>,
    domains: &'static [Domain],
    /// Of `domains`, where this model asks for their energy.
    asks: SmallVec<[Arc<Metering>; 2]>,
    /// How long its executions were lately, at most.
    longest_ns: AtomicU64,
}

/// An execution that takes part in the books. Dropping it says that it failed.
pub struct Execution<'m> {
    energy: &'m ModelEnergy,
    rows: usize,
    start_ns: u64,
    stage: Stage,
}

enum Stage {
    /// The ledgers know that it runs.
    Known(SmallVec<[Running; 2]>),
    /// It is to be short, and they learn of it when it has ended.
    Short,
    Ended,
}

/// The energy of an execution.
#[derive(Clone, Copy, Debug)]
pub struct Energy {
    told: Told,
    rows: usize,
    /// What executions of this model and so many rows cost, as far as is known by now.
    learnt_uj: Option<f64>,
}

impl ModelEnergy {
    /// A model that asks for nothing.
    pub fn unasked(name: &str, version: u64, domains: &'static [Domain]) -> Self {
        let number = NEXT_MODEL.fetch_add(1, Ordering::Relaxed);
        let model = Arc::new(Model { number, name: name.to_owned(), version });
        Self { model, domains, asks: SmallVec::new(), longest_ns: AtomicU64::new(u64::MAX) }
    }

    /// Asks for the energy of its devices: they are read from now on, as long as it exists.
    ///
    /// # Errors
    /// One of them has no meter; why, and what to do.
    pub fn ask(&mut self, places: &MeterPlaces) -> Result<()> {
        let asks = self.domains.iter().map(|&domain| open(domain, places)).collect::<Result<_>>()?;
        self.asks = asks;
        Ok(())
    }

    /// An execution of so many rows starts; nothing where nobody asks for the energy of its devices.
    #[inline(never)]
    pub fn begin(&self, rows: usize, start_ns: u64) -> Option<Execution<'_>> {
        if self.longest_ns.load(Ordering::Relaxed) < SHORT_NS {
            return Some(Execution { energy: self, rows, start_ns, stage: Stage::Short });
        }
        let mut parts = SmallVec::new();
        self.each_device(|metering| parts.extend(metering.begin(&self.model, rows, start_ns)));
        let has_part = !parts.is_empty();
        has_part.then_some(Execution { energy: self, rows, start_ns, stage: Stage::Known(parts) })
    }

    /// Does something with each of its devices that anybody asks for.
    fn each_device(&self, mut with: impl FnMut(&Arc<Metering>)) {
        if self.asks.is_empty() {
            self.domains.iter().filter_map(|domain| Asked::of(*domain).metering()).for_each(|of| with(&of));
        } else {
            self.asks.iter().for_each(with);
        }
    }

    fn learn_length(&self, ns: u64) {
        let longest = self.longest_ns.load(Ordering::Relaxed);
        // Two at a time may undo each other's: the next one tells it again.
        let fades = if longest == u64::MAX { ns } else { longest - longest.saturating_sub(ns) / FADES };
        let now = fades.max(ns);
        if now != longest {
            self.longest_ns.store(now, Ordering::Relaxed);
        }
    }
}

impl Drop for ModelEnergy {
    fn drop(&mut self) {
        for domain in self.domains {
            if let Some(metering) = Asked::of(*domain).metering() {
                metering.retire(self.model.number);
            }
        }
        // Under the lock: nobody opens meanwhile what is closed here.
        let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        self.asks.clear();
        BY_ANY.store(ASKED.iter().any(|asked| asked.metering().is_some()), Ordering::Relaxed);
    }
}

fn open(domain: Domain, places: &MeterPlaces) -> Result<Arc<Metering>> {
    let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = Asked::of(domain);
    if let Some(metering) = asked.metering() {
        return Ok(metering);
    }
    let metering = Metering::start(domain.name(), devices::open(domain, places)?)?;
    *asked.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&metering);
    BY_ANY.store(true, Ordering::Relaxed);
    Ok(metering)
}

impl Execution<'_> {
    /// It has ended, and its responses will be told what is returned; nothing where they tell no energy.
    pub fn end(mut self, end_ns: u64) -> Option<Energy> {
        let Self { energy: model, rows, start_ns, .. } = self;
        let mut energy = Energy { told: Told::default(), rows, learnt_uj: Some(0.0) };
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Known(parts) => parts.into_iter().for_each(|part| energy.add(part.end(end_ns))),
            Stage::Short => {
                let span = (start_ns, end_ns);
                model.each_device(|metering| energy.add(metering.ran((&model.model, rows), span)));
            }
            Stage::Ended => {}
        }
        model.learn_length(end_ns.saturating_sub(start_ns));
        (!model.asks.is_empty()).then_some(energy)
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        // Those that are known say so themselves.
        if matches!(self.stage, Stage::Short) {
            let span = (self.start_ns, now_ns());
            let of = (&self.energy.model, self.rows);
            self.energy.each_device(|metering| metering.failed(of, span));
        }
    }
}

impl Energy {
    fn add(&mut self, (other, cost): (Told, Option<f64>)) {
        self.learnt_uj = self.learnt_uj.zip(cost).map(|(sum, cost)| sum + cost);
        self.told.uj = self.told.uj.saturating_add(other.uj);
        self.told.measured_uj = self.told.measured_uj.saturating_add(other.measured_uj);
    }

    /// Microjoules of the request that has these of the execution's rows.
    pub fn share(&self, rows: &Range<usize>) -> u64 {
        self.told.share(rows.start as u64, rows.len() as u64, self.rows as u64)
    }

    /// What executions of its kind cost in microjoules, as far as is known by now.
    pub fn learnt_uj(&self) -> Option<u64> {
        self.learnt_uj.map(|uj| uj as u64)
    }

    /// How much of it was measured, in whole percent.
    pub fn measured_percent(&self) -> u64 {
        self.told.measured_percent() as u64
    }
}
