//! `batching`: traces shaped out of the capacity, against a latency target.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Running, command, fail, points, quick, results, succeed};

/// A batch takes 20 ms whatever its size: four at a time are 200 a second, one at a time 50. "bounded" stands in for
/// a configuration that adapts; its queue is short.
const PLAN: &str = r#"
    model = "slow"
    warm_up = 0.1

    [batching]
    target_ms = 400
    percentile = 90
    capacity_batch = 4
    trace_seconds = 1
    adaptive = "bounded"

    [[batching.trace]]
    name = "even"
    arrivals = "constant"
    percent = [60]

    [[batching.trace]]
    name = "overload"
    percent = [10, 200, 10]

    [[configuration]]
    name = "none"
    remove = ["dynamic_batching"]

    [[configuration]]
    name = "default"
    patch.dynamic_batching = {}

    [[configuration]]
    name = "bounded"
    patch.dynamic_batching = { default_queue_policy = { max_queue_size = 8 } }
    patch.parameters.note.string_value = "{target_ms} ms"
"#;

fn of<'a>(points: &'a [Value], configuration: &str, trace: &str) -> &'a Value {
    let found = points.iter().find(|point| {
        point["key"]["configuration"] == configuration && point["key"]["load"]["trace"] == trace
    });
    found.unwrap_or_else(|| panic!("no point of '{configuration}' under '{trace}'"))
}

#[test]
fn a_run_reports_who_meets_the_target_and_counts_refusals_separately() {
    let place = Place::with(&[("slow", "max_batch_size: 4")]);
    let folder = place.path().join("results");
    let (plan, input) = (place.path().join("plan.toml"), place.path().join("20.bin"));
    std::fs::write(&plan, PLAN).unwrap();
    std::fs::write(&input, 20_f32.to_le_bytes()).unwrap();
    let run = || {
        let mut run = quick("batching");
        run.arg("--plan")
            .arg(&plan)
            .arg(format!("--input-file=x={}", input.display()))
            .args(place.own_server());
        run
    };
    let (code, errors) = fail(run().arg("--only-traces=night"));
    assert_eq!(code, 2);
    assert!(errors.contains("--only-traces: the plan has no 'night'; it has even, overload"), "{errors}");

    // Interrupted after the first point, and gone on with: by the capacity that was measured, which is the traces'.
    let mut first = Running::start(run().arg("--output").arg(&folder));
    first.wait_for("refused");
    first.signal(Signal::INT);
    let (code, errors) = first.end();
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains("triton-experiment batching --resume"), "{errors}");
    let begun = results(&folder);
    let (code, errors) = fail(command(["compare", "--resume"]).arg(&folder));
    assert_eq!(code, 2);
    assert!(errors.contains("holds a batching"), "{errors}");
    let out = succeed(command(["batching", "--resume"]).arg(&folder));
    let results = results(&folder);
    assert_eq!(results["capacity"], begun["capacity"]);
    let capacity = results["capacity"]["inferences_per_s"].as_f64().unwrap();
    assert!((20.0..=201.0).contains(&capacity), "{capacity}");
    let points = points(&results);
    assert_eq!(points.len(), 6);
    let parameter = &results["configurations"]["bounded"]["parameters"]["note"]["string_value"];
    assert_eq!(parameter, "400 ms");

    // The very same arrivals, in number as the capacity says.
    for (trace, requests) in [("even", 0.6 * capacity), ("overload", 2.2 / 3.0 * capacity)] {
        let due = |name: &str| of(points, name, trace)["pacing"]["scheduled"].as_u64().unwrap();
        assert_eq!((due("none"), due("default")), (due("bounded"), due("bounded")), "{trace}");
        assert!((due("none") as f64 - requests).abs() < 0.35 * requests, "{trace}: {}", due("none"));
    }
    let adherence = |name: &str, trace: &str| &of(points, name, trace)["adherence"];
    let late = |name: &str, trace: &str| adherence(name, trace)["over_target"].as_u64().unwrap();
    // One at a time is not enough for 60 % of what four at a time are: the queue grows.
    assert!(late("none", "overload") > 0 && late("none", "even") > late("default", "even"));
    assert_eq!(adherence("none", "even")["refused"], 0);
    assert_eq!(adherence("none", "even")["settled_after_s"].as_array().unwrap().len(), 0);
    assert_eq!(adherence("none", "overload")["settled_after_s"].as_array().unwrap().len(), 2);

    let bounded = of(points, "bounded", "overload");
    let refused = bounded["adherence"]["refused"].as_u64().unwrap();
    assert!(refused > 0, "{bounded}");
    assert_eq!(bounded["errors"][0]["kind"], "HTTP 503");
    assert_eq!(bounded["adherence"]["refusal_latency"]["count"], refused);
    assert_eq!(bounded["statistics"]["agrees"], true, "{}", bounded["statistics"]["agreement"]);

    // Each request is kept, in the file of its point.
    let file = folder.join("requests").join(format!("{:04}.csv", bounded["visit"].as_u64().unwrap()));
    let rows = std::fs::read_to_string(file).unwrap();
    assert_eq!(rows.lines().count() as u64, 1 + bounded["pacing"]["scheduled"].as_u64().unwrap());
    assert_eq!(rows.lines().filter(|row| row.ends_with(",refused")).count() as u64, refused);

    for words in ["overload", "MISSED", "“bounded” refused", "The worst fixed configuration was “none”"]
    {
        assert!(out.contains(words), "'{words}' is not in:\n{out}");
    }
    for plot in ["over-time-overload", "late-over-cost"] {
        assert!(folder.join(format!("plots/{plot}.png")).exists(), "{plot}");
    }
}
