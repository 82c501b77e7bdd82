//! A device whose power is known, executions that run on it, and a meter that is slow and late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::super::front::{Prices, Progress};
use super::super::ledger::Ledger;
use super::super::records::Class;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Executions of one model and batch size.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub ns: u64,
    /// Above idle.
    pub uj: f64,
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub kinds: Vec<Kind>,
    /// Models, which have equal parts of `kinds`. Each place runs one of them.
    pub models: usize,
    /// Executions that run at a time.
    pub concurrency: usize,
    /// A pause between two executions in one place, up to so many ns.
    pub pause_ns: u64,
    pub tick_ns: u64,
    /// How long a reading takes; it sees what the counter shows in its middle.
    pub reading_ns: u64,
    /// From one reading's begin to the next one's, if readings are not longer.
    pub period_ns: u64,
    pub idle_w: f64,
    /// Energies of executions vary by so much of themselves, to both sides, and times as much.
    pub noise: f64,
    /// Nothing runs before.
    pub quiet_ns: u64,
    pub run_ns: u64,
    /// The ledger learns of executions when they have ended.
    pub unannounced: bool,
    /// All models are loaded anew.
    pub reload_at: Option<u64>,
    /// The meter is dead in this time, and its counter begins anew.
    pub dead: Option<(u64, u64)>,
    pub seed: u64,
}

impl Setup {
    pub fn new(kinds: Vec<Kind>, concurrency: usize, meter_ms: (u64, u64, u64)) -> Self {
        let (tick, reading, period) = meter_ms;
        Self {
            kinds,
            models: 1,
            concurrency,
            pause_ns: MS,
            tick_ns: tick * MS,
            reading_ns: reading * MS,
            period_ns: period.max(reading) * MS,
            idle_w: 80.0,
            noise: 0.02,
            quiet_ns: SECOND,
            run_ns: 30 * SECOND,
            unannounced: false,
            reload_at: None,
            dead: None,
            seed: 1,
        }
    }

    /// The time between two ticks that a reader of the counter can see.
    pub fn seen_tick_ns(&self) -> u64 {
        self.tick_ns.max(self.period_ns) + self.tick_ns.min(self.period_ns)
    }
}

/// What an execution was told, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How many of its kind were before it, since the model was loaded.
    pub nth: usize,
    pub ns: u64,
    pub end_ns: u64,
    pub truth: f64,
    pub told: f64,
    pub measured_percent: f64,
    pub error: f64,
}

impl Answer {
    pub fn off(&self) -> f64 {
        self.told / self.truth - 1.0
    }
}

pub struct Outcome {
    pub answers: Vec<Answer>,
    pub ledger: Ledger,
    /// µJ of the device, and the time they are for.
    pub counted: f64,
    pub run_ns: u64,
    /// The sum over all responses.
    pub told: u128,
    /// The largest |pending| without what runs, in µJ, after 200 executions, and the energy of one tick, one reading and
    /// one sampling period at the mean power under load.
    pub pending: f64,
    pub bound: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End(usize),
    Start(usize),
    Tick,
    Look,
    HandOver(u64, u64),
    Revive,
}

struct Place {
    kind: usize,
    class: Class,
    generation: usize,
    start: u64,
    energy: f64,
    ns: u64,
    sequence: u64,
    progress: Arc<Progress>,
}

/// Runs it all; after each event the books are checked.
pub fn run(setup: &Setup) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(setup.seed);
    let mut ledger = Ledger::default();
    let mut prices: Vec<Arc<Prices>> = Vec::new();
    let class_of = |generation: usize, kind: usize| Class((generation * setup.kinds.len() + kind) as u64);
    let open = |ledger: &mut Ledger, generation: usize, prices: &mut Vec<Arc<Prices>>| {
        prices.clear();
        for kind in 0..setup.kinds.len() {
            prices.push(Arc::default());
            ledger.open(class_of(generation, kind), Arc::clone(&prices[kind]));
        }
    };
    open(&mut ledger, 0, &mut prices);
    let mut generation = 0;
    let mut seen = vec![0; setup.kinds.len()];
    let mut places: Vec<Place> = (0..setup.concurrency)
        .map(|place| {
            let progress = Arc::<Progress>::default();
            ledger.attach(place as u64, Arc::clone(&progress));
            Place {
                kind: 0,
                class: Class(0),
                generation: 0,
                start: 0,
                energy: 0.0,
                ns: 0,
                sequence: 0,
                progress,
            }
        })
        .collect();
    let begin = 7 * SECOND;
    let mut events = BinaryHeap::new();
    for place in 0..setup.concurrency {
        events.push(Reverse((begin + setup.quiet_ns + rng.u64(..10 * MS), Event::Start(place))));
    }
    events.push(Reverse((begin, Event::Tick)));
    events.push(Reverse((begin + setup.period_ns / 3 + 1, Event::Look)));
    if let Some((_, back)) = setup.dead {
        events.push(Reverse((begin + back, Event::Revive)));
    }
    let (mut now, mut energy, mut above_w) = (begin, 0.0_f64, 0.0_f64);
    let (mut shown, mut handed) = ((begin, 0_u64), 0);
    let mut base = 0.0;
    let (mut answers, mut pending, mut retiring) = (Vec::new(), 0.0_f64, Vec::new());
    let mut told_uj = 0;
    // Up to when, and how much, while there was load.
    let mut loaded = (begin, 0.0);
    let end = begin + setup.quiet_ns + setup.run_ns;
    while let Some(Reverse((at, event))) = events.pop() {
        // A watt is a µJ in each µs.
        let spent = (setup.idle_w + above_w) * (at - now) as f64 / 1e3;
        energy += spent;
        if now >= begin + setup.quiet_ns && at <= end {
            loaded = (at, loaded.1 + spent);
        }
        now = at;
        let is_dead = setup.dead.is_some_and(|(from, to)| (begin + from..begin + to).contains(&now));
        match event {
            Event::Start(index) if now < end => {
                if setup.reload_at.is_some_and(|at| generation == 0 && now >= begin + at) {
                    retiring = (0..setup.kinds.len()).map(|kind| class_of(0, kind)).collect();
                    generation = 1;
                    open(&mut ledger, 1, &mut prices);
                    seen.fill(0);
                }
                let each = setup.kinds.len() / setup.models;
                let kind = index % setup.models * each + rng.usize(..each);
                let mut vary = || 1.0 + setup.noise * (rng.f64() * 2.0 - 1.0);
                let Kind { ns, uj } = setup.kinds[kind];
                let place = &mut places[index];
                place.sequence += 1;
                (place.kind, place.class, place.generation) = (kind, class_of(generation, kind), generation);
                (place.start, place.energy, place.ns) = (now, uj * vary(), (ns as f64 * vary()) as u64);
                above_w += place.energy / place.ns as f64 * 1e3;
                if !setup.unannounced {
                    ledger.started(index as u64, place.class, now, place.sequence);
                }
                events.push(Reverse((now + place.ns, Event::End(index))));
            }
            Event::Start(_) => {}
            Event::End(index) => {
                let place = &places[index];
                above_w -= place.energy / place.ns as f64 * 1e3;
                // Those of an unloaded model have its prices no more; nobody looks at what they are told here.
                let told = match place.generation == generation {
                    true => prices[place.kind].tell(place.start, now, place.progress.of(place.sequence)),
                    false => Prices::default().tell(place.start, now, place.progress.of(place.sequence)),
                };
                told_uj += u128::from(told.uj);
                ledger.ended(index as u64, place.class, place.start, now, told);
                if place.generation == generation {
                    let nth = seen[place.kind];
                    seen[place.kind] += 1;
                    answers.push(Answer {
                        nth,
                        ns: place.ns,
                        end_ns: now - begin,
                        truth: place.energy,
                        told: told.uj as f64,
                        measured_percent: told.measured_percent(),
                        error: told.error_uj as f64,
                    });
                }
                if !retiring.is_empty()
                    && !places.iter().any(|other| other.generation == 0 && other.start + other.ns > now)
                {
                    retiring.drain(..).for_each(|class| ledger.retire(class));
                }
                // Two models that always ran in the same proportions could not be told apart.
                let pause = if setup.models > 1 { setup.pause_ns.max(place.ns) } else { setup.pause_ns };
                events.push(Reverse((now + rng.u64(..=pause), Event::Start(index))));
            }
            Event::Tick => {
                shown = (now, (energy - base) as u64);
                let jitter = 1.0 + 0.02 * (rng.f64() * 2.0 - 1.0);
                events.push(Reverse((now + (setup.tick_ns as f64 * jitter) as u64, Event::Tick)));
            }
            Event::Look => {
                if shown.0 > handed && !is_dead {
                    handed = shown.0;
                    let delay = setup.reading_ns / 2;
                    events.push(Reverse((now + delay, Event::HandOver(shown.0, shown.1))));
                }
                events.push(Reverse((now + setup.period_ns, Event::Look)));
            }
            Event::HandOver(ns, total) => ledger.tick(ns, total),
            Event::Revive => {
                base = energy;
                shown = (now, 0);
                ledger.gap(handed, now);
            }
        }
        let books = ledger.books();
        assert_eq!(books.total, books.idle + books.attributed + books.unattributed);
        if answers.len() >= 200 && now < end {
            pending = pending.max((books.pending - books.running as i128).abs() as f64);
        }
        // The longest executions take a second.
        if now > end + 2 * SECOND {
            break;
        }
    }
    let mean_w = loaded.1 / ((loaded.0 - begin - setup.quiet_ns) as f64 / 1e3);
    let bound = mean_w * (setup.tick_ns + setup.reading_ns + setup.period_ns) as f64 / 1e3;
    Outcome { answers, ledger, counted: energy, run_ns: now - begin, told: told_uj, pending, bound }
}
