//! Strings: what a request with many of them takes in the server, from the start of its execution to its end, against the bare
//! session with the same strings in the `tensorflow` crate's tensors.

use tensorflow::Tensor;

use crate::raw::Raw;
use crate::results::Results;
use crate::support::{self, InferRequest, Latency, ModelConfig, Options, SavedModel, Server};
use crate::turns::{Ratio, in_turn, median};

const COUNT: usize = 10_000;
const LENGTH: usize = 32;
/// The most that the server may take of what the bare session takes.
const MOST: f64 = 1.1;

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(20, 100);
    let server = Server::start(Options::new());
    let config = ModelConfig::new("text", COUNT as u32).input("x", "BYTES", &[1]).output("y", "BYTES", &[1]);
    server.load(&config.parameter("latency-parameters", "true"), SavedModel::Small("text"));
    let strings: Vec<String> = (0..COUNT).map(|number| format!("{number:0>LENGTH$}")).collect();
    let bytes: Vec<&[u8]> = strings.iter().map(String::as_bytes).collect();
    let request = InferRequest::new(vec![support::Tensor::strings("x", &[COUNT as i64, 1], &bytes)]);
    let served = || {
        let answer = server.client().infer("text", &request).expect("the server answers");
        let latency = Latency::of_parameters(&answer.parameters);
        [latency.total, latency.input, latency.infer, latency.output].map(|ns| ns as f64 / 1e3)
    };
    let raw = Raw::load(&SavedModel::Small("text").folder(), "x", "y");
    let bare = || {
        let make = || Tensor::new(&[COUNT as u64, 1]).with_values(&strings).expect("as many strings");
        [raw.strings_us(make), 0.0, 0.0, 0.0]
    };
    let things: [&dyn Fn() -> [f64; 4]; 2] = [&served, &bare];
    in_turn(3, things);
    let [served, bare] = in_turn(rounds, things);

    let part = |all: &[[f64; 4]], part: usize| all.iter().map(|parts| parts[part]).collect::<Vec<_>>();
    let ratio = Ratio::of(&part(&served, 0), &part(&bare, 0));
    println!(
        "\n{COUNT} strings of {LENGTH} bytes, to upper case, microseconds (median of {rounds} requests, in turn)"
    );
    for (what, value) in [
        ("bare session: tensor made, run, strings read", median(&part(&bare, 0))),
        ("in the server (compute_latency)", median(&part(&served, 0))),
        ("  compute_input", median(&part(&served, 1))),
        ("  compute_infer", median(&part(&served, 2))),
        ("  compute_output", median(&part(&served, 3))),
    ] {
        println!("  {what:<56} {value:>7.1}");
        results.keep(&format!("strings, {}, us", what.trim()), value);
    }
    println!("  {:<56} {:>7.3}  {}", "server/bare session", ratio.median, ratio.range());
    results.at_most(MOST, "strings, server to bare session", ratio.median);
}
