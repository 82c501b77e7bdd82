//! Whole reports.

use std::collections::BTreeMap;

use resvg::tiny_skia::Pixmap;
use resvg::usvg::roxmltree::{Document, ParsingOptions};

use super::fixtures::*;
use super::*;
use crate::samples::Samples;

/// The files of a report, by name.
fn files(results: &Results, folder: &Path) -> BTreeMap<String, Vec<u8>> {
    assert_eq!(write(results, folder).unwrap(), folder.join("report.html"));
    let mut files = BTreeMap::new();
    for place in [folder.to_path_buf(), folder.join("plots")] {
        for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap()) {
            if entry.path().is_file() {
                let name = entry.file_name().into_string().unwrap();
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn text<'a>(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> &'a str {
    std::str::from_utf8(&files[name]).unwrap()
}

/// Text and all SVGs are well-formed, pictures have something on them, and no number is none.
fn check(results: &Results) -> BTreeMap<String, Vec<u8>> {
    check_in(results, tempfile::tempdir().unwrap().path())
}

/// [`check`], in a folder that may hold requests.
fn check_in(results: &Results, folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files(results, folder);
    for (name, bytes) in &files {
        if let Some(name) = name.strip_suffix(".png") {
            assert!(files.contains_key(&format!("{name}.svg")));
            let picture = Pixmap::decode_png(bytes).unwrap();
            let white =
                picture.pixels().iter().filter(|p| p.red().min(p.green()).min(p.blue()) > 250).count();
            let inked = 1.0 - white as f64 / picture.pixels().len() as f64;
            assert!((0.005..0.7).contains(&inked), "{name}: {inked} of it has ink");
            continue;
        }
        let text = text(&files, name);
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options);
        let document = document.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        assert!(!words.any(|word| ["nan", "inf"].contains(&word.to_lowercase().as_str())), "{name}");
        assert!(!text.contains("http://www.w3.org/1999"), "{name}");
        for node in document.descendants() {
            assert!(!["script", "link", "img", "image"].contains(&node.tag_name().name()), "{name}");
            if let Some(size) = node.attribute("font-size") {
                assert!(size.parse::<f64>().unwrap() * 0.75 >= 10.0, "{name}: letters of {size} pixels");
            }
        }
    }
    files
}

fn plots(files: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    files.keys().filter_map(|name| name.strip_suffix(".svg")).collect()
}

#[test]
fn a_sweep_with_energy_has_every_plot_of_a_sweep() {
    let files = check(&sweep_with_energy());
    assert_eq!(
        plots(&files),
        [
            "cpu-over-batch",
            "cpu-over-throughput",
            "efficiency-over-batch",
            "efficiency-over-rate",
            "efficiency-over-throughput",
            "executed-batch-sizes",
            "latency-distribution",
            "latency-over-load",
            "power-over-batch",
            "power-over-throughput",
            "throughput-over-batch",
            "visits",
        ]
    );
    assert!(text(&files, "power-over-batch.svg").contains(">idle: 57.3 W</text>"));
    assert!(text(&files, "efficiency-over-throughput.svg").contains("R² = 0.9"));
    let html = text(&files, "report.html");
    assert!(html.contains("SW power cap 20\u{a0}%"), "throttle reasons are told");
    assert!(html.contains("Fewer than two configurations were measured."));
    assert_eq!(html.matches("<svg").count(), 12);
}

#[test]
fn without_a_meter_sentences_replace_the_plots_of_energy() {
    let files = check(&sweep_with_cpu_time());
    let html = text(&files, "report.html");
    let sentence = "no plot. No energy was measured (power source: cpu-time).";
    assert_eq!(html.matches(sentence).count(), 5);
    assert!(!plots(&files).iter().any(|name| name.contains("power") || name.contains("efficiency")));
    assert!(text(&files, "cpu-over-batch.svg").contains("(CPU time, not energy)"));
    assert!(text(&files, "cpu-over-throughput.svg").contains("(CPU time, not energy)"));
}

#[test]
fn few_points_with_energy_have_no_fit() {
    let mut results = sweep_with_energy();
    results.points.truncate(2);
    let files = check(&results);
    assert!(files == check(&results), "the same results give the same files");
    assert!(!text(&files, "efficiency-over-throughput.svg").contains("least squares"));
    assert!(!text(&files, "power-over-throughput.svg").contains("least squares"));
    let html = text(&files, "report.html");
    assert!(html.contains("fewer than 3 points with power: no fit"));
    assert!(html.contains("fewer than 3 points with efficiency: no fit"));
}

#[test]
fn the_line_of_power_is_drawn_in_both_plots_and_energy_is_told_with_its_errors() {
    let files = check(&sweep_with_response_energy());
    let power = text(&files, "power-over-throughput.svg");
    assert!(power.contains("least squares: P = 13"), "the line of 137 W");
    assert!(
        power.contains(">idle: 126 W</text>") && power.contains(">idle without the model: 75.4 W</text>")
    );
    let efficiency = text(&files, "efficiency-over-throughput.svg");
    assert!(efficiency.contains("from power: y = x / (") && efficiency.contains(">least squares: y = "));
    let html = text(&files, "report.html").replace('\u{a0}', " ");
    for words in [
        "x/(P0 + e·x) fits better",
        "drew 75.40 ± 0.70 W without the model and 126.20 ± 0.70 W with the model loaded",
        "agrees with the meter&#39;s energy above idle at 39 of 40 points",
        "<h2>Energy</h2>",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

/// Each configuration has its own two lines, and its name is in their labels.
#[test]
fn configurations_with_energy_have_lines_of_their_own() {
    let mut results = sweep_with_response_energy();
    for point in &mut results.points {
        point.key.configuration = ["a", "b"][usize::from(point.key.batch > 2)].into();
    }
    let files = check(&results);
    let svg = text(&files, "efficiency-over-throughput.svg");
    for label in [">a: from power", ">b: from power", ">a: least squares", ">b: least squares"] {
        assert!(svg.contains(label), "{label}");
    }
}

#[test]
fn configurations_are_side_by_side() {
    let files = check(&comparison());
    assert!(plots(&files).contains(&"configurations"));
    let distribution = text(&files, "latency-distribution.svg");
    for name in ["no batching", "default", "preferred, 50 ms", "adaptive"] {
        assert!(distribution.contains(&format!(">{name}</text>")), "{name}");
    }
    assert!(text(&files, "report.html").contains("Only batch size 1 was measured"));
}

#[test]
fn a_run_of_batching_has_its_summary_and_the_latency_over_time() {
    let results = batching();
    let folder = tempfile::tempdir().unwrap();
    for (visit, samples) in requests(&results) {
        samples::write(folder.path(), visit, &samples).unwrap();
    }
    let files = check_in(&results, folder.path());
    assert_eq!(plots(&files), ["configurations", "late-over-cost", "over-time-step", "visits"]);
    let over_time = text(&files, "over-time-step.svg");
    for words in ["none: 20\u{a0}% late", "adaptive: 1\u{a0}% late", "refused", "failed", "on time"] {
        assert!(over_time.contains(&format!(">{words}</text>")), "{words}");
    }
    let html = text(&files, "report.html");
    assert!(html.contains("met, best fixed") && html.contains("The worst fixed configuration was"));
    let without = check(&results);
    assert!(text(&without, "report.html").contains("The requests were not kept"));
}

#[test]
fn plots_without_data_are_left_out() {
    let one = check(&one_point());
    assert_eq!(plots(&one), ["latency-distribution"]);
    assert!(text(&one, "report.html").contains("power source: none"));
    assert!(plots(&check(&empty())).is_empty());
    let failed = check(&all_failed());
    assert!(plots(&failed).is_empty());
    let html = text(&failed, "report.html");
    assert!(html.contains("<td class=\"\">1,234</td>"), "errors are counted");
    assert!(html.contains("[1,&#60;2&#62;] &#38; more"), "the first message is shown");
}

#[test]
fn names_cannot_break_out() {
    let hostile = r#"<b>"&'"#;
    let mut results = comparison();
    results.model.name = hostile.into();
    results.command.push(hostile.into());
    for point in &mut results.points {
        point.key.configuration.insert_str(0, hostile);
    }
    let files = check(&results);
    for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with(".png")) {
        assert!(!String::from_utf8_lossy(bytes).contains("<b>"), "{name}");
    }
    let svg = text(&files, "configurations.svg");
    assert!(
        Document::parse(svg)
            .unwrap()
            .descendants()
            .any(|node| { node.text().is_some_and(|text| text == format!("{hostile}adaptive")) })
    );
}

#[test]
fn a_broken_histogram_is_named() {
    let mut results = one_point();
    results.points[0].client_latency.as_mut().unwrap().histogram = "AAAA".into();
    let folder = tempfile::tempdir().unwrap();
    let error = format!("{:#}", write(&results, folder.path()).unwrap_err());
    assert!(error.contains("cannot read the histogram of client latency of batch"), "{error}");
}

#[test]
fn many_batch_sizes_need_several_pictures() {
    let mut results = sweep_with_energy();
    let batches = [1, 2, 4, 8, 16];
    let more = results.points.clone().into_iter().map(|mut point| {
        point.key.batch = 32 << batches.iter().position(|batch| *batch == point.key.batch).unwrap();
        point
    });
    results.points.extend(more.collect::<Vec<_>>());
    let plots = plots::plots(&results, &Samples::new()).unwrap();
    let names: Vec<_> = plots
        .iter()
        .filter_map(|plot| match plot {
            Plot::Drawn(figure) => Some(figure.name.as_str()),
            Plot::Absent { .. } => None,
        })
        .collect();
    for name in ["latency-over-load-1", "latency-over-load-2", "latency-distribution-2"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
}
