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
        (given(|s| s.url = None), "no server"),
        (given(|s| s.tritonserver = Some("t".into())), "--tritonserver and --model-repository go together"),
    ] {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}
