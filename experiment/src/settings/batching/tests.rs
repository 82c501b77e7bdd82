//! The settings of `batching`, through [`Settings`] to the plan.

use super::*;
use crate::plan::Load;
use crate::settings::Settings;

const PLAN: &str = r#"
    model = "m"
    url = "localhost"

    [batching]
    target_ms = 50
    trace_seconds = 10
    adaptive = "own"

    [[batching.trace]]
    name = "even"
    arrivals = "constant"
    percent = [50]

    [[batching.trace]]
    name = "step"
    length = 2.5
    percent = [20, 80, 20]

    [[configuration]]
    name = "none"
    remove = ["dynamic_batching"]

    [[configuration]]
    name = "own"
    patch.parameters.latency_target_ms.string_value = "{target_ms}"
    patch.parameters.note.string_value = "p{percentile} of {target_ms}"
"#;

fn settings(change: impl Fn(&mut Settings)) -> Settings {
    let mut flags = Settings { batching: Some(BatchingSettings::default()), ..Settings::default() };
    change(&mut flags);
    flags.or(&Settings::from_toml(PLAN, "plan.toml").unwrap()).unwrap()
}

fn given(change: impl Fn(&mut BatchingSettings)) -> Settings {
    settings(|flags| change(flags.batching.as_mut().unwrap()))
}

#[test]
fn a_plan_becomes_traces_and_configurations_with_the_target_in_them() {
    let plan = given(|_| ()).into_plan().unwrap();
    let batching = plan.batching.as_ref().unwrap();
    assert_eq!((batching.target_ns(), batching.percentile), (50_000_000, 99.0));
    assert!((batching.allowed_share() - 0.01).abs() < 1e-12);
    assert_eq!(batching.adaptive.as_deref(), Some("own"));
    let traces: Vec<_> = batching.traces.iter().map(|t| (t.name.as_str(), t.seconds, t.arrivals)).collect();
    assert_eq!(traces, [("even", 10.0, Arrivals::Constant), ("step", 25.0, Arrivals::Poisson)]);
    let shaped = |trace: &str| Load::Shaped { trace: trace.to_owned() };
    assert_eq!(plan.loads, [shaped("even"), shaped("step")]);
    assert_eq!(plan.points().len(), 4);
    let parameters = &plan.configurations[1].patch["parameters"];
    assert_eq!(parameters["latency_target_ms"]["string_value"], "50");
    assert_eq!(parameters["note"]["string_value"], "p99 of 50");
    assert_eq!(plan.command(), "batching");
}

#[test]
fn the_plan_of_the_makefile_can_be_used() {
    let text = include_str!("../../../plans/batching.toml");
    let flags = Settings { url: Some("localhost".to_owned()), ..Settings::default() };
    let plan = flags.or(&Settings::from_toml(text, "batching.toml").unwrap()).unwrap().into_plan().unwrap();
    assert_eq!((plan.configurations.len(), plan.loads.len()), (9, 9));
    let adaptive = plan.configurations.last().unwrap().merge_patch();
    assert_eq!(adaptive["parameters"]["latency_target_ms"]["string_value"], "600");
    assert!(adaptive["dynamic_batching"].is_null() && adaptive.as_object().unwrap().len() == 2);
    let seconds: f64 = plan.batching.unwrap().traces.iter().map(|trace| trace.seconds).sum();
    // With some 6 s around each trace, half an hour at most.
    assert!(9.0 * (seconds + 9.0 * 6.0) < 1800.0, "{seconds} s of traces");
}

#[test]
fn flags_choose_among_traces_and_configurations() {
    let plan = given(|flags| {
        flags.only_traces = vec!["step".to_owned()];
        flags.only_configurations = vec!["none".to_owned()];
        flags.trace_seconds = Some(2.0);
    });
    let plan = plan.into_plan().unwrap();
    let batching = plan.batching.as_ref().unwrap();
    assert_eq!((batching.traces.len(), batching.traces[0].seconds), (1, 5.0));
    assert_eq!((plan.configurations.len(), &batching.adaptive), (1, &None), "it is not measured");
}

#[test]
fn invalid_settings_are_named() {
    let error = |settings: Settings| format!("{:#}", settings.into_plan().unwrap_err());
    for (error, part) in [
        (
            error(given(|s| s.only_traces = vec!["x".into()])),
            "--only-traces: the plan has no 'x'; it has even, step",
        ),
        (error(given(|s| s.only_configurations = vec!["x".into()])), "it has none, own"),
        (error(given(|s| s.adaptive = Some("x".into()))), "no configuration is called 'x'"),
        (error(given(|s| s.percentile = Some(100.0))), "--percentile: expected 1 to below 100"),
        (error(given(|s| s.target_ms = Some(0.0))), "--target-ms"),
        (error(given(|s| s.trace_seconds = Some(0.0))), "trace 'even': expected a length"),
        (error(settings(|s| s.rate = vec![5.0])), "`batching` takes its loads from the traces of the plan"),
        (error(settings(|s| s.batch = vec![1, 2])), "sends requests of one size"),
    ] {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}
