//! Adaptive batching without a target against Triton's dynamic batcher as it is: neither lets a request wait for
//! others. Inception-v3, single pictures, from one client up to sixteen at once.

use crate::results::Results;
use crate::served::{Load, Requests, Served, pictures};
use crate::support::{Options, inception_config};
use crate::turns::{Ratio, in_turn, median};

const CLIENTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Requests of a round, some three seconds on two cores.
const REQUESTS: usize = 64;
/// The least ratio of the throughput, and of the dynamic batcher's median latency to the adaptive one's. It is 1 but
/// for what single rounds on a shared machine leave in the median of eleven.
const LEAST_RATIO: f64 = 0.98;

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(2, 11);
    let configs = [inception_config("triton").dynamic_batching(0), inception_config("adaptive").adaptive()];
    let served = Served::start_with(Options::new(), &configs);
    let picture = pictures(1);

    println!(
        "\nInception-v3, adaptive batching without a target against Triton's dynamic batcher (median of {rounds} \
         rounds, both in turn)"
    );
    println!(
        "{:>7}  {:>8}  {:>8}  {:>15}  {:>13}  {:>7}  {:>8}  {:>15}  {:>13}",
        "clients",
        "images/s",
        "adaptive",
        "adaptive/triton",
        "min-max",
        "p50, ms",
        "adaptive",
        "triton/adaptive",
        "min-max"
    );
    for clients in CLIENTS {
        let [triton, adaptive] =
            ["triton", "adaptive"].map(|model| served.requests_to(model, clients, &picture));
        let load = |requests: &Requests<'_>| {
            let Load { images_per_second, latencies } = requests.load(REQUESTS);
            (images_per_second, median(&latencies) * 1e3)
        };
        let things: [&dyn Fn() -> (f64, f64); 2] = [&|| load(&triton), &|| load(&adaptive)];
        in_turn(1, things);
        let [triton, adaptive] =
            in_turn(rounds, things).map(|values| values.into_iter().unzip::<f64, f64, Vec<_>, Vec<_>>());
        let throughput = Ratio::of(&adaptive.0, &triton.0);
        let latency = Ratio::of(&triton.1, &adaptive.1);
        println!(
            "{clients:>7}  {:>8.2}  {:>8.2}  {:>15.3}  {:>13}  {:>7.1}  {:>8.1}  {:>15.3}  {:>13}",
            median(&triton.0),
            median(&adaptive.0),
            throughput.median,
            throughput.range(),
            median(&triton.1),
            median(&adaptive.1),
            latency.median,
            latency.range()
        );
        let name = |what: &str| format!("batching, {clients} clients, {what}");
        results.keep(&name("triton images/s"), median(&triton.0));
        results.keep(&name("adaptive images/s"), median(&adaptive.0));
        results.at_least(LEAST_RATIO, &name("throughput, adaptive to triton"), throughput.median);
        results.at_least(LEAST_RATIO, &name("p50, triton to adaptive"), latency.median);
    }
}
