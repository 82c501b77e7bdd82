//! The books as metrics of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::events::Model;
use super::ledger::Ledger;
use super::records::Class;
use crate::triton::Result;
use crate::triton::metrics::{Counter, Family, Gauge};

/// The metrics of one device; none where the server has no metrics of backends.
#[derive(Default)]
pub struct Counters {
    shown: Option<Shown>,
}

struct Shown {
    device: String,
    of_models: Arc<Family>,
    of_responses: Arc<Family>,
    idle: Amount,
    attributed: Amount,
    unattributed: Amount,
    lost: Amount,
    pending: Gauge,
    idle_power: Gauge,
    /// With the number of the model.
    classes: BTreeMap<Class, u64>,
    models: BTreeMap<u64, OfModel>,
}

struct OfModel {
    attributed: Counter,
    told: Counter,
    /// What they show of each class, in µJ.
    shown: BTreeMap<Class, (u128, u128)>,
}

impl OfModel {
    fn new(shown: &Shown, model: &Model) -> Result<Self> {
        let version = model.version.to_string();
        let labels = [("device", &*shown.device), ("model", &*model.name), ("version", &*version)];
        let attributed = Counter::new(&shown.of_models, &labels)?;
        Ok(Self { attributed, told: Counter::new(&shown.of_responses, &labels)?, shown: BTreeMap::new() })
    }
}

/// A counter, and the µJ that it shows.
struct Amount(Counter, u128);

impl Amount {
    fn new(family: &Arc<Family>, device: &str, kind: &str) -> Result<Self> {
        Counter::new(family, &[("device", device), ("kind", kind)]).map(|counter| Self(counter, 0))
    }

    fn show(&mut self, uj: u128) {
        self.0.add(joules(uj.saturating_sub(self.1)));
        self.1 = self.1.max(uj);
    }
}

impl Counters {
    /// The metrics of the device of this name.
    pub fn new(device: &str) -> Self {
        let shown = Shown::new(device)
            .inspect_err(|reason| log::debug!("the energy of {device} is in no metrics: {reason}"));
        Self { shown: shown.ok() }
    }

    /// A class of this model begins.
    pub fn open(&mut self, class: Class, model: &Model) {
        let Some(shown) = &mut self.shown else { return };
        shown.classes.insert(class, model.number);
        if !shown.models.contains_key(&model.number) {
            match OfModel::new(shown, model) {
                Ok(of_model) => drop(shown.models.insert(model.number, of_model)),
                Err(reason) => log::debug!("model '{}': its energy is in no metric: {reason}", model.name),
            }
        }
    }

    /// A class ends, and with the last one of a model its counter.
    pub fn retire(&mut self, class: Class) {
        let Some(shown) = &mut self.shown else { return };
        if let Some(model) = shown.classes.remove(&class)
            && !shown.classes.values().any(|other| *other == model)
        {
            shown.models.remove(&model);
        }
    }

    /// Shows what is in the books now.
    pub fn show(&mut self, ledger: &Ledger) {
        let Some(shown) = &mut self.shown else { return };
        let books = ledger.books();
        shown.idle.show(books.idle);
        shown.attributed.show(books.attributed);
        shown.unattributed.show(books.unattributed);
        shown.lost.show(books.lost);
        shown.pending.set(books.pending as f64 / 1e6);
        if let Some(power) = ledger.idle_power_uw() {
            shown.idle_power.set(power as f64 / 1e6);
        }
        for (class, model) in &shown.classes {
            let Some(of_model) = shown.models.get_mut(model) else { continue };
            let books = ledger.of_class(*class).unwrap_or_default();
            let shown = of_model.shown.entry(*class).or_default();
            of_model.attributed.add(joules(books.attributed.saturating_sub(shown.0)));
            of_model.told.add(joules(books.told.saturating_sub(shown.1)));
            *shown = (books.attributed, books.told);
        }
    }
}

impl Shown {
    fn new(device: &str) -> Result<Self> {
        let kinds = Family::counters(
            c"tensorflow_latency_energy_joules_total",
            c"Energy of a device since its meter was first asked for: the sum of idle, attributed to executions and unattributed is \
              all that the meter has counted",
        )?;
        let lost = Family::counters(
            c"tensorflow_latency_energy_lost_joules_total",
            c"Energy in responses for times of which the meter said nothing",
        )?;
        let of_responses = Family::counters(
            c"tensorflow_latency_response_energy_joules_total",
            c"Energy of a device that responses of a model tell, or would if they were asked for it",
        )?;
        let pending = Family::gauges(
            c"tensorflow_latency_energy_pending_joules",
            c"Energy that is attributed and in no response yet; below 0, in responses and not attributed yet",
        )?;
        let idle_power = Family::gauges(
            c"tensorflow_latency_idle_power_watts",
            c"Power of a device with the models loaded and nothing running, as it was learnt",
        )?;
        let of_models = Family::counters(
            c"tensorflow_latency_model_energy_joules_total",
            c"Energy of a device that is attributed to executions of a model",
        )?;
        Ok(Self {
            device: device.to_owned(),
            of_models,
            of_responses,
            idle: Amount::new(&kinds, device, "idle")?,
            attributed: Amount::new(&kinds, device, "attributed")?,
            unattributed: Amount::new(&kinds, device, "unattributed")?,
            lost: Amount(Counter::new(&lost, &[("device", device)])?, 0),
            pending: Gauge::new(&pending, &[("device", device)])?,
            idle_power: Gauge::new(&idle_power, &[("device", device)])?,
            classes: BTreeMap::new(),
            models: BTreeMap::new(),
        })
    }
}

fn joules(uj: u128) -> f64 {
    uj as f64 / 1e6
}
