//! How many instances and how many threads within an operation suit a model: Inception-v3 and the one-op model, asked
//! by as many clients as keep every instance busy. It has no aim; README's advice rests on it.

use std::time::Instant;

use crate::results::Results;
use crate::served::{Served, pictures};
use crate::support::{
    ModelConfig, Options, SavedModel, add_one_config, add_one_request, in_parallel, inception_config,
};
use crate::turns::{in_turn, median};

/// Instances, and threads within an operation as a share of the CPUs.
const CHOICES: [(u32, Threads); 4] =
    [(1, Threads::All), (2, Threads::All), (2, Threads::One), (4, Threads::One)];
/// Enough for four instances, and for one that always has the next request waiting.
const CLIENTS: usize = 8;
/// Pictures in a request, and requests of a round.
const LOADS: [(usize, usize); 2] = [(1, 48), (8, 16)];
const SMALL_REQUESTS: usize = 4000;

#[derive(Clone, Copy, PartialEq)]
enum Threads {
    One,
    All,
}

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(1, 5);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let count = |threads| if threads == Threads::All { cpus } else { 1 };
    let named =
        |kind: &str, (instances, threads): (u32, Threads)| format!("{kind}-{instances}-{}", count(threads));
    let config = |config: ModelConfig, (instances, threads): (u32, Threads)| {
        config.instances(instances).parameter("TF_NUM_INTRA_THREADS", &count(threads).to_string())
    };
    // Without it, all models would have the threads of the first one.
    let options = Options::new().environment("TF_OVERRIDE_GLOBAL_THREADPOOL", "1");
    let inception = CHOICES.map(|choice| config(inception_config(&named("inception", choice)), choice));
    let served = Served::start_with(options, &inception);
    for choice in CHOICES {
        let small = config(add_one_config(&named("small", choice), 8), choice);
        served.server().load(&small, SavedModel::Small("add_one"));
    }

    println!(
        "\nInstances and threads within an operation, {CLIENTS} clients without batching (median of {rounds} rounds, \
         all in turn)"
    );
    let header = |(instances, threads)| format!("{instances} x {}", count(threads));
    print!("{:<34}", "instances x threads");
    CHOICES.iter().for_each(|&choice| print!("{:>9}", header(choice)));
    println!();
    let mut row = |what: &str, values: [Vec<f64>; 4]| {
        print!("{what:<34}");
        for (choice, values) in CHOICES.iter().zip(&values) {
            print!("{:>9.2}", median(values));
            results.keep(&format!("{what}, {}", header(*choice)), median(values));
        }
        println!();
    };
    for (batch, count) in LOADS {
        let names = CHOICES.map(|choice| named("inception", choice));
        let pictures = pictures(batch);
        let requests =
            [0, 1, 2, 3].map(|choice: usize| served.requests_to(&names[choice], CLIENTS, &pictures));
        let rate = |choice: usize| requests[choice].images_per_second(count);
        let things: [&dyn Fn() -> f64; 4] = [&|| rate(0), &|| rate(1), &|| rate(2), &|| rate(3)];
        in_turn(1, things);
        row(&format!("Inception-v3, batch {batch}, images/s"), in_turn(rounds, things));
    }
    let (json_length, body) = add_one_request(&[1.5; 16]).binary_body();
    let rate = |choice: usize| {
        let model = named("small", CHOICES[choice]);
        let start = Instant::now();
        in_parallel(CLIENTS, SMALL_REQUESTS, |_| {
            served
                .server()
                .client()
                .infer_body(&model, Some(json_length), &body)
                .expect("the server answers");
        });
        SMALL_REQUESTS as f64 / start.elapsed().as_secs_f64()
    };
    let things: [&dyn Fn() -> f64; 4] = [&|| rate(0), &|| rate(1), &|| rate(2), &|| rate(3)];
    in_turn(1, things);
    row("one op, requests/s", in_turn(rounds, things));
}
