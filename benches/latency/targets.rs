//! Adaptive batching with a target of 20 ms for a model of one operation: how many answers are late when requests
//! come on their own, and how long clients wait that send again when they are answered.
//!
//! The latency is the server's part, of the output `request_latency_ns`. Clients measure theirs against Triton's dynamic
//! batcher without delay, in turn: it gives no such value.

use std::time::{Duration, Instant};

use crate::open_load::{late, poisson, refused, send};
use crate::results::Results;
use crate::support::{
    Client, InferRequest, Options, QueueTimes, Random, Refusal, SavedModel, Server, add_one_config,
    add_one_request, in_parallel,
};
use crate::turns::{Ratio, in_turn, median};

const TARGET: Duration = Duration::from_millis(20);
const RATES: [f64; 6] = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
const CLIENTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Of the requests that were let in.
const MOST_LATE: f64 = 0.01;
/// The most that a client may wait, to Triton's batcher.
const MOST_MEAN: f64 = 1.2;
/// At the lowest rate there are as many requests, so that a single late one is less than what is allowed.
const LEAST_REQUESTS: f64 = 400.0;
const MAX_BATCH_SIZE: u32 = 16;

pub fn measure(results: &mut Results) {
    let server = Server::start(Options::new());
    let target = TARGET.as_millis().to_string();
    let adaptive = add_one_config("adaptive", MAX_BATCH_SIZE).latency_outputs().queue_outputs().adaptive();
    let adaptive = adaptive.parameter("latency_target_ms", &target);
    let triton = add_one_config("triton", MAX_BATCH_SIZE).dynamic_batching(0);
    for config in [&adaptive, &triton] {
        server.load(config, SavedModel::Small("add_one"));
    }
    open(results, server.client());
    closed(results, server.client());
}

fn request(outputs: &[&str]) -> InferRequest {
    add_one_request(&[1.5; 16]).asking_for(outputs)
}

fn open(results: &mut Results, client: &Client) {
    let seconds = results.rounds(2, 20) as f64;
    println!("\nOne op, target {TARGET:?}, Poisson arrivals for {seconds} s or {LEAST_REQUESTS} requests");
    println!("{:>10}  {:>8}  {:>8}  {:>8}  {:>8}", "requests/s", "requests", "refused", "late", "p50, ms");
    let (json_length, body) = request(&["y", "queue_ns", "request_latency_ns"]).binary_body();
    let latency = || -> Result<Duration, Refusal> {
        let answer = client.infer_body("adaptive", Some(json_length), &body)?;
        Ok(Duration::from_nanos(QueueTimes::of_outputs(&answer).request_latency as u64))
    };
    let mut random = Random::new(20);
    for rate in RATES {
        let span = Duration::from_secs_f64(seconds.max(LEAST_REQUESTS / rate));
        let sent = send(&poisson(&mut random, rate, Duration::ZERO..span), latency);
        let latencies: Vec<f64> =
            sent.iter().filter_map(|sent| sent.latency).map(|latency| latency.as_secs_f64() * 1e3).collect();
        let [late, refused] = [late(&sent, TARGET), refused(&sent)];
        println!(
            "{rate:>10}  {:>8}  {:>6.2} %  {:>6.2} %  {:>8.3}",
            sent.len(),
            refused * 100.0,
            late * 100.0,
            median(&latencies)
        );
        let name = |what: &str| format!("target of one op, {rate} requests/s, {what}");
        results.at_most(MOST_LATE, &name("late"), late);
        results.at_most(MOST_LATE, &name("refused"), refused);
    }
}

fn closed(results: &mut Results, client: &Client) {
    const REQUESTS: usize = 800;
    let rounds = results.rounds(2, 21);
    println!("\nOne op, clients that send again when they are answered (median of {rounds} rounds, in turn)");
    println!(
        "{:>7}  {:>9}  {:>9}  {:>15}  {:>13}",
        "clients", "mean, us", "triton", "adaptive/triton", "min-max"
    );
    let (json_length, body) = request(&["y"]).binary_body();
    for clients in CLIENTS {
        let mean_us = |model: &str| {
            let all = in_parallel(clients, clients, |_| {
                let start = Instant::now();
                for _ in 0..REQUESTS / clients {
                    client.infer_body(model, Some(json_length), &body).expect("the server answers");
                }
                start.elapsed().as_secs_f64()
            });
            all.iter().sum::<f64>() / (REQUESTS / clients * clients) as f64 * 1e6
        };
        let things: [&dyn Fn() -> f64; 2] = [&|| mean_us("adaptive"), &|| mean_us("triton")];
        in_turn(1, things);
        let [adaptive, triton] = in_turn(rounds, things);
        let ratio = Ratio::of(&adaptive, &triton);
        println!(
            "{clients:>7}  {:>9.1}  {:>9.1}  {:>15.3}  {:>13}",
            median(&adaptive),
            median(&triton),
            ratio.median,
            ratio.range()
        );
        let name = format!("target of one op, {clients} clients, mean latency to triton");
        results.at_most(MOST_MEAN, &name, ratio.median);
    }
}
