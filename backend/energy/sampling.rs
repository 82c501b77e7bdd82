//! The thread that reads a meter and keeps its ledger.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use power_meter::{Also, Books, Device, Event as OfMeter, clock};

use super::counters::Counters;
use super::events::{Event, Inbox};
use super::ledger::Ledger;

/// How often the server's metrics are brought up to date.
const METRICS_EVERY_NS: u64 = 1_000_000_000;

/// Reads `devices`, which are one for the ledger, and takes in what comes into `inbox`, until the sender of `stopped` is gone.
pub fn run(name: &str, mut devices: Vec<Box<dyn Device>>, inbox: &Mutex<Inbox>, stopped: &Receiver<()>) {
    let mut meters = Meters { books: Books::new(&devices), last_ns: None, total_uj: 0 };
    let mut ledger = Ledger::default();
    let mut counters = Counters::new(name);
    let (mut due, mut metrics_due) = (clock::now_ns(), 0);
    let mut events = Vec::new();
    loop {
        for (index, device) in devices.iter_mut().enumerate() {
            let account = &mut meters.books.accounts[index];
            let Also { power, .. } = account.also(clock::now_ns(), false);
            let reading = device.read(Also { power, state: false });
            account.take(reading, clock::now_ns()).iter().for_each(|event| tell(device.name(), event));
        }
        // Before the tick: it holds the energy of executions that have started or ended before it.
        inbox.lock().unwrap_or_else(PoisonError::into_inner).take(&mut events);
        events.drain(..).for_each(|event| take(event, &mut ledger, &mut counters));
        meters.book(&mut ledger);
        let now = clock::now_ns();
        if now >= metrics_due {
            counters.show(&ledger);
            metrics_due = now + METRICS_EVERY_NS;
        }
        due = (due + meters.books.interval_ns()).max(now);
        match stopped.recv_timeout(Duration::from_nanos(due - now)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn take(event: Event, ledger: &mut Ledger, counters: &mut Counters) {
    match event {
        Event::Opened { class, model, prices } => {
            ledger.open(class, prices);
            counters.open(class, &model);
        }
        Event::Retired { class } => {
            // Its counter goes with it: until then it has what was booked.
            counters.show(ledger);
            counters.retire(class);
            ledger.retire(class);
        }
        Event::Attached { slot, progress } => ledger.attach(slot, progress),
        Event::Started { slot, class, start_ns, sequence } => ledger.started(slot, class, start_ns, sequence),
        Event::Ended { slot, class, start_ns, end_ns, told } => {
            ledger.ended(slot, class, start_ns, end_ns, told)
        }
        Event::Failed { slot, class, start_ns, end_ns } => ledger.failed(slot, class, start_ns, end_ns),
    }
}

/// What the meters say, as one total.
struct Meters {
    books: Books,
    /// Up to then the ledger knows all, or that nothing is known.
    last_ns: Option<u64>,
    total_uj: u64,
}

impl Meters {
    /// Tells the ledger what all meters know by now.
    fn book(&mut self, ledger: &mut Ledger) {
        let known = self.books.accounts.iter().map(|account| account.curve().last().map(|point| point.ns));
        // Up to the earliest of the meters' last points; where one has none, nothing is known.
        let Some(until_ns) = known.min().flatten() else { return };
        match self.last_ns {
            Some(last_ns) if until_ns <= last_ns => return,
            Some(last_ns) => match self.books.energy(last_ns, until_ns) {
                Ok(energy) => self.total_uj = self.total_uj.saturating_add(energy.uj),
                // That a meter fails was told when it did.
                Err(_) => ledger.gap(last_ns, until_ns),
            },
            None => {}
        }
        ledger.tick(until_ns, self.total_uj);
        self.last_ns = Some(until_ns);
        self.books.forget_before(until_ns);
    }
}

fn tell(name: &str, event: &OfMeter) {
    match event {
        OfMeter::Point(_) => {}
        OfMeter::Dropped { reason, .. } => {
            log::warn!("energy: {name} {reason}. Its energy is integrated from power from here on");
        }
        OfMeter::Lost { reason, .. } => {
            log::warn!("energy: {name} tells none: {reason}. Responses have estimates until it does again");
        }
        OfMeter::Gap { from_ns, to_ns, .. } => {
            let seconds = Duration::from_nanos(to_ns.saturating_sub(*from_ns)).as_secs_f64();
            log::warn!("energy: {name} tells it again, after {seconds:.3} s of which nothing is known");
        }
    }
}
