//! What adaptive batching shows of itself in the server's metrics.

use crate::adaptive::{adaptive_config, infer_add_one};
use crate::faults::unload_and_wait;
use crate::support::*;

/// The value of each metric of the family that has the label `model`.
pub fn gauges(metrics: &[String], family: &str, model: &str) -> Vec<(String, f64)> {
    let label = format!("model=\"{model}\"");
    metrics
        .iter()
        .filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(&label))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn metrics_show_each_model_while_it_is_there() {
    if !capabilities().has_backend_api(9, "metrics of adaptive batching") {
        return;
    }
    const FAMILIES: [&str; 4] = [
        "tensorflow_latency_target_batch_size",
        "tensorflow_latency_arrival_rate",
        "tensorflow_latency_queue_size",
        "tensorflow_latency_service_time_seconds",
    ];
    let server = Server::start(Options::new().metrics());
    let models = ["metrics_a", "metrics_b"];
    for model in models {
        let config = adaptive_config(model, 8).parameter("latency_target_ms", "500");
        server.load(&config, SavedModel::Small("add_one"));
    }
    in_parallel(4, 400, |number| infer_add_one(&server, models[number % 2], number, 1));
    let metrics = server.metrics();
    for model in models {
        for family in FAMILIES {
            let found = gauges(&metrics, family, model);
            // Service times are told for 1, 2, 4 and 8 images.
            let expected = if family.ends_with("seconds") { 4 } else { 1 };
            assert_eq!(found.len(), expected, "{family} of {model}: {found:?}");
            assert!(found.iter().all(|(name, _)| name.contains("version=\"1\"")), "{found:?}");
            println!("{found:?}");
        }
        let value = |family| gauges(&metrics, family, model)[0].1;
        assert!((1.0..=8.0).contains(&value(FAMILIES[0])), "the target batch size is 1 to 8 images");
        let rate = || gauges(&server.metrics(), FAMILIES[1], model)[0].1;
        assert!(eventually(|| rate() > 0.0), "requests have come");
        let times = gauges(&metrics, FAMILIES[3], model);
        assert!(times.iter().all(|(_, seconds)| (1e-7..1.0).contains(seconds)), "{times:?}");
    }
    let [gone, stays] = models;
    unload_and_wait(&server, gone);
    let metrics = server.metrics();
    for family in FAMILIES {
        assert_eq!(gauges(&metrics, family, gone), [], "nothing is left of a model that is gone");
        assert!(!gauges(&metrics, family, stays).is_empty(), "{family} of {stays}");
    }
    server.client().load(gone).expect("the model loads again");
    infer_add_one(&server, gone, 1, 1);
    let shows_again = || !gauges(&server.metrics(), FAMILIES[0], gone).is_empty();
    assert!(shows_again(), "the model is shown again");
    // When no more requests come the rate falls to nothing and stays there.
    let rate = || gauges(&server.metrics(), FAMILIES[1], stays)[0].1;
    let at_first = rate();
    assert!(eventually(|| rate() < at_first / 2.0 || rate() == 0.0), "the rate stays at {at_first}");
    assert_eq!(server.stop(), 0, "the server ends in order");
}
