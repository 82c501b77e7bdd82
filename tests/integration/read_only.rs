//! A server whose file system is read-only, `/tmp` included, as containers are often run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::*;

/// Goes into a mount namespace of its own, as root if it has to, where the root file system is read-only and `/tmp` an
/// empty folder that nobody can write to. `/dev/shm` stays: the server needs shared memory.
const WRAPPER: &str = r#"#!/bin/sh
[ "$(id -u)" = 0 ] && own=-m || own=-rm
exec unshare $own sh -c '
  mount -o remount,bind,ro / || exit 99
  case "$SERVER" in /tmp/*) ;; *) mount -t tmpfs -o ro,size=4k none /tmp || exit 99 ;; esac
  exec "$SERVER" "$@"' sh "$@"
"#;

#[test]
fn a_model_loads_and_answers_where_nothing_can_be_written() {
    if std::env::var_os("TL_IMAGE").is_some() {
        skipped("the server is in a container, whose file system the test does not change");
        return;
    }
    let folder = tempfile::TempDir::new_in(scratch_folder()).expect("the target folder can be written");
    let program = folder.path().join("tritonserver");
    let server = environment().tritonserver.display().to_string();
    let text = WRAPPER.replace("exec unshare", &format!("export SERVER={server:?}\nexec unshare"));
    fs::write(&program, text).expect("the target folder can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // Whether this machine lets anyone have such a file system.
    let probe = Command::new(&program).arg("--help").output().expect("it can be run");
    let help = [probe.stdout, probe.stderr].concat();
    if !String::from_utf8_lossy(&help).contains("--model-repository") {
        skipped("no mount namespace can be had here");
        return;
    }
    let server = Server::start(Options::new().started_by(&program));
    // Seen by the server itself: it, and nobody else here, has a `/tmp` without anything in it.
    let mounts = fs::read_to_string(server.proc("mounts")).expect("the server runs");
    let root = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/")).expect("a root");
    assert!(root.split(' ').nth(3).is_some_and(|flags| flags.split(',').any(|flag| flag == "ro")), "{root}");
    server.load(&add_one_config("read_only", 8), SavedModel::Small("add_one"));
    server.load(
        &ModelConfig::new("read_only_weights", 8).input("x", "FP32", &[16]).output("y", "FP32", &[4]),
        SavedModel::Small("weights"),
    );
    let values = Random::new(1).floats(32);
    let answer = server.client().infer("read_only", &add_one_request(&values)).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
}
