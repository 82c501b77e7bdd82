//! What was asked and what became of it.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::support::Server;

/// Lines of the server's log that are kept with a fault.
const KEPT_LINES: usize = 3000;
/// Faults that are told, and those with which the log is kept; more are only counted.
const TOLD: usize = 50;
const KEPT_LOGS: usize = 5;

/// What became of a request.
#[derive(Clone, Debug)]
pub enum End {
    /// Answered with the right values.
    Answered,
    /// Refused or failed for a reason that was to be expected.
    Refused,
    /// Given up by the client.
    GivenUp,
    /// Answered with something else; what.
    Wrong(String),
    /// Not answered; why.
    Lost(String),
}

/// Counts of the requests' ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub answered: u64,
    pub refused: u64,
    pub given_up: u64,
    pub wrong: u64,
    pub lost: u64,
}

impl Counts {
    pub fn requests(&self) -> u64 {
        self.answered + self.refused + self.given_up + self.wrong + self.lost
    }
}

/// All ends of requests, and all faults.
pub struct Record {
    folder: PathBuf,
    seed: u64,
    start: Instant,
    answered: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
    wrong: AtomicU64,
    lost: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Record {
    /// Faults are kept in a folder of this seed within `parent`, which is made when there is one.
    pub fn new(parent: &Path, seed: u64) -> Self {
        Self {
            folder: parent.join(format!("seed-{seed}")),
            seed,
            start: Instant::now(),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.answered),
            refused: read(&self.refused),
            given_up: read(&self.given_up),
            wrong: read(&self.wrong),
            lost: read(&self.lost),
        }
    }

    /// Counts a request; `what` says which it is.
    pub fn count(&self, server: &Server, end: &End, what: impl fmt::Display) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        match end {
            End::Answered => add(&self.answered),
            End::Refused => add(&self.refused),
            End::GivenUp => add(&self.given_up),
            End::Wrong(found) => {
                self.fault(server, format_args!("wrong answer, {what}: {found}"));
                add(&self.wrong)
            }
            End::Lost(why) => {
                self.fault(server, format_args!("lost, {what}: {why}"));
                add(&self.lost)
            }
        };
    }

    /// Notes a fault, and keeps the end of the server's log as it is now.
    pub fn fault(&self, server: &Server, what: impl fmt::Display) {
        self.note(what, Some(&server.log()));
    }

    /// Notes a fault; `log` is the server's.
    pub fn note(&self, what: impl fmt::Display, log: Option<&str>) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = format!("after {:.1} s: {what}", self.start.elapsed().as_secs_f64());
        if faults.len() < TOLD {
            println!("FAULT {fault}");
            let kept = fs::create_dir_all(&self.folder).and_then(|()| {
                if let Some(log) = log.filter(|_| faults.len() < KEPT_LOGS) {
                    let lines: Vec<&str> = log.lines().collect();
                    let end = lines[lines.len().saturating_sub(KEPT_LINES)..].join("\n");
                    fs::write(self.folder.join(format!("fault-{}.log", faults.len())), end)?;
                }
                fs::write(self.folder.join("faults.txt"), [&faults[..], &[fault.clone()]].concat().join("\n"))
            });
            if let Err(error) = kept {
                println!("'{}' cannot be written: {error}", self.folder.display());
            }
        }
        faults.push(fault);
    }

    /// Says how it went.
    pub fn finish(&self) -> ExitCode {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { answered, refused, given_up, wrong, lost } = self.counts();
        println!(
            "{} requests: {answered} answered, {refused} refused as expected, {given_up} given up by the client, {lost} lost, \
             {wrong} wrong",
            self.counts().requests()
        );
        if faults.is_empty() {
            println!("No fault");
            return ExitCode::SUCCESS;
        }
        println!(
            "{} faults. They are in {} with the server's log; to repeat: make soak ARGS=\"--seed {}\"",
            faults.len(),
            self.folder.display(),
            self.seed
        );
        ExitCode::FAILURE
    }
}

/// A server's log, which can still be read when the server has ended and its folder is gone.
pub struct Log(File);

impl Log {
    pub fn of(server: &Server) -> Self {
        Self(File::open(server.log_file()).expect("the server has a log"))
    }

    /// All of it.
    pub fn text(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.seek(SeekFrom::Start(0)).and_then(|_| self.0.read_to_end(&mut bytes));
        if let Err(error) = read {
            println!("the server's log cannot be read: {error}");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
