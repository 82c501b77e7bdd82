//! Random histories: whatever comes in whatever order, the books balance.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::front::{Measured, Prices, Progress, Told};
use super::super::ledger::Ledger;
use super::super::records::Class;

const SLOTS: u64 = 4;
const CLASSES: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Start {
        slot: u64,
        class: u64,
        late: u64,
    },
    End {
        slot: u64,
    },
    /// Nobody said that it had started, or something else had.
    Unheard {
        slot: u64,
        class: u64,
        ns: u64,
        told: u64,
    },
    Fail {
        slot: u64,
    },
    Tick {
        uj: u64,
        late: u64,
    },
    Falls {
        to: u64,
    },
    Gap {
        ns: u64,
    },
    Pass {
        ns: u64,
    },
    Reload {
        class: u64,
    },
    Detach {
        slot: u64,
    },
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0_u64), 10 => 0..200_000_000_u64, 3 => 0..10_u64, 1 => 0..1_u64 << 58]
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, class) = (0..SLOTS, 0..CLASSES);
    prop_oneof![
        6 => (slot.clone(), class.clone(), number()).prop_map(|(slot, class, late)| Step::Start { slot, class, late }),
        6 => slot.clone().prop_map(|slot| Step::End { slot }),
        1 => (0..=SLOTS, class.clone(), number(), number()).prop_map(|(slot, class, ns, told)| Step::Unheard { slot, class, ns, told }),
        1 => slot.clone().prop_map(|slot| Step::Fail { slot }),
        6 => (number(), number()).prop_map(|(uj, late)| Step::Tick { uj, late }),
        1 => number().prop_map(|to| Step::Falls { to }),
        1 => number().prop_map(|ns| Step::Gap { ns }),
        8 => number().prop_map(|ns| Step::Pass { ns }),
        1 => class.prop_map(|class| Step::Reload { class }),
        1 => slot.prop_map(|slot| Step::Detach { slot }),
    ]
}

/// What a server would do around the ledger.
struct World {
    ledger: Ledger,
    now: u64,
    total: u64,
    told: u128,
    classes: Vec<(Class, Arc<Prices>)>,
    next_class: u64,
    progress: Vec<Arc<Progress>>,
    running: BTreeMap<u64, (u64, Class, Arc<Prices>, u64)>,
    sequence: u64,
}

impl World {
    fn new(now: u64, total: u64) -> Self {
        let mut ledger = Ledger::default();
        let classes: Vec<_> = (0..CLASSES).map(|class| (Class(class), Arc::<Prices>::default())).collect();
        for (class, prices) in &classes {
            ledger.open(*class, Arc::clone(prices));
        }
        let progress: Vec<Arc<Progress>> = (0..SLOTS).map(|_| Arc::default()).collect();
        for (slot, progress) in (0..).zip(&progress) {
            ledger.attach(slot, Arc::clone(progress));
        }
        let running = BTreeMap::new();
        Self { ledger, now, total, told: 0, classes, next_class: CLASSES, progress, running, sequence: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Start { slot, class, late } => {
                let (class, prices) = self.classes[class as usize].clone();
                self.sequence += 1;
                let start = self.now.saturating_sub(late);
                self.ledger.started(slot, class, start, self.sequence);
                self.running.insert(slot, (start, class, prices, self.sequence));
            }
            Step::End { slot } => {
                let Some((start, class, prices, sequence)) = self.running.remove(&slot) else { return };
                let told = prices.tell(start, self.now, self.progress[slot as usize].of(sequence));
                assert!(
                    told.correction_uj.unsigned_abs()
                        <= told.measured_uj.saturating_add(told.estimate_uj) / 20
                );
                self.told += u128::from(told.uj);
                self.ledger.ended(slot, class, start, self.now, told);
            }
            Step::Unheard { slot, class, ns, told } => {
                let told = Told { uj: told, estimate_uj: told, unmeasured_ns: ns, ..Told::default() };
                self.told += u128::from(told.uj);
                let class = self.classes[class as usize].0;
                self.ledger.ended(slot, class, self.now.saturating_sub(ns), self.now, told);
            }
            Step::Fail { slot } => {
                let Some((start, class, ..)) = self.running.remove(&slot) else { return };
                self.ledger.failed(slot, class, start, self.now);
            }
            Step::Tick { uj, late } => {
                self.total = self.total.saturating_add(uj);
                self.ledger.tick(self.now.saturating_sub(late), self.total);
            }
            Step::Falls { to } => {
                self.total = self.total.min(to);
                self.ledger.tick(self.now, self.total);
            }
            Step::Gap { ns } => self.ledger.gap(self.now.saturating_sub(ns), self.now),
            Step::Pass { ns } => self.now = self.now.saturating_add(ns),
            Step::Reload { class } => {
                self.ledger.retire(self.classes[class as usize].0);
                let fresh = (Class(self.next_class), Arc::<Prices>::default());
                self.next_class += 1;
                self.ledger.open(fresh.0, Arc::clone(&fresh.1));
                self.classes[class as usize] = fresh;
            }
            Step::Detach { slot } => {
                self.ledger.attach(slot, Arc::clone(&self.progress[slot as usize]));
                self.running.remove(&slot);
            }
        }
    }

    fn check(&self) {
        let books = self.ledger.books();
        assert_eq!(books.total, books.idle + books.attributed + books.unattributed);
        assert_eq!(books.told, self.told);
        assert_eq!(books.told as i128 + books.pending, (books.attributed + books.lost) as i128);
        let classes = self.classes.iter().filter_map(|(class, _)| self.ledger.of_class(*class));
        let all: Vec<_> = classes.chain([self.ledger.retired()]).collect();
        assert_eq!(all.iter().map(|books| books.attributed).sum::<u128>(), books.attributed);
        assert_eq!(all.iter().map(|books| books.lost).sum::<u128>(), books.lost);
        assert_eq!(all.iter().map(|books| books.pending()).sum::<i128>(), books.pending);
        assert!(books.running <= books.attributed && books.lost <= books.told);
    }

    /// All end, and their ticks come. Then what is pending is what later executions will take.
    fn finish(&mut self) {
        for slot in 0..SLOTS {
            self.step(&Step::End { slot });
        }
        for _ in 0..2 {
            self.now = self.now.saturating_add(1);
            self.step(&Step::Tick { uj: 1_000, late: 0 });
            self.check();
        }
        let books = self.ledger.books();
        assert_eq!((books.running, self.ledger.kept()), (0, 0));
        for (class, _) in &self.classes {
            let pending = self.ledger.of_class(*class).unwrap_or_default().pending();
            assert_eq!(Some(pending), self.ledger.owed(*class), "{class:?}");
        }
    }
}

proptest! {
    #[test]
    fn books_balance(now in number(), total in number(), steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(now, total);
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.finish();
    }

    /// Also where clocks and counters end.
    #[test]
    fn books_balance_at_the_end_of_numbers(steps in prop::collection::vec(step(), 0..60), room in number()) {
        let mut world = World::new(u64::MAX - room.saturating_mul(2) - 10, u64::MAX - room);
        for step in &steps {
            world.step(step);
            world.check();
        }
    }

    /// Whether the ledger hears of an end before or after a tick that lies before it changes nothing in the books.
    #[test]
    fn late_ticks_are_booked_as_punctual_ones(
        executions in prop::collection::vec((0..CLASSES, 1..300_u64, 0..300_u64), 1..40),
        growth in prop::collection::vec(0..5_000_u64, 20),
    ) {
        let mut now = 1_000;
        let all: Vec<(u64, u64, u64)> = executions.iter().map(|&(class, ns, pause)| {
            let start = now + pause;
            now = start + ns / 2;
            (class, start, start + ns)
        }).collect();
        let books = |delay: u64| {
            let mut ledger = Ledger::default();
            for class in 0..CLASSES {
                ledger.open(Class(class), Arc::default());
            }
            // Time, kind (starts, then ends, before ticks), index.
            let mut events = Vec::new();
            for (index, &(_, start, end)) in all.iter().enumerate() {
                events.push((start, 0, index));
                events.push((end, 1, index));
            }
            for index in 0..growth.len() {
                events.push((900 + index as u64 * 700 + delay, 2, index));
            }
            events.sort_unstable();
            let mut total = 0;
            for (_, kind, index) in events {
                match kind {
                    0 => ledger.started(index as u64, Class(all[index].0), all[index].1, 0),
                    1 => {
                        let (class, start, end) = all[index];
                        ledger.ended(index as u64, Class(class), start, end, Told::default());
                    }
                    _ => {
                        total += growth[index];
                        ledger.tick(900 + index as u64 * 700, total);
                    }
                }
            }
            let classes = (0..CLASSES).map(|class| ledger.of_class(Class(class)).unwrap_or_default().attributed);
            (ledger.books(), classes.collect::<Vec<_>>())
        };
        let punctual = books(0);
        for delay in [1, 300, 5_000] {
            let late = books(delay);
            prop_assert_eq!(late.0, punctual.0);
            for (late, punctual) in late.1.iter().zip(&punctual.1) {
                // Microjoules of two sums are rounded in the order in which records lie.
                prop_assert!(late.abs_diff(*punctual) <= growth.len() as u128);
            }
        }
    }

    #[test]
    fn shares_sum_up(uj in any::<u64>(), rows in prop::collection::vec(1..64_u64, 1..20)) {
        let told = Told { uj, ..Told::default() };
        let all = rows.iter().sum();
        let mut before = 0;
        let mut sum = 0_u64;
        for rows in rows {
            sum += told.share(before, rows, all);
            before += rows;
        }
        prop_assert_eq!(sum, uj);
    }

    #[test]
    fn told_is_never_far_from_what_it_is_made_of(
        cost in 0.0..1e12, ns in any::<u64>(), uj in any::<u64>(), measured in any::<u64>(), pool in any::<i64>(),
    ) {
        let prices = Prices::default();
        prices.publish(super::super::front::Learnt { cost: Some(cost), power: 1.0, spread: 0.1, tick_ns: 1 });
        prices.give(i128::from(pool));
        let told = prices.tell(0, ns, Measured { uj, ns: measured });
        let base = uj.saturating_add(told.estimate_uj);
        prop_assert!(told.uj >= base - base / 20 && told.uj <= base.saturating_add(base / 20));
        prop_assert!((0.0..=100.0).contains(&told.measured_percent()));
    }
}
