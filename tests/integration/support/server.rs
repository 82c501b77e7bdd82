//! A real Triton server with the backend under test.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use triton_server_process::{End, Executable, ServerProcess};

use super::config::ModelConfig;
use super::environment::environment;
use super::executable::executable;
use super::http::Client;
use super::load::eventually;
use super::repository::{SavedModel, scratch_folder, write_model};

/// Lines of the server's log that a failing test shows.
const SHOWN_LINES: usize = 60;

/// Variables by which TensorFlow could be found, or its arithmetic changed: a test sets those that it needs.
const UNSET: [&str; 4] =
    ["TENSORFLOW_DIR", "LD_LIBRARY_PATH", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"];

/// How the server is to be started.
pub struct Options {
    backend_config: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    backend_in_directory: bool,
    tensorflow_option: bool,
    ships_tensorflow: bool,
    beside_backend: Vec<(PathBuf, String)>,
    metrics: bool,
    cgroup: Option<PathBuf>,
    executable: Option<PathBuf>,
    exit_timeout: Duration,
}

impl Options {
    /// The backend in the backend directory, TensorFlow by the option `tensorflow-dir`, explicit model
    /// control.
    pub fn new() -> Self {
        Self {
            backend_config: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            backend_in_directory: true,
            tensorflow_option: true,
            ships_tensorflow: false,
            beside_backend: Vec::new(),
            metrics: false,
            cgroup: None,
            executable: None,
            exit_timeout: Duration::from_secs(30),
        }
    }

    /// An option of the backend, as in `--backend-config=tensorflow_latency,KEY=VALUE`.
    pub fn backend_config(mut self, key: &str, value: &str) -> Self {
        self.backend_config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// An argument as it stands.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of the server's environment, which otherwise names no TensorFlow.
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Leaves the backend directory empty: the models bring the backend along.
    pub fn without_backend(mut self) -> Self {
        self.backend_in_directory = false;
        self
    }

    /// Leaves out the option `tensorflow-dir`.
    pub fn without_tensorflow_option(mut self) -> Self {
        self.tensorflow_option = false;
        self
    }

    /// A container that has a TensorFlow where NVIDIA's images had theirs. Means nothing to a server on this
    /// machine.
    pub fn ships_tensorflow(mut self) -> Self {
        self.ships_tensorflow = true;
        self
    }

    /// Links `target` as `name` beside the backend in the backend directory.
    pub fn link_beside_backend(mut self, target: &Path, name: &str) -> Self {
        self.beside_backend.push((target.to_path_buf(), name.to_owned()));
        self
    }

    /// With metrics, for [`Server::metrics`].
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// How long it waits for requests in flight when it is told to end, in whole seconds.
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.exit_timeout = timeout;
        self
    }

    /// In the control group of this folder.
    pub fn cgroup(mut self, folder: &Path) -> Self {
        self.cgroup = Some(folder.to_path_buf());
        self
    }

    /// A program that starts the server under test with the arguments that it is given.
    pub fn started_by(mut self, program: &Path) -> Self {
        self.executable = Some(program.to_path_buf());
        self
    }

    /// The names of the variables of the server's environment.
    fn variables(&self) -> String {
        let names: Vec<&str> = self.environment.iter().map(|(key, _)| key.as_str()).collect();
        names.join(" ")
    }
}

/// A running server.
pub struct Server {
    // Dropped first: the server does not end while a client keeps a connection.
    client: Client,
    process: ServerProcess,
}

impl Server {
    /// Starts a server with an empty repository and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not come up; the message holds the end of its log.
    pub fn start(options: Options) -> Self {
        let process = ServerProcess::start(
            &process_options(&options),
            |folder| Ok(prepare(folder, &options)),
            || Ok(()),
        )
        .unwrap_or_else(|error| panic!("{error:#}"));
        let client = Client::new(port(&process.http()));
        Self { client, process }
    }

    /// A client of this server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `HOST:PORT` for the client scripts.
    pub fn http_url(&self) -> String {
        self.process.http()
    }

    /// `HOST:PORT` for the client scripts.
    pub fn grpc_url(&self) -> String {
        self.process.grpc()
    }

    /// The server's metrics now, a line each. It has to be started with [`Options::metrics`].
    pub fn metrics(&self) -> Vec<String> {
        let (status, text) =
            Client::new(port(&self.process.metrics())).get("/metrics").expect("the server has metrics");
        assert_eq!(status, 200, "the server's metrics: {text}");
        text.lines().map(str::to_owned).collect()
    }

    /// The folder of the model repository.
    pub fn repository(&self) -> PathBuf {
        self.process.folder().join(REPOSITORY)
    }

    /// Adds a model to the repository and loads it.
    ///
    /// # Panics
    ///
    /// When it cannot be loaded; the message is the server's.
    pub fn load(&self, config: &ModelConfig, saved_model: SavedModel) {
        if let Err(message) = self.try_load(config, saved_model) {
            panic!("the model '{}' did not load: {message}", config.name());
        }
    }

    /// As [`Server::load`], with the server's message when the model cannot be loaded.
    pub fn try_load(&self, config: &ModelConfig, saved_model: SavedModel) -> Result<(), String> {
        write_model(&self.repository(), config, saved_model);
        self.client.load(config.name())
    }

    /// Unloads a model, and returns when it is gone.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn unload(&self, model: &str) {
        self.client.unload(model);
        let gone = || {
            let (_, text) = self.client.post("/v2/repository/index", &serde_json::Value::Null);
            let index: serde_json::Value = serde_json::from_str(&text).expect("the index is JSON");
            let models = index.as_array().expect("the index is a list");
            models.iter().any(|entry| entry["name"] == model && entry["reason"] == "unloaded")
        };
        assert!(eventually(gone), "'{model}' is not unloaded");
    }

    /// Where the server writes to.
    pub fn log_file(&self) -> PathBuf {
        self.process.log_file()
    }

    /// All that the server wrote so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The memory of the server that is in RAM now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("the kernel tells the resident size");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB");
        kib * 1024
    }

    /// The threads of the server's process.
    pub fn thread_count(&self) -> usize {
        std::fs::read_dir(self.proc("task")).expect("the server runs").count()
    }

    /// The server's threads of this name.
    pub fn threads_named(&self, name: &str) -> usize {
        let threads = std::fs::read_dir(self.proc("task")).expect("the server runs").flatten();
        // A thread may end before it is read.
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    /// The server's threads, and the clock ticks of CPU time that each took so far.
    pub fn ticks_of_threads(&self) -> HashMap<OsString, u64> {
        let threads = std::fs::read_dir(self.proc("task")).expect("the server runs").flatten();
        // A thread may end before it is read.
        let stat = |path: PathBuf| std::fs::read_to_string(path.join("stat")).ok();
        threads
            .filter_map(|thread| Some((thread.file_name(), stat(thread.path())?)))
            .map(|(thread, stat)| {
                // After the name in parentheses the times in user and in kernel mode are the 12th and 13th.
                let times = stat.rsplit_once(')').expect("a name").1.split_whitespace().skip(11).take(2);
                (thread, times.map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum())
            })
            .collect()
    }

    /// Whether the server's process is there and has not ended.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// A file or folder in which the kernel tells of the server's process.
    pub fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.process.pid().to_string()).join(file)
    }

    /// The folder where the server looks for backends.
    pub fn backends(&self) -> PathBuf {
        self.process.folder().join(BACKENDS)
    }

    /// Sends SIGTERM and returns at once.
    pub fn signal_end(&self) {
        self.process.terminate().expect("the server runs");
    }

    /// Stops the server and waits; its exit code.
    pub fn stop(mut self) -> i32 {
        // The server does not end while a client keeps a connection, and the client keeps them for its next
        // request.
        self.client = Client::new(port(&self.process.http()));
        match self.process.stop() {
            End::Code(code) => code,
            End::Signal(signal) => 128 + signal,
            End::Unknown => -1,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        show_log_if_failing(self);
        // Then the client goes, and after it the process.
    }
}

/// Prints the end of the log when the current test is failing.
pub fn show_log_if_failing(server: &Server) {
    if std::thread::panicking() {
        let state = if server.is_running() { "runs" } else { "has ended" };
        eprintln!("the server {state}; the end of its log:\n{}", server.process.log_end(SHOWN_LINES));
    }
}

/// Puts the backend under test into `folder`.
pub fn place_backend(folder: &Path) {
    let target = folder.join("libtriton_tensorflow_latency.so");
    std::fs::copy(&environment().backend, target).expect("the backend can be copied");
}

const REPOSITORY: &str = "repository";
const BACKENDS: &str = "backends";

fn process_options(options: &Options) -> triton_server_process::Options {
    let executable = match &options.executable {
        Some(program) => Executable::ask(program).unwrap_or_else(|error| panic!("{error:#}")),
        None => executable().clone(),
    };
    let mut process = triton_server_process::Options::new(executable, "server-");
    process.parent = Some(scratch_folder());
    process.metrics = options.metrics;
    process.cgroup = options.cgroup.clone();
    process.client_shared_memory = true;
    process.exit_timeout = options.exit_timeout;
    let set = |(key, value): (&str, &str)| (key.to_owned(), Some(OsString::from(value)));
    let ships_tensorflow = if options.ships_tensorflow { "1" } else { "" };
    process.environment = UNSET
        .into_iter()
        .map(|key| (key.to_owned(), None))
        // For `tests/container/tritonserver`.
        .chain(
            [("SERVER_VARIABLES", &*options.variables()), ("SERVER_SHIPS_TENSORFLOW", ships_tensorflow)]
                .map(set),
        )
        .chain(options.environment.iter().map(|(key, value)| set((key, value))))
        .collect();
    process
}

/// Fills the server's folder: an empty repository and a folder of backends. The arguments that name them.
fn prepare(folder: &Path, options: &Options) -> Vec<String> {
    let (repository, backends) = (folder.join(REPOSITORY), folder.join(BACKENDS));
    let backend = backends.join("tensorflow_latency");
    std::fs::create_dir_all(&repository).expect("the target folder can be written");
    std::fs::create_dir_all(&backend).expect("the target folder can be written");
    if options.backend_in_directory {
        place_backend(&backend);
    }
    for (target, name) in &options.beside_backend {
        std::os::unix::fs::symlink(target, backend.join(name)).expect("the target folder can be written");
    }
    let mut arguments = vec![
        format!("--model-repository={}", repository.display()),
        format!("--backend-directory={}", backends.display()),
        "--model-control-mode=explicit".to_owned(),
    ];
    let tensorflow_dir = environment().tensorflow_dir.display().to_string();
    let tensorflow = options.tensorflow_option.then_some(("tensorflow-dir", &*tensorflow_dir));
    let given = options.backend_config.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    arguments.extend(
        tensorflow
            .into_iter()
            .chain(given)
            .map(|(key, value)| format!("--backend-config=tensorflow_latency,{key}={value}")),
    );
    arguments.extend_from_slice(&options.arguments);
    arguments
}

/// The port of `HOST:PORT`.
fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it ends with a port")
}
