//! Plan files of the tool, and the traces in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triton_experiment::plan::Trace;
use triton_experiment::settings::Settings;

/// So many requests are made of a trace.
const MOST_REQUESTS: f64 = 10_000.0;

fuzz_target!(|text: &str| {
    let Ok(settings) = Settings::from_toml(text, "plan.toml") else { return };
    let Ok(plan) = settings.into_plan() else { return };
    let Some(batching) = &plan.batching else { return };
    for trace in &batching.traces {
        check(trace);
    }
});

fn check(trace: &Trace) {
    trace.check().expect("a plan has valid traces");
    let stretches = trace.stretches();
    assert!(!stretches.is_empty() && stretches.len() <= trace.percent.len());
    assert_eq!(stretches[0].from_s, 0.0);
    for pair in stretches.windows(2) {
        assert!(pair[0].to_s == pair[1].from_s && pair[0].percent != pair[1].percent);
    }
    assert!(stretches.iter().all(|stretch| stretch.from_s < stretch.to_s));
    for after in trace.after_steps() {
        assert!(after.from_s > 0.0 && after.from_s < after.to_s);
    }
    // As many requests as fit: requests are the integral of the rate.
    let at_one: f64 = stretches.iter().map(|part| (part.to_s - part.from_s) * part.percent / 100.0).sum();
    let capacity = (MOST_REQUESTS / at_one).min(1e6);
    let due = trace.due(capacity, 1);
    let expected = capacity * at_one;
    // Ten standard deviations of the Poisson count; a rate that is constant is off by one.
    assert!(
        (due.len() as f64 - expected).abs() <= 10.0 * expected.sqrt() + 10.0,
        "{} of {expected}",
        due.len()
    );
    assert!(due.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(due.last().is_none_or(|last| last.as_secs_f64() <= trace.seconds * (1.0 + 1e-9)));
    assert_eq!(due, trace.due(capacity, 1));
}
