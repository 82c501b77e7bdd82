//! What the energy of each request costs: on the path of a request, and in the thread that reads the meter. The meters are
//! made ones, so that it can be measured on any machine.

use std::cell::Cell;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::results::Results;
use crate::support::{
    Latency, MadeMeter, ModelConfig, Options, PADDED_OUTPUT, SavedModel, Server, add_one_config,
    add_one_request,
};
use crate::turns::{difference, in_turn, median_by};

const MODEL: &str = "bench_energy";
/// Requests of each server in a round.
const REQUESTS: usize = 200;
/// Rounds with the same two servers: where a process has its memory and code is worth some percent.
const ROUNDS: usize = 4;
/// The most that energy may add to a request, in microseconds.
const MOST_ADDED: f64 = 1.0;
/// The most that the thread may take of a core, in percent, with a meter that sleeps while it is read.
const MOST_OF_A_CORE: f64 = 0.5;

pub fn measure(results: &mut Results) {
    path(results);
    thread_of_the_meter(results);
}

/// Four servers in turn, each asked for the same but for its last output: nobody asks for energy; a model that is not called does;
/// the one that is called does; and, to compare with that, nobody does, and there is another output as well. All tell their times
/// as response parameters, which are set after the request's end is taken.
fn path(results: &mut Results) {
    let servers = results.rounds(1, 8);
    let made = MadeMeter::powercap();
    let config =
        |name: &str| add_one_config(name, 8).latency_outputs().parameter("latency-parameters", "true");
    let plain = config(MODEL);
    let mut found = [const { Vec::new() }; 4];
    for _ in 0..servers {
        let unasked = serve(Options::new(), &plain);
        let beside = serve(made.options(Options::new()), &plain);
        beside.load(&with_energy(config("bench_asks")), SavedModel::Small("add_one"));
        let told = serve(made.options(Options::new()), &with_energy(plain.clone()));
        let other = serve(Options::new(), &plain.clone().output(PADDED_OUTPUT, "INT64", &[1]));
        let round = |server: &Server| own_us(server, REQUESTS);
        let things: [&dyn Fn() -> f64; 4] =
            [&|| round(&unasked), &|| round(&beside), &|| round(&told), &|| round(&other)];
        in_turn(1, things);
        found.iter_mut().zip(in_turn(ROUNDS, things)).for_each(|(all, found)| all.extend(found));
    }
    println!(
        "\nOne op, what energy adds to compute_input + compute_output, microseconds ({} rounds of {REQUESTS} requests to each of \
         four servers, {servers} times started)",
        found[0].len()
    );
    let [unasked, beside, told, other] = &found;
    let added = [
        ("a part in the books", beside, unasked),
        ("and told in an output of the response", told, unasked),
        ("the same, without what any output costs", told, other),
    ]
    .map(|(what, with, without)| {
        let (median, (least, most)) = difference(with, without);
        println!("  {what:<40} {median:>6.2}, 95 % interval {least:.2} to {most:.2}");
        results.keep(&format!("one op, energy, {what}, us"), median);
        median
    });
    results.at_most(MOST_ADDED, "one op, added by energy, us", added[1]);
}

/// What the thread takes of a core, with a meter that sleeps, with nothing to do and at full load.
fn thread_of_the_meter(results: &mut Results) {
    let seconds = results.rounds(2, 20) as f64;
    println!("\nThe thread that reads the meter, percent of a core ({seconds} s each)");
    for (what, made, aim) in [
        ("GPU whose readings take 3 ms", MadeMeter::nvml(), Some(MOST_OF_A_CORE)),
        ("processors, files on a disk", MadeMeter::powercap(), None),
    ] {
        let server = serve(
            made.options(Options::new()),
            &with_energy(add_one_config(MODEL, 8).parameter("latency-parameters", "true")),
        );
        // Until tick and cost of a reading are learnt.
        thread::sleep(Duration::from_secs(3));
        let percent = |work: &dyn Fn()| {
            let (start, before) = (Instant::now(), cpu_ns(&server));
            while start.elapsed().as_secs_f64() < seconds {
                work();
            }
            (cpu_ns(&server) - before) as f64 / start.elapsed().as_nanos() as f64 * 100.0
        };
        let idle = percent(&|| thread::sleep(Duration::from_millis(100)));
        let executions = Cell::new(0);
        let busy = percent(&|| {
            own_us(&server, 50);
            executions.set(executions.get() + 50);
        });
        let rate = f64::from(executions.get()) / seconds;
        println!("  {what:<32} {idle:.2} idle, {busy:.2} at {rate:.0} executions/s");
        results.keep(&format!("thread of the meter, {what}, idle, %"), idle);
        results.keep(&format!("thread of the meter, {what}, busy, %"), busy);
        if let Some(aim) = aim {
            results.at_most(aim, &format!("thread of the meter, {what}, %"), idle.max(busy));
        }
    }
}

fn serve(options: Options, config: &ModelConfig) -> Server {
    let server = Server::start(options);
    server.load(config, SavedModel::Small("add_one"));
    server
}

fn with_energy(config: ModelConfig) -> ModelConfig {
    config.output("energy_uj", "INT64", &[1])
}

/// What the backend itself takes for a request, the median of so many.
fn own_us(server: &Server, requests: usize) -> f64 {
    let request = add_one_request(&[1.5; 16]);
    let infer = || {
        let answer = server.client().infer(MODEL, &request).expect("the server answers");
        Latency::of_parameters(&answer.parameters)
    };
    let latencies: Vec<Latency> = (0..requests).map(|_| infer()).collect();
    median_by(&latencies, |latency| (latency.input + latency.output) as f64 / 1e3)
}

/// Of the thread named `energy`.
fn cpu_ns(server: &Server) -> u64 {
    let tasks = fs::read_dir(server.proc("task")).expect("the server runs").flatten();
    let is_it = |name: String| name.trim() == "energy";
    let task =
        tasks.map(|task| task.path()).find(|task| fs::read_to_string(task.join("comm")).is_ok_and(is_it));
    let told = fs::read_to_string(task.expect("a model asks for energy").join("schedstat"));
    let told = told.expect("the kernel tells times of threads");
    told.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number of ns")
}
