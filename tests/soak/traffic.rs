//! The mixed load on one server.

use std::io::Write;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cancelling;
use crate::kinds::{self, Kind};
use crate::record::{End, Log, Record};
use crate::support::*;
use crate::watch::{INTERVAL, Watch};

/// A client that sends one request after the other.
struct Flow {
    kind: Kind,
    model: &'static str,
    /// The longest pause between two of its requests; each is as long as chance will have it.
    pause: Duration,
    /// Whether nobody else uses the model, so that the server's statistics can be compared.
    alone: bool,
}

const fn flow(kind: Kind, model: &'static str, pause_ms: u64, alone: bool) -> Flow {
    Flow { kind, model, pause: Duration::from_millis(pause_ms), alone }
}

/// Several flows of one kind share batches. All of them together leave the server some time to itself: what is looked for is
/// not its speed.
const FLOWS: [Flow; 17] = [
    flow(Kind::AddOne, "add_server", 20, true),
    flow(Kind::AddOne, "add_server", 20, true),
    flow(Kind::AddOne, "add_adaptive", 20, true),
    flow(Kind::AddOne, "add_adaptive", 20, true),
    flow(Kind::AddOne, "add_adaptive", 5, true),
    flow(Kind::Embedding, "embedding_server", 30, true),
    flow(Kind::Embedding, "embedding_adaptive", 30, true),
    flow(Kind::Failing, "failing_server", 60, true),
    flow(Kind::Failing, "failing_server", 60, true),
    flow(Kind::Failing, "failing_adaptive", 60, true),
    flow(Kind::Failing, "failing_adaptive", 60, true),
    flow(Kind::Panics, "panics", 400, true),
    flow(Kind::Slow, "slow_adaptive", 40, false),
    flow(Kind::Slow, "slow_adaptive", 40, false),
    flow(Kind::ComesAndGoes, "comes_and_goes", 20, false),
    flow(Kind::Malformed, "malformed", 100, false),
    flow(Kind::Inception, "inception", 4000, true),
];

/// How long a model that comes and goes is there, at most.
const STAYS: Duration = Duration::from_millis(1500);

struct Traffic<'t> {
    server: &'t Server,
    record: &'t Record,
    stop: AtomicBool,
    loads: AtomicU64,
}

/// Sends requests of all kinds for so long.
pub fn run(record: &Record, duration: Duration) {
    // Before the clock runs: TensorFlow takes its time.
    inception_reference();
    let server = Server::start(Options::new().metrics());
    load_models(&server);
    let traffic = Traffic { server: &server, record, stop: AtomicBool::new(false), loads: AtomicU64::new(0) };
    let mut watch = Watch::new(duration);
    let mut alone: Vec<(&str, Option<(u64, u64)>)> = Vec::new();
    std::thread::scope(|scope| {
        let flows: Vec<_> = FLOWS
            .iter()
            .enumerate()
            .map(|(index, flow)| {
                (
                    flow,
                    scope.spawn({
                        let traffic = &traffic;
                        move || traffic.follow(index, flow)
                    }),
                )
            })
            .collect();
        let others = [
            scope.spawn(|| traffic.leave()),
            scope.spawn(|| traffic.share_memory()),
            scope.spawn(|| traffic.come_and_go()),
            scope.spawn(|| cancelling::run(record, &traffic.stop)),
        ];
        while !watch.is_over() {
            if !server.is_running() {
                record.fault(&server, "the server has ended");
                break;
            }
            watch.look(&server, record, traffic.loads.load(Ordering::Relaxed));
            let _ = server.metrics();
            std::thread::sleep(INTERVAL);
        }
        traffic.stop.store(true, Ordering::Relaxed);
        for (flow, thread) in flows {
            match (flow.alone, thread.join()) {
                (true, Ok(counts)) => alone.push((flow.model, counts)),
                (false, Ok(_)) => {}
                (_, Err(_)) => record.fault(&server, format_args!("the client of '{}' panicked", flow.model)),
            }
        }
        for thread in others {
            if thread.join().is_err() {
                record.fault(&server, "a client panicked");
            }
        }
    });
    if !server.is_running() {
        return;
    }
    watch.judge(&server, record);
    compare_statistics(&server, record, &alone);
    let mut log = Log::of(&server);
    let code = server.stop();
    if code != 0 {
        record.note(format_args!("the server ended with exit code {code} after the load"), Some(&log.text()));
    }
}

fn load_models(server: &Server) {
    let failing = |name: &str| ModelConfig::new(name, 8).input("x", "FP32", &[4]).output("y", "FP32", &[4]);
    let embedding = |name: &str| {
        let config = ModelConfig::new(name, 8).input("x", "INT32", &[3]);
        config.output("y", "FP32", &[3, 8]).output("wide", "FP32", &[1])
    };
    let slow = slow_config("slow_adaptive", 4).adaptive().parameter("max_queue_size", "6");
    let target = |config: ModelConfig| config.adaptive().parameter("latency_target_ms", "30");
    for (config, saved_model) in [
        (add_one_config("add_server", 64).dynamic_batching(2000).instances(2), "add_one"),
        (
            target(add_one_config("add_adaptive", 64)).latency_outputs().queue_outputs().instances(2),
            "add_one",
        ),
        (embedding("embedding_server").dynamic_batching(5000), "embedding"),
        (target(embedding("embedding_adaptive")), "embedding"),
        (failing("failing_server").dynamic_batching(5000), "failing"),
        (target(failing("failing_adaptive")), "failing"),
        (add_one_config("panics", 8).adaptive().parameter("test_panic", "gather"), "add_one"),
        (slow, "slow"),
        (comes_and_goes(0), "add_one"),
        (add_one_config("malformed", 8).dynamic_batching(1000), "add_one"),
        (add_one_config("shared", 8), "add_one"),
    ] {
        server.load(&config, SavedModel::Small(saved_model));
    }
    server.load(&inception_config("inception").dynamic_batching(0), SavedModel::Inception);
}

/// With both ways to batch, in turn.
fn comes_and_goes(turn: u64) -> ModelConfig {
    let config = add_one_config("comes_and_goes", 16).latency_outputs();
    match turn % 3 {
        0 => config.dynamic_batching(2000),
        1 => config.adaptive().parameter("latency_target_ms", "20"),
        _ => config.adaptive().instances(2),
    }
}

impl Traffic<'_> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.server.is_running()
    }

    /// Sends the requests of a flow; how many were answered, and how many failed as expected. Nothing where others were lost or
    /// wrong: those are told, and what the server counts of them is open.
    fn follow(&self, index: usize, flow: &Flow) -> Option<(u64, u64)> {
        let client = client(self.server);
        let mut random = Random::new(self.record.seed().wrapping_add(index as u64));
        let (mut answered, mut failed, mut all_is_well) = (0, 0, true);
        for number in (index as u64) << 40.. {
            if !self.goes_on() {
                break;
            }
            let end = kinds::send(&client, flow.kind, flow.model, self.record.seed(), number);
            match end {
                End::Answered => answered += 1,
                End::Refused => failed += 1,
                _ => all_is_well = false,
            }
            self.record.count(
                self.server,
                &end,
                format_args!("model '{}', {:?}, request {number}", flow.model, flow.kind),
            );
            pause(&mut random, flow.pause);
        }
        all_is_well.then_some((answered, failed))
    }

    /// Clients that go away before they are answered, or before they have sent all.
    fn leave(&self) {
        let mut random = Random::new(self.record.seed() ^ 0x1eaf);
        while self.goes_on() {
            let (json_length, body) = slow_request(1.0 + random.below(30) as f32).binary_body();
            let head = format!(
                "POST /v2/models/slow_adaptive/infer HTTP/1.1\r\nHost: localhost\r\n{JSON_LENGTH_HEADER}: {json_length}\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            let whole = [head.as_bytes(), &body].concat();
            let sent =
                if random.below(3) == 0 { random.below(whole.len() as u64) as usize } else { whole.len() };
            let gone = TcpStream::connect(self.server.http_url()).and_then(|mut stream| {
                stream.write_all(&whole[..sent])?;
                std::thread::sleep(Duration::from_millis(random.below(30)));
                Ok(())
            });
            let end = match gone {
                Ok(()) => End::GivenUp,
                Err(error) => End::Lost(format!("the server does not listen: {error}")),
            };
            self.record.count(self.server, &end, format_args!("a client that goes away after {sent} bytes"));
            pause(&mut random, Duration::from_millis(200));
        }
    }

    /// Tensors in shared memory: lent to TensorFlow where they are aligned.
    fn share_memory(&self) {
        const OUTPUT: usize = 4096;
        let mut random = Random::new(self.record.seed() ^ 0x5a4ed);
        while self.goes_on() {
            // A region for some requests, as clients come and go.
            let region = Region::new(self.server, 2 * OUTPUT);
            for _ in 0..1 + random.below(40) {
                let (_, values) = kinds::add_one(&mut random, 8);
                let rows = values.len() / ADD_ONE_WIDTH as usize;
                let offset = [0, 64, 4, 12][random.below(4) as usize];
                region.write(offset, &values);
                let request = json!({
                    "inputs": [region.input("x", &[rows, ADD_ONE_WIDTH as usize], offset)],
                    "outputs": [region.output_at("y", OUTPUT, values.len() * 4)],
                });
                let client = self.server.client();
                let sent =
                    catch_unwind(AssertUnwindSafe(|| client.post("/v2/models/shared/infer", &request)));
                let found = region.read(OUTPUT, values.len());
                let end = match sent {
                    Err(_) => End::Lost("the connection failed".into()),
                    Ok((200, _)) if found == add_one_answer(&values) => End::Answered,
                    Ok((status, text)) => {
                        End::Wrong(format!("HTTP {status}: {text}; {found:?} for {values:?}"))
                    }
                };
                self.record.count(self.server, &end, format_args!("shared memory, {rows} rows at {offset}"));
                pause(&mut random, Duration::from_millis(40));
                if !self.goes_on() {
                    break;
                }
            }
        }
    }

    /// Loads and unloads a model all the time.
    fn come_and_go(&self) {
        let mut random = Random::new(self.record.seed() ^ 0x10ad);
        let client = client(self.server);
        for turn in 1.. {
            pause(&mut random, STAYS);
            if !self.goes_on() {
                return;
            }
            let config = comes_and_goes(turn);
            let gone = catch_unwind(AssertUnwindSafe(|| {
                client.unload(config.name());
                wait_until_unloaded(&client, config.name())
            }));
            match gone {
                Ok(Ok(())) => {}
                Ok(Err(why)) => self.record.fault(self.server, format_args!("turn {turn}: {why}")),
                Err(_) => {
                    self.record.fault(self.server, format_args!("turn {turn}: the model cannot be unloaded"))
                }
            }
            let loaded = catch_unwind(AssertUnwindSafe(|| {
                self.server.try_load(&config, SavedModel::Small("add_one"))
            }));
            match loaded {
                Ok(Ok(())) => _ = self.loads.fetch_add(1, Ordering::Relaxed),
                Ok(Err(why)) => {
                    self.record.fault(self.server, format_args!("turn {turn}: it does not load: {why}"))
                }
                Err(_) => {
                    self.record.fault(self.server, format_args!("turn {turn}: the model cannot be loaded"))
                }
            }
        }
    }
}

/// A client with connections of its own.
pub fn client(server: &Server) -> Client {
    let url = server.http_url();
    let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Client::new(port.expect("an address ends with its port"))
}

fn pause(random: &mut Random, most: Duration) {
    std::thread::sleep(most.mul_f64(random.below(1000) as f64 / 1000.0));
}

fn wait_until_unloaded(client: &Client, model: &str) -> Result<(), String> {
    // What is at work takes some milliseconds, on a machine that does other things too.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let (_, index) = client.post("/v2/repository/index", &Value::Null);
        let index: Value =
            serde_json::from_str(&index).map_err(|error| format!("the index is no JSON: {error}"))?;
        let entry = index.as_array().and_then(|all| all.iter().find(|entry| entry["name"] == model));
        if entry.is_none_or(|entry| entry["reason"] == "unloaded") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("'{model}' was not unloaded within 60 s"))
}

/// What the server counts has to be what the clients counted.
fn compare_statistics(server: &Server, record: &Record, alone: &[(&str, Option<(u64, u64)>)]) {
    let mut models: Vec<&str> = alone.iter().map(|(model, _)| *model).collect();
    models.dedup();
    for model in models {
        let own: Option<Vec<(u64, u64)>> =
            alone.iter().filter(|(other, _)| *other == model).map(|(_, counts)| *counts).collect();
        let Some(own) = own else { continue };
        let (answered, failed) = own.iter().fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        // The server counts a request after its response has left.
        let counted = eventually(|| {
            let statistics = server.client().statistics(model);
            (statistics.success.count, statistics.fail.count) == (answered, failed)
        });
        if !counted {
            let statistics = server.client().statistics(model);
            record.fault(
                server,
                format_args!(
                    "'{model}': clients saw {answered} answers and {failed} failures, {statistics:?}"
                ),
            );
        }
    }
}
