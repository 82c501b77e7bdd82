//! Inception-v3 where TensorFlow may compute in BF16, against FP32: two servers that differ in that only.

use crate::results::Results;
use crate::served::{Served, pictures};
use crate::support::Options;
use crate::turns::{Ratio, in_turn, median};

const BATCH: usize = 8;
const REQUESTS: usize = 10;
/// The least ratio of BF16 to FP32 on a CPU with AMX.
const LEAST_RATIO: f64 = 1.5;

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(2, 11);
    let pictures = pictures(BATCH);
    let servers = [
        Options::new(),
        // What allows it.
        Options::new().backend_config("fpmath-mode", "bf16"),
    ]
    .map(Served::start);
    let [fp32, bf16] = [0, 1].map(|server: usize| servers[server].requests(&pictures));
    let things: [&dyn Fn() -> f64; 2] =
        [&|| fp32.images_per_second(REQUESTS), &|| bf16.images_per_second(REQUESTS)];
    in_turn(1, things);
    let [fp32, bf16] = in_turn(rounds, things);
    let ratio = Ratio::of(&bf16, &fp32);

    println!("\nInception-v3 with BF16 allowed, images/s (median of {rounds} rounds, two servers in turn)");
    println!("{:>6}  {:>8}  {:>8}  {:>9}  {:>13}", "batch", "FP32", "BF16", "BF16/FP32", "min-max");
    println!(
        "{BATCH:>6}  {:>8.2}  {:>8.2}  {:>9.3}  {:>13}",
        median(&fp32),
        median(&bf16),
        ratio.median,
        ratio.range()
    );
    let extensions = ["amx_bf16", "avx512_bf16"].map(|name| (name, results.machine.has(name)));
    let told = extensions.map(|(name, has)| format!("{} {name}", if has { "has" } else { "lacks" }));
    print!("The aim, {LEAST_RATIO} or more, is for CPUs with AMX. This one {}", told.join(" and "));
    let name = |what: &str| format!("inception_v3 batch {BATCH}, {what}");
    results.keep(&name("FP32 images/s beside BF16"), median(&fp32));
    results.keep(&name("BF16 images/s"), median(&bf16));
    if extensions.iter().any(|(_, has)| *has) {
        println!(".");
        results.at_least(LEAST_RATIO, &name("BF16 to FP32"), ratio.median);
    } else {
        println!(": it cannot compute in BF16, and the aim is not checked.");
        results.keep(&name("BF16 to FP32"), ratio.median);
    }
}
