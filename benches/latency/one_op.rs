//! A one-op model: what the backend adds to the session run of a request, in microseconds (gathering the input
//! and writing the outputs, as the responses tell), what the six latency outputs and the hand-over of adaptive
//! batching cost, and what the run in the calling thread is worth.

use std::time::Instant;

use tensorflow::Tensor;

use crate::raw::Raw;
use crate::results::Results;
use crate::support::{
    Latency, ModelConfig, Options, SavedModel, Server, add_one_config, add_one_request, in_parallel,
};
use crate::turns::{Ratio, in_turn, median, median_by};

/// Requests of each kind in a round.
const REQUESTS: usize = 400;
/// Requests of each client in a round that counts them by the second.
const REQUESTS_OF_CLIENT: usize = 1000;
/// The most that the session run in the server may take, in microseconds.
const MOST_INFER: f64 = 25.0;
/// The most that the hand-over to a worker may add to a request, in microseconds.
const MOST_HAND_OVER: f64 = 15.0;
/// The least ratio of requests/s with `TF_RUN_IN_CALLING_THREAD` at `auto` to those with `false`.
const LEAST_RATIO: f64 = 1.2;

pub fn measure(results: &mut Results) {
    let server = Server::start(Options::new());
    microseconds(&server, results);
    requests_per_second(&server, results);
}

fn microseconds(server: &Server, results: &mut Results) {
    let rounds = results.rounds(3, 15);
    // All tell their times as response parameters, which are set after the request's end is taken and so cost
    // nothing that is measured here.
    let config = |name: &str| add_one_config(name, 8).parameter("latency-parameters", "true");
    for config in [
        config("plain"),
        config("timed").latency_outputs(),
        config("adaptive").adaptive(),
        in_pool(config("pool")),
    ] {
        server.load(&config, SavedModel::Small("add_one"));
    }
    let raw = Raw::load(&SavedModel::Small("add_one").folder(), "x", "y");
    let tensor = Tensor::new(&[1, 16]).with_values(&[1.5_f32; 16]).expect("16 values");
    let request = add_one_request(&[1.5; 16]);
    let infer = |model: &str| {
        let answer = server.client().infer(model, &request).expect("the server answers");
        Latency::of_parameters(&answer.parameters)
    };
    let client_us = |model: &str| {
        let start = Instant::now();
        infer(model);
        start.elapsed().as_secs_f64() * 1e6
    };
    let round = || {
        let session = raw.time(&tensor, REQUESTS) / REQUESTS as f64 * 1e6;
        let own = in_turn(REQUESTS, [&|| infer("plain"), &|| infer("timed"), &|| infer("pool")]);
        let clients = in_turn(REQUESTS, [&|| client_us("plain"), &|| client_us("adaptive")]);
        (session, own, clients)
    };
    // The first requests take longer.
    round();
    let mut session = Vec::new();
    let mut own: [Vec<Latency>; 3] = Default::default();
    let mut clients: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        let found = round();
        session.push(found.0);
        own.iter_mut().zip(found.1).for_each(|(all, found)| all.extend(found));
        clients.iter_mut().zip(found.2).for_each(|(all, found)| all.extend(found));
    }

    let [plain, timed, pool] = &own;
    let us = |latencies: &[Latency], part: fn(&Latency) -> i64| {
        median_by(latencies, |latency| part(latency) as f64 / 1e3)
    };
    let added = |latencies: &[Latency]| us(latencies, |latency| latency.input + latency.output);
    let [infer, infer_in_pool] = [timed, pool].map(|latencies| us(latencies, |latency| latency.infer));
    let [without, with_hand_over] = clients.map(|values| median(&values));
    println!("\nOne op (FP32 [16], x + 1), microseconds (median of {} requests)", rounds * REQUESTS);
    for (what, value) in [
        ("session run alone, in this process", median(&session)),
        ("session run in the server (compute_infer)", infer),
        ("  + gathering the input (compute_input)", us(timed, |latency| latency.input)),
        ("  + writing the outputs (compute_output)", us(timed, |latency| latency.output)),
        ("= added by the backend", added(timed)),
        ("of which the six latency outputs", added(timed) - added(plain)),
        ("session run in TensorFlow's threads (compute_infer)", infer_in_pool),
        ("a client's whole latency, Triton's batching", without),
        ("the same, adaptive batching", with_hand_over),
        ("= the hand-over to a worker", with_hand_over - without),
    ] {
        println!("  {what:<56} {value:>7.1}");
    }
    results.at_most(MOST_INFER, "one op, compute_infer, us", infer);
    results.keep("one op, compute_infer in TensorFlow's threads, us", infer_in_pool);
    results.keep("one op, added by the backend, us", added(timed));
    results.at_most(MOST_HAND_OVER, "one op, hand-over of adaptive batching, us", with_hand_over - without);
}

fn requests_per_second(server: &Server, results: &mut Results) {
    let rounds = results.rounds(3, 15);
    for config in [add_one_config("auto", 8), in_pool(add_one_config("false", 8))] {
        server.load(&config, SavedModel::Small("add_one"));
    }
    println!(
        "\nOne op, requests/s over HTTP by TF_RUN_IN_CALLING_THREAD (median of {rounds} rounds, both in turn)"
    );
    println!("{:>8}  {:>8}  {:>8}  {:>10}  {:>13}", "clients", "auto", "false", "auto/false", "min-max");
    let (json_length, body) = add_one_request(&[1.5; 16]).binary_body();
    for clients in [1, 4] {
        let rate = |model: &str| {
            let start = Instant::now();
            in_parallel(clients, clients, |_| {
                for _ in 0..REQUESTS_OF_CLIENT {
                    server.client().infer_body(model, Some(json_length), &body).expect("the server answers");
                }
            });
            (clients * REQUESTS_OF_CLIENT) as f64 / start.elapsed().as_secs_f64()
        };
        let things: [&dyn Fn() -> f64; 2] = [&|| rate("auto"), &|| rate("false")];
        in_turn(1, things);
        let [auto, pool] = in_turn(rounds, things);
        let ratio = Ratio::of(&auto, &pool);
        let [auto, pool] = [auto, pool].map(|values| median(&values));
        println!("{clients:>8}  {auto:>8.0}  {pool:>8.0}  {:>10.3}  {:>13}", ratio.median, ratio.range());
        let name = |what: &str| format!("one op, {clients} clients, {what}");
        results.keep(&name("requests/s"), auto);
        results.keep(&name("requests/s in TensorFlow's threads"), pool);
        results.at_least(LEAST_RATIO, &name("auto to TensorFlow's threads"), ratio.median);
    }
    println!("auto {}", choice(&server.log()));
}

/// The model in TensorFlow's threads, where every model ran before there was a choice.
fn in_pool(config: ModelConfig) -> ModelConfig {
    config.parameter("TF_RUN_IN_CALLING_THREAD", "false")
}

/// What `auto` chose when the model was loaded: it decides what is compared here.
fn choice(log: &str) -> &str {
    const MODEL: &str = "model 'auto': ";
    let told =
        log.lines().find_map(|line| line.split_once(MODEL).filter(|(_, said)| said.starts_with("runs")));
    // Some servers put their lines into quotation marks.
    told.expect("the log tells the choice").1.trim_end_matches('"')
}
