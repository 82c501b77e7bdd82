//! What is made of results: intervals, comparisons, conditions, searches, and files of other programs.

use serde_json::Value;

use crate::support::{Place, command, fail, points, quick, results, succeed};

/// A batch takes 20 ms whatever its size.
fn slow() -> (Place, String) {
    let place = Place::with(&[("slow", "max_batch_size: 4")]);
    let file = place.path().join("20.bin");
    std::fs::write(&file, 20_f32.to_le_bytes()).unwrap();
    let input = format!("--input-file=x={}", file.display());
    (place, input)
}

fn code(command: &mut std::process::Command) -> (Option<i32>, String) {
    let output = command.output().expect("the command starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn a_run_is_judged_compared_exported_and_read_again() {
    let (place, input) = slow();
    let (folder, file) = (place.path().join("results"), place.path().join("exported"));
    let (status, text) = code(
        quick("sweep")
            .args([
                "--model=slow",
                "--batch=1,2",
                "--concurrency=1",
                "--keep-requests",
                "--fail-if=p50 > 1 ms",
            ])
            .arg(&input)
            .args(place.own_server())
            .arg("--output")
            .arg(&folder),
    );
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("fail if p50 > 1 ms: MET") && text.contains("latency_p50_ns = "), "{text}");

    let measured = results(&folder);
    let summary = measured["summary"].as_array().unwrap();
    assert_eq!(summary.len(), 2);
    for (point, summary) in points(&measured).iter().flat_map(|point| summary.iter().map(move |s| (point, s)))
    {
        for estimates in [&point["estimates"], &summary["estimates"]] {
            let p50 = &estimates["latency_p50_ns"];
            let [low, value, high] = ["low", "value", "high"].map(|name| p50[name].as_f64().unwrap());
            assert!(low <= value && value <= high && low > 1e6, "{p50}");
        }
    }
    let csv = std::fs::read_to_string(folder.join("results.csv")).unwrap();
    assert!(csv.lines().next().unwrap().contains(",inferences_per_s_low,inferences_per_s_high,"));
    let html = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(html.contains("95 % confidence intervals"));

    for (condition, expected) in [
        ("p50 > 1 s", 0),
        ("p50 < 1 s at batch 2", 3),
        ("energy > 1 J", 5),
        ("slower than RESULTS by 900 %", 0),
        ("slower than RESULTS", 4),
        ("p42 > 1 s", 2),
        ("slower than /no/such/folder", 2),
    ] {
        let condition = condition.replace("RESULTS", &folder.display().to_string());
        let (status, text) = code(command(["check", "--fail-if", &condition]).arg(&folder));
        assert_eq!(status, Some(expected), "{condition}: {text}");
    }

    let compared = place.path().join("diff");
    let text = succeed(command(["diff"]).args([&folder, &folder]).arg("--output").arg(&compared));
    assert!(text.contains("2 common points") && text.contains("1.000 ["), "{text}");
    assert!(compared.join("diff.html").exists() && compared.join("diff.json").exists());

    for format in ["csv", "prometheus", "perf-analyzer-csv", "perf-analyzer-json"] {
        let mut export = command(["export", "--batch=2", "--format", format]);
        succeed(export.arg(&folder).arg("--output").arg(&file));
        if !format.starts_with("perf-analyzer") {
            continue;
        }
        let imported = place.path().join(format);
        succeed(command(["import", "--model=slow", "--batch=2"]).arg(&file).arg("--output").arg(&imported));
        let text = succeed(command(["diff"]).args([&folder, &imported]));
        let row = text.lines().find(|line| line.contains("throughput")).unwrap();
        // The windows are the same; of the wall clock only the start is known, to a moment.
        let ratio =
            row.split_whitespace().find_map(|word| word.strip_prefix("1.0").or(word.strip_prefix("0.9")));
        assert!(ratio.is_some(), "{format}: {text}");
        succeed(command(["report"]).arg(&imported));
    }
    let (status, text) = fail(command(["diff"]).args([&folder, &place.path().join("nowhere")]));
    assert_eq!(status, 1);
    assert!(text.contains("no results"), "{text}");
}

#[test]
fn ab_tells_a_slower_contender_and_leaves_its_rounds() {
    let (place, input) = slow();
    let longer = place.path().join("30.bin");
    std::fs::write(&longer, 30_f32.to_le_bytes()).unwrap();
    let folder = place.path().join("ab");
    let ab = |folder: &std::path::Path| {
        let mut ab =
            command(["ab", "--model=slow", "--block=0.1", "--lead=0", "--warm-up=0.1", "--power=none"]);
        ab.args(["--window-requests=2", "--minutes=3", "--fail-if=slower"]);
        ab.arg(&input).args(place.own_server()).arg("--output").arg(folder);
        ab
    };
    let (status, text) = code(ab(&folder).arg(format!("--b=input-file=x={}", longer.display())));
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("B is slower than A: throughput of B is 0."), "{text}");
    let found: Value = serde_json::from_slice(&std::fs::read(folder.join("ab.json")).unwrap()).unwrap();
    assert_eq!(found["outcome"], "worse");
    let rounds = found["rounds"].as_array().unwrap();
    assert!((5..=40).contains(&rounds.len()), "{} rounds", rounds.len());
    assert!(found["ratio"]["high"].as_f64().unwrap() < 1.0, "{}", found["ratio"]);
    assert!(folder.join("ab.html").exists() && folder.join("plots/ratio.svg").exists());
    let (status, text) = code(&mut ab(&folder));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("already exists"), "{text}");

    // Configurations of one model, which is loaded anew for each block, and has its own again at the end.
    let (status, text) = code(
        ab(&place.path().join("configurations"))
            .args(["--concurrency=4", "--minutes=0.2"])
            .arg(r#"--b=configuration={"dynamic_batching":{}}"#),
    );
    assert!(matches!(status, Some(0 | 4)), "{status:?} {text}");
    let (status, text) = code(ab(&place.path().join("absent")).arg("--b=model=absent"));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("contender B") && text.contains("absent"), "{text}");
}

/// One request at a time, 20 ms each: 50 a second, and the target is kept up to a rate below that.
#[test]
fn a_search_finds_a_rate_below_what_the_server_can_do() {
    let (place, input) = slow();
    let folder = place.path().join("search");
    let text = succeed(
        quick("search")
            .args(["--model=slow", "--target-ms=500", "--percentile=90", "--precision=0.3", "--attempts=1"])
            // A rate that is too high shows only once the queue is as long as the target.
            .args(["--window=1", "--max-time=5"])
            .arg(&input)
            .args(place.own_server())
            .arg("--output")
            .arg(&folder),
    );
    assert!(text.contains("The highest load with 90 % of requests within 500"), "{text}");
    let results = results(&folder);
    let found = &results["found"][0];
    let rate = found["requests_per_s"].as_f64().unwrap();
    assert!((10.0..=60.0).contains(&rate), "{found}");
    assert_eq!(found["points"].as_u64().unwrap() as usize, points(&results).len(), "every point is kept");
    let html = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(html.contains("Rates that were tried") && html.contains("Late requests over the rate"));
    let (status, text) = fail(command(["sweep", "--resume"]).arg(&folder));
    assert_eq!(status, 2);
    assert!(text.contains("holds a search"), "{text}");
    succeed(command(["search", "--resume"]).arg(&folder));
}

#[test]
fn manuals_schemas_and_completions_are_printed() {
    assert!(succeed(&mut command(["man"])).contains(".TH triton-experiment 1"));
    let sweep = succeed(&mut command(["man", "sweep"]));
    assert!(sweep.contains("concurrency") && sweep.contains("fail\\-if"), "{sweep}");
    let (status, text) = fail(&mut command(["man", "swep"]));
    assert_eq!(status, 2);
    assert!(text.contains("there is no command 'swep'; there are sweep"), "{text}");
    for document in ["results", "ab", "diff"] {
        let schema: Value = serde_json::from_str(&succeed(&mut command(["schema", document]))).unwrap();
        assert_eq!(schema["type"], "object");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeed(&mut command(["completions", shell])).contains("triton-experiment"));
    }
}
