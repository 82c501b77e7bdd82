//! A one-op model: what the backend adds to the session run of a request, in microseconds (gathering the input
//! and writing the outputs, as the responses tell), and what the six latency outputs and the hand-over of
//! adaptive batching cost.

use std::time::Instant;

use tensorflow::Tensor;

use crate::raw::Raw;
use crate::results::Results;
use crate::support::{Latency, Options, SavedModel, Server, add_one_config, add_one_request};
use crate::turns::{in_turn, median, median_by};

/// Requests of each kind in a round.
const REQUESTS: usize = 400;
/// The most that the hand-over to a worker may add to a request, in microseconds.
const MOST_HAND_OVER: f64 = 15.0;

pub fn measure(results: &mut Results) {
    let server = Server::start(Options::new());
    microseconds(&server, results);
}

fn microseconds(server: &Server, results: &mut Results) {
    let rounds = results.rounds(3, 15);
    // All tell their times as response parameters, which are set after the request's end is taken and so cost
    // nothing that is measured here.
    let config = |name: &str| add_one_config(name, 8).parameter("latency-parameters", "true");
    for config in [config("plain"), config("timed").latency_outputs(), config("adaptive").adaptive()] {
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
        let own = in_turn(REQUESTS, [&|| infer("plain"), &|| infer("timed")]);
        let clients = in_turn(REQUESTS, [&|| client_us("plain"), &|| client_us("adaptive")]);
        (session, own, clients)
    };
    // The first requests take longer.
    round();
    let mut session = Vec::new();
    let mut own: [Vec<Latency>; 2] = Default::default();
    let mut clients: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        let found = round();
        session.push(found.0);
        own.iter_mut().zip(found.1).for_each(|(all, found)| all.extend(found));
        clients.iter_mut().zip(found.2).for_each(|(all, found)| all.extend(found));
    }

    let [plain, timed] = &own;
    let us = |latencies: &[Latency], part: fn(&Latency) -> i64| {
        median_by(latencies, |latency| part(latency) as f64 / 1e3)
    };
    let added = |latencies: &[Latency]| us(latencies, |latency| latency.input + latency.output);
    let infer = us(timed, |latency| latency.infer);
    let [without, with_hand_over] = clients.map(|values| median(&values));
    println!("\nOne op (FP32 [16], x + 1), microseconds (median of {} requests)", rounds * REQUESTS);
    for (what, value) in [
        ("session run alone, in this process", median(&session)),
        ("session run in the server (compute_infer)", infer),
        ("  + gathering the input (compute_input)", us(timed, |latency| latency.input)),
        ("  + writing the outputs (compute_output)", us(timed, |latency| latency.output)),
        ("= added by the backend", added(timed)),
        ("of which the six latency outputs", added(timed) - added(plain)),
        ("a client's whole latency, Triton's batching", without),
        ("the same, adaptive batching", with_hand_over),
        ("= the hand-over to a worker", with_hand_over - without),
    ] {
        println!("  {what:<56} {value:>7.1}");
    }
    results.keep("one op, compute_infer, us", infer);
    results.keep("one op, added by the backend, us", added(timed));
    results.at_most(MOST_HAND_OVER, "one op, hand-over of adaptive batching, us", with_hand_over - without);
}
