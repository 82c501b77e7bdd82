//! Formats, there and back.

use super::*;
use crate::estimate;
use crate::plan::Load;
use crate::report::fixtures::{comparison, sweep_with_cpu_time, sweep_with_energy};
use crate::results::Metric;
use crate::samples::{Fate, Sample};

fn closed() -> Results {
    let mut results = sweep_with_energy();
    results.points.retain(|point| point.key.repeat == 0 && point.key.batch <= 2);
    estimate::complete(&mut results);
    results
}

fn about() -> Imported {
    Imported { model: "m".into(), batch: 2, file: "x.json".into() }
}

fn of_batch_2() -> Selection {
    Selection { batch: Some(2), configuration: None }
}

#[test]
fn schemas_are_those_that_are_published() {
    for (document, file) in [(Document::Results, "results"), (Document::Ab, "ab"), (Document::Diff, "diff")] {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{file}.schema.json"));
        let schema = document.schema().unwrap();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, &schema).unwrap();
        }
        let published = std::fs::read_to_string(&place).unwrap_or_default();
        assert!(
            published == schema,
            "{} differs from the types: run UPDATE_SCHEMA=1 cargo test -p triton-experiment --lib schemas",
            place.display()
        );
    }
}

/// Whether each field of a value is in its schema, and each that is required is there: what the schemas here need of JSON
/// Schema, and no more.
fn conforms(value: &serde_json::Value, schema: &serde_json::Value, root: &serde_json::Value, path: &str) {
    use serde_json::Value;
    if let Some(reference) = schema["$ref"].as_str() {
        let at =
            root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}: {reference}"));
        return conforms(value, at, root, path);
    }
    if let Some(several) = schema["anyOf"].as_array() {
        // Something, or null.
        let one = several.iter().find(|one| (one["type"] == "null") == value.is_null());
        return conforms(value, one.unwrap_or_else(|| panic!("{path}: {value}")), root, path);
    }
    let types = |name: &str| match &schema["type"] {
        Value::String(one) => one == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        _ => true,
    };
    match value {
        Value::Object(fields) => {
            assert!(types("object"), "{path}: {schema}");
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{path}: {name} is required");
            }
            if schema["properties"].is_object() && schema["oneOf"].is_null() {
                for (name, field) in fields {
                    let property = &schema["properties"][name];
                    let property =
                        if property.is_null() { &schema["additionalProperties"] } else { property };
                    assert!(!property.is_null(), "{path}.{name} is not in the schema");
                    conforms(field, property, root, &format!("{path}.{name}"));
                }
            }
        }
        Value::Array(list) => {
            assert!(types("array"), "{path}: {schema}");
            list.iter().for_each(|one| conforms(one, &schema["items"], root, &format!("{path}[]")));
        }
        Value::String(_) => assert!(types("string"), "{path}: {value} against {schema}"),
        Value::Bool(_) => assert!(types("boolean"), "{path}: {value} against {schema}"),
        Value::Number(number) => {
            assert!(
                types("number") || (types("integer") && !number.is_f64()),
                "{path}: {value} against {schema}"
            );
        }
        Value::Null => assert!(types("null"), "{path}: null against {schema}"),
    }
}

#[test]
fn results_conform_to_their_schema() {
    let schema: serde_json::Value = serde_json::from_str(&Document::Results.schema().unwrap()).unwrap();
    for mut results in [closed(), comparison(), crate::report::fixtures::batching()] {
        results.points.truncate(3);
        estimate::complete(&mut results);
        conforms(&serde_json::to_value(&results).unwrap(), &schema, &schema, "");
    }
}

#[test]
fn csv_has_a_row_for_each_metric() {
    let text = export(&closed(), &Samples::new(), Format::Csv, &Selection::default()).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], "configuration,batch,load,visits,metric,value,low,high");
    assert_eq!(rows.len(), 1 + 8 * Metric::ALL.len());
    assert!(rows[1].starts_with(",1,concurrency 1,1,inferences_per_s,"), "{}", rows[1]);
}

#[test]
fn prometheus_has_base_units_and_escaped_labels() {
    let mut results = closed();
    results.model.name = "a\"b\\c\nd".into();
    let text = export(&results, &Samples::new(), Format::Prometheus, &of_batch_2()).unwrap();
    let latencies = "# TYPE triton_experiment_latency_seconds gauge";
    assert_eq!(text.matches(latencies).count(), 1, "one family: {text}");
    assert!(text.contains(r#"model="a\"b\\c\nd""#), "{text}");
    let mean = text.lines().find(|line| line.contains(r#"statistic="mean",bound="value""#)).unwrap();
    let seconds: f64 = mean.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.001..1.0).contains(&seconds), "{mean}");
    assert!(text.contains(r#"bound="low"#) && !text.contains("batch=\"1\""));
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
    assert!(scrape.samples.len() > 40, "{}", scrape.samples.len());
}

#[test]
fn the_report_of_perf_analyzer_comes_back() {
    let results = closed();
    let text = export(&results, &Samples::new(), Format::PerfAnalyzerCsv, &of_batch_2()).unwrap();
    assert!(
        text.starts_with("Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 5);
    let back = import(&text, &about()).unwrap();
    let ours = results.summary.iter().filter(|summary| summary.batch == 2);
    for (ours, theirs) in ours.zip(&back.summary) {
        assert_eq!(ours.load, theirs.load);
        for metric in [Metric::InferencesPerS, Metric::LatencyP50Ns, Metric::LatencyP99Ns] {
            let (one, other) = (ours.estimates[&metric], theirs.estimates[&metric]);
            // To the microsecond.
            assert!((one.value - other.value).abs() <= 500.0, "{metric}: {} and {}", one.value, other.value);
            assert_eq!(other.interval(), None);
        }
    }
    let error =
        export(&results, &Samples::new(), Format::PerfAnalyzerCsv, &Selection::default()).unwrap_err();
    assert!(error.to_string().contains("--batch"), "{error}");
    let both = sweep_with_cpu_time();
    let mut both = Results { points: both.points.into_iter().filter(|p| p.key.batch == 1).collect(), ..both };
    both.points[0].key.load = Load::Concurrency { concurrency: 1 };
    estimate::complete(&mut both);
    let error = export(&both, &Samples::new(), Format::PerfAnalyzerCsv, &Selection::default()).unwrap_err();
    assert!(error.to_string().contains("has either concurrencies or request rates"), "{error}");
}

#[test]
fn the_profile_of_perf_analyzer_comes_back() {
    let mut results = closed();
    results.points.retain(|point| point.key.batch == 2);
    results.points.truncate(1);
    let point = &mut results.points[0];
    // Three windows of a second, after half a second of warm-up, with a hundred requests a second of 5 to 14 ms.
    for (at, window) in point.windows.iter_mut().enumerate() {
        (window.start_ns, window.seconds) = (Some(500_000_000 + at as u64 * 1_000_000_000), 1.0);
    }
    let requests = (0..350).map(|number| Sample {
        due_ns: number * 10_000_000 + 1,
        latency_ns: 5_000_000 + number % 10 * 1_000_000,
        fate: if number == 100 { Fate::Failed } else { Fate::Answered },
    });
    let samples = Samples::from([(point.visit, requests.collect())]);
    results.summary.clear();
    estimate::complete(&mut results);
    let text = export(&results, &samples, Format::PerfAnalyzerJson, &of_batch_2()).unwrap();
    let back = import(&text, &about()).unwrap();
    let point = &back.points[0];
    assert_eq!((point.requests, point.seconds, point.windows.len()), (299, 3.0, 3), "one failed");
    assert_eq!(point.errors[0].count, 1);
    let latency = point.client_latency.as_ref().unwrap();
    assert_eq!((latency.min_ns, latency.max_ns), (5_000_000, 14_000_000));
    assert!(back.summary[0].estimates[&Metric::InferencesPerS].interval().is_some());
    let error = export(&results, &Samples::new(), Format::PerfAnalyzerJson, &of_batch_2()).unwrap_err();
    assert!(error.to_string().contains("--keep-requests"), "{error}");
}

/// As perf_analyzer writes them, made up.
#[test]
fn files_in_the_form_of_perf_analyzers_are_read() {
    let profile = r#"{"experiments":[{"experiment":{"mode":"request_rate","value":50.0},
        "requests":[{"timestamp":1000000000,"request_inputs":{},"response_timestamps":[1002000000,1004000000]},
                    {"timestamp":1020000000,"response_timestamps":[1023000000]},
                    {"timestamp":1040000000,"response_timestamps":[]}],
        "window_boundaries":[1000000000,1022000000,1060000000]}],"version":"2.40.0","service_kind":"triton"}"#;
    let results = import(profile, &about()).unwrap();
    let point = &results.points[0];
    assert_eq!(point.key.load.to_string(), "50 requests/s, constant");
    assert_eq!((point.requests, point.inferences), (2, 4));
    assert_eq!(point.client_latency.as_ref().unwrap().max_ns, 4_000_000, "until the last response");
    assert!(point.warnings[0].contains("when a request was sent"));
    let report = "Request Rate,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
                  Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,\
                  Avg GPU Utilization\n50,49.9,1,2,3,4,5,6,7,1211,4059,7731,11443,0\n";
    let results = import(report, &about()).unwrap();
    let estimates = &results.summary[0].estimates;
    assert_eq!(estimates[&Metric::LatencyMeanNs].value, 28_000.0);
    assert_eq!(estimates[&Metric::LatencyP99Ns].value, 11_443_000.0);
    assert_eq!(estimates[&Metric::InferencesPerS].value, 49.9);
}

#[test]
fn other_files_are_refused_with_the_reason() {
    for (text, part) in [
        ("", "neither a column 'Concurrency'"),
        ("{}", "missing field `experiments`"),
        (r#"{"experiments":[]}"#, "has no measurement"),
        (
            r#"{"experiments":[{"experiment":{"mode":"x","value":1},"requests":[]}]}"#,
            "experiment 1: no requests",
        ),
        (
            r#"{"experiments":[{"experiment":{"mode":"concurrency","value":1},
                "requests":[{"timestamp":9,"response_timestamps":[5]}]}]}"#,
            "not in ascending order",
        ),
        (
            r#"{"experiments":[{"experiment":{"mode":"concurrency","value":1},"window_boundaries":[1,100],
                "requests":[{"timestamp":9,"response_timestamps":[5]}]}]}"#,
            "request 1: the response comes before the request",
        ),
        (
            r#"{"experiments":[{"experiment":{"mode":"concurrency","value":1.5},"window_boundaries":[1,100],
                "requests":[{"timestamp":9,"response_timestamps":[50]}]}]}"#,
            "a concurrency of 1.5",
        ),
        ("a,b\n1,2\n", "neither a column"),
        ("Concurrency\n1\n", "no column 'Inferences/Second'"),
        ("Concurrency,Inferences/Second\nx,1\n", "line 2: expected a number for 'concurrency', found 'x'"),
        ("Concurrency,Inferences/Second\n1\n", "line 2: expected a number for 'Inferences/Second', found ''"),
        ("Concurrency,Inferences/Second\n", "has no measurement"),
    ] {
        let error = format!("{:#}", import(text, &about()).unwrap_err());
        assert!(error.contains(part), "{text}: {error}");
    }
}
