//! The server's resident memory with Inception-v3: one copy of the weights, however many instances it has.

use crate::results::Results;
use crate::served::pictures;
use crate::support::{
    Options, SavedModel, Server, add_one_config, add_one_request, inception_config, inception_request,
};
use crate::turns::{in_turn, median_by};

/// The weights, in MB.
const COPY: f64 = 95.0;
/// The most that three more instances may take, in copies of the weights: with weights of their own it would
/// be three.
const MOST_COPIES: f64 = 0.5;
/// One after the other, which the server hands to its instances in turn: what requests need at the same time
/// would grow with the instances too, and is not the weights.
const REQUESTS: usize = 16;

pub fn measure(results: &mut Results) {
    let servers = results.rounds(1, 3);
    println!(
        "\nResident memory of the server with Inception-v3 after {REQUESTS} requests, MB (median of {servers} \
         servers each, in turn)"
    );
    println!("{:>10}  {:>9}  {:>7}  {:>12}", "TF_FREEZE", "instances", "server", "of the model");
    let cases = [("false", 1), ("auto", 1), ("auto", 4)];
    let measured = cases.map(|(freeze, instances)| move || megabytes(Options::new(), freeze, instances));
    let found = in_turn(servers, measured.each_ref().map(|megabytes| megabytes as &dyn Fn() -> [f64; 2]));
    let of_model = [0, 1, 2].map(|case: usize| {
        let [server, model] = [0, 1].map(|which: usize| median_by(&found[case], |mb| mb[which]));
        let (freeze, instances) = cases[case];
        println!("{freeze:>10}  {instances:>9}  {server:>7.0}  {model:>12.0}");
        results.keep(&format!("memory, TF_FREEZE {freeze}, {instances} instances, MB"), server);
        results.keep(&format!("memory of the model, TF_FREEZE {freeze}, {instances} instances, MB"), model);
        model
    });
    let more = of_model[2] - of_model[1];
    println!("= for three more instances: {more:.0}, where a copy of the weights is {COPY:.0}");
    results.at_most(MOST_COPIES * COPY, "memory of three more instances, MB", more);
}

/// What a server takes in all, and what the model has added to it.
pub fn megabytes(options: Options, freeze: &str, instances: u32) -> [f64; 2] {
    let server = Server::start(options);
    // What TensorFlow's library and its threads take is not the model's.
    server.load(&add_one_config("first", 8), SavedModel::Small("add_one"));
    server.client().infer("first", &add_one_request(&[0.0; 16])).expect("the server answers");
    let before = server.resident_bytes();
    let config = inception_config("inception").parameter("TF_FREEZE", freeze).instances(instances);
    server.load(&config, SavedModel::Inception);
    let request = inception_request(&pictures(1));
    for _ in 0..REQUESTS {
        server.client().infer("inception", &request).expect("the server answers");
    }
    let after = server.resident_bytes();
    [after, after - before].map(|bytes| bytes as f64 / 1e6)
}
