//! Ten minutes of more than Inception-v3 can do, with adaptive batching and a target: what is let in is in time, what is
//! not is refused at once, the processor does useful work, and all is as before when the load falls.
//!
//! A refusal takes as long as the server and its client need to speak on a machine whose cores all compute, so requests that the
//! server answers by itself (is it live?) are sent and measured beside it, by the same kind of client.
//!
//! The capacity is measured before and after, in batches of the size that the load was answered in: a target bounds the
//! batches that can follow one another, and so what can be done. What could be done with the largest ones is told too.

use std::time::Duration;

use crate::open_load::{Sent, late, poisson, refused, send};
use crate::results::Results;
use crate::served::{Region, Served, pictures};
use crate::support::{Options, QueueTimes, Random, inception_config};

const TARGET: Duration = Duration::from_millis(600);
/// Larger batches hardly do more.
const LARGE_BATCH: usize = 16;
/// To the capacity.
const OVERLOAD: f64 = 1.5;
/// Before the overload and after it.
const USUAL: f64 = 0.5;
const USUAL_SPAN: Duration = Duration::from_secs(40);
/// What is measured begins so long after a load has.
const SETTLED: Duration = Duration::from_secs(5);
/// The least of the capacity that is answered in time.
const LEAST_GOODPUT: f64 = 0.97;
const MOST_LATE: f64 = 0.01;
/// For 999 of 1000 refusals, as their clients see it.
const SLOWEST_REFUSAL_MS: f64 = 5.0;
/// About as many as are refused.
const PROBES_PER_SECOND: f64 = 10.0;

pub fn measure(results: &mut Results) {
    let span = Duration::from_secs(results.rounds(20, 600) as u64);
    let target_ms = TARGET.as_millis().to_string();
    let adaptive = inception_config("adaptive").queue_outputs().adaptive();
    let configs = [inception_config("alone"), adaptive.parameter("latency_target_ms", &target_ms)];
    let served = Served::start_with(Options::new(), &configs);
    let capacity = |batch: usize| {
        let pictures = pictures(batch);
        let requests = served.requests_to("alone", 2, &pictures);
        requests.images_per_second(4);
        requests.images_per_second((results.rounds(64, 320) / batch).max(2))
    };
    let largest = capacity(LARGE_BATCH);
    println!(
        "\nInception-v3, target {TARGET:?}: {USUAL} of {largest:.1} images/s for {USUAL_SPAN:?}, {OVERLOAD} for {span:?}, {USUAL} \
         again"
    );

    let [begin, end] = [USUAL_SPAN, USUAL_SPAN + span];
    let mut random = Random::new(150);
    let mut due = poisson(&mut random, largest * USUAL, Duration::ZERO..begin);
    due.extend(poisson(&mut random, largest * OVERLOAD, begin..end));
    due.extend(poisson(&mut random, largest * USUAL, end..end + USUAL_SPAN));
    let client = served.server().client();
    let region = Region::register(client, &pictures(1), 1000 * size_of::<f32>());
    let body =
        region.request_with(("input", &[1, 299, 299, 3]), "predictions", &["queue_ns", "request_latency_ns"]);
    let executions = || client.statistics("adaptive").execution_count;
    let mut of_server = Vec::new();
    let probes = poisson(&mut random, PROBES_PER_SECOND, begin + SETTLED..end);
    let sent = std::thread::scope(|scope| {
        let probes = scope.spawn(|| {
            send(&probes, || {
                let (status, text) = client.get("/v2/health/live").expect("the server answers");
                assert_eq!(status, 200, "{text}");
                Ok(Duration::ZERO)
            })
        });
        let sent = send(&due, || {
            let answer = client.infer_body("adaptive", None, &body)?;
            Ok(Duration::from_nanos(QueueTimes::of_outputs(&answer).request_latency as u64))
        });
        of_server = probes.join().expect("the server is live");
        sent
    });
    let (answered, executions) = (sent.iter().filter(|sent| sent.latency.is_some()).count(), executions());
    let usual_size = ((answered as f64 / executions as f64).round() as usize).clamp(1, LARGE_BATCH);
    let after = [capacity(usual_size), capacity(LARGE_BATCH)];

    let part = |from: Duration, to: Duration| {
        let (from, to) =
            (sent.partition_point(|sent| sent.due < from), sent.partition_point(|sent| sent.due < to));
        &sent[from..to]
    };
    let over = part(begin + SETTLED, end);
    let in_time = over.iter().filter(|sent| sent.latency.is_some_and(|latency| latency <= TARGET)).count();
    let goodput = in_time as f64 / (span - SETTLED).as_secs_f64();
    let refusal_ms = quantile(over.iter().filter(|sent| sent.latency.is_none()), 0.999);
    println!("  answered in time      {goodput:>8.2} images/s, in batches of {usual_size} on the average");
    println!("  capacity              {:>8.2} images/s with batches of that size", after[0]);
    println!("                        {:>8.2} with batches of {LARGE_BATCH}, {largest:.2} before", after[1]);
    println!(
        "  refused               {:>8.2} %, 99.9 % of them within {refusal_ms:.2} ms",
        refused(over) * 100.0
    );
    let of_server_ms = quantile(of_server.iter(), 0.999);
    println!("  the server by itself            99.9 % of its answers within {of_server_ms:.2} ms");
    println!("  late                  {:>8.2} % of the others", late(over, TARGET) * 100.0);
    results.keep("overload, answered in time, images/s", goodput);
    results.at_least(LEAST_GOODPUT, "overload, goodput to the capacity", goodput / after[0]);
    results.keep("overload, goodput to the capacity with the largest batches", goodput / after[1]);
    results.at_most(SLOWEST_REFUSAL_MS, "overload, refusals, p99.9, ms", refusal_ms);
    results.keep("overload, the server's own answers, p99.9, ms", of_server_ms);
    results.at_most(MOST_LATE, "overload, late", late(over, TARGET));
    for (name, part) in
        [("before", part(SETTLED, begin)), ("one target after", part(end + TARGET, end + USUAL_SPAN))]
    {
        let [late, refused] = [late(part, TARGET), refused(part)];
        println!(
            "  {name:<20}  {:>8.2} % refused, {:.2} % of the others late",
            refused * 100.0,
            late * 100.0
        );
        results.at_most(MOST_LATE, &format!("overload, {name}, late"), late);
        results.at_most(MOST_LATE, &format!("overload, {name}, refused"), refused);
    }
}

/// What such a part of them took at most, in ms.
fn quantile<'a>(sent: impl Iterator<Item = &'a Sent>, part: f64) -> f64 {
    let mut took: Vec<Duration> = sent.map(|sent| sent.took).collect();
    took.sort_unstable();
    let index = (took.len() as f64 * part).ceil() as usize;
    took.get(index.max(1) - 1).map_or(0.0, |took| took.as_secs_f64() * 1e3)
}
