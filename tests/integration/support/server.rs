//! A real Triton server: started in a folder of its own on free ports of this machine, stopped by its process
//! id.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::capabilities::options_of_this_server;
use super::config::ModelConfig;
use super::environment::environment;
use super::http::Client;
use super::repository::{SavedModel, scratch_folder, write_model};

/// Starts the server and stays with it. Its standard input is a pipe from the test process: when that closes,
/// be it because the test stops the server or because the test process is gone for whatever reason, the
/// server is told to end, and killed when it does not. So no server outlives the tests, shared ones included.
///
/// `TL_TRITONSERVER` may start the server elsewhere, in a container for example. It then writes the server's
/// process id to `server.pid` in the server's folder, and ends when the server does, with its exit code.
const GUARD: &str = r#"
[ -z "$SERVER_CGROUP" ] || echo $$ >"$SERVER_CGROUP/cgroup.procs" || exit
"$@" >>"$SERVER_LOG" 2>&1 &
server=$!
echo "$server"
read -r _
process=$(cat "$SERVER_FOLDER/server.pid" 2>/dev/null || echo "$server")
kill -TERM "$process" 2>/dev/null
(sleep 60; kill -KILL "$process" "$server") >/dev/null 2>&1 &
killer=$!
wait "$server"
code=$?
kill "$killer" 2>/dev/null
rm -rf -- "$SERVER_FOLDER"
exit "$code"
"#;

/// How the server is to be started.
pub struct Options {
    backend_config: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    backend_in_directory: bool,
    tensorflow_option: bool,
    ships_tensorflow: bool,
    beside_backend: Vec<(PathBuf, String)>,
    metrics: bool,
    cgroup: Option<PathBuf>,
}

impl Options {
    /// The backend in the backend directory, TensorFlow by the option `tensorflow-dir`, explicit model
    /// control.
    pub fn new() -> Self {
        Self {
            backend_config: Vec::new(),
            environment: Vec::new(),
            backend_in_directory: true,
            tensorflow_option: true,
            ships_tensorflow: false,
            beside_backend: Vec::new(),
            metrics: false,
            cgroup: None,
        }
    }

    /// An option of the backend, as in `--backend-config=tensorflow_latency,KEY=VALUE`.
    pub fn backend_config(mut self, key: &str, value: &str) -> Self {
        self.backend_config.push((key.to_owned(), value.to_owned()));
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

    /// In the control group of this folder.
    pub fn cgroup(mut self, folder: &Path) -> Self {
        self.cgroup = Some(folder.to_path_buf());
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
    folder: PathBuf,
    guard: Child,
    pid: Pid,
    http_port: u16,
    grpc_port: u16,
    metrics_port: u16,
    client: Client,
}

impl Server {
    /// Starts a server with an empty repository and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not come up; the message holds the end of its log.
    pub fn start(options: Options) -> Self {
        // Between the choice of a free port and the server's bind another process may take the port; the
        // server then gives up and we choose again.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::try_start(&options) {
                Ok(server) => return server,
                Err(text) => log = text,
            }
        }
        panic!("the Triton server did not start in five attempts; the end of its log:\n{}", tail(&log));
    }

    fn try_start(options: &Options) -> Result<Self, String> {
        let folder =
            TempDir::with_prefix_in("server-", scratch_folder()).expect("the target folder can be written");
        // From here on the guard owns the folder.
        let folder = folder.keep();
        let backend_folder = folder.join("backends/tensorflow_latency");
        std::fs::create_dir_all(folder.join("repository")).expect("the target folder can be written");
        std::fs::create_dir_all(&backend_folder).expect("the target folder can be written");
        if options.backend_in_directory {
            place_backend(&backend_folder);
        }
        for (target, name) in &options.beside_backend {
            std::os::unix::fs::symlink(target, backend_folder.join(name))
                .expect("the target folder can be written");
        }

        let [http_port, grpc_port, metrics_port] = free_ports();
        let id = format!("tests-{}-{http_port}", std::process::id());
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "sh"])
            .arg(&environment().tritonserver)
            .arg(format!("--model-repository={}", folder.join("repository").display()))
            .arg(format!("--backend-directory={}", folder.join("backends").display()))
            .args(["--model-control-mode=explicit", "--exit-timeout-secs=30"])
            .args(options_of_this_server())
            .args([
                format!("--http-port={http_port}"),
                format!("--grpc-port={grpc_port}"),
                format!("--metrics-port={metrics_port}"),
                format!("--allow-metrics={}", options.metrics),
                format!("--id={id}"),
            ])
            .env_remove("TENSORFLOW_DIR")
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("ONEDNN_DEFAULT_FPMATH_MODE")
            .env_remove("DNNL_DEFAULT_FPMATH_MODE")
            .env("SERVER_LOG", folder.join("server.log"))
            .env("SERVER_FOLDER", &folder)
            .env("SERVER_CGROUP", options.cgroup.as_deref().unwrap_or(Path::new("")))
            .env("SERVER_VARIABLES", options.variables())
            .env("SERVER_SHIPS_TENSORFLOW", if options.ships_tensorflow { "1" } else { "" })
            .envs(options.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt from the keyboard must reach the tests only, so that the guard can do its work.
            .process_group(0);
        if options.tensorflow_option {
            let directory = environment().tensorflow_dir.display();
            command.arg(format!("--backend-config=tensorflow_latency,tensorflow-dir={directory}"));
        }
        for (key, value) in &options.backend_config {
            command.arg(format!("--backend-config=tensorflow_latency,{key}={value}"));
        }
        File::create(folder.join("server.log")).expect("the target folder can be written");

        let mut guard = command.spawn().expect("a shell can be started");
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("stdout is a pipe"))
            .read_line(&mut line)
            .expect("the guard speaks");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("the guard prints the process id");
        let mut server =
            Self { folder, guard, pid, http_port, grpc_port, metrics_port, client: Client::new(http_port) };

        let deadline = Instant::now() + Duration::from_secs(60);
        while server.is_running() && Instant::now() < deadline {
            // The name is compared because another server may hold the port, and would answer.
            if let Ok((200, text)) = server.client.get("/v2")
                && text.contains(&id)
                && matches!(server.client.get("/v2/health/ready"), Ok((200, _)))
            {
                if let Ok(text) = std::fs::read_to_string(server.folder.join("server.pid")) {
                    server.pid = text.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
                }
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(server.log())
    }

    /// A client of this server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `HOST:PORT` for the client scripts.
    pub fn http_url(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// `HOST:PORT` for the client scripts.
    pub fn grpc_url(&self) -> String {
        format!("127.0.0.1:{}", self.grpc_port)
    }

    /// The server's metrics now, a line each. It has to be started with [`Options::metrics`].
    pub fn metrics(&self) -> Vec<String> {
        let (status, text) = Client::new(self.metrics_port).get("/metrics").expect("the server has metrics");
        assert_eq!(status, 200, "the server's metrics: {text}");
        text.lines().map(str::to_owned).collect()
    }

    /// The folder of the model repository.
    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
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

    /// Where the server writes to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// All that the server wrote so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
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
        // After the name in parentheses comes the state; Z is a process that has ended and waits for its
        // parent.
        std::fs::read_to_string(self.proc("stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z')))
            .is_some_and(|ended| !ended)
    }

    /// A file or folder in which the kernel tells of the server's process.
    pub fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.as_raw_nonzero().to_string()).join(file)
    }

    /// The folder where the server looks for backends.
    pub fn backends(&self) -> PathBuf {
        self.folder.join("backends")
    }

    /// Sends SIGTERM and returns at once.
    pub fn signal_end(&self) {
        kill_process(self.pid, Signal::TERM).expect("the server runs");
    }

    /// Stops the server and waits; its exit code.
    pub fn stop(mut self) -> i32 {
        self.end()
    }

    fn end(&mut self) -> i32 {
        // The server does not end while a client keeps a connection, and the client keeps them for its next
        // request.
        self.client = Client::new(self.http_port);
        drop(self.guard.stdin.take());
        self.guard.wait().ok().and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        show_log_if_failing(self);
        self.end();
    }
}

/// Prints the end of the log when the current test is failing.
pub fn show_log_if_failing(server: &Server) {
    if std::thread::panicking() {
        let state = if server.is_running() { "runs" } else { "has ended" };
        eprintln!("the server {state}; the end of its log:\n{}", tail(&server.log()));
    }
}

/// Puts the backend under test into `folder`.
pub fn place_backend(folder: &Path) {
    let target = folder.join("libtriton_tensorflow_latency.so");
    std::fs::copy(&environment().backend, target).expect("the backend can be copied");
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are chosen, so that they differ.
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("there is a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
