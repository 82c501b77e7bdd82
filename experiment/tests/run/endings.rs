//! Runs that end otherwise than planned: interrupted, killed, or with something wrong.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Running, command, fail, is_running, kill, points, quick, results, succeed};

const ADD_ONE: (&str, &str) = ("add_one", "max_batch_size: 16");

fn sweep(place: &Place) -> std::process::Command {
    let mut sweep = quick("sweep");
    sweep.args(["--model=add_one", "--batch=1,2,4", "--concurrency=1,2", "--output"]);
    sweep.arg(place.path().join("results")).args(place.own_server());
    sweep
}

/// The names of everything in a value, without the values.
fn form(value: &Value, path: &str, names: &mut BTreeSet<String>) {
    match value {
        // Kinds of points and of executed batches are data, not form.
        Value::Object(map) if path.ends_with("batch_size") || path.ends_with("batch_sizes") => {
            names.insert(format!("{path}{{{}}}", if map.is_empty() { "" } else { "..." }));
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| form(value, &format!("{path}.{key}"), names))
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().for_each(|value| form(value, &format!("{path}[]"), names));
        }
        _ => {
            names.insert(path.to_owned());
        }
    }
}

fn form_of(results: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    form(results, "", &mut names);
    // Whether a point has a warning is chance.
    names.into_iter().map(|name| name.replace("warnings[]", "warnings")).collect()
}

fn keys(results: &Value) -> BTreeSet<String> {
    points(results).iter().map(|point| point["key"].to_string()).collect()
}

#[test]
fn killed_and_interrupted_and_resumed_a_run_is_complete() {
    let undisturbed = Place::with(&[ADD_ONE]);
    succeed(&mut sweep(&undisturbed));
    let expected = results(&undisturbed.path().join("results"));
    assert_eq!(points(&expected).len(), 6);

    let place = Place::with(&[ADD_ONE]);
    let folder = place.path().join("results");
    let resume = || {
        let mut resume = command(["sweep", "--resume"]);
        resume.arg(&folder);
        resume
    };
    let server_of = |folder| results(folder)["server"]["url"].as_str().unwrap().to_owned();

    let mut run = Running::start(&mut sweep(&place));
    run.wait_for("inferences/s");
    run.signal(Signal::KILL);
    assert_eq!(run.end().0, None);
    let after_kill = points(&results(&folder)).len();
    assert!((1..6).contains(&after_kill), "{after_kill} points");
    wait_until_gone(&server_of(&folder));

    let mut run = Running::start(&mut resume());
    run.wait_for("inferences/s");
    run.signal(Signal::INT);
    let (code, errors) = run.end();
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains("--resume"), "{errors}");
    let after_interrupt = points(&results(&folder)).len();
    assert!((after_kill + 1..6).contains(&after_interrupt), "{after_interrupt} points");

    succeed(&mut resume());
    let resumed = results(&folder);
    assert_eq!(resumed["complete"], true);
    assert_eq!(keys(&resumed), keys(&expected));
    assert_eq!(form_of(&resumed), form_of(&expected));
    assert_eq!(points(&resumed).len(), 6, "nothing was measured twice");
    assert!(folder.join("report.html").exists());
}

#[test]
fn a_run_resumes_only_with_the_same_settings_and_configuration() {
    let place = Place::with(&[ADD_ONE]);
    let server = place.server(&["add_one"]);
    let folder = place.path().join("results");
    let mut run = Running::start(
        quick("sweep")
            .args(["--url", server.control().url(), "--model=add_one", "--concurrency=1,2,4", "--output"])
            .arg(&folder),
    );
    run.wait_for("inferences/s");

    let resume = || {
        let mut resume = command(["sweep", "--resume"]);
        resume.arg(&folder);
        resume
    };
    let (code, errors) = fail(&mut resume());
    assert_eq!(code, 2);
    assert!(errors.contains("another run is writing to"), "{errors}");
    run.signal(Signal::INT);
    assert_eq!(run.end().0, Some(130));

    let (code, errors) = fail(resume().args(["--rate=7"]));
    assert_eq!(code, 2);
    assert!(errors.contains("only --url and --server-pid"), "{errors}");

    let config = server.control().model_config("add_one", None).unwrap();
    let mut other = config.clone();
    other["dynamic_batching"] = serde_json::json!({ "max_queue_delay_microseconds": 9 });
    server.control().load("add_one", Some(&other)).unwrap();
    let (code, errors) = fail(&mut resume());
    assert_eq!(code, 1);
    assert!(errors.contains("configuration differs from the one at the points so far"), "{errors}");
    server.control().load("add_one", Some(&config)).unwrap();

    // The server has moved to another port.
    let moved = place.server(&["add_one"]);
    server.control().load("add_one", Some(&config)).unwrap();
    drop(server);
    succeed(resume().args(["--url", moved.control().url()]));
    assert_eq!(points(&results(&folder)).len(), 3);
}

#[test]
fn ctrl_c_works_while_a_request_hangs() {
    let place = Place::with(&[("slow", "max_batch_size: 1")]);
    let server = place.server(&["slow"]);
    let long = place.path().join("long.bin");
    std::fs::write(&long, 5_000_000_f32.to_le_bytes()).unwrap();
    let mut run = Running::start(
        quick("sweep")
            .args(["--url", server.control().url(), "--model=slow", "--timeout=3000", "--output"])
            .arg(place.path().join("results"))
            .arg(format!("--input-file=x={}", long.display())),
    );
    run.wait_for("power: cpu-time");
    std::thread::sleep(Duration::from_millis(300));
    run.signal(Signal::INT);
    assert_eq!(run.end().0, Some(130));
    // It would work on that request for over an hour.
    kill(server.pid() as i32, Signal::KILL);
}

/// The server of a run that was killed ends by itself.
fn wait_until_gone(url: &str) {
    let address = url.trim_start_matches("http://");
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the server on {address} was left running");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_that_dies_ends_the_run_and_leaves_the_points_so_far() {
    let place = Place::with(&[ADD_ONE]);
    let server = place.server(&["add_one"]);
    let folder = place.path().join("results");
    let mut run = Running::start(
        quick("sweep")
            .args(["--url", server.control().url(), "--model=add_one", "--batch=1,2,4"])
            .args(["--concurrency=1,2,3,4,5,6", "--output"])
            .arg(&folder),
    );
    run.wait_for("inferences/s");
    kill(server.pid() as i32, Signal::KILL);
    let (code, errors) = run.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("is gone") && errors.contains("--resume"), "{errors}");
    assert_eq!(errors.trim().lines().count(), 1, "{errors}");
    let results = results(&folder);
    assert_eq!(results["complete"], false);
    assert!(!points(&results).is_empty());
}

#[test]
fn its_own_server_that_dies_ends_the_run_with_the_reason() {
    let place = Place::with(&[ADD_ONE]);
    let folder = place.path().join("results");
    let mut run = Running::start(sweep(&place).args(["--batch=8,16", "--concurrency=3,4,5"]));
    run.wait_for("inferences/s");
    let command_line = results(&folder)["server"]["command"].clone();
    let port = command_line.to_string();
    let server = server_with(&port);
    kill(server as i32, Signal::KILL);
    let (code, errors) = run.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("during the measurement, the server has ended"), "{errors}");
    assert!(!is_running(server));
}

/// The process whose command line is this JSON list.
fn server_with(command_line: &str) -> u32 {
    let wanted: Vec<String> = serde_json::from_str(command_line).expect("a list of strings");
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.iter().zip(&wanted).skip(1).filter(|(word, wanted)| **word == wanted.as_bytes()).count()
                == wanted.len() - 1
        })
        .expect("the server runs")
}

#[test]
fn errors_are_one_line() {
    let place = Place::with(&[ADD_ONE, ("any_shape", "max_batch_size: 4"), ("no_batch", "")]);
    let server = place.server(&["add_one", "any_shape", "no_batch"]);
    let url = server.control().url();
    let used = place.path().join("used");
    std::fs::create_dir_all(&used).unwrap();
    std::fs::write(used.join("results.json"), "{}").unwrap();
    let used = format!("--output={}", used.display());
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["--url", url, "--model=nothing"], 1, &["nothing"]),
        (&["--url", "127.0.0.1:1", "--model=add_one"], 1, &["127.0.0.1:1"]),
        (&["--url", "https://127.0.0.1:1", "--model=add_one"], 1, &["https"]),
        (&["--url", url, "--model=add_one", "--batch=17"], 1, &["17", "16", "--batch"]),
        (&["--url", url, "--model=no_batch", "--batch=2", "--shape=x=2,3"], 1, &["no batch dimension"]),
        (&["--url", url, "--model=any_shape"], 1, &["variable dimensions", "--shape x="]),
        (&["--url", url, "--model=add_one", "--shape=x=15"], 1, &["[15]", "[16]"]),
        (&["--url", url, "--model=add_one", "--shape=z=15"], 1, &["no input 'z'", "x"]),
        (&["--url", url, "--model=add_one", "--input-file=x=/dev/null"], 1, &["0 bytes", "64"]),
        (&["--url", url], 2, &["--model"]),
        (&["--model=add_one"], 2, &["--url", "--tritonserver"]),
        (&["--url", url, "--model=add_one", "--rate=0"], 2, &["--rate", "found 0"]),
        (&["--url", url, "--model=add_one", &used], 2, &["already", "--resume"]),
    ];
    for (arguments, expected, parts) in cases {
        let fresh = format!("--output={}", place.path().join("fresh").display());
        let mut run = quick("sweep");
        run.args(arguments);
        if !arguments.iter().any(|argument| argument.starts_with("--output")) {
            run.arg(&fresh);
        }
        let (code, errors) = fail(&mut run);
        assert_eq!(code, expected, "{arguments:?}: {errors}");
        assert_eq!(errors.trim().lines().count(), 1, "{arguments:?}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{arguments:?}: '{part}' is not in: {errors}");
        }
        assert!(!errors.contains("panicked"), "{errors}");
        let _ = std::fs::remove_dir_all(place.path().join("fresh"));
    }
}
