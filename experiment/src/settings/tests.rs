//! Settings given by flags and plan files.

use serde_json::json;

use super::*;

const PLAN: &str = r#"
    model = "m"
    url = "localhost"
    batch = [1, 2]
    concurrency = [1, 4]
    shape = ["x=3,4"]
    power = "cpu-time"

    [[configuration]]
    name = "wait"
    remove = ["sequence_batching"]
    patch.dynamic_batching = { preferred_batch_size = [8] }
"#;

fn plan_file() -> Settings {
    Settings::from_toml(PLAN, "plan.toml").unwrap()
}

#[test]
fn a_plan_file_is_equivalent_to_flags() {
    let plan = plan_file().into_plan().unwrap();
    assert_eq!(plan.batches, [1, 2]);
    assert_eq!(plan.loads, [Load::Concurrency { concurrency: 1 }, Load::Concurrency { concurrency: 4 }]);
    assert_eq!(plan.shapes["x"], [3, 4]);
    assert_eq!(plan.power, PowerChoice::CpuTime);
    assert_eq!(
        plan.configurations[0].merge_patch(),
        json!({ "dynamic_batching": { "preferred_batch_size": [8] }, "sequence_batching": null })
    );
    assert_eq!(plan.points().len(), 4);
}

#[test]
fn flags_override_a_plan_file() {
    let flags = Settings { batch: vec![8], rate: vec![2.5], seed: Some(9), ..Settings::default() };
    let plan = flags.or(&plan_file()).unwrap().into_plan().unwrap();
    assert_eq!((plan.batches.as_slice(), plan.seed, plan.model.as_str()), (&[8][..], 9, "m"));
    let rate = Load::Rate { milli_requests_per_s: 2500, arrivals: Arrivals::Poisson };
    assert_eq!(plan.loads, [rate], "the loads of one side only");

    let own = Settings {
        tritonserver: Some("/bin/tritonserver".into()),
        model_repository: Some("/models".into()),
        ..Settings::default()
    };
    let plan = own.or(&plan_file()).unwrap().into_plan().unwrap();
    assert!(plan.url.is_none() && plan.own_server.is_some());
}

#[test]
fn data_arrivals_and_shapes_as_perf_analyzer_has_them() {
    let settings = Settings {
        data: Some("/".to_owned()),
        shape: vec!["x:0,4".to_owned(), "a:b:7".to_owned()],
        ramp: vec!["1.5..20".to_owned()],
        arrivals: Some(Arrivals::Gamma),
        variation: Some(0.5),
        ..Settings::default()
    };
    let plan = settings.or(&plan_file()).unwrap().into_plan().unwrap();
    assert_eq!((plan.data, plan.data_path), (Data::Random, Some("/".into())));
    assert_eq!((plan.shapes["x"].as_slice(), plan.shapes["a:b"].as_slice()), (&[0, 4][..], &[7][..]));
    assert_eq!(plan.spread, Spread { variation: 0.5, ..Spread::default() });
    let ramp = Load::Ramp {
        from_milli_requests_per_s: 1500,
        to_milli_requests_per_s: 20_000,
        arrivals: Arrivals::Gamma,
    };
    assert_eq!(plan.loads, std::slice::from_ref(&ramp), "the loads of one side only");
    assert_eq!(ramp.to_string(), "1.5 to 20 requests/s, gamma");
    // No request waits much longer than its point.
    assert_eq!(Plan { max_time_s: 5.0, ..plan_file().into_plan().unwrap() }.longest_s(), 7.0);
    assert_eq!(Plan { max_time_s: 100.0, ..plan_file().into_plan().unwrap() }.longest_s(), 110.0);
}

#[test]
fn errors_in_a_plan_file_have_their_position() {
    for (text, parts) in [
        ("batches = [1]", ["batches", "line 1"]),
        ("batch = [\"one\"]", ["one", "line 1"]),
        ("\npower = \"sun\"", ["sun", "line 2"]),
        ("model = ", ["plan.toml", "line 1"]),
    ] {
        let error = format!("{:#}", Settings::from_toml(text, "plan.toml").unwrap_err());
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
}

#[test]
fn invalid_settings_are_reported_by_the_name_of_their_flag() {
    let given = |change: fn(&mut Settings)| {
        let mut settings = plan_file();
        change(&mut settings);
        format!("{:#}", settings.into_plan().unwrap_err())
    };
    for (error, part) in [
        (given(|s| s.rate = vec![0.0]), "--rate: expected 0.001"),
        (given(|s| s.batch = vec![0]), "--batch: expected"),
        (given(|s| s.batch = vec![2, 2]), "--batch: '2' is given twice"),
        (given(|s| s.concurrency = vec![20_000]), "--concurrency: expected 1 to 10000, found 20000"),
        (given(|s| s.warm_up = Some(60.0)), "--warm-up 60 must be less than --max-time 60"),
        (given(|s| s.window = Some(f64::NAN)), "--window: expected"),
        (given(|s| s.shape = vec!["x".to_owned()]), "--shape: expected INPUT=D,D,..., found 'x'"),
        (given(|s| s.ramp = vec!["10".to_owned()]), "--ramp: expected FROM..TO"),
        (given(|s| s.ramp = vec!["0..0".to_owned()]), "--ramp: expected FROM..TO"),
        (given(|s| s.ramp = vec!["-1..5".to_owned()]), "found '-1..5'"),
        (given(|s| s.variation = Some(0.0)), "--variation: expected 0.01 to 100, found 0"),
        (given(|s| s.burst_share = Some(1.0)), "--burst-share: expected 0.001 to 0.999"),
        (given(|s| s.burst_factor = Some(6.0)), "in 0.2 of the time expected 1 to 5, found 6"),
        (given(|s| s.data = Some("randm".to_owned())), "--data: expected random, zero, or a file or folder"),
        (given(|s| s.expect = Some("/".into())), "--expect: expected outputs belong to rows"),
        (given(|s| s.expect_tolerance = Some(-1.0)), "--expect-tolerance: expected 0 to 1e9, found -1"),
        (given(|s| s.shape = vec!["x=-1".to_owned()]), "--shape: expected INPUT=D,D,..."),
        (given(|s| s.url = None), "no server"),
        (given(|s| s.tritonserver = Some("t".into())), "--tritonserver and --model-repository go together"),
    ] {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}
