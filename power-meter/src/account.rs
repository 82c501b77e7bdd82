//! The accounts of devices: what each is judged to have used.

use crate::clock::seconds;
use crate::curve::{Curve, Energy, Missing};
use crate::device::{Also, Device, Limits, Reading};
use crate::error::Result;
use crate::event::Event;
use crate::judge::{Basis, Judge};
use crate::pace::{after_tick_ns, interval_ns};
use crate::recent::Recent;

/// State changes slowly, and each of its values costs a call.
const STATE_EVERY_NS: u64 = 250_000_000;

/// One device's readings, judged. Pure: the readings and the time are passed in.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    limits: Limits,
    judge: Judge,
    curve: Curve,
    cost: Recent,
    /// The start of the last reading, and, where it found the counter to have moved, when that was and how far that may be off.
    begin_ns: u64,
    moved: Option<(u64, u64)>,
    asked_power_ns: Option<u64>,
    asked_state_ns: Option<u64>,
    notices: Vec<Notice>,
}

/// What a reader of the numbers has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// It concerns windows that end after this.
    pub since_ns: u64,
    /// When it was noticed.
    pub ns: u64,
    /// With the device's name.
    pub text: String,
}

impl Account {
    /// The account of a device before any reading.
    pub fn new(name: &str, limits: Limits) -> Self {
        Self {
            name: name.to_owned(),
            judge: Judge::new(limits.clone()),
            limits,
            curve: Curve::default(),
            cost: Recent::default(),
            begin_ns: 0,
            moved: None,
            asked_power_ns: None,
            asked_state_ns: None,
            notices: Vec::new(),
        }
    }

    /// Takes the outcome of a reading, which was there at `now_ns`. Returns the events for whoever keeps books of their own.
    pub fn take(&mut self, reading: Result<Reading>, now_ns: u64) -> Vec<Event> {
        self.moved = None;
        let events = match reading {
            Ok(reading) => {
                self.begin_ns = reading.begin_ns;
                self.cost.add(reading.end_ns.saturating_sub(reading.begin_ns));
                self.judge.take(&reading)
            }
            Err(error) => self.judge.failed(now_ns, &error.to_string()),
        };
        for event in &events {
            if let Event::Dropped { since_ns, ns, reason } = event {
                let mut text = format!(
                    "{} {reason}. The counter is no longer believed; energy is integrated from power from there on",
                    self.name
                );
                if self.curve.last().is_some_and(|last| last.ns > *since_ns) {
                    let seconds = seconds(ns - since_ns);
                    text += &format!(", but what it counted in the {seconds:.1} s before is wrong as well");
                }
                self.notices.push(Notice { since_ns: *since_ns, ns: *ns, text });
            }
            if let Event::Point(point) = event {
                self.moved = Some((point.ns, point.slack_ns));
            }
            self.curve.take(event);
        }
        events
    }

    /// What to ask the device for now, beside its counter; `state` says whether anyone wants that.
    pub fn also(&mut self, now_ns: u64, state: bool) -> Also {
        let due =
            |asked: Option<u64>, every: u64| asked.is_none_or(|asked| now_ns.saturating_sub(asked) >= every);
        // Power is renewed once in a tick: to compare with, half a tick is close enough.
        let every = self.tick_ns().unwrap_or(self.limits.tick_ns) / 2;
        let power = self.judge.basis() == Basis::Power || due(self.asked_power_ns, every);
        let state = state && due(self.asked_state_ns, STATE_EVERY_NS);
        if power {
            self.asked_power_ns = Some(now_ns);
        }
        if state {
            self.asked_state_ns = Some(now_ns);
        }
        Also { power, state }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What energy is taken from by now.
    pub fn basis(&self) -> Basis {
        self.judge.basis()
    }

    /// See [`Judge::tick_ns`].
    pub fn tick_ns(&self) -> Option<u64> {
        self.judge.tick_ns()
    }

    /// How long reading the counter takes, of the last 64 readings: the median and the 99th percentile. None before the
    /// first.
    pub fn cost_ns(&self) -> Option<(u64, u64)> {
        Some((self.cost.median()?, self.cost.quantile(0.99)?))
    }

    /// The time from the start of the last reading to that of the next, from tick and cost.
    pub fn interval_ns(&self) -> u64 {
        let cost = self.cost.median().unwrap_or(0);
        match self.judge.basis() {
            // Power is renewed once in a tick.
            Basis::Power => interval_ns(self.limits.tick_ns, true, cost).max(self.limits.tick_ns / 4),
            Basis::Counter => {
                let learnt = self.judge.tick_ns();
                let interval = interval_ns(learnt.unwrap_or(self.limits.tick_ns), learnt.is_some(), cost);
                match (learnt, self.moved) {
                    (Some(tick), Some(moved)) => after_tick_ns(interval, tick, self.begin_ns, moved),
                    _ => interval,
                }
            }
        }
    }

    /// The points so far.
    pub fn curve(&self) -> &Curve {
        &self.curve
    }

    /// The energy of the device from one moment to a later one.
    ///
    /// # Errors
    /// It is unknown: why, with the device's name.
    pub fn energy(&self, from_ns: u64, to_ns: u64) -> Result<Energy, Missing> {
        self.curve.energy(from_ns, to_ns).map_err(|missing| Missing(format!("{}: {missing}", self.name)))
    }
}

/// The accounts of all devices.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// In the order of the devices.
    pub accounts: Vec<Account>,
}

impl Books {
    /// For these devices.
    pub fn new(devices: &[Box<dyn Device>]) -> Self {
        let accounts = devices.iter().map(|device| Account::new(device.name(), device.limits()));
        Self { accounts: accounts.collect() }
    }

    /// The energy of all devices together from one moment to a later one.
    ///
    /// # Errors
    /// That of one device is unknown: a sum without it would look complete. The message names it.
    pub fn energy(&self, from_ns: u64, to_ns: u64) -> Result<Energy, Missing> {
        if self.accounts.is_empty() {
            return Err(Missing("there is no meter".to_owned()));
        }
        let mut sum = Energy::default();
        for account in &self.accounts {
            let energy = account.energy(from_ns, to_ns)?;
            sum.uj = sum.uj.saturating_add(energy.uj);
            sum.error_uj = sum.error_uj.saturating_add(energy.error_uj);
        }
        Ok(sum)
    }

    /// Whether all that can be known up to a moment is known, of each device.
    pub fn reach(&self, ns: u64) -> bool {
        self.accounts.iter().all(|account| account.curve.reaches(ns))
    }

    /// What a reader of a window's energy has to know.
    pub fn notices(&self, to_ns: u64) -> impl Iterator<Item = &Notice> {
        let notices = self.accounts.iter().flat_map(|account| &account.notices);
        notices.filter(move |notice| notice.since_ns < to_ns)
    }

    /// The time from one reading to the next, such that no device is read less often than it needs.
    pub fn interval_ns(&self) -> u64 {
        let shortest = self.accounts.iter().map(Account::interval_ns).min().unwrap_or(0);
        // The readings of many devices are made one after the other.
        let cost: u64 = self.accounts.iter().filter_map(|account| account.cost.median()).sum();
        shortest.max(cost * 2)
    }

    /// Drops what no window from a moment on needs.
    pub fn forget_before(&mut self, ns: u64) {
        for account in &mut self.accounts {
            account.curve.forget_before(ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const MS: u64 = 1_000_000;
    const S: u64 = 1000 * MS;

    struct Named(&'static str, bool);

    impl Device for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn limits(&self) -> Limits {
            Limits {
                has_counter: self.1,
                range_uj: None,
                tick_ns: 100 * MS,
                most_w: 5000.0,
                standstill_ns: S,
                blind_standstill_ns: 10 * S,
            }
        }

        fn read(&mut self, _: Also) -> Result<Reading> {
            Err(Error::new("is not asked"))
        }
    }

    fn books() -> Books {
        Books::new(&[Box::new(Named("GPU-a", true)), Box::new(Named("GPU-b", true))])
    }

    /// Counter and power at a moment.
    type Says = dyn Fn(u64) -> Result<(Option<u64>, Option<f64>)>;

    /// Reads both for some seconds, each with what it says at a moment.
    fn run(books: &mut Books, from: u64, to: u64, says: [&Says; 2]) {
        for ns in (from..to).step_by(12 * MS as usize) {
            for (account, says) in books.accounts.iter_mut().zip(says) {
                let reading = says(ns).map(|(counter_uj, average_w)| {
                    let (begin_ns, end_ns) = (ns, ns + 3 * MS);
                    Reading {
                        begin_ns,
                        end_ns,
                        counter_uj,
                        power_ns: end_ns,
                        average_w,
                        ..Reading::default()
                    }
                });
                account.take(reading, ns + 3 * MS);
            }
        }
    }

    fn counting(ns: u64) -> Result<(Option<u64>, Option<f64>)> {
        Ok((Some(ns / (100 * MS) * 5_000_000), Some(50.0)))
    }

    fn joules(books: &Books, from: u64, to: u64) -> f64 {
        books.energy(from, to).unwrap().uj as f64 / 1e6
    }

    /// C3 and C4 of the field: one counter of two stands still at 0 while power says 100 W.
    #[test]
    fn of_two_devices_one_that_stands_still_is_integrated_and_told() {
        let mut books = books();
        run(&mut books, S, 8 * S, [&|_| Ok((Some(0), Some(100.0))), &counting]);
        let together = joules(&books, 3 * S, 7 * S);
        assert!((together - 600.0).abs() < 6.0, "{together} J of 150 W over 4 s");
        assert_eq!([books.accounts[0].basis(), books.accounts[1].basis()], [Basis::Power, Basis::Counter]);
        let told: Vec<&Notice> = books.notices(7 * S).collect();
        let [notice] = told[..] else { panic!("{told:?}") };
        assert!(
            notice.text.starts_with("GPU-a has an energy counter that stood still at 0.000 J"),
            "{}",
            notice.text
        );
        assert!(notice.text.contains("power said 100.0 W"), "{}", notice.text);
    }

    #[test]
    fn of_two_devices_one_that_says_nothing_is_missing_by_name() {
        let mut books = books();
        run(&mut books, S, 15 * S, [&counting, &|_| Ok((Some(0), Some(0.0)))]);
        assert!(books.reach(14 * S), "waiting does not help");
        let missing = books.energy(3 * S, 14 * S).unwrap_err().to_string();
        assert!(missing.starts_with("GPU-b: ") && missing.contains("gives no power"), "{missing}");
        assert_eq!(Books::default().energy(0, 1).unwrap_err().to_string(), "there is no meter");
    }

    #[test]
    fn a_device_that_vanishes_leaves_a_gap_in_the_sum() {
        let mut books = books();
        run(&mut books, S, 5 * S, [&counting, &counting]);
        run(&mut books, 5 * S, 8 * S, [&counting, &|_| Err(Error::new("fell off the bus"))]);
        run(&mut books, 8 * S, 12 * S, [&counting, &counting]);
        let missing = books.energy(4 * S, 9 * S).unwrap_err().to_string();
        assert!(missing.starts_with("GPU-b: fell off the bus"), "{missing}");
        for (from, to) in [(2 * S, 4 * S), (9 * S, 11 * S)] {
            assert!((joules(&books, from, to) - 200.0).abs() < 2.0);
        }
        books.forget_before(9 * S);
        assert!((joules(&books, 9 * S, 11 * S) - 200.0).abs() < 2.0 && books.energy(2 * S, 4 * S).is_err());
    }

    #[test]
    fn what_a_disagreement_leaves_behind_is_told() {
        let mut books = Books::new(&[Box::new(Named("GPU-a", true)) as Box<dyn Device>]);
        let less = |ns: u64| Ok((Some(ns / (100 * MS) * 9_400_000), Some(100.0)));
        run(&mut books, S, 30 * S, [&less, &less]);
        let told: Vec<&Notice> = books.notices(30 * S).collect();
        assert!(
            told[0].text.contains("(94.0 W) against") && told[0].text.contains("wrong as well"),
            "{told:?}"
        );
        assert_eq!(books.notices(S).count(), 0);
    }

    #[test]
    fn tick_cost_and_pace_are_learnt() {
        let mut account = Account::new("GPU-a", Named("", true).limits());
        assert_eq!((account.tick_ns(), account.cost_ns()), (None, None));
        assert_eq!(account.also(S, true), Also { power: true, state: true });
        assert_eq!(account.also(S + 20 * MS, true), Also::default());
        assert_eq!(account.also(S + 60 * MS, true), Also { power: true, state: false });
        assert_eq!(account.also(S + 260 * MS, true), Also { power: true, state: true });
        let mut books = Books { accounts: vec![account] };
        run(&mut books, S, 5 * S, [&counting, &counting]);
        let account = &books.accounts[0];
        assert!(account.tick_ns().unwrap().abs_diff(100 * MS) < 2 * MS);
        assert_eq!(account.cost_ns(), Some((3 * MS, 3 * MS)));
        assert!(account.interval_ns().abs_diff(12_500_000) < 500_000 && books.interval_ns() >= 12 * MS);
    }
}
