//! The server's memory, threads and file descriptors over time, and how much they may grow.

use std::fmt;
use std::time::{Duration, Instant};

use crate::record::Record;
use crate::support::Server;

/// From one measurement to the next.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Rows of the table.
const ROWS: u32 = 24;
/// The part of the time in which pools and allocators fill: nothing is compared with it.
const WARM_UP: f64 = 0.25;

/// Bytes that the resident memory may grow by after the warm-up, from the median of the first quarter of what follows to the
/// median of the last. The allocators keep an arena for each of some ten threads, and what a model leaves in them when it
/// is unloaded does not fit the next one exactly: that is some MiB, and comes to an end.
const MORE_MEMORY: u64 = 32 << 20;
/// What is allowed on top for each time that a model is loaded: TensorFlow and the server keep some names and counters of
/// every session and model that ever was.
const MORE_MEMORY_BY_LOAD: u64 = 32 << 10;
/// Threads that may be more: the servers' pools start one when all others are at work.
const MORE_THREADS: u64 = 4;
/// File descriptors that may be more: a client that comes back takes a new connection, and the old one may not be closed yet.
const MORE_FILES: u64 = 16;

/// What the server has at one time.
#[derive(Clone, Copy)]
struct Sample {
    resident: u64,
    threads: u64,
    files: u64,
    loads: u64,
}

/// The samples so far.
pub struct Watch {
    start: Instant,
    duration: Duration,
    printed: u32,
    samples: Vec<(Duration, Sample)>,
}

impl Watch {
    pub fn new(duration: Duration) -> Self {
        println!(
            "{:>8} {:>10} {:>10} {:>9} {:>9} {:>5} {:>6} {:>6} {:>8} {:>8} {:>6}",
            "time s",
            "requests",
            "answered",
            "refused",
            "given up",
            "lost",
            "wrong",
            "loads",
            "RSS MiB",
            "threads",
            "files"
        );
        Self { start: Instant::now(), duration, printed: 0, samples: Vec::new() }
    }

    pub fn is_over(&self) -> bool {
        self.start.elapsed() >= self.duration
    }

    /// Measures, and prints a row from time to time.
    pub fn look(&mut self, server: &Server, record: &Record, loads: u64) {
        let count = |folder: &str| std::fs::read_dir(server.proc(folder)).map_or(0, |all| all.count() as u64);
        let sample =
            Sample { resident: server.resident_bytes(), threads: count("task"), files: count("fd"), loads };
        let at = self.start.elapsed();
        self.samples.push((at, sample));
        if at >= self.duration * self.printed / ROWS {
            self.printed = (at.as_secs_f64() / self.duration.as_secs_f64() * f64::from(ROWS)) as u32 + 1;
            let counts = record.counts();
            println!(
                "{:>8.0} {:>10} {:>10} {:>9} {:>9} {:>5} {:>6} {:>6} {:>8} {:>8} {:>6}",
                at.as_secs_f64(),
                counts.requests(),
                counts.answered,
                counts.refused,
                counts.given_up,
                counts.lost,
                counts.wrong,
                loads,
                sample.resident >> 20,
                sample.threads,
                sample.files
            );
        }
    }

    /// Compares the end with what was there after the warm-up.
    pub fn judge(&self, server: &Server, record: &Record) {
        let warm: Vec<Sample> = self
            .samples
            .iter()
            .filter(|(at, _)| at.as_secs_f64() >= self.duration.as_secs_f64() * WARM_UP)
            .map(|(_, sample)| *sample)
            .collect();
        let quarter = warm.len() / 4;
        if quarter < 3 {
            println!("Growth was not judged: that takes 2 minutes at least");
            return;
        }
        let (early, late) = (&warm[..quarter], &warm[warm.len() - quarter..]);
        let loads = median(late, |sample| sample.loads) - median(early, |sample| sample.loads);
        let check = |what: &str, unit: u64, bound: u64, value: fn(&Sample) -> u64| {
            let (before, after) = (median(early, value), median(late, value));
            let told = Growth { what, before: before / unit, after: after / unit, bound: bound / unit };
            println!("{told}");
            if after > before + bound {
                record.fault(server, format_args!("growth beyond its bound: {told}"));
            }
        };
        let memory = MORE_MEMORY + loads * MORE_MEMORY_BY_LOAD;
        check("resident MiB", 1 << 20, memory, |sample| sample.resident);
        check("threads", 1, MORE_THREADS, |sample| sample.threads);
        check("file descriptors", 1, MORE_FILES, |sample| sample.files);
    }
}

struct Growth<'w> {
    what: &'w str,
    before: u64,
    after: u64,
    bound: u64,
}

impl fmt::Display for Growth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, before, after, bound } = self;
        write!(f, "{what}: {before} after the warm-up, {after} at the end; at most {bound} more are allowed")
    }
}

fn median(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
