//! How long Inception-v3 takes to be ready, and to its first answer: with its variables made constants at
//! load, and with them left as they are.

use std::time::Instant;

use crate::results::Results;
use crate::served::pictures;
use crate::support::{Options, SavedModel, Server, add_one_config, inception_config, inception_request};
use crate::turns::{in_turn, median_by};

/// The most that a load with `TF_FREEZE` at `auto` may take, as a ratio to one with `false`.
const MOST_RATIO: f64 = 1.3;

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(2, 5);
    let server = Server::start(Options::new());
    // The first model of a server waits for TensorFlow's library to be opened.
    server.load(&add_one_config("first", 8), SavedModel::Small("add_one"));
    let request = inception_request(&pictures(1));
    let seconds = |freeze: &str| {
        let config = inception_config(&format!("freeze_{freeze}")).parameter("TF_FREEZE", freeze);
        let start = Instant::now();
        server.load(&config, SavedModel::Inception);
        let ready = start.elapsed().as_secs_f64();
        server.client().infer(config.name(), &request).expect("the server answers");
        let answered = start.elapsed().as_secs_f64();
        server.unload(config.name());
        [ready, answered]
    };
    // The first of all has to read the files from the disk.
    seconds("false");
    let found = in_turn(rounds, [&|| seconds("auto"), &|| seconds("false")]);

    println!("\nLoad of Inception-v3 by TF_FREEZE, s (median of {rounds} rounds, both in turn)");
    println!("{:<42}  {:>6}  {:>6}  {:>10}", "", "auto", "false", "auto/false");
    for (which, what) in ["until it is ready", "until its first answer (batch 1)"].into_iter().enumerate() {
        let [auto, as_it_is] = found.each_ref().map(|rounds| median_by(rounds, |seconds| seconds[which]));
        let ratio = auto / as_it_is;
        println!("  {what:<40}  {auto:>6.2}  {as_it_is:>6.2}  {ratio:>10.3}");
        let name = |kind: &str| format!("load, {what}, {kind}");
        results.keep(&name("TF_FREEZE auto, s"), auto);
        results.keep(&name("TF_FREEZE false, s"), as_it_is);
        if which == 0 {
            results.at_most(MOST_RATIO, &name("auto to false"), ratio);
        } else {
            results.keep(&name("auto to false"), ratio);
        }
    }
}
