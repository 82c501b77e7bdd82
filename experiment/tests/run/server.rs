//! The room `server` against a real Triton with this project's backend.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use triton_experiment::plan::ReconfigureBy;
use triton_experiment::results::StatisticsGrowth;
use triton_experiment::server::configuration::{Change, Reconfigurer};
use triton_experiment::server::{Control, StartedServer, TensorMetadata};

use crate::support::{Place, config_text};

const MODEL: &str = "add_one";
const CONFIG: &str = r#"
name: "add_one"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 16 ] } ]
parameters { key: "a \"quoted\" \\ key" value { string_value: "KIND_CPU\n\0012" } }
dynamic_batching { max_queue_delay_microseconds: 100 }
instance_group [ { kind: KIND_CPU count: 1 } ]
"#;

/// A place with one model.
fn add_one() -> Place {
    Place::with(&[(MODEL, CONFIG)])
}

/// An inference of `batch` rows of `width` numbers.
fn infer(control: &Control, batch: usize, width: usize) -> anyhow::Result<()> {
    let body = json!({
        "inputs": [{
            "name": "x", "datatype": "FP32", "shape": [batch, width], "data": vec![0.5; batch * width],
        }],
    });
    let body = body.to_string();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.post(format!("{}/v2/models/add_one/infer", control.url())).send(&body)?;
    let text = answer.body_mut().read_to_string()?;
    if answer.status() != 200 {
        let told: Value = serde_json::from_str(&text)?;
        anyhow::bail!("{}", told["error"].as_str().unwrap_or_default());
    }
    Ok(())
}

fn change(patch: Value) -> Change {
    Change { name: "changed".to_owned(), patch }
}

fn queue_delay(control: &Control) -> Value {
    control.model_config(MODEL, None).unwrap()["dynamic_batching"]["max_queue_delay_microseconds"].clone()
}

fn pid(server: &StartedServer) -> Pid {
    Pid::from_raw(server.pid().try_into().unwrap()).unwrap()
}

/// Waits, since what happens in other processes takes its time.
fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn a_server_reports_its_metadata_and_that_of_its_model() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();
    assert!(control.is_local());
    assert!(server.ended().is_none());

    let metadata = control.metadata().unwrap();
    assert!(!metadata.version.is_empty());
    assert!(metadata.extensions.iter().any(|extension| extension == "statistics"), "{metadata:?}");

    let model = control.model_metadata(MODEL, None).unwrap();
    let x = TensorMetadata { name: "x".to_owned(), datatype: "FP32".to_owned(), shape: vec![-1, 16] };
    assert_eq!(model.inputs, [x]);
    assert_eq!(model.versions, ["1"]);
    assert_eq!(control.model_metadata(MODEL, Some("1")).unwrap(), model);
    assert_eq!(control.model_config(MODEL, Some("")).unwrap()["max_batch_size"], 8);

    // By the table of sockets and by the shell that started it.
    assert_eq!(control.process_id(), Some(server.pid()));
    let name = fs::read_to_string(format!("/proc/{}/comm", server.pid())).unwrap();
    assert_eq!(name.trim(), "tritonserver");

    let metrics = server.metrics_url();
    let metrics = ureq::get(&metrics).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("nv_inference_count"), "{metrics}");
}

#[test]
fn statistics_grow_with_inferences() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();
    let before = control.statistics(MODEL, None).unwrap();
    for batch in [1, 4, 4] {
        infer(control, batch, 16).unwrap();
    }
    // The server counts a request after its answer has left: the client can be faster.
    let mut grown = before.growth(&before);
    assert!(becomes_true(|| {
        grown = control.statistics(MODEL, Some("1")).unwrap().growth(&before);
        grown.0.success_count >= 3
    }));
    let (growth, executions) = grown;
    let counts = StatisticsGrowth {
        success_count: 3,
        fail_count: 0,
        inference_count: 9,
        execution_count: 3,
        ..growth.clone()
    };
    assert_eq!(growth, counts);
    assert!(growth.compute_infer_ns > 0 && growth.success_ns >= growth.compute_infer_ns, "{growth:?}");
    assert_eq!(executions, BTreeMap::from([(1, 1), (4, 2)]));
}

#[test]
fn errors_contain_the_servers_message() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();

    let error = infer(control, 1, 15).unwrap_err().to_string();
    assert!(error.contains("[-1,16]") && error.contains("[1,15]") && !error.contains('{'), "{error}");

    let error = format!("{:#}", control.model_metadata("nope", None).unwrap_err());
    assert!(
        error.contains("'nope'") && error.contains("it has: add_one") && !error.contains('\n'),
        "{error}"
    );
    assert!(error.contains(control.url()), "{error}");

    let error = format!("{:#}", control.statistics("nope", Some("7")).unwrap_err());
    assert!(error.contains("'nope', version 7,"), "{error}");

    let error = format!("{:#}", control.register_system_memory("x", "/no-such-object", 0, 64).unwrap_err());
    assert!(error.contains("'/no-such-object'"), "{error}");
    control.unregister_system_memory("never-registered").unwrap();
}

#[test]
fn shared_memory_is_registered_once() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();
    let name = format!("triton-experiment-test-{}", std::process::id());
    let file = Path::new("/dev/shm").join(&name);
    fs::write(&file, [0; 64]).unwrap();
    let key = format!("/{name}");
    let first = control.register_system_memory(&name, &key, 0, 64);
    let second = control.register_system_memory(&name, &key, 0, 64);
    let gone = control.unregister_system_memory(&name);
    let again = control.register_system_memory(&name, &key, 0, 64);
    fs::remove_file(file).unwrap();
    first.unwrap();
    assert!(format!("{:#}", second.unwrap_err()).contains("already"));
    gone.unwrap();
    again.unwrap();
}

#[test]
fn configurations_are_applied_in_either_way() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();
    let original = control.model_config(MODEL, None).unwrap();
    for way in [
        ReconfigureBy::Api,
        ReconfigureBy::Rewrite,
        ReconfigureBy::Auto,
        ReconfigureBy::Rewrite,
        ReconfigureBy::Api,
    ] {
        let mut reconfigurer = Reconfigurer::new(control, Some(&server), MODEL, way, None).unwrap();

        let reported = reconfigurer.apply(&change(json!({ "dynamic_batching": null }))).unwrap();
        assert!(reported.get("dynamic_batching").is_none(), "{way:?}: {reported}");
        infer(control, 2, 16).unwrap();

        let patch = json!({
            "dynamic_batching": { "preferred_batch_size": [2, 4], "max_queue_delay_microseconds": 5000 },
            "instance_group": [{ "kind": "KIND_CPU", "count": 2 }],
        });
        let reported = reconfigurer.apply(&change(patch)).unwrap();
        assert_eq!(reported["dynamic_batching"]["preferred_batch_size"], json!([2, 4]), "{way:?}");
        assert_eq!(reported["instance_group"][0]["count"], 2, "{way:?}");
        assert_eq!(reported["parameters"], original["parameters"], "{way:?}");

        let reported = reconfigurer.apply(&change(json!({ "max_batch_size": 4 }))).unwrap();
        assert_eq!(reported["dynamic_batching"]["max_queue_delay_microseconds"], 100, "{way:?}");

        // Nothing of the former changes is left.
        assert_eq!(reconfigurer.apply(&change(json!({}))).unwrap(), original, "{way:?}");

        reconfigurer.apply(&change(json!({ "max_batch_size": 2 }))).unwrap();
        reconfigurer.restore().unwrap();
        assert_eq!(control.model_config(MODEL, None).unwrap(), original, "{way:?}");
        reconfigurer.restore().unwrap();
    }
    assert_eq!(
        fs::read_to_string(place.models().join(MODEL).join("config.pbtxt")).unwrap(),
        config_text(CONFIG)
    );
}

#[test]
fn a_bad_patch_is_rejected_and_the_original_stays() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = server.control();
    for way in [ReconfigureBy::Api, ReconfigureBy::Rewrite, ReconfigureBy::Auto] {
        for patch in [
            json!({ "nonsense": 1 }),
            json!({ "instance_group": [{ "count": "many" }] }),
            json!({ "input": [{ "name": "z", "data_type": "TYPE_FP32", "dims": [16] }] }),
        ] {
            let mut reconfigurer = Reconfigurer::new(control, Some(&server), MODEL, way, None).unwrap();
            let error = format!("{:#}", reconfigurer.apply(&change(patch.clone())).unwrap_err());
            assert!(error.contains("configuration 'changed' of model 'add_one'"), "{way:?} {patch}: {error}");
            assert!(!error.contains("could not be restored"), "{way:?} {patch}: {error}");
            let reason = ["Cannot find field", "no field named", "many", "declares input 'z'"];
            assert!(reason.iter().any(|reason| error.contains(reason)), "{way:?} {patch}: {error}");
            assert_eq!(queue_delay(control), 100, "{way:?} {patch}");
            infer(control, 1, 16).unwrap();
        }
    }
}

#[test]
fn rewriting_needs_a_server_that_the_tool_started() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let control = Control::new(server.control().url()).unwrap();

    let error =
        Reconfigurer::new(&control, None, MODEL, ReconfigureBy::Rewrite, None).unwrap_err().to_string();
    assert!(error.contains("this tool starts"), "{error}");

    let mut reconfigurer = Reconfigurer::new(&control, None, MODEL, ReconfigureBy::Auto, None).unwrap();
    reconfigurer
        .apply(&change(json!({ "dynamic_batching": { "max_queue_delay_microseconds": 7 } })))
        .unwrap();
    assert_eq!(queue_delay(&control), 7);
    let error = format!("{:#}", reconfigurer.apply(&change(json!({ "nonsense": 1 }))).unwrap_err());
    assert!(error.contains("explicit") && error.contains("rewriting"), "{error}");
    assert_eq!(queue_delay(&control), 100);
}

#[test]
fn a_killed_server_reports_its_end() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    kill_process(pid(&server), Signal::KILL).unwrap();
    assert!(becomes_true(|| server.ended().is_some()));
    let end = server.ended().unwrap();
    assert!(end.starts_with("the server has ended (signal 9)"), "{end}");
    assert!(end.lines().count() > 1, "the end of the log is shown: {end}");
    let error = server.control().metadata().unwrap_err().to_string();
    assert!(error.contains("does not answer") && error.contains(server.control().url()), "{error}");
    assert_eq!(server.control().process_id(), None);
}

#[test]
fn a_dropped_server_is_gone_with_its_folder() {
    let place = add_one();
    let server = place.server(&[MODEL]);
    let process = pid(&server);
    let folder = fs::read_link(format!("/proc/{}/cwd", server.pid())).unwrap();
    assert!(folder.join("server.log").is_file());
    drop(server);
    assert!(test_kill_process(process).is_err(), "the process is gone");
    assert!(!folder.exists(), "its folder is gone");
    assert!(place.models().join(MODEL).join("1/model.savedmodel").exists(), "the models are not");
}

/// The test process starts itself once more, with this variable set, to be killed.
const TO_BE_KILLED: &str = "TRITON_EXPERIMENT_TEST_TO_BE_KILLED";

#[test]
fn a_server_does_not_outlive_a_tool_that_is_killed() {
    let place = add_one();
    if let Some(answer) = std::env::var_os(TO_BE_KILLED) {
        let server = place.server(&[MODEL]);
        fs::write(&answer, server.pid().to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(3600));
    }
    let answer = place.path().join("pid");
    let mut tool = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_server_does_not_outlive_a_tool_that_is_killed"])
        .env(TO_BE_KILLED, &answer)
        .env("TMPDIR", place.path())
        .spawn()
        .unwrap();
    let mut server = None;
    assert!(becomes_true(|| {
        server = fs::read_to_string(&answer).ok().and_then(|text| Pid::from_raw(text.parse().ok()?));
        server.is_some()
    }));
    let server = server.unwrap();
    let folder = fs::read_link(format!("/proc/{}/cwd", server.as_raw_nonzero())).unwrap();
    tool.kill().unwrap();
    tool.wait().unwrap();
    assert!(becomes_true(|| test_kill_process(server).is_err()), "the server has ended");
    assert!(becomes_true(|| !folder.exists()), "its folder is gone");
}

#[test]
fn a_server_that_cannot_start_reports_the_reason() {
    let place = add_one();

    let mut options = place.options(&[MODEL]);
    options.models = vec!["nope".to_owned()];
    let error = StartedServer::start(&options, || Ok(())).unwrap_err().to_string();
    assert!(error.contains("no folder 'nope'; it has: add_one"), "{error}");

    let mut options = place.options(&[MODEL]);
    options.tritonserver = place.path().join("tritonserver");
    let error = StartedServer::start(&options, || Ok(())).unwrap_err().to_string();
    assert!(error.contains("no Triton server at"), "{error}");

    fs::write(place.models().join(MODEL).join("config.pbtxt"), "max_batch_size: many").unwrap();
    let error = StartedServer::start(&place.options(&[MODEL]), || Ok(())).unwrap_err().to_string();
    assert!(error.contains("did not start") && error.contains("config.pbtxt"), "{error}");
}
