//! Inception-v3 FP32, images/s: the server against bare sessions and against the machine.
//!
//! `raw` is a session of the SavedModel as it is, variables and all; `frozen` one of the graph in which
//! TensorFlow's own Python has put constants in place of the variables, which is what `TF_FREEZE` is held
//! against; `limit` is what the machine's own rate of FP32 matrix multiplication would allow.

use tensorflow::Tensor;

use crate::raw::{MatrixProduct, Raw};
use crate::results::{Results, folder};
use crate::served::{PICTURE, Served, pictures};
use crate::support::{Options, SavedModel, relative_error};
use crate::turns::{Ratio, in_turn, median};

/// Each batch size with the requests of one measurement, two to three seconds on two cores, and the least
/// ratio of the server to the bare session.
const LOADS: [(usize, usize, f64); 4] = [(1, 48, 1.06), (4, 16, 1.06), (8, 10, 1.1), (16, 6, 1.1)];
/// The least share of the machine's limit, with the largest batches.
const LEAST_SHARE: f64 = 0.88;
/// Multiplications and additions of Inception-v3 for an image, in 10^9.
const GFLOP_OF_IMAGE: f64 = 11.4;

pub fn measure(results: &mut Results) {
    let rounds = results.rounds(2, 11);
    let raw = Raw::load(&SavedModel::Inception.folder(), "input", "predictions");
    let frozen = Raw::load(&frozen_model(), "input", "predictions");
    let product = MatrixProduct::new();
    let served = Served::start(Options::new());
    let all_pictures = pictures(16);
    let picture = batch_of(&all_pictures[..PICTURE]);
    let error = relative_error(&frozen.run(&picture, 1), &raw.run(&picture, 1));
    assert!(error < 1e-4, "the frozen graph is another model: its answer is off by {error}");

    println!("\nInception-v3 FP32, images/s (median of {rounds} rounds; all in turn)");
    println!(
        "{:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}  {:>13}  {:>13}  {:>12}",
        "batch", "raw", "frozen", "server", "limit", "server/raw", "min-max", "server/frozen", "server/limit"
    );
    for (batch, count, least_ratio) in LOADS {
        let pictures = &all_pictures[..batch * PICTURE];
        let tensor = batch_of(pictures);
        let requests = served.requests(pictures);
        let images = (batch * count) as f64;
        let things: [&dyn Fn() -> f64; 4] = [
            &|| images / raw.time(&tensor, count),
            &|| images / frozen.time(&tensor, count),
            &|| requests.images_per_second(count),
            &|| product.gflop_per_second() / GFLOP_OF_IMAGE,
        ];
        // The first runs of a shape take longer.
        in_turn(1, things);
        let found = in_turn(rounds, things);
        let [to_raw, to_frozen, to_limit] = [0, 1, 3].map(|other| Ratio::of(&found[2], &found[other]));
        let [raw, frozen, server, limit] = found.map(|values| median(&values));
        println!(
            "{batch:>6}  {raw:>8.2}  {frozen:>8.2}  {server:>8.2}  {limit:>8.2}  {:>10.3}  {:>13}  {:>13.3}  \
             {:>12.3}",
            to_raw.median,
            to_raw.range(),
            to_frozen.median,
            to_limit.median
        );
        let name = |what: &str| format!("inception_v3 batch {batch}, {what}");
        for (what, value) in [("raw", raw), ("frozen", frozen), ("server", server), ("limit", limit)] {
            results.keep(&name(&format!("{what} images/s")), value);
        }
        results.at_least(least_ratio, &name("server to raw"), to_raw.median);
        results.keep(&name("server to frozen"), to_frozen.median);
        let least_share = if batch == 16 { LEAST_SHARE } else { 0.0 };
        let share = name("server to the limit of FP32 matrix multiplication");
        results.at_least(least_share, &share, to_limit.median);
    }
}

fn batch_of(pictures: &[f32]) -> Tensor<f32> {
    let batch = (pictures.len() / PICTURE) as u64;
    Tensor::new(&[batch, 299, 299, 3]).with_values(pictures).expect("the pictures")
}

/// Where `make bench` puts what `freeze_inception.py` makes.
fn frozen_model() -> std::path::PathBuf {
    let model = folder().join("inception_v3_frozen");
    assert!(model.exists(), "there is no '{}'; `make bench` makes it", model.display());
    model
}
