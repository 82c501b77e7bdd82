//! This backend against an earlier one: two libraries, each in servers of its own, measured in turn.
//!
//! - `inception`: Inception-v3, images/s, in batches of 1 to 16
//! - `one-op`: what the backend adds to the run of a small model with six latency outputs
//! - `heap`: its own heap requests for a request
//! - `requests`: requests/s over HTTP of that model
//! - `adaptive`: the same with adaptive batching, and what the queue and its worker add to a request's time in the server
//! - `passthrough`: what it takes to hand 64 MB to TensorFlow, which a client has put into system shared memory
//! - `load`: how long Inception-v3 takes to be ready
//! - `memory`: the resident memory of a server with it
//!
//! Every point is told with its aim. The ratios are those of the pairs of one run; a bootstrap gives the interval in
//! which their median lies.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::heap;
use crate::memory::megabytes;
use crate::results::Results;
use crate::served::{Region, Served, pictures};
use crate::support::{
    Latency, ModelConfig, Options, QueueTimes, SavedModel, Server, add_one_config, add_one_request,
    environment, in_parallel, inception_config,
};
use crate::turns::{Ratio, in_turn, median, median_by};

/// What measures a part.
pub type Measure = fn(&mut Points<'_>);

pub const PARTS: [(&str, Measure); 8] = [
    ("inception", inception),
    ("one-op", one_op),
    ("heap", heap),
    ("requests", requests),
    ("adaptive", adaptive),
    ("passthrough", passthrough),
    ("load", load),
    ("memory", memory),
];

/// Pairs of a comparison: the interval of the median of fewer is wide.
const PAIRS: usize = 20;
/// "No slower": the ratio of the rates is at least this, ..
const LEAST_RATE: f64 = 0.97;
/// .. and its interval reaches this.
const LEAST_REACHED: f64 = 0.99;
/// The most that gathering and scattering for the small model may take, to before.
const MOST_ADDED: f64 = 0.8;
/// The most heap requests of the backend for a request.
const MOST_HEAP: f64 = 4.0;
/// The most that taking over the large input may take, to before.
const MOST_TAKEN: f64 = 0.01;
/// FP32 values of the large input: 64 MB.
const LARGE: usize = 16 << 20;

/// Measures the chosen parts, or all, against the library `before`.
pub fn measure(results: &mut Results, before: PathBuf, parts: &[String]) {
    let after = environment().backend.clone();
    println!("Before  {}\nAfter   {}", before.display(), after.display());
    let mut points = Points { results, libraries: [before, after] };
    PARTS.iter().filter(|(name, _)| crate::chosen(parts, name)).for_each(|(_, measure)| measure(&mut points));
}

/// What is compared, and what came out.
pub struct Points<'r> {
    results: &'r mut Results,
    /// Before and after.
    libraries: [PathBuf; 2],
}

impl Points<'_> {
    fn options(&self) -> [Options; 2] {
        self.libraries.each_ref().map(|library| with_library(library))
    }

    fn servers(&self) -> [Server; 2] {
        self.options().map(Server::start)
    }

    fn pairs(&self, quick: usize) -> usize {
        self.results.rounds(quick, PAIRS)
    }

    /// Keeps what was found and tells it, with its aim.
    fn point(&mut self, name: &str, [before, after]: [f64; 2], ratio: &Ratio, aim: &str, met: bool) {
        let (least, most) = ratio.interval;
        let told = format!("{:.3} [{least:.3}, {most:.3}]", ratio.median);
        let verdict = if met { "met" } else { "MISSED" };
        println!("  {name:<44} {before:>10.3} {after:>10.3}  {told:>24}  {verdict} ({aim})");
        self.results.keep(&format!("{name}, before"), before);
        self.results.keep(&format!("{name}, after"), after);
        self.results.keep(&format!("{name}, ratio"), ratio.median);
        self.results.keep(&format!("{name}, ratio, 95 % from"), least);
        self.results.keep(&format!("{name}, ratio, 95 % to"), most);
        if !met {
            self.results.miss(format!("{name}: {told}, the aim is {aim}"));
        }
    }

    /// Something of which more is better.
    fn no_less(&mut self, name: &str, [before, after]: [Vec<f64>; 2]) {
        let ratio = Ratio::of(&after, &before);
        let met = ratio.median >= LEAST_RATE && ratio.interval.1 >= LEAST_REACHED;
        let aim = format!("after/before {LEAST_RATE} or more, its interval reaches {LEAST_REACHED}");
        self.point(name, [median(&before), median(&after)], &ratio, &aim, met);
    }

    /// Something of which less is better, and which must not grow.
    fn no_more(&mut self, name: &str, [before, after]: [Vec<f64>; 2]) {
        let ratio = Ratio::of(&before, &after);
        let met = ratio.median >= LEAST_RATE && ratio.interval.1 >= LEAST_REACHED;
        let aim = format!("before/after {LEAST_RATE} or more, its interval reaches {LEAST_REACHED}");
        self.point(name, [median(&before), median(&after)], &ratio, &aim, met);
    }

    /// Something that is to shrink to `most` of what it was.
    fn shrinks(&mut self, name: &str, most: f64, [before, after]: [Vec<f64>; 2]) {
        let ratio = Ratio::of(&after, &before);
        let aim = format!("after/before {most} or less");
        self.point(name, [median(&before), median(&after)], &ratio, &aim, ratio.median <= most);
    }
}

/// A server with this library as its backend.
fn with_library(library: &Path) -> Options {
    Options::new().without_backend().link_beside_backend(library, "libtriton_tensorflow_latency.so")
}

fn headline(what: &str, pairs: usize) {
    println!("\n{what} ({pairs} pairs, in turn)");
    println!("  {:<44} {:>10} {:>10}  {:>24}", "", "before", "after", "ratio [95 % interval]");
}

fn inception(points: &mut Points<'_>) {
    let pairs = points.pairs(2);
    let served = points.options().map(Served::start);
    headline("Inception-v3 FP32, images/s", pairs);
    // About two seconds each on two cores.
    for (batch, count) in [(1, 40), (4, 12), (8, 6), (16, 4)] {
        let pictures = pictures(batch);
        let [before, after] = served.each_ref().map(|served| served.requests(&pictures));
        let things: [&dyn Fn() -> f64; 2] =
            [&|| before.images_per_second(count), &|| after.images_per_second(count)];
        in_turn(1, things);
        points.no_less(&format!("inception_v3 batch {batch}, images/s"), in_turn(pairs, things));
    }
}

/// The one-op model on both servers, with the latency outputs.
fn small(servers: &[Server; 2]) -> ModelConfig {
    loaded(servers, add_one_config("against", 8).latency_outputs())
}

fn loaded(servers: &[Server; 2], config: ModelConfig) -> ModelConfig {
    servers.iter().for_each(|server| server.load(&config, SavedModel::Small("add_one")));
    config
}

fn one_op(points: &mut Points<'_>) {
    const REQUESTS: usize = 400;
    let pairs = points.pairs(5);
    let request = add_one_request(&[1.5; 16]);
    let latency = |server: &Server, config: &ModelConfig| {
        let answer = server.client().infer(config.name(), &request).expect("the server answers");
        Latency::of_outputs(&answer, Some(1))
    };
    // A pair is the medians of requests that took turns one by one. Each has servers of its own: where a process has its memory
    // and its code is luck, and makes some hundredths.
    let round = || {
        let servers = points.servers();
        let config = small(&servers);
        let both: [&dyn Fn() -> Latency; 2] =
            [&|| latency(&servers[0], &config), &|| latency(&servers[1], &config)];
        in_turn(REQUESTS, both);
        in_turn(REQUESTS, both).map(|all| {
            let us = |part: fn(&Latency) -> i64| {
                median(&all.iter().map(|latency| part(latency) as f64 / 1e3).collect::<Vec<_>>())
            };
            [us(|l| l.input + l.output), us(|l| l.input), us(|l| l.infer), us(|l| l.output)]
        })
    };
    let rounds: Vec<[[f64; 4]; 2]> = (0..pairs).map(|_| round()).collect();
    let column =
        |part: usize| [0, 1].map(|side: usize| rounds.iter().map(|round| round[side][part]).collect());
    headline(&format!("One op with six latency outputs, us (medians of {REQUESTS} requests)"), pairs);
    points.shrinks("one op, compute_input + compute_output", MOST_ADDED, column(0));
    for (part, name) in [(1, "compute_input"), (2, "compute_infer"), (3, "compute_output")] {
        let [before, after]: [Vec<f64>; 2] = column(part);
        let ratio = Ratio::of(&after, &before);
        println!("    {name:<42} {:>10.3} {:>10.3}  {:>24.3}", median(&before), median(&after), ratio.median);
    }
}

fn heap(points: &mut Points<'_>) {
    println!("\nHeap requests of the backend for a request of the one-op model");
    let config = add_one_config("against", 8);
    for (config, what) in [(config.clone(), "y alone"), (config.latency_outputs(), "six latency outputs")] {
        let [before, after] = points.options().map(|options| heap::for_a_request(options, &config)[0]);
        println!("  {what:<44} {before:>10.3} {after:>10.3}  ({MOST_HEAP} or fewer)");
        points.results.keep(&format!("one op, {what}, heap requests, before"), before);
        points.results.at_most(MOST_HEAP, &format!("one op, {what}, heap requests, after"), after);
    }
}

fn requests(points: &mut Points<'_>) {
    let servers = points.servers();
    let config = small(&servers);
    headline("One op, requests/s over HTTP", points.pairs(3));
    for clients in [1, 4] {
        let rates = rates(points, &servers, &config, clients);
        points.no_less(&format!("one op, {clients} clients, requests/s"), rates);
    }
}

/// Requests/s of so many clients, before and after.
fn rates(points: &Points<'_>, servers: &[Server; 2], config: &ModelConfig, clients: usize) -> [Vec<f64>; 2] {
    const REQUESTS: usize = 1000;
    let (json_length, body) = add_one_request(&[1.5; 16]).binary_body();
    let rate = |server: &Server| {
        let start = Instant::now();
        in_parallel(clients, clients, |_| {
            for _ in 0..REQUESTS {
                let answer = server.client().infer_body(config.name(), Some(json_length), &body);
                answer.expect("the server answers");
            }
        });
        (clients * REQUESTS) as f64 / start.elapsed().as_secs_f64()
    };
    let things: [&dyn Fn() -> f64; 2] = [&|| rate(&servers[0]), &|| rate(&servers[1])];
    in_turn(1, things);
    in_turn(points.pairs(3), things)
}

fn adaptive(points: &mut Points<'_>) {
    const REQUESTS: usize = 400;
    let pairs = points.pairs(3);
    let servers = points.servers();
    let config = loaded(&servers, add_one_config("against", 8).latency_outputs().queue_outputs().adaptive());
    let (json_length, body) = add_one_request(&[1.5; 16]).binary_body();
    // From the request's arrival to its execution, and to its answer.
    let times = |server: &Server, clients: usize| {
        let all = in_parallel(clients, REQUESTS, |_| {
            let answer = server.client().infer_body(config.name(), Some(json_length), &body);
            QueueTimes::of_outputs(&answer.expect("the server answers"))
        });
        let us = |part: fn(&QueueTimes) -> i64| median_by(&all, |times| part(times) as f64 / 1e3);
        [us(|times| times.queue), us(|times| times.request_latency)]
    };
    headline(
        &format!(
            "One op with adaptive batching, us in the server (medians of {REQUESTS} requests), and requests/s"
        ),
        pairs,
    );
    // A client alone is served by the server's own thread, several are by the worker.
    for clients in [1, 4] {
        let things: [&dyn Fn() -> [f64; 2]; 2] =
            [&|| times(&servers[0], clients), &|| times(&servers[1], clients)];
        in_turn(1, things);
        let found = in_turn(pairs, things);
        let part = |part: usize| found.each_ref().map(|all| all.iter().map(|times| times[part]).collect());
        let name = |what: &str| format!("one op, adaptive, {clients} clients, {what}");
        let [before, after]: [Vec<f64>; 2] = part(0);
        println!("    {:<42} {:>10.3} {:>10.3}", name("queue"), median(&before), median(&after));
        points.no_more(&name("request latency"), part(1));
        let rates = rates(points, &servers, &config, clients);
        points.no_less(&name("requests/s"), rates);
    }
}

fn passthrough(points: &mut Points<'_>) {
    let pairs = points.pairs(3);
    let servers = points.servers();
    let config =
        ModelConfig::new("against", 0).input("x", "FP32", &[-1]).output("y", "FP32", &[-1]).latency_outputs();
    let values: Vec<f32> = (0..LARGE).map(|number| number as f32).collect();
    let regions = servers.each_ref().map(|server| {
        server.load(&config, SavedModel::Small("identity"));
        Region::register(server.client(), &values, LARGE * size_of::<f32>())
    });
    let latency = |side: usize| {
        let body = regions[side].request(("x", &[LARGE]), "y");
        let answer = servers[side].client().infer_body(config.name(), None, &body);
        Latency::of_outputs(&answer.expect("the server answers"), None)
    };
    let things: [&dyn Fn() -> Latency; 2] = [&|| latency(0), &|| latency(1)];
    in_turn(1, things);
    for region in &regions {
        assert!(
            region.output().chunks_exact(4).zip(&values).all(|(found, value)| found == value.to_ne_bytes())
        );
    }
    let found = in_turn(pairs, things);
    let us = |part: fn(&Latency) -> i64| {
        found.each_ref().map(|all| all.iter().map(|latency| part(latency) as f64 / 1e3).collect::<Vec<_>>())
    };
    headline("Passthrough of FP32 [16M] in system shared memory, us", pairs);
    points.shrinks("passthrough of 64 MB, compute_input", MOST_TAKEN, us(|latency| latency.input));
    for (name, [before, after]) in
        [("compute_infer", us(|latency| latency.infer)), ("compute_output", us(|latency| latency.output))]
    {
        println!("    {name:<42} {:>10.3} {:>10.3}", median(&before), median(&after));
    }
}

fn load(points: &mut Points<'_>) {
    let pairs = points.pairs(2);
    let servers = points.servers();
    // The first model of a server waits for TensorFlow's library to be opened.
    small(&servers);
    let seconds = |server: &Server| {
        let start = Instant::now();
        server.load(&inception_config("inception"), SavedModel::Inception);
        let ready = start.elapsed().as_secs_f64();
        server.unload("inception");
        ready
    };
    let things: [&dyn Fn() -> f64; 2] = [&|| seconds(&servers[0]), &|| seconds(&servers[1])];
    in_turn(1, things);
    let found = in_turn(pairs, things);
    headline("Load of Inception-v3, s", pairs);
    points.no_more("load of inception_v3, s", found);
}

fn memory(points: &mut Points<'_>) {
    let pairs = points.pairs(1);
    let megabytes = |side: usize| megabytes(with_library(&points.libraries[side]), "auto", 1)[0];
    let found = in_turn(pairs, [&|| megabytes(0), &|| megabytes(1)]);
    headline("Resident memory of a server with Inception-v3 after 16 requests, MB", pairs);
    points.no_more("resident memory, MB", found);
}
