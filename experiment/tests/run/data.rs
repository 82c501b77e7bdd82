//! Data from files, and answers that are compared, on a real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Place, fail, points, quick, results, succeed};

/// An `.npy` file of floats.
fn npy(path: &Path, description: &str, shape: &str, data: &[u8]) {
    let header = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    std::fs::write(path, [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()).unwrap();
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Rows of `add_one`: in row r all elements are r; and the answers, each one more.
fn add_one_rows(place: &Place, rows: u8, wrong_row: Option<u8>) -> (PathBuf, PathBuf) {
    let (x, y) = (place.path().join("x.npy"), place.path().join("y.npy"));
    let inputs = (0..rows).flat_map(|row| [f32::from(row); 16]);
    npy(&x, "<f4", &format!("({rows}, 16)"), &floats(inputs));
    let outputs =
        (0..rows).flat_map(|row| [f32::from(row) + if Some(row) == wrong_row { 1.5 } else { 1.0 }; 16]);
    npy(&y, "<f4", &format!("({rows}, 16)"), &floats(outputs));
    (x, y)
}

fn sweep(url: &str, model: &str, place: &Place, name: &str) -> (Command, PathBuf) {
    let folder = place.path().join(name);
    let mut sweep = quick("sweep");
    sweep.args(["--url", url, "--model", model, "--concurrency=2", "--output"]).arg(&folder);
    (sweep, folder)
}

#[test]
fn answers_to_rows_of_a_file_are_compared() {
    let place = Place::with(&[("add_one", "max_batch_size: 16")]);
    let server = place.server(&["add_one"]);
    let url = server.control().url();
    let (x, y) = add_one_rows(&place, 20, None);
    for shared_memory in ["none", "system"] {
        let (mut run, folder) = sweep(url, "add_one", &place, shared_memory);
        run.arg("--data").arg(&x).arg("--expect").arg(&y);
        let out = succeed(run.args(["--batch=1,3", "--rate=50", "--shared-memory", shared_memory]));
        assert!(out.contains("answers right"), "{out}");
        for point in points(&results(&folder)) {
            let answers = &point["answers"];
            assert_eq!(answers["wrong"], 0, "{answers}");
            assert!(answers["compared"].as_u64().unwrap() >= point["requests"].as_u64().unwrap(), "{point}");
        }
        let report = std::fs::read_to_string(folder.join("report.html")).unwrap();
        assert!(report.contains("answers were as expected"), "the report says so");
    }
}

#[test]
fn a_wrong_answer_is_told_and_fails_the_run() {
    let place = Place::with(&[("add_one", "max_batch_size: 16")]);
    let server = place.server(&["add_one"]);
    let (x, y) = add_one_rows(&place, 5, Some(3));
    let (mut run, folder) = sweep(server.control().url(), "add_one", &place, "wrong");
    let (code, errors) = fail(run.arg("--data").arg(&x).arg("--expect").arg(&y));
    assert_eq!(code, 1);
    assert!(errors.contains("answers were wrong at 1 of 1 points"), "{errors}");
    let results = results(&folder);
    let answers = &points(&results)[0]["answers"];
    assert!(answers["wrong"].as_u64().unwrap() > 0, "{answers}");
    assert_eq!(answers["first_difference"], "output 'y' at [0, 0]: expected 4.5, got 4");
    // One of five rows.
    let share = answers["wrong"].as_f64().unwrap() / answers["compared"].as_f64().unwrap();
    assert!((0.15..0.25).contains(&share), "{answers}");

    let (mut run, _) = sweep(server.control().url(), "add_one", &place, "allowed");
    let out = succeed(run.arg("--data").arg(&x).arg("--expect").arg(&y).arg("--allow-wrong-answers"));
    assert!(
        out.contains("answers are wrong, the first by output 'y' at [0, 0]: expected 4.5, got 4"),
        "{out}"
    );
    let (mut run, _) = sweep(server.control().url(), "add_one", &place, "tolerated");
    succeed(run.arg("--data").arg(&x).arg("--expect").arg(&y).arg("--expect-tolerance=0.2"));
}

#[test]
fn rows_of_any_shape_and_no_elements_at_all() {
    let place = Place::with(&[("any_shape", "max_batch_size: 4")]);
    let server = place.server(&["any_shape"]);
    let url = server.control().url();
    let row = |values: &[f64], shape: &[i64]| json!({"x": {"content": values, "shape": shape}});
    let twice = |values: &[f64], shape: &[i64]| {
        let values: Vec<f64> = values.iter().map(|value| 2.0 * value).collect();
        json!({"y": {"content": values, "shape": shape}})
    };
    let rows: [(&[f64], &[i64]); 3] =
        [(&[1.0, 2.0], &[1, 2, 1]), (&[3.0], &[1, 1, 1]), (&[4.0, 5.0], &[1, 2, 1])];
    let document = json!({
        "data": rows.iter().map(|(values, shape)| row(values, shape)).collect::<Vec<Value>>(),
        "validation_data": rows.iter().map(|(values, shape)| twice(values, shape)).collect::<Vec<Value>>(),
    });
    let file = place.path().join("rows.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let (mut run, folder) = sweep(url, "any_shape", &place, "shapes");
    succeed(run.arg("--input-data").arg(&file).arg("--batch=1,2"));
    for point in points(&results(&folder)) {
        assert_eq!(point["answers"]["wrong"], 0, "{}", point["answers"]);
    }

    // perf_analyzer's way to write a shape, and a dimension of zero.
    for shape in ["x:2,0,3", "x=1,1,1"] {
        let (mut run, folder) = sweep(url, "any_shape", &place, &shape.replace([':', '=', ','], "_"));
        succeed(run.args(["--shape", shape]));
        assert!(points(&results(&folder))[0]["requests"].as_u64().unwrap() > 0);
    }
}

#[test]
fn strings_come_in_lines_of_a_file() {
    let place = Place::with(&[("assets", "max_batch_size: 8")]);
    let server = place.server(&["assets"]);
    let folder = place.path().join("rows");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("x.txt"), "zero\ntwo\nsomething\n").unwrap();
    let expected = place.path().join("expected.jsonl");
    std::fs::write(&expected, "{\"id\": [0]}\n{\"id\": [2]}\n{\"id\": [-1]}\n").unwrap();
    let (mut run, results_folder) = sweep(server.control().url(), "assets", &place, "results");
    succeed(run.arg("--data").arg(&folder).arg("--expect").arg(&expected).arg("--batch=1,4"));
    for point in points(&results(&results_folder)) {
        assert_eq!(point["answers"]["wrong"], 0, "{}", point["answers"]);
    }
}

#[test]
fn what_does_not_fit_the_model_is_one_line() {
    let place = Place::with(&[("add_one", "max_batch_size: 16")]);
    let server = place.server(&["add_one"]);
    let at = |name: &str| place.path().join(name).display().to_string();
    npy(&place.path().join("doubles.npy"), "<f8", "(16,)", &[0; 128]);
    npy(&place.path().join("short.npy"), "<f4", "(15,)", &[0; 60]);
    let (x, _) = add_one_rows(&place, 4, None);
    npy(&place.path().join("three.npy"), "<f4", "(3, 16)", &[0; 192]);
    std::fs::write(place.path().join("named.json"), r#"{"data": [{"z": [1]}]}"#).unwrap();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    let x = x.display().to_string();
    let cases: [(&[String], i32, &[&str]); 7] = [
        (&["--data".into(), at("doubles.npy")], 1, &["doubles.npy", "holds FP64, but 'x' is FP32"]),
        (&["--data".into(), at("short.npy")], 1, &["[15] is neither a row of 'x', [16]"]),
        (&["--data".into(), at("named.json")], 1, &["the model has no 'z' there; it has x"]),
        (&["--data".into(), at("empty")], 1, &["is empty"]),
        (&["--data".into(), at("nowhere")], 2, &["random, zero, or a file or folder", "nowhere"]),
        (&["--expect".into(), x.clone()], 2, &["--data PATH"]),
        (&["--data".into(), x, "--expect".into(), at("three.npy")], 1, &["--expect"]),
    ];
    for (arguments, expected, parts) in cases {
        let (mut run, folder) = sweep(server.control().url(), "add_one", &place, "fresh");
        let (code, errors) = fail(run.args(arguments));
        assert_eq!((code, errors.trim().lines().count()), (expected, 1), "{arguments:?}: {errors}");
        assert!(parts.iter().all(|part| errors.contains(part)), "{arguments:?}: {errors}");
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[test]
fn arrivals_of_all_kinds_reach_the_server() {
    let place = Place::with(&[("add_one", "max_batch_size: 16")]);
    let server = place.server(&["add_one"]);
    for arrivals in ["gamma", "bursty"] {
        let folder = place.path().join(arrivals);
        let mut run = quick("sweep");
        run.args(["--url", server.control().url(), "--model=add_one", "--rate=100", "--arrivals", arrivals]);
        succeed(run.args(["--burst-seconds=0.1", "--max-time=3", "--tolerance=0", "--output"]).arg(&folder));
        let results = results(&folder);
        let pacing = &points(&results)[0]["pacing"];
        assert!(pacing["scheduled"].as_u64().unwrap() > 10, "{pacing}");
        assert!(pacing["delay_p50_ns"].as_u64() <= pacing["delay_p99_ns"].as_u64(), "{pacing}");
    }
    let folder = place.path().join("ramp");
    let mut run = quick("sweep");
    run.args(["--url", server.control().url(), "--model=add_one", "--ramp=10..90", "--arrivals=constant"]);
    succeed(run.args(["--max-time=2", "--output"]).arg(&folder));
    let results = results(&folder);
    let point = &points(&results)[0];
    assert_eq!(point["pacing"]["scheduled"], 100, "{point}");
    assert_eq!(point["requests"], 100);
}
