//! Made meters of a known power: a machine may have none, and no real one tells what an answer should be.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::repository::scratch_folder;
use super::server::Options;

/// What the made device draws always, in watts.
const IDLE: f64 = 12.0;
/// What it draws beside that while a request is with the server.
pub const BUSY_WATTS: f64 = 40.0;

/// A device whose energy is known, and where its meter is read.
pub struct MadeMeter {
    folder: tempfile::TempDir,
    busy: Arc<AtomicU32>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<f64>>,
}

impl MadeMeter {
    /// Processors whose counter moves each millisecond, and wraps around once.
    pub fn powercap() -> Self {
        Self::start(Duration::from_millis(1), powercap)
    }

    /// A GPU whose counter moves every 100 ms, and whose readings take 3 ms.
    pub fn nvml() -> Self {
        let made = Self::start(Duration::from_millis(100), nvml);
        compile_nvml(made.folder.path());
        made
    }

    /// Options for a server whose backend finds this meter.
    pub fn options(&self, options: Options) -> Options {
        let path = |file: &str| self.folder.path().join(file).to_str().expect("a path in UTF-8").to_owned();
        let options = options.backend_config("energy-powercap-dir", &path(""));
        if !self.folder.path().join(NVML).exists() {
            return options;
        }
        options
            .environment("MADE_NVML", &path("gpu"))
            .backend_config("energy-nvml-library", &path(NVML))
            .backend_config("energy-scope", "gpu")
    }

    /// `write` puts joules and watts where the meter is, each `tick`.
    fn start(tick: Duration, write: fn(&Path, f64, f64)) -> Self {
        // Where servers in containers find it.
        let folder = tempfile::tempdir_in(scratch_folder()).expect("a folder");
        let (busy, end) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (place, busy_now, ended) = (folder.path().to_owned(), Arc::clone(&busy), Arc::clone(&end));
        write(&place, 0.0, IDLE);
        let run = move || {
            let (mut joules, mut last, mut told) = (0.0, Instant::now(), Instant::now());
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(500));
                let power = if busy_now.load(Ordering::Relaxed) > 0 { IDLE + BUSY_WATTS } else { IDLE };
                joules += power * last.elapsed().as_secs_f64();
                last = Instant::now();
                if told.elapsed() >= tick {
                    told = Instant::now();
                    write(&place, joules, power);
                }
            }
            joules
        };
        Self { folder, busy, end, thread: Some(thread::spawn(run)) }
    }

    /// Does something for which the device draws its power. Returns for how long.
    pub fn work<T>(&self, what: impl FnOnce() -> T) -> (T, Duration) {
        let start = Instant::now();
        self.busy.fetch_add(1, Ordering::Relaxed);
        let done = what();
        self.busy.fetch_sub(1, Ordering::Relaxed);
        (done, start.elapsed())
    }
}

impl Drop for MadeMeter {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A file that is there with all of its text, or with that before.
fn put(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).expect("a file");
    fs::rename(&next, file).expect("a file");
}

fn powercap(folder: &Path, joules: f64, _watts: f64) {
    let zone = folder.join("intel-rapl:0");
    if !zone.exists() {
        fs::create_dir(&zone).expect("a folder");
        put(&zone.join("name"), "package-0\n");
        put(&zone.join("max_energy_range_uj"), "262143328850\n");
    }
    // Not from 0: it wraps around in the middle of the test.
    let uj = (joules * 1e6) as u64 + 262_143_000_000;
    put(&zone.join("energy_uj"), &format!("{}\n", uj % 262_143_328_850));
}

fn nvml(folder: &Path, joules: f64, watts: f64) {
    put(&folder.join("gpu"), &format!("{} {} 3000\n", (joules * 1e3) as u64, (watts * 1e3) as u64));
}

const NVML: &str = "libmade-ml.so";

fn compile_nvml(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/nvml.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.join(NVML))
        .arg(source)
        .status();
    assert!(made.expect("Rust links with cc, so it is there").success());
}
