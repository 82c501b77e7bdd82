//! `compare`: configurations of one model under the very same arrivals.

use rustix::process::Signal;

use crate::support::{Place, Running, command, config_text, points, quick, results, succeed};

const CONFIGURATIONS: [&str; 3] = [
    r#"--configuration=none={}"#,
    r#"--configuration=default={"dynamic_batching":{}}"#,
    r#"--configuration=wait={"dynamic_batching":{"preferred_batch_size":[4],"max_queue_delay_microseconds":200000}}"#,
];

#[test]
fn configurations_take_effect_under_the_same_arrivals() {
    let config = "max_batch_size: 8";
    for way in ["api", "rewrite"] {
        let place = Place::with(&[("add_one", config)]);
        let folder = place.path().join("results");
        succeed(
            quick("compare")
                .args(["--model=add_one", "--rate=100", "--max-time=3", "--reconfigure", way])
                .args(CONFIGURATIONS)
                .args(place.own_server())
                .arg("--output")
                .arg(&folder),
        );
        let results = results(&folder);
        let points = points(&results);
        assert_eq!(points.len(), 3);
        assert!(results["configurations"]["none"]["dynamic_batching"].is_null());
        let delay = &results["configurations"]["wait"]["dynamic_batching"]["max_queue_delay_microseconds"];
        assert_eq!(delay.to_string().trim_matches('"'), "200000", "{way}");
        let point = |name: &str| points.iter().find(|point| point["key"]["configuration"] == name).unwrap();
        let mean = |name: &str| {
            let measured = &point(name)["statistics"]["measured"];
            measured["inference_count"].as_f64().unwrap() / measured["execution_count"].as_f64().unwrap()
        };
        assert_eq!(mean("none"), 1.0, "{way}");
        // At 100 requests per second four gather in 40 ms, long before the delay ends.
        assert!(mean("wait") > 3.5, "{way}: {}", mean("wait"));
        let scheduled: Vec<_> = points.iter().map(|point| &point["pacing"]["scheduled"]).collect();
        assert!(scheduled.windows(2).all(|pair| pair[0] == pair[1]), "the very same arrivals: {scheduled:?}");
        // Of four that gather in 40 ms, each waits 15 ms in the mean.
        let measured = &point("wait")["statistics"]["measured"];
        let queue_ms =
            measured["queue_ns"].as_f64().unwrap() / measured["success_count"].as_f64().unwrap() / 1e6;
        assert!(queue_ms > 7.0, "{way}: {queue_ms} ms in the queue");
        let text = std::fs::read_to_string(place.models().join("add_one/config.pbtxt")).unwrap();
        assert_eq!(text, config_text(config), "the user's file stays as it is");
    }
}

#[test]
fn a_server_that_runs_gets_its_configuration_back() {
    let place = Place::with(&[("add_one", "max_batch_size: 8")]);
    let server = place.server(&["add_one"]);
    let before = server.control().model_config("add_one", None).unwrap();
    succeed(
        quick("compare")
            .args(["--url", server.control().url(), "--model=add_one", "--concurrency=2"])
            .args(CONFIGURATIONS)
            .arg("--output")
            .arg(place.path().join("results")),
    );
    assert_eq!(server.control().model_config("add_one", None).unwrap(), before);
}

/// Killed while another configuration was in force, a comparison goes on from the model's own, and brings that back.
#[test]
fn a_killed_comparison_knows_the_original_configuration() {
    let place = Place::with(&[("add_one", "max_batch_size: 8")]);
    let server = place.server(&["add_one"]);
    let before = server.control().model_config("add_one", None).unwrap();
    let folder = place.path().join("results");
    let mut run = Running::start(
        quick("compare")
            .args(["--url", server.control().url(), "--model=add_one", "--concurrency=2", "--in-order"])
            .args(["--repeats=3"])
            .args(&CONFIGURATIONS[1..])
            .args(&CONFIGURATIONS[..1])
            .arg("--output")
            .arg(&folder),
    );
    run.wait_for("inferences/s");
    run.signal(Signal::KILL);
    run.end();
    assert_ne!(server.control().model_config("add_one", None).unwrap(), before, "it was killed in between");

    succeed(command(["compare", "--resume"]).arg(&folder));
    let results = results(&folder);
    assert_eq!(points(&results).len(), 9);
    assert!(results["configurations"]["none"]["dynamic_batching"].is_null(), "{}", results["configurations"]);
    assert_eq!(server.control().model_config("add_one", None).unwrap(), before);
}
