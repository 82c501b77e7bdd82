//! Results files of the tool: read, written and read again they are the same, and a report can be made of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorflow_latency_fuzz::report::figure::Plot;
use tensorflow_latency_fuzz::report::{findings, plots, summary, svg};
use triton_experiment::results::Results;

/// Points of a file that a report is made of: more only take longer.
const MOST_POINTS: usize = 30;

fuzz_target!(|data: &[u8]| {
    let Ok(results) = serde_json::from_slice::<Results>(data) else { return };
    let written = serde_json::to_string(&results).expect("results can be written");
    let again: Results = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(
        written,
        serde_json::to_string(&again).expect("results can be written"),
        "read and written again"
    );
    if results.points.len() > MOST_POINTS {
        return;
    }
    let _ = findings::findings(&results);
    let _ = summary::text(&results);
    if let Ok(plots) = plots::plots(&results, &Default::default()) {
        for plot in plots {
            if let Plot::Drawn(figure) = plot {
                numbers_only(&svg::draw(&figure));
            }
        }
    }
});

/// Whether the places and sizes in a plot are numbers. What is in names is their matter: text, and the first element.
fn numbers_only(svg: &str) {
    for element in svg.split('<').filter(|element| !element.starts_with("svg")) {
        let attributes = element.split('>').next().unwrap_or_default();
        let mut words = attributes.split(|c: char| !c.is_alphanumeric());
        assert!(!words.any(|word| word == "NaN" || word == "inf"), "a plot has numbers only: <{element}");
    }
}
