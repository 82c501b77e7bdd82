//! Energy: what the responses tell beside what a meter counts, on a made device of a known power.
//!
//! The device is a powercap tree that both the backend and the tool read. It draws its idle power, more while a request is
//! with the server, and more again for others when a test says so.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Place, Running, points, quick, results};

/// Watts: without the model, with it, and while a request is with the server beside that.
const UNLOADED: u32 = 9;
const LOADED: u32 = 12;
const BUSY: u32 = 40;
const OTHERS: u32 = 30;

/// What the device draws for now, in watts, beside that of requests.
#[derive(Default)]
struct Draws {
    always: AtomicU32,
    requests: AtomicU32,
    end: AtomicBool,
}

/// A device whose energy is known.
struct Made {
    folder: tempfile::TempDir,
    draws: Arc<Draws>,
    thread: Option<JoinHandle<()>>,
}

impl Made {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let zone = folder.path().join("intel-rapl:0");
        fs::create_dir(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        put(&zone, 0.0);
        let draws = Arc::new(Draws { always: AtomicU32::new(UNLOADED), ..Draws::default() });
        let now = Arc::clone(&draws);
        let thread = thread::spawn(move || {
            let (mut joules, mut last) = (0.0, Instant::now());
            while !now.end.load(SeqCst) {
                thread::sleep(Duration::from_micros(500));
                let busy = if now.requests.load(SeqCst) > 0 { BUSY } else { 0 };
                joules += f64::from(now.always.load(SeqCst) + busy) * last.elapsed().as_secs_f64();
                last = Instant::now();
                put(&zone, joules);
            }
        });
        Self { folder, draws, thread: Some(thread) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn draw(&self, watts: u32) {
        self.draws.always.store(watts, SeqCst);
    }

    /// An address that forwards to a server: the device works from an inference request to its response.
    fn in_front_of(&self, server: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().unwrap();
        let draws = Arc::clone(&self.draws);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { continue };
                [&client, &server].iter().for_each(|stream| stream.set_nodelay(true).unwrap());
                let waits = Arc::new(AtomicBool::new(false));
                let (asks, answers) = (Arc::clone(&draws), Arc::clone(&draws));
                let asked = Arc::clone(&waits);
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    forward(from, to, |piece| {
                        let infers = piece.windows(14).any(|text| text == b"infer HTTP/1.1");
                        if infers && !asked.swap(true, SeqCst) {
                            asks.requests.fetch_add(1, SeqCst);
                        }
                    });
                });
                thread::spawn(move || {
                    forward(server, client, |_| {
                        if waits.swap(false, SeqCst) {
                            answers.requests.fetch_sub(1, SeqCst);
                        }
                    });
                });
            }
        });
        address
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.draws.end.store(true, SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = [0; 1 << 16];
    while let Ok(length) = from.read(&mut buffer)
        && length > 0
    {
        see(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A file that is there with all of its text, or with that before.
fn put(zone: &Path, joules: f64) {
    let (next, file) = (zone.join("next"), zone.join("energy_uj"));
    fs::write(&next, format!("{}\n", (joules * 1e6) as u64)).unwrap();
    fs::rename(&next, &file).unwrap();
}

/// `slow` waits as many milliseconds as its input says. It tells its energy in an output, and what of it is measured in a
/// parameter.
const SLOW: (&str, &str) = (
    "slow",
    "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: [1] } \
     output { name: \"y\" data_type: TYPE_FP32 dims: [1] } \
     output { name: \"energy_uj\" data_type: TYPE_INT64 dims: [1] } \
     parameters { key: \"latency-parameters\" value { string_value: \"true\" } }",
);

fn place_with_slow() -> (Place, String) {
    let place = Place::with(&[SLOW]);
    let file = place.path().join("60.bin");
    fs::write(&file, 60f32.to_le_bytes()).unwrap();
    let input = format!("--input-file=x={}", file.display());
    (place, input)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

/// Those with the model and without it are told apart.
fn assert_idle_powers(results: &Value) {
    for (idle, watts) in [("idle_without_model", UNLOADED), ("idle", LOADED)] {
        let power = number(&results[idle]["average_power_w"]);
        assert!((power - f64::from(watts)).abs() < 0.5, "{idle}: {power} W");
    }
}

/// One point while nothing but requests draws power, where both agree, and one with a neighbour, where they do not: between
/// requests no execution explains what it draws.
#[test]
fn the_sum_over_responses_agrees_with_the_meter_unless_others_draw_power() {
    let (place, input) = place_with_slow();
    let made = Made::start();
    let mut options = place.options(&["slow"]);
    options
        .arguments
        .push(format!("--backend-config=tensorflow_latency,energy-powercap-dir={}", made.path().display()));
    let server = triton_experiment::server::StartedServer::start(&options, || Ok(())).expect("it starts");
    let front = made.in_front_of(server.control().address().unwrap());
    let folder = place.path().join("results");
    let mut run = Running::start(
        quick("sweep")
            .args(["--model=slow", "--concurrency=1", "--rate=8", "--arrivals=constant", "--in-order"])
            .args([
                "--power=rapl",
                "--idle=3",
                "--idle-unload",
                "--window=1.5",
                "--warm-up=1",
                "--max-time=20",
            ])
            .arg(format!("--url={front}"))
            .arg(format!("--powercap-dir={}", made.path().display()))
            .arg(format!("--metrics-url={}", server.metrics_url()))
            .arg(input)
            .arg("--output")
            .arg(&folder),
    );
    run.wait_for("measuring the idle server without the model");
    made.draw(UNLOADED);
    run.wait_for("measuring the idle server with the model loaded");
    made.draw(LOADED);
    run.wait_for("concurrency 1");
    made.draw(LOADED + OTHERS);
    let (code, errors) = run.end();
    assert_eq!(code, Some(0), "{errors}");

    let results = results(&folder);
    assert_idle_powers(&results);
    let [alone, beside] = points(&results) else { panic!("two points: {results}") };
    let told = |point: &Value| point["response_energy"].clone();
    let (one, two) = (told(alone), told(beside));
    println!("alone: {one:#}\nbeside: {two:#}");

    let compared = &one["comparison"];
    assert_eq!(one["responses"], alone["requests"]);
    assert_eq!(compared["agrees"], true, "{compared}");
    let (above, told) = (number(&compared["above_idle_j"]), number(&one["energy_j"]));
    assert!((number(&compared["difference_j"]) - (above - told)).abs() < 1e-6);
    assert!(number(&compared["error_j"]) < 0.25 * told, "an error that says something: {compared}");
    // One request after the other draws 40 W nearly all the time.
    let watts = told / number(&alone["seconds"]);
    assert!((34.0..42.0).contains(&watts), "{watts} W by the responses");
    assert!((0.0..=1.0).contains(&number(&one["measured_share"])), "{one}");
    assert!(number(&one["j_per_inference_error_j"]) > 0.0 && number(&alone["j_per_inference_error_j"]) > 0.0);
    assert!(!alone["warnings"].to_string().contains("disagree"), "{}", alone["warnings"]);

    assert_eq!(two["comparison"]["agrees"], false, "{}", two["comparison"]);
    assert!(number(&two["comparison"]["difference_j"]) > 0.0, "{}", two["comparison"]);
    assert!(
        beside["warnings"].to_string().contains("something else than executions"),
        "{}",
        beside["warnings"]
    );
    let html = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(html.contains("agrees with the meter&#39;s energy above idle at 1 of 2 points"));
}

/// A server that the tool starts loads the model after the measurement without it.
#[test]
fn its_own_server_is_measured_before_the_model_is_loaded() {
    let (place, input) = place_with_slow();
    let made = Made::start();
    let folder = place.path().join("results");
    let mut run = Running::start(
        quick("sweep")
            .args(["--model=slow", "--concurrency=1", "--power=rapl", "--idle=1.5"])
            .arg(format!("--powercap-dir={}", made.path().display()))
            .args(place.own_server())
            .arg(format!(
                "--server-arg=--backend-config=tensorflow_latency,energy-powercap-dir={}",
                made.path().display()
            ))
            .arg(input)
            .arg("--output")
            .arg(&folder),
    );
    run.wait_for("measuring the idle server without the model");
    run.wait_for("measuring the idle server with the model loaded");
    made.draw(LOADED);
    let (code, errors) = run.end();
    assert_eq!(code, Some(0), "{errors}");
    let results = results(&folder);
    assert_idle_powers(&results);
    let html = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(html.contains("without the model and"), "both are told apart");
}
