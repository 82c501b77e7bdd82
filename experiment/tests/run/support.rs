//! Servers, models, and the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use triton_experiment::server::{ServerOptions, StartedServer};

/// A place that `make test` names.
fn place(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests by `make test`"))
        .into()
}

/// The whole `config.pbtxt` of a model of this backend.
pub fn config_text(config: &str) -> String {
    format!("backend: \"tensorflow_latency\"\n{config}\n")
}

/// A model repository and a backend directory, in a temporary folder.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// Models of `tests/models/make_models.py` or Inception-v3, by name, each with the text of its `config.pbtxt`.
    pub fn with(models: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, config) in models {
            let model = folder.path().join("models").join(name);
            std::fs::create_dir_all(model.join("1")).unwrap();
            let source = match *name {
                "inception_v3" => place("TL_INCEPTION_DIR").join("1/model.savedmodel"),
                _ => place("TL_TEST_MODELS").join(name).join("model.savedmodel"),
            };
            assert!(source.exists(), "{} is missing: `make test` makes it", source.display());
            symlink(source, model.join("1/model.savedmodel")).unwrap();
            std::fs::write(
                model.join("config.pbtxt"),
                format!("backend: \"tensorflow_latency\"\n{config}\n"),
            )
            .unwrap();
        }
        let backend = folder.path().join("backends/tensorflow_latency");
        std::fs::create_dir_all(&backend).unwrap();
        symlink(place("TL_BACKEND"), backend.join("libtriton_tensorflow_latency.so")).unwrap();
        Self { folder }
    }

    /// The temporary folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The model repository.
    pub fn models(&self) -> PathBuf {
        self.path().join("models")
    }

    /// What starts a server for this place, with these models loaded.
    pub fn options(&self, models: &[&str]) -> ServerOptions {
        ServerOptions {
            tritonserver: place("TL_TRITONSERVER"),
            model_repository: self.models(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            load_models: true,
            shared_memory: true,
            arguments: self.server_arguments(),
        }
    }

    /// A server for this place, with these models loaded.
    pub fn server(&self, models: &[&str]) -> StartedServer {
        StartedServer::start(&self.options(models), || Ok(())).expect("the server starts")
    }

    fn server_arguments(&self) -> Vec<String> {
        let tensorflow = place("TL_TENSORFLOW_DIR");
        vec![
            format!("--backend-directory={}", self.path().join("backends").display()),
            format!("--backend-config=tensorflow_latency,tensorflow-dir={}", tensorflow.display()),
        ]
    }

    /// The flags that let the command start a server for this place.
    pub fn own_server(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--tritonserver={}", place("TL_TRITONSERVER").display()),
            format!("--model-repository={}", self.models().display()),
        ];
        flags.extend(self.server_arguments().iter().map(|argument| format!("--server-arg={argument}")));
        flags
    }
}

/// Settings for a test: short windows, wide tolerance. Given again, a flag takes its last value.
const QUICK: [&str; 10] = [
    "--warm-up=0.1",
    "--window=0.2",
    "--window-requests=5",
    "--max-time=5",
    "--tolerance=0.5",
    "--idle=0",
    "--power=cpu-time",
    "--timeout=20",
    "--max-concurrency=4",
    "--seed=7",
];

/// The command with these arguments.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triton-experiment"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `sweep` or `compare` with settings for a test.
pub fn quick(subcommand: &str) -> Command {
    let mut command = command([subcommand]);
    command.args(QUICK);
    command
}

/// Runs it; panics with what it printed unless it succeeds.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Runs it; its exit code and standard error. Panics when it succeeds.
pub fn fail(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("the command starts");
    let (out, err) = texts(&output);
    let code = output.status.code().unwrap_or_else(|| panic!("{command:?}: {}\n{out}\n{err}", output.status));
    assert_ne!(code, 0, "{command:?} was expected to fail\n{out}\n{err}");
    (code, err)
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The results in a folder.
pub fn results(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("results.json")).expect("there are results");
    serde_json::from_str(&text).expect("they are JSON")
}

/// The points of results.
pub fn points(results: &Value) -> &[Value] {
    results["points"].as_array().expect("a list of points")
}

/// A run that goes on while the test looks at it. Killed when dropped.
pub struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Waits until it has printed a line with this text.
    pub fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            if self.lines.read_line(&mut line).expect("a pipe can be read") == 0 {
                panic!("it ended before it printed '{text}': {}", self.errors());
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for its end: exit code (none after a signal) and standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        let errors = self.errors();
        (self.child.wait().expect("it can be waited for").code(), errors)
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut text).expect("a pipe can be read");
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

/// Whether a process is there and has not ended.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
