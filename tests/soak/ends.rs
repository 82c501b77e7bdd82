//! Servers that end under load: told to, and killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::kinds;
use crate::record::{End, Log, Record};
use crate::support::*;
use crate::traffic::client;

/// How long a server waits for requests in flight when it is told to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);
/// By then the server has read what was sent to it, also on a machine that does other things too.
const IS_READ: Duration = Duration::from_millis(500);
/// Clients of a server.
const CLIENTS: usize = 8;
/// The longest time that a request takes, in ms: longer than [`IS_READ`], so that some are at work.
const LONGEST_MS: u64 = 1500;
/// The end comes so long after the load has begun, at most.
const LATEST_END_MS: u64 = 2000;

/// A request, when it was sent and done, and what became of it.
struct Sent {
    what: String,
    at: Instant,
    done: Instant,
    end: End,
    /// As the server said it, where it is no answer.
    refusal: Option<String>,
}

/// Starts a server with models of both ways to batch.
fn start(temporary: &Path) -> Server {
    let server = Server::start(
        Options::new()
            .metrics()
            .exit_timeout(EXIT_TIMEOUT)
            .environment("TMPDIR", &temporary.to_string_lossy()),
    );
    let target = |config: ModelConfig| config.adaptive().parameter("latency_target_ms", "1000");
    for (config, saved_model) in [
        // Without a target: what takes longer than one would be refused.
        (slow_config("slow_adaptive", 4).adaptive(), "slow"),
        (slow_config("slow_server", 4).dynamic_batching(20_000).instances(2), "slow"),
        (target(add_one_config("add_adaptive", 64)), "add_one"),
        (add_one_config("add_server", 64).dynamic_batching(2000), "add_one"),
    ] {
        server.load(&config, SavedModel::Small(saved_model));
    }
    server
}

/// Sends requests until one is not answered.
fn send_until_the_end(server: &Server, seed: u64, stop: &AtomicBool, sent: &Mutex<Vec<Sent>>) {
    // Its connections are closed when it goes.
    let client = client(server);
    let mut random = Random::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let is_slow = random.below(2) == 0;
        let (model, request, output) = if is_slow {
            let model = ["slow_adaptive", "slow_server"][random.below(2) as usize];
            let milliseconds = random.below(LONGEST_MS) as f32 + random.below(1024) as f32 / 65536.0;
            (model, slow_request(milliseconds), vec![milliseconds])
        } else {
            let model = ["add_adaptive", "add_server"][random.below(2) as usize];
            let (request, values) = kinds::add_one(&mut random, 4);
            (model, request, add_one_answer(&values))
        };
        let at = Instant::now();
        let refusal = Mutex::new(None);
        let end = kinds::judge(&client, model, &request, &[("y", output.clone())], 0.0, |told| {
            *refusal.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(format!("HTTP {}: {}", told.status, told.message));
            true
        });
        let refusal = refusal.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A full queue says nothing of the server's end.
        let refusal = refusal.filter(|told| !told.contains("retry later"));
        let goes_on = matches!(end, End::Answered) || matches!(end, End::Refused) && refusal.is_none();
        let what = format!("model '{model}', {} values from {}", output.len(), output[0]);
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(Sent { what, at, done: Instant::now(), end, refusal });
        if !goes_on {
            return;
        }
    }
}

/// Lets clients send requests until `end` has ended the server; all that they sent, and when that was.
fn under_load(server: &Server, seed: u64, end: impl FnOnce()) -> (Vec<Sent>, Instant) {
    let sent = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let mut ended = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS as u64 {
            let (sent, stop) = (&sent, &stop);
            scope.spawn(move || send_until_the_end(server, seed ^ number << 32, stop, sent));
        }
        let mut random = Random::new(seed);
        (0..4).for_each(|_| _ = random.below(2));
        std::thread::sleep(Duration::from_millis(300 + random.below(LATEST_END_MS)));
        ended = Instant::now();
        end();
        // A server that is told to end goes on for some answers; then it is for the clients to go.
        std::thread::sleep(IS_READ);
        stop.store(true, Ordering::Relaxed);
    });
    (sent.into_inner().unwrap_or_else(PoisonError::into_inner), ended)
}

/// What the server itself says to a request that comes too late for it.
fn comes_too_late(told: &str) -> bool {
    let told = told.to_lowercase();
    ["stopping", "stopped", "not ready", "unavailable", "not found", "unknown model", "exiting"]
        .iter()
        .any(|part| told.contains(part))
}

/// SIGTERM at a random moment: every accepted request is answered, the exit code is 0 once the clients are gone, and that
/// is within the exit timeout.
pub fn told_to_end(record: &Record, rounds: usize) {
    let mut took = Vec::new();
    let (mut at_work, mut too_late) = (0, 0);
    for round in 0..rounds {
        let seed = record.seed().wrapping_mul(1000).wrapping_add(round as u64);
        let temporary = Temporary::new();
        let server = start(&temporary.0);
        let (sent, ended) = under_load(&server, seed, || server.signal_end());
        for Sent { what, at, done, end, refusal } in sent {
            let was_read = at + IS_READ < ended;
            at_work += usize::from(at < ended && done >= ended && matches!(end, End::Answered));
            let end = match (end, refusal) {
                (End::Refused, Some(told)) if was_read => End::Lost(told),
                (End::Refused, Some(told)) if !comes_too_late(&told) => End::Wrong(told),
                // Sent when the server had closed the connection, or was about to.
                (End::Lost(_), _) if !was_read => End::Refused,
                (end, _) => end,
            };
            too_late += usize::from(done >= ended && matches!(end, End::Refused));
            record.count(&server, &end, format_args!("SIGTERM round {round}, {what}"));
        }
        let mut log = Log::of(&server);
        let code = server.stop();
        let time = ended.elapsed();
        took.push(time);
        if code != 0 || time > EXIT_TIMEOUT {
            record.note(
                format_args!(
                    "SIGTERM round {round}: exit code {code} after {:.1} s; expected 0 within 30 s",
                    time.as_secs_f64()
                ),
                Some(&log.text()),
            );
        }
        temporary.check(record, &format!("SIGTERM round {round}"));
    }
    took.sort_unstable();
    if let Some(longest) = took.last() {
        println!(
            "{rounds} x SIGTERM: {at_work} requests were at work and answered, {too_late} came too late; the end took {:.1} s in \
             the median, {:.1} s at most",
            took[took.len() / 2].as_secs_f64(),
            longest.as_secs_f64()
        );
    }
}

/// SIGKILL under load: nothing is left, and the next start serves.
pub fn killed(record: &Record, rounds: usize) {
    for round in 0..rounds {
        let seed = record.seed().wrapping_mul(2000).wrapping_add(round as u64);
        let temporary = Temporary::new();
        // Each start follows a killed server, except the first.
        let server = start(&temporary.0);
        let folder = server.repository().parent().expect("the server's folder").to_path_buf();
        let pid = pid(&server);
        let region = Region::new(&server, 4096);
        let mut open = BTreeSet::new();
        let (sent, _) = under_load(&server, seed, || {
            open = open_files(pid);
            let children = children(pid);
            if !children.is_empty() {
                record.fault(
                    &server,
                    format_args!("SIGKILL round {round}: the server has children: {children:?}"),
                );
            }
            kill_process(pid, Signal::KILL).expect("the server runs");
        });
        for Sent { what, end, refusal, .. } in sent {
            let end = match (end, refusal) {
                (End::Lost(_), _) => End::GivenUp,
                (End::Refused, Some(told)) => End::Wrong(told),
                (end, _) => end,
            };
            record.count(&server, &end, format_args!("SIGKILL round {round}, {what}"));
        }
        // The server that knew of it is gone, and its client cannot tell it.
        std::mem::forget(region);
        let own = format!("tensorflow_latency_{}_", std::process::id());
        for file in open.iter().filter(|file| file.exists() && !file.to_string_lossy().contains(&own)) {
            record.fault(&server, format_args!("SIGKILL round {round}: '{}' is left", file.display()));
        }
        remove_regions(&own);
        let mut log = Log::of(&server);
        let code = server.stop();
        if code != 128 + 9 {
            record.note(format_args!("SIGKILL round {round}: exit code {code}"), Some(&log.text()));
        }
        let left = processes_of(&folder);
        if !left.is_empty() || folder.exists() {
            record.note(
                format_args!(
                    "SIGKILL round {round}: left are the processes {left:?}, '{}'",
                    folder.display()
                ),
                Some(&log.text()),
            );
        }
        temporary.check(record, &format!("SIGKILL round {round}"));
    }
    if rounds > 0 {
        let temporary = Temporary::new();
        let server = start(&temporary.0);
        let end = kinds::send(server.client(), kinds::Kind::AddOne, "add_adaptive", record.seed(), 1);
        record.count(&server, &end, "after the last SIGKILL");
        println!("{rounds} x SIGKILL: the next start served each time");
    }
}

/// A folder for a server's temporary files, of which there are none.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let folder = scratch_folder().join(format!("soak-tmp-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("cargo's target folder can be written");
        Self(folder)
    }

    fn check(&self, record: &Record, when: &str) {
        let left: Vec<_> =
            fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        if !left.is_empty() {
            record.note(format_args!("{when}: temporary files are left: {left:?}"), None);
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pid(server: &Server) -> Pid {
    let folder = server.proc("");
    let pid = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
    pid.and_then(Pid::from_raw).expect("a process id")
}

/// The files in shared memory and in folders for temporary files that a process has open or mapped.
fn open_files(pid: Pid) -> BTreeSet<PathBuf> {
    let folder = PathBuf::from("/proc").join(pid.as_raw_nonzero().to_string());
    let fds = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    let fds = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    let maps = fs::read_to_string(folder.join("maps")).unwrap_or_default();
    let maps = maps.lines().filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
    let temporary = ["/dev/shm", "/tmp", "/var/tmp"].map(Path::new);
    // The server's log and libraries are below its folder, which is cargo's.
    let own = scratch_folder();
    let is_temporary =
        |file: &PathBuf| temporary.iter().any(|place| file.starts_with(place)) && !file.starts_with(&own);
    fds.chain(maps).filter(is_temporary).collect()
}

/// All processes, each with its folder of `/proc`.
fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

fn children(of: Pid) -> Vec<u32> {
    let parent = of.as_raw_nonzero().to_string();
    let is_child = |folder: &Path| {
        // After the name in parentheses come the state and the parent.
        let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(&parent)
    };
    processes().filter(|(_, folder)| is_child(folder)).map(|(pid, _)| pid).collect()
}

/// The processes that were started with this folder as the server's.
fn processes_of(folder: &Path) -> Vec<u32> {
    let variable = format!("SERVER_FOLDER={}", folder.display());
    let has = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|one| one == variable.as_bytes())
    };
    processes().filter(|(_, process)| has(process)).map(|(pid, _)| pid).collect()
}

/// Removes this process's own shared memory.
fn remove_regions(prefix: &str) {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
