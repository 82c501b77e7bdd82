//! What the path of a request adds to, for one version of a model.

use std::sync::atomic::{AtomicU64, Ordering};

use super::durations::{BUCKETS, Durations, Grown, Seen as SeenDurations};

/// What is known of a model when it is loaded.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// What it computes on, as metrics have it.
    pub device: &'static str,
    /// Whether this backend makes its batches, and so knows of requests before they are executed.
    pub is_adaptive: bool,
    /// The latency that its requests are to keep, in ns.
    pub target_ns: Option<u64>,
}

/// Why a request is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The queue was full.
    QueueFull,
    /// It had waited for as long as its client allows.
    Timeout,
    /// Its client had cancelled it.
    Cancelled,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::Timeout, Self::Cancelled];

    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Numbers that only grow. Threads that bring requests add to others than those that execute them, and these have cache lines
/// of their own.
#[derive(Debug)]
pub struct Tally {
    executed: Executed,
    durations: Durations,
    came: Came,
    target_ns: u64,
    counts_arrivals: bool,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Executed {
    busy_ns: AtomicU64,
    rows: AtomicU64,
    late: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Came {
    rows: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

/// What a [`Tally`] was at a time.
#[derive(Debug, Default)]
pub struct Seen {
    busy_ns: u64,
    executed: u64,
    late: u64,
    arrived: u64,
    refused: [u64; Reason::ALL.len()],
    durations: SeenDurations,
}

/// By what a [`Tally`] has grown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    /// Seconds in which an instance executed.
    pub busy_s: f64,
    /// Rows that were executed.
    pub executed: u64,
    /// Rows of requests that came.
    pub arrived: u64,
    /// Requests that were answered after the target.
    pub late: u64,
    /// Requests that were not run, by [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
    /// Requests that were answered, by duration; nothing where there were none.
    pub durations: Option<[Grown; BUCKETS]>,
}

impl Tally {
    /// Of a model of which nothing has come yet.
    pub fn new(about: &About) -> Self {
        Self {
            executed: Executed::default(),
            durations: Durations::default(),
            came: Came::default(),
            target_ns: about.target_ns.unwrap_or(u64::MAX),
            counts_arrivals: about.is_adaptive,
        }
    }

    /// Requests of so many rows have come. Only where this backend makes the batches: elsewhere they come when they are executed.
    pub fn arrived(&self, rows: u64) {
        self.came.rows.fetch_add(rows, Ordering::SeqCst);
    }

    /// A request was not run.
    pub fn refused(&self, reason: Reason) {
        self.came.refused[reason as usize].fetch_add(1, Ordering::SeqCst);
    }

    /// A request was answered, so long after it had come.
    pub fn answered(&self, ns: u64) {
        self.durations.add(ns);
        if ns > self.target_ns {
            self.executed.late.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// An instance was busy for so long with so many rows.
    pub fn executed(&self, busy_ns: u64, rows: u64) {
        self.executed.rows.fetch_add(rows, Ordering::SeqCst);
        self.executed.busy_ns.fetch_add(busy_ns, Ordering::SeqCst);
    }

    /// By what it has grown since `seen`, which is brought up to date.
    pub fn since(&self, seen: &mut Seen) -> Growth {
        let grown = |now: &AtomicU64, seen: &mut u64| {
            let now = now.load(Ordering::SeqCst);
            now.wrapping_sub(std::mem::replace(seen, now))
        };
        // What is executed has arrived: in this order it is not seen the other way round.
        let durations = self.durations.since(&mut seen.durations);
        let late = grown(&self.executed.late, &mut seen.late);
        let busy_ns = grown(&self.executed.busy_ns, &mut seen.busy_ns);
        let executed = grown(&self.executed.rows, &mut seen.executed);
        let arrived = if self.counts_arrivals { grown(&self.came.rows, &mut seen.arrived) } else { executed };
        let mut refused = [0; Reason::ALL.len()];
        for (index, refused) in refused.iter_mut().enumerate() {
            *refused = grown(&self.came.refused[index], &mut seen.refused[index]);
        }
        Growth { busy_s: busy_ns as f64 / 1e9, executed, arrived, late, refused, durations }
    }
}

impl Growth {
    /// Whether nothing has happened.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn about(is_adaptive: bool, target_ns: Option<u64>) -> About {
        About { model: "m".into(), version: 1, device: "cpu", is_adaptive, target_ns }
    }

    #[test]
    fn each_number_is_told_once() {
        let (tally, mut seen) = (Tally::new(&about(true, Some(10 * MS))), Seen::default());
        assert!(tally.since(&mut seen).is_none());
        tally.arrived(8);
        tally.arrived(2);
        tally.refused(Reason::QueueFull);
        tally.executed(20 * MS, 8);
        for ms in [5, 10, 11, 12] {
            tally.answered(ms * MS);
        }
        let grown = tally.since(&mut seen);
        assert_eq!((grown.arrived, grown.executed, grown.busy_s), (10, 8, 0.02));
        assert_eq!((grown.late, grown.refused), (2, [1, 0, 0]), "at the target a request is in time");
        let durations = grown.durations.expect("four were answered");
        assert_eq!(durations.iter().map(|grown| grown.count).sum::<u64>(), 4);
        assert!(tally.since(&mut seen).is_none());
    }

    #[test]
    fn without_a_target_nothing_is_late() {
        let (tally, mut seen) = (Tally::new(&about(true, None)), Seen::default());
        tally.answered(u64::MAX - 1);
        assert_eq!(tally.since(&mut seen).late, 0);
    }

    #[test]
    fn where_the_server_makes_the_batches_rows_come_when_they_are_executed() {
        let (tally, mut seen) = (Tally::new(&about(false, None)), Seen::default());
        tally.executed(MS, 3);
        let grown = tally.since(&mut seen);
        assert_eq!((grown.arrived, grown.executed), (3, 3));
    }

    #[test]
    fn reasons_are_at_their_places() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
    }
}
