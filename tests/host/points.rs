//! The points of a scenario, each a call that fails, one life of the backend for each.
//!
//! Lives are lived in processes of their own, one after the other, so that a point at which the process ends or hangs is
//! known and the others are still tried. Such a process is this test program again, which runs the test `child` only; it is
//! told one point at a time and tells what it saw.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cuda;
use crate::faults::{self, BY_TIME, Fault};
use crate::library::named;
use crate::scenario::{self, Driver, Errors, Part, Scenario, World};
use crate::violations;

/// The variable that makes this program live: the scenario, and whether errors are made.
const CHILD: &str = "TL_HOST_CHILD";
/// The variable that chooses one point, as it is reported.
const ONLY: &str = "TL_HOST_ONLY";
/// The test that lives.
const TEST: &str = "child";

/// A life takes less than a second. The longest wait in it has 10 s.
const LONGEST_LIFE: Duration = Duration::from_secs(60);

/// How lines begin that are meant for the other process.
const MARK: &str = "HOST ";

/// So many violations are shown.
const SHOWN: usize = 40;

/// The model's folder, whose only version is the model of the tests.
pub fn repository() -> PathBuf {
    let folder = work_folder().join("mixed");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let version = folder.join("1");
    // Somebody else may just have made it.
    let _ = std::os::unix::fs::symlink(named("TL_TEST_MODELS").join("mixed"), &version);
    assert!(version.join("model.savedmodel").is_dir(), "the model 'mixed' is in {}", version.display());
    folder
}

fn work_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Tells the other process of violations.
pub fn tell(violations: &[String]) {
    for violation in violations {
        println!("\n{MARK}violation {}", violation.replace('\n', " "));
    }
}

/// Lives as the other process says, in the processes that are made for that.
pub fn child() {
    let Ok(named) = env::var(CHILD) else { return };
    let (scenario, errors) = named.split_once('/').expect("SCENARIO/ERRORS");
    let scenario = scenario::of_name(scenario).expect("a scenario");
    let errors = Errors::ALL.into_iter().find(|kind| kind.name() == errors).expect("a way to make errors");
    let mut world = World::new(scenario, errors);
    for line in std::io::stdin().lines() {
        let line = line.expect("the other process writes text");
        let fault: Option<Fault> = (line != "none").then(|| line.parse().expect("a fault"));
        world.live(fault.as_ref());
        tell(&violations::take());
        match &fault {
            None => faults::counted().iter().for_each(|fault| println!("\n{MARK}point {fault}")),
            Some(_) if !faults::was_hit() => println!("\n{MARK}missed"),
            Some(_) => {}
        }
        println!("\n{MARK}over");
    }
    world.end();
    tell(&violations::take());
}

/// What a life came to.
#[derive(Default)]
struct Seen {
    violations: Vec<String>,
    points: Vec<Fault>,
    missed: bool,
}

/// A process that lives.
struct Liver {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Liver {
    fn start(scenario: &Scenario, errors: Errors) -> Self {
        let name = format!("{}/{}", scenario.name, errors.name());
        let log = work_folder().join(format!("{}.log", name.replace('/', "-")));
        let mut program = Command::new(env::current_exe().expect("a program"));
        match scenario.driver {
            Driver::OfTheMachine => {}
            Driver::Played => look_first_in(&mut program, cuda::folder(&work_folder())),
            Driver::Missing => look_first_in(&mut program, &cuda::folder_without(&work_folder())),
        }
        let mut process = program
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(CHILD, name)
            .env("TF_CPP_MIN_LOG_LEVEL", "3")
            // As much as the threads of a server have.
            .env("RUST_MIN_STACK", "8388608")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("the target folder can be written"))
            .spawn()
            .expect("this program runs again");
        let output = process.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        // Ends with the output of the process.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let marked = lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned));
            marked.map_while(|line| sender.send(line).ok()).for_each(drop);
        });
        let input = process.stdin.take();
        Self { process, input, lines, log }
    }

    /// One life. After an error the process is gone.
    fn live(&mut self, fault: Option<&Fault>) -> Result<Seen, Seen> {
        let asked = fault.map_or_else(|| "none".to_owned(), Fault::to_string);
        let input = self.input.as_mut().expect("it is there until the end");
        let mut seen = Seen::default();
        if let Err(e) = writeln!(input, "{asked}") {
            seen.violations.push(format!("the process was gone: {e}"));
            return Err(seen);
        }
        let end = Instant::now() + LONGEST_LIFE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.split_once(' ') {
                    Some(("violation", violation)) => seen.violations.push(violation.to_owned()),
                    Some(("point", fault)) => seen.points.push(fault.parse().expect("a fault")),
                    _ if line == "missed" => seen.missed = true,
                    _ if line == "over" => return Ok(seen),
                    _ => panic!("unexpected: {line}"),
                },
                Err(RecvTimeoutError::Timeout) => {
                    seen.violations.push(format!("not over after {LONGEST_LIFE:?}"));
                    return Err(seen);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.process.wait().expect("it has started");
                    // 3: it has said why.
                    if status.code() != Some(3) {
                        seen.violations.push(format!("the process ended: {status}{}", self.last_words()));
                    }
                    return Err(seen);
                }
            }
        }
    }

    /// The process ends by itself. What it saw at its end, such as leaks.
    fn end(mut self) -> Vec<String> {
        self.input = None;
        let mut found = Vec::new();
        let end = Instant::now() + LONGEST_LIFE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    found.extend(line.strip_prefix("violation ").map(|text| format!("at the end: {text}")))
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    found.push(format!("the process did not end within {LONGEST_LIFE:?}"));
                    return found;
                }
            }
        }
        let status = self.process.wait().expect("it has started");
        if !status.success() {
            found.push(format!("at its end the process failed: {status}{}", self.last_words()));
        }
        found
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        // A sanitizer's report, or else the end.
        let first = lines
            .iter()
            .position(|line| line.contains("Sanitizer: "))
            .unwrap_or(lines.len().saturating_sub(20));
        lines[first..].iter().take(60).fold(String::new(), |text, line| text + "\n      " + line)
    }
}

impl Drop for Liver {
    fn drop(&mut self) {
        // It may hang. After its end this does nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tries all points of a scenario.
///
/// # Panics
/// If there is a violation.
pub fn try_all(name: &str) {
    if env::var_os(CHILD).is_some() {
        return;
    }
    let scenario = scenario::of_name(name).expect("a scenario");
    let mut violations = Vec::new();
    let mut left_out = 0;
    for errors in Errors::ALL {
        let only = match env::var(ONLY).map(|only| only.splitn(3, '/').map(str::to_owned).collect::<Vec<_>>())
        {
            Err(_) => None,
            Ok(only) => match &only[..] {
                [of, made, point] if of == name && made == errors.name() => Some(point.clone()),
                _ => {
                    left_out += 1;
                    continue;
                }
            },
        };
        try_points(&scenario, errors, only.as_deref(), &mut violations);
    }
    if left_out == Errors::ALL.len() {
        println!("{name}: left out, by {ONLY}");
    }
    let count = violations.len();
    violations.truncate(SHOWN);
    assert!(
        count == 0,
        "{count} violations, {} shown:\n{}\nTo try one of these points alone: {ONLY}=POINT TL_HOST_LOG=1 cargo test \
         --release -p triton-host {name} -- --exact --nocapture; the backend's log is then in {}",
        violations.len(),
        violations.join("\n"),
        work_folder().display()
    );
}

fn try_points(scenario: &Scenario, errors: Errors, only: Option<&str>, violations: &mut Vec<String>) {
    let start = Instant::now();
    let name = |point: &str| format!("{}/{}/{point}", scenario.name, errors.name());
    let mut note = |point: &str, found: Vec<String>| {
        violations.extend(found.into_iter().map(|violation| format!("  {}: {violation}", name(point))));
    };
    let mut liver = Liver::start(scenario, errors);
    let (points, mut missed) = match only {
        Some("none") | None => {
            let (Ok(seen) | Err(seen)) = liver.live(None);
            note("none", seen.violations);
            let points = if only.is_some() { Vec::new() } else { seen.points };
            (points.into_iter().filter(|point| is_tried(scenario, errors, point)).collect(), Vec::new())
        }
        Some(point) => (vec![point.parse::<Fault>().unwrap_or_else(|e| panic!("{ONLY}: {e}"))], Vec::new()),
    };
    let mut counts = std::collections::BTreeMap::new();
    for point in &points {
        if is_asked_once(point) {
            note("", std::mem::replace(&mut liver, Liver::start(scenario, errors)).end());
        }
        let text = point.to_string();
        match liver.live(Some(point)) {
            Ok(seen) => {
                if seen.missed {
                    missed.push(point);
                }
                note(&text, seen.violations);
            }
            Err(seen) => {
                note(&text, seen.violations);
                liver = Liver::start(scenario, errors);
            }
        }
        *counts.entry(point.kind).or_insert(0) += 1;
    }
    note("", liver.end());
    for point in &missed {
        if !BY_TIME.contains(&&*point.function) {
            note(&point.to_string(), vec!["the call did not come".into()]);
        }
    }
    let mut text = format!("{}, errors {}: {} points", scenario.name, errors.name(), points.len());
    for (kind, count) in counts {
        let _ = write!(text, ", {count} {kind}");
    }
    println!("{text}; {} did not come; {:.1} s", missed.len(), start.elapsed().as_secs_f64());
}

/// The backend looks the server up once for the life of the process, and the driver.
fn is_asked_once(point: &Fault) -> bool {
    is_version(point) || cuda::is_asked_once(&point.function)
}

fn is_version(point: &Fault) -> bool {
    point.function.ends_with("ApiVersion")
}

/// Lets a program find a library in `folder` before it looks elsewhere.
fn look_first_in(program: &mut Command, folder: &Path) {
    const PATHS: &str = "LD_LIBRARY_PATH";
    let others = env::var_os(PATHS).unwrap_or_default();
    // An empty one would be the working directory.
    let others = env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    let all = iter::once(folder.to_path_buf()).chain(others);
    program.env(PATHS, env::join_paths(all).expect("no colon in the target folder's name"));
}

/// Whether a point is tried where errors are made in this way.
fn is_tried(scenario: &Scenario, errors: Errors, point: &Fault) -> bool {
    let makes_none = match scenario.part {
        Part::Start => errors == Errors::NeverMade,
        _ => errors != Errors::Made,
    };
    // It makes none anyway.
    let is_same = makes_none && point.function == "TRITONSERVER_ErrorNew";
    // A server that does not tell its version and never makes an error: Initialize can return neither success, which would
    // promise a backend that there is not, nor an error. The backend ends the process.
    let has_no_way = errors == Errors::NeverMade && is_version(point);
    // Each takes a process of its own. What the driver's errors become where none are made, its other calls show.
    let is_dear = errors != Errors::Made && cuda::is_asked_once(&point.function);
    !is_same && !has_no_way && !is_dear
}
