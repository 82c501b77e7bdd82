//! The books of one device in one process, as a state machine: what happened goes in, prices and sums come out.
//!
//! One thread owns it. Before it books a tick it takes in all that others have sent: an execution of whose start the
//! ledger learns after its tick has no part in that tick. Any order leaves balanced books.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::costs::{Cost, Powers};
use super::front::{Learnt, Prices, Progress, Told};
use super::idle::Idle;
use super::records::{Class, Record};

/// Executions that have ended and wait for their ticks, one by one. It is what 50,000 executions in each second make in
/// a second of silence; then those of a class are put together.
pub const MOST_WAITING: usize = 1 << 16;
/// Ticks that their mean length remembers.
const MEAN_TICKS: u64 = 16;
/// A weight has so many bits at most: a microjoule in a weight of 1 mW and a day still counts.
const WEIGHT_BITS: u32 = 40;

/// A place in which one execution at a time runs, by a number that the caller gives: an instance has one, or two if it
/// gathers one batch while it computes another.
pub type Slot = u64;

/// All that is known, in µJ.
///
/// `total = idle + attributed + unattributed` and `told + pending = attributed + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// What the meter has counted since its first reading, without the times of which it knows nothing.
    pub total: u128,
    /// What the device would have drawn anyway.
    pub idle: u128,
    /// What is booked for executions.
    pub attributed: u128,
    /// Above idle, with no execution that could be the reason.
    pub unattributed: u128,
    /// The sum over all responses.
    pub told: u128,
    /// What responses were told by estimate for times without a meter. Nobody else pays for it, so it is not pending.
    pub lost: u128,
    /// Booked and not told, or told and not yet booked if negative.
    pub pending: i128,
    /// The part of `pending` that is booked for executions that still run.
    pub running: u128,
}

/// What is known of one class, in µJ: `told + pending = attributed + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassBooks {
    /// As in [`Books`].
    pub attributed: u128,
    /// As in [`Books`].
    pub told: u128,
    /// As in [`Books`].
    pub lost: u128,
}

impl ClassBooks {
    fn add(&mut self, other: &Self) {
        self.attributed += other.attributed;
        self.told += other.told;
        self.lost += other.lost;
    }
}

/// 2^127 µJ are more than the sun gives in a year.
fn signed(uj: u128) -> i128 {
    i128::try_from(uj).unwrap_or(i128::MAX)
}

struct Account {
    prices: Arc<Prices>,
    cost: Cost,
    books: ClassBooks,
    /// For later executions, as far as it does not fit into the pool of `prices`.
    owed: i128,
    /// Booked for executions that the present tick settles, and how many.
    settled: (f64, u64),
}

struct Running {
    record: Record,
    sequence: u64,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    /// The last reading, as long as the meter lives.
    last: Option<(u64, u64)>,
    /// Up to then all is booked, or known not to be known.
    booked_ns: u64,
    tick_ns: u64,
    books: Books,
    idle: Idle,
    powers: Powers,
    accounts: BTreeMap<Class, Account>,
    /// Of classes that are gone, and of executions of classes that never were.
    retired: ClassBooks,
    slots: BTreeMap<Slot, Arc<Progress>>,
    running: BTreeMap<Slot, Running>,
    waiting: VecDeque<Record>,
    /// When an execution last ran, as far as ticks are booked.
    last_ran_ns: Option<u64>,
    /// Room for the weights of a tick.
    weights: Vec<u128>,
}

impl Ledger {
    /// A class begins. Executions read `prices` from now on.
    pub fn open(&mut self, class: Class, prices: Arc<Prices>) {
        let account = Account {
            prices,
            cost: Cost::default(),
            books: ClassBooks::default(),
            owed: 0,
            settled: (0.0, 0),
        };
        self.publish(class, &account);
        if let Some(former) = self.accounts.insert(class, account) {
            self.retired.add(&former.books);
        }
    }

    /// A class ends: its model is unloaded, and its last execution has ended. What is pending for it stays pending, under
    /// [`Self::retired`]: no response is left that could bear it, and another model's clients did not cause it. What is
    /// still to be booked for its executions goes there, too.
    pub fn retire(&mut self, class: Class) {
        if let Some(account) = self.accounts.remove(&class) {
            self.retired.add(&account.books);
        }
        self.powers.forget(class);
    }

    /// A place for executions, in which none runs; `progress` says what is measured of the one that does later.
    pub fn attach(&mut self, slot: Slot, progress: Arc<Progress>) {
        self.abandon(slot);
        self.slots.insert(slot, progress);
    }

    /// An execution has started; `sequence` is one that [`Progress::of`] will be asked for.
    pub fn started(&mut self, slot: Slot, class: Class, start_ns: u64, sequence: u64) {
        self.abandon(slot);
        let record = Record::start(class, start_ns, self.booked_ns);
        self.running.insert(slot, Running { record, sequence });
    }

    /// The execution in `slot` has ended, and its responses were told so much. One that was never
    /// [started](Self::started) counts from its start on, as far as no tick is booked.
    pub fn ended(&mut self, slot: Slot, class: Class, start_ns: u64, end_ns: u64, told: Told) {
        if self.running.get(&slot).is_some_and(|running| running.record.class != class) {
            self.abandon(slot);
        }
        let mut record = match self.running.remove(&slot) {
            Some(running) => {
                self.books.running -= running.record.booked_uj;
                running.record
            }
            None => Record::start(class, start_ns, self.booked_ns),
        };
        record.end(start_ns, end_ns, told);
        self.books.told += u128::from(told.uj);
        self.class_books(class).told += u128::from(told.uj);
        self.wait(record);
    }

    /// An execution that will tell nothing, for it failed: what is booked for it is borne by later ones of its class.
    pub fn failed(&mut self, slot: Slot, class: Class, start_ns: u64, end_ns: u64) {
        self.ended(slot, class, start_ns, end_ns, Told::default());
    }

    /// The meter's believed total in µJ, and when it was that. One that is not later than the last is left out: the next
    /// one holds its energy. Where the total falls, the meter has begun anew, and nothing is known of the time between.
    pub fn tick(&mut self, ns: u64, total_uj: u64) {
        match self.last {
            Some((last_ns, _)) if ns <= last_ns => return,
            Some((last_ns, last_uj)) if total_uj >= last_uj => {
                self.book(ns, ns - last_ns, total_uj - last_uj)
            }
            // The first reading, or the first after a gap. One from before the end of the gap begins nothing.
            _ if ns < self.booked_ns => return,
            _ => self.pass(ns),
        }
        self.last = Some((ns, total_uj));
    }

    /// The meter knows nothing of this time. Nor, then, of what lies between it and the ticks around it: a counter that
    /// is believed to have counted on needs no gap.
    pub fn gap(&mut self, _from_ns: u64, to_ns: u64) {
        if to_ns > self.booked_ns {
            self.pass(to_ns);
            self.last = None;
        }
    }

    /// The sums.
    pub fn books(&self) -> Books {
        let Books { attributed, lost, told, .. } = self.books;
        Books { pending: signed(attributed) + signed(lost) - signed(told), ..self.books }
    }

    /// The sums of a class.
    pub fn of_class(&self, class: Class) -> Option<ClassBooks> {
        self.accounts.get(&class).map(|account| account.books)
    }

    /// The power of the idle device in µW, once it is known.
    pub fn idle_power_uw(&self) -> Option<u64> {
        self.idle.power_uw()
    }

    /// A tick, `length_ns` long.
    fn book(&mut self, until_ns: u64, length_ns: u64, energy_uj: u64) {
        self.books.total += u128::from(energy_uj);
        self.tick_ns = if self.tick_ns == 0 { length_ns } else { mean(self.tick_ns, length_ns) };
        let times = self.times(until_ns);
        if times.is_empty() {
            // The first tick without executions tells what idle is, and is idle itself.
            let since = self.last_ran_ns.map(|last| self.booked_ns.saturating_sub(last));
            self.idle.learn(energy_uj, length_ns, since);
            let idle = self.idle.share(energy_uj, length_ns).unwrap_or(energy_uj);
            self.books.idle += u128::from(idle);
            self.books.unattributed += u128::from(energy_uj - idle);
            self.booked_ns = until_ns;
        } else {
            // As long as no idle device was seen, all is the executions': a later tick would not take it back.
            let idle = self.idle.share(energy_uj, length_ns).unwrap_or(0);
            let above = energy_uj - idle;
            self.books.idle += u128::from(idle);
            self.books.attributed += u128::from(above);
            // First learnt, then shared: the tick itself says most of how it is to be shared.
            self.powers.learn(&times, above, energy_uj);
            self.share(until_ns, above, &times);
        }
        self.settle(&times);
    }

    /// How long executions of each class ran before `until_ns`, as far as that is not booked.
    fn times(&mut self, until_ns: u64) -> Vec<(Class, u64)> {
        let mut times = BTreeMap::<Class, u64>::new();
        for record in self.waiting.iter().chain(self.running.values().map(|running| &running.record)) {
            let time = record.time(until_ns);
            if time > 0 {
                let sum = times.entry(record.class).or_default();
                *sum = sum.saturating_add(time);
                let last = record.end_ns().min(until_ns);
                self.last_ran_ns = self.last_ran_ns.max(Some(last));
            }
        }
        times.into_iter().collect()
    }

    /// Shares energy over the executions that ran, by time and power. Each one's part is the difference of two rounded
    /// sums, so that all parts make the whole.
    fn share(&mut self, until_ns: u64, energy_uj: u64, times: &[(Class, u64)]) {
        let largest = times.iter().map(|&(class, _)| self.powers.of(class)).fold(0.0, f64::max);
        let scale = if largest > 0.0 { (1_u64 << WEIGHT_BITS) as f64 / largest } else { 0.0 };
        let weigh = |class| ((self.powers.of(class) * scale) as u64).max(1);
        // A short list, sorted by class.
        let powers: Vec<(Class, u64)> = times.iter().map(|&(class, _)| (class, weigh(class))).collect();
        let weigh = |record: &Record| {
            let time = record.time(until_ns);
            let place = powers.binary_search_by_key(&record.class, |&(class, _)| class);
            place.map_or(0, |place| u128::from(time) * u128::from(powers[place].1))
        };
        let mut weights = std::mem::take(&mut self.weights);
        weights.clear();
        let running = self.running.values().map(|running| &running.record);
        weights.extend(self.waiting.iter().chain(running).map(weigh));
        // Up to 104 bits each. What is left of their sum times the energy takes 64 bits, if that still tells a 2^32th
        // part: division is quick then.
        let bits = |number: u128| u128::BITS - number.leading_zeros();
        let energy_uj = u128::from(energy_uj);
        let all = weights.iter().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
        let shift = bits(all).saturating_sub(63_u32.saturating_sub(bits(energy_uj)).clamp(32, 62));
        let sum: u128 = weights.iter().map(|weight| weight >> shift).sum();
        let mut portions = Portions { energy: energy_uj, sum, weights: 0, given: 0 };
        for (record, weight) in self.waiting.iter_mut().zip(&weights) {
            let uj = portions.next(weight >> shift);
            record.book(until_ns, Some(uj));
            book_for(&mut self.accounts, &mut self.retired, record.class, uj);
        }
        for (running, weight) in self.running.values_mut().zip(&weights[self.waiting.len()..]) {
            let uj = portions.next(weight >> shift);
            running.record.book(until_ns, Some(uj));
            self.books.running += u128::from(uj);
            book_for(&mut self.accounts, &mut self.retired, running.record.class, uj);
        }
        self.weights = weights;
        self.booked_ns = until_ns;
        for (slot, running) in &self.running {
            if let Some(progress) = self.slots.get(slot) {
                progress.publish(running.sequence, running.record.measured());
            }
        }
    }

    /// Time without a meter.
    fn pass(&mut self, until_ns: u64) {
        let times = self.times(until_ns);
        for record in &mut self.waiting {
            record.book(until_ns, None);
        }
        for running in self.running.values_mut() {
            running.record.book(until_ns, None);
        }
        self.booked_ns = until_ns;
        self.settle(&times);
    }

    /// An execution that has ended waits for its ticks, if there are any to come.
    fn wait(&mut self, record: Record) {
        if record.is_over(self.booked_ns) {
            let class = record.class;
            self.close(record);
            self.give(class);
            return;
        }
        self.waiting.push_back(record);
        if self.waiting.len() > MOST_WAITING {
            self.put_together();
        }
    }

    /// Closes what no later tick has a part of, and shows what was learnt.
    fn settle(&mut self, seen: &[(Class, u64)]) {
        let booked_ns = self.booked_ns;
        // Nearly in the order of their ends; those of long ones stand between.
        let all = std::mem::take(&mut self.waiting);
        let (over, waiting): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|record| record.is_over(booked_ns));
        self.waiting = waiting;
        for record in over {
            self.close(record);
        }
        // Those that ran have a new power, others may have been settled without it.
        let is_new = |class: &Class, account: &Account| {
            account.owed != 0
                || account.settled.1 > 0
                || seen.binary_search_by_key(class, |&(seen, _)| seen).is_ok()
        };
        let new: Vec<Class> = self
            .accounts
            .iter()
            .filter(|(class, account)| is_new(class, account))
            .map(|(&class, _)| class)
            .collect();
        for class in new {
            self.give(class);
        }
    }

    /// The last that happens to a record.
    fn close(&mut self, record: Record) {
        let lost = u128::from(record.lost_uj());
        self.books.lost += lost;
        self.class_books(record.class).lost += lost;
        if let Some(account) = self.accounts.get_mut(&record.class) {
            account.owed += signed(record.booked_uj + lost) - record.base_uj();
            if record.is_whole() {
                account.settled.0 += record.booked_uj as f64;
                account.settled.1 += record.count;
            }
        }
    }

    /// Gives later executions of a class what is owed to them, and shows them what was learnt.
    fn give(&mut self, class: Class) {
        let Some(account) = self.accounts.get_mut(&class) else { return };
        let (uj, count) = std::mem::take(&mut account.settled);
        if count > 0 {
            account.cost.learn(uj, count);
        }
        account.owed = account.prices.give(account.owed);
        if let Some(account) = self.accounts.get(&class) {
            self.publish(class, account);
        }
    }

    fn publish(&self, class: Class, account: &Account) {
        account.prices.publish(Learnt {
            cost: account.cost.mean(),
            power: self.powers.of(class),
            spread: account.cost.spread(),
            tick_ns: self.tick_ns,
        });
    }

    /// What runs in a place will not say that it has ended.
    fn abandon(&mut self, slot: Slot) {
        if let Some(Running { mut record, .. }) = self.running.remove(&slot) {
            self.books.running -= record.booked_uj;
            record.end(self.booked_ns, self.booked_ns, Told::default());
            self.wait(record);
        }
    }

    /// Keeps one record for each class of those that have ended.
    fn put_together(&mut self) {
        let mut kept = BTreeMap::<Class, Record>::new();
        let mut rest = VecDeque::new();
        for record in self.waiting.drain(..) {
            match kept.get_mut(&record.class) {
                // It takes centuries of executions not to fit.
                Some(sum) => {
                    if !sum.absorb(&record) {
                        rest.push_back(record);
                    }
                }
                None => drop(kept.insert(record.class, record)),
            }
        }
        rest.extend(kept.into_values());
        self.waiting = rest;
    }

    fn class_books(&mut self, class: Class) -> &mut ClassBooks {
        self.accounts.get_mut(&class).map_or(&mut self.retired, |account| &mut account.books)
    }
}

/// Parts of a whole by weights, nothing left over.
struct Portions {
    energy: u128,
    /// Of all weights.
    sum: u128,
    /// Of those so far, and what they got.
    weights: u128,
    given: u128,
}

impl Portions {
    fn next(&mut self, weight: u128) -> u64 {
        self.weights += weight;
        let given = self.energy * self.weights / self.sum.max(1);
        let part = given - std::mem::replace(&mut self.given, given);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

fn book_for(accounts: &mut BTreeMap<Class, Account>, retired: &mut ClassBooks, class: Class, uj: u64) {
    let books = accounts.get_mut(&class).map_or(retired, |account| &mut account.books);
    books.attributed += u128::from(uj);
}

fn mean(mean: u64, value: u64) -> u64 {
    let kept = u128::from(mean) * u128::from(MEAN_TICKS - 1);
    u64::try_from((kept + u128::from(value)) / u128::from(MEAN_TICKS)).unwrap_or(u64::MAX)
}

/// What the tests look at.
#[cfg(test)]
impl ClassBooks {
    /// As in [`Books`].
    pub fn pending(&self) -> i128 {
        signed(self.attributed) + signed(self.lost) - signed(self.told)
    }
}

/// What the tests look at.
#[cfg(test)]
impl Ledger {
    /// The sums of classes that are gone.
    pub fn retired(&self) -> ClassBooks {
        self.retired
    }

    /// What an execution of a class costs, in µJ; none before the first is settled.
    pub fn cost(&self, class: Class) -> Option<f64> {
        self.accounts.get(&class)?.cost.mean()
    }

    /// What later executions of a class are still to bear, or to be relieved of, in µJ: what is pending for it without
    /// those that run or wait for their ticks.
    pub fn owed(&self, class: Class) -> Option<i128> {
        let account = self.accounts.get(&class)?;
        Some(account.owed + i128::from(account.prices.pool()))
    }

    /// Records that are kept.
    pub fn kept(&self) -> usize {
        self.waiting.len() + self.running.len()
    }
}
