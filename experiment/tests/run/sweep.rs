//! `sweep`: what is measured and what is left behind.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Running, fail, kill, points, quick, results, succeed};

const ADD_ONE: &str = "max_batch_size: 16";
const ADD_ONE_MODEL: (&str, &str) = ("add_one", ADD_ONE);

/// The latency of `slow` is as many milliseconds as its input says.
fn milliseconds(place: &Place, milliseconds: f32) -> String {
    let file = place.path().join(format!("{milliseconds}.bin"));
    std::fs::write(&file, milliseconds.to_le_bytes()).unwrap();
    format!("--input-file=x={}", file.display())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

#[test]
fn a_sweep_measures_every_point_and_agrees_with_the_statistics() {
    let place = Place::with(&[("add_one", ADD_ONE)]);
    let server = place.server(&["add_one"]);
    for shared_memory in ["none", "system"] {
        let folder = place.path().join(shared_memory);
        let out = succeed(
            quick("sweep")
                .args(["--url", server.control().url(), "--model=add_one", "--batch=1,8"])
                .args(["--concurrency=1,4", "--rate=200", "--repeats=2", "--shared-memory", shared_memory])
                .arg("--output")
                .arg(&folder),
        );
        assert!(out.contains("report.html"), "{out}");
        let results = results(&folder);
        assert_eq!(results["complete"], true);
        let points = points(&results);
        assert_eq!(points.len(), 2 * 3 * 2, "two batch sizes, three loads, twice");
        let visits: Vec<u64> = points.iter().map(|point| point["visit"].as_u64().unwrap()).collect();
        assert_eq!(visits, (0..12).collect::<Vec<u64>>());
        let in_order = points
            .windows(2)
            .all(|pair| pair[0]["key"]["repeat"].as_u64() <= pair[1]["key"]["repeat"].as_u64());
        assert!(!in_order, "the order is random, and by this seed not the plan's");
        for point in points {
            let key = &point["key"];
            assert_eq!(point["statistics"]["agrees"], true, "{key}: {}", point["statistics"]["agreement"]);
            let agreement = point["statistics"]["agreement"].as_str().unwrap();
            assert!(agreement.contains("compute_infer_ns"), "{agreement}");
            assert_eq!(point["server_times_from"], "outputs");
            let batch = key["batch"].as_u64().unwrap();
            assert_eq!(point["inferences"].as_u64().unwrap(), point["requests"].as_u64().unwrap() * batch);
            let rate = number(&point["inferences"]) / number(&point["seconds"]);
            assert!((number(&point["inferences_per_s"]) - rate).abs() < 1e-6 * rate);
            let (client, compute) = (&point["client_latency"], &point["server_times"]["compute_latency_ns"]);
            assert_eq!(client["count"], point["requests"]);
            assert_eq!(compute["count"], point["requests"]);
            assert!(number(&compute["p50_ns"]) < number(&client["p50_ns"]), "{key}");
            assert!(number(&client["p50_ns"]) <= number(&client["p99_ns"]), "{key}");
            assert!(number(&client["p99_ns"]) <= number(&client["max_ns"]), "{key}");
            assert!(number(&point["cpu_s_per_inference"]) > 0.0);
            for absent in ["inferences_per_j", "j_per_inference"] {
                assert!(point[absent].is_null(), "CPU time is no energy");
            }
            if key["load"]["kind"] == "rate" {
                let rate = number(&point["requests_per_s"]);
                assert!((150.0..250.0).contains(&rate), "200 requests/s were asked for, {rate} came");
            }
        }
        let table = std::fs::read_to_string(folder.join("results.csv")).unwrap();
        assert_eq!(table.lines().count(), 13, "{table}");
        assert_eq!(
            std::fs::read_dir("/dev/shm")
                .unwrap()
                .filter(|entry| {
                    let name = entry.as_ref().unwrap().file_name();
                    name.to_string_lossy().starts_with("triton-experiment")
                })
                .count(),
            0,
            "shared memory is gone"
        );
    }
}

#[test]
fn max_throughput_reports_the_search_and_its_best() {
    let place = Place::with(&[("slow", "max_batch_size: 1")]);
    let folder = place.path().join("results");
    succeed(
        quick("sweep")
            .args(["--model=slow", "--max-throughput", "--output"])
            .arg(&folder)
            .arg(milliseconds(&place, 20.0))
            .args(place.own_server()),
    );
    let results = results(&folder);
    let point = &points(&results)[0];
    let search = point["search"].as_array().unwrap();
    // One instance, one request at a time: at most 50 requests per second, which two in flight nearly reach.
    assert_eq!(search.len(), 3, "{search:?}");
    assert!(number(&point["inferences_per_s"]) <= 50.5, "{}", point["inferences_per_s"]);
    let best = search.iter().map(|step| number(&step["inferences_per_s"])).fold(0.0, f64::max);
    assert_eq!(number(&point["inferences_per_s"]), best);
    assert!(results["server"]["command"].is_array());
}

/// A dynamic batcher runs one request while another waits: two in flight are no faster than one, and eight are.
#[test]
fn the_search_for_the_highest_throughput_gets_over_a_plateau() {
    let place = Place::with(&[("slow", "max_batch_size: 8 dynamic_batching {}")]);
    let folder = place.path().join("results");
    succeed(
        quick("sweep")
            .args(["--model=slow", "--max-throughput", "--max-concurrency=8", "--output"])
            .arg(&folder)
            .arg(milliseconds(&place, 30.0))
            .args(place.own_server()),
    );
    let results = results(&folder);
    let point = &points(&results)[0];
    // A batch takes 30 ms whatever its size, so 33 batches per second; with eight in flight they hold up to eight.
    assert!(number(&point["inferences_per_s"]) > 80.0, "{}", point["search"]);
    assert!(point["warnings"].to_string().contains("was still growing"), "{}", point["warnings"]);
}

#[test]
fn answers_slower_than_the_longest_time_for_a_point_are_measured_all_the_same() {
    let place = Place::with(&[("slow", "max_batch_size: 1")]);
    let folder = place.path().join("results");
    succeed(
        quick("sweep")
            .args(["--model=slow", "--concurrency=1", "--max-time=0.5", "--output"])
            .arg(&folder)
            .arg(milliseconds(&place, 1500.0))
            .args(place.own_server()),
    );
    let results = results(&folder);
    let point = &points(&results)[0];
    assert_eq!(point["settled"], false);
    assert!(number(&point["client_latency"]["max_ns"]) > 1.5e9, "{}", point["client_latency"]);
}

#[test]
fn failures_in_the_measured_part_are_reported() {
    let place = Place::with(&[("failing", "max_batch_size: 4"), ADD_ONE_MODEL]);
    let server = place.server(&["failing", "add_one"]);
    let url = server.control().url();
    let not_a_number = place.path().join("nan.bin");
    std::fs::write(&not_a_number, f32::NAN.to_le_bytes().repeat(4)).unwrap();
    let (code, errors) = fail(
        quick("sweep")
            .args(["--url", url, "--model=failing", "--concurrency=1"])
            .arg(format!("--input-file=x={}", not_a_number.display()))
            .arg(format!("--output={}", place.path().join("refused").display())),
    );
    assert_eq!(code, 1);
    assert!(errors.contains("planted failure"), "the server's own words: {errors}");

    // A model that goes away in the middle of a point.
    let folder = place.path().join("results");
    let run = Running::start(
        quick("sweep")
            .args([
                "--url",
                url,
                "--model=add_one",
                "--concurrency=2",
                "--tolerance=0",
                "--max-time=3",
                "--output",
            ])
            .arg(&folder),
    );
    std::thread::sleep(Duration::from_millis(1500));
    let unload = format!("{url}/v2/repository/models/add_one/unload");
    ureq::post(unload).send("{}").expect("the model is unloaded");
    let (_, errors) = run.end();
    let results = results(&folder);
    let point = &points(&results)[0];
    assert!(point["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{errors}");
    assert!(
        point["warnings"].to_string().contains("requests failed, most of them with HTTP 4"),
        "{}",
        point["warnings"]
    );
}

#[test]
fn latency_is_not_capped_and_a_model_without_server_times_is_measured_too() {
    let place = Place::with(&[(
        "slow",
        "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: [1] } \
         output { name: \"y\" data_type: TYPE_FP32 dims: [1] }",
    )]);
    let folder = place.path().join("results");
    succeed(
        quick("sweep")
            .args(["--model=slow", "--concurrency=1", "--window-requests=1", "--output"])
            .arg(&folder)
            .arg(milliseconds(&place, 700.0))
            .args(place.own_server()),
    );
    let results = results(&folder);
    let point = &points(&results)[0];
    assert!(number(&point["client_latency"]["min_ns"]) > 700e6, "{}", point["client_latency"]);
    assert_eq!(point["server_times_from"], Value::Null);
    assert_eq!(point["server_times"], serde_json::json!({}));
    assert_eq!(point["statistics"]["agrees"], true, "requests can be counted without times");
}

#[test]
fn response_parameters_serve_as_well_as_outputs() {
    let place = Place::with(&[(
        "add_one",
        "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: [16] } \
         output { name: \"y\" data_type: TYPE_FP32 dims: [16] } \
         parameters { key: \"latency-parameters\" value { string_value: \"true\" } }",
    )]);
    let folder = place.path().join("results");
    succeed(
        quick("sweep")
            .args(["--model=add_one", "--concurrency=2", "--output"])
            .arg(&folder)
            .args(place.own_server()),
    );
    let results = results(&folder);
    let point = &points(&results)[0];
    assert_eq!(point["server_times_from"], "parameters");
    assert_eq!(point["statistics"]["agrees"], true);
    assert!(point["statistics"]["agreement"].as_str().unwrap().contains("compute_output_ns"));
}

/// The server is stopped for two seconds while requests are due 50 times a second: those that were due meanwhile waited
/// for up to two seconds, and have to say so. A client that waits for each answer before it sends the next would
/// report a single slow request.
#[test]
fn a_stalled_server_shows_in_the_open_loop_percentiles() {
    let place = Place::with(&[("add_one", ADD_ONE)]);
    let server = place.server(&["add_one"]);
    let folder = place.path().join("results");
    let trace = place.path().join("trace.txt");
    let times: String = (0..400).map(|index| format!("{}\n", f64::from(index) * 0.02)).collect();
    std::fs::write(&trace, times).unwrap();
    let mut run = Running::start(
        quick("sweep")
            .args(["--url", server.control().url(), "--model=add_one", "--trace"])
            .arg(&trace)
            .arg("--output")
            .arg(&folder),
    );
    run.wait_for("power: cpu-time");
    std::thread::sleep(Duration::from_secs(3));
    kill(server.pid() as i32, Signal::STOP);
    std::thread::sleep(Duration::from_secs(2));
    kill(server.pid() as i32, Signal::CONT);
    let (code, errors) = run.end();
    assert_eq!(code, Some(0), "{errors}");

    let results = results(&folder);
    let point = &points(&results)[0];
    let latency = &point["client_latency"];
    assert_eq!(point["requests"], 400, "all were sent and answered");
    assert_eq!(point["pacing"]["unsent"], 0);
    // 100 of 400 requests were due in the two seconds; the longest waited for all of them.
    assert!((1.8e9..3.5e9).contains(&number(&latency["max_ns"])), "{latency}");
    assert!(number(&latency["p99_ns"]) > 1.6e9, "{latency}");
    assert!(number(&latency["p90_ns"]) > 0.8e9, "{latency}");
    assert!(number(&latency["p50_ns"]) < 0.5e9, "{latency}");
    assert!(number(&latency["mean_ns"]) > 0.15e9, "{latency}");
}
