//! A Triton server that the tool starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use triton_server_process::{Executable, Options, ServerProcess, error_in};

use super::control::Control;
use super::repository::LinkedRepository;

const SHOWN_LOG_LINES: usize = 6;

/// How the server is to be started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The executable `tritonserver`, 2.32 or newer.
    pub tritonserver: PathBuf,
    /// Where the models are. It is only read.
    pub model_repository: PathBuf,
    /// The models to measure, by the names of their folders.
    pub models: Vec<String>,
    /// Whether the server loads them at its start; else [`StartedServer::load`] does later.
    pub load_models: bool,
    /// Whether clients may use shared memory.
    pub shared_memory: bool,
    /// Further arguments for the server. Paths in them must be absolute, since it works in a folder of its own.
    /// Ports, addresses, repository and model control are set by the tool, and override these.
    pub arguments: Vec<String>,
}

/// A running server on free ports of 127.0.0.1. Dropping it stops it; it also ends when this process does.
#[derive(Debug)]
pub struct StartedServer {
    process: ServerProcess,
    pid: u32,
    control: Control,
    repository: LinkedRepository,
}

impl StartedServer {
    /// Starts a server and waits until it has loaded the models that it is to load, at most two minutes and as long as `go_on` returns no
    /// error.
    ///
    /// # Errors
    ///
    /// That of `go_on`; or the server cannot be started, a model is missing or cannot be loaded, or the server is not
    /// ready in time. The message holds the end of its log.
    pub fn start(options: &ServerOptions, go_on: impl Fn() -> Result<()>) -> Result<Self> {
        let mut start = Options::new(Executable::ask(&options.tritonserver)?, "triton-experiment-");
        start.client_shared_memory = options.shared_memory;
        let mut repository = None;
        let prepare = |folder: &Path| {
            let linked =
                LinkedRepository::new(folder.join("models"), &options.model_repository, &options.models)?;
            let mut arguments = options.arguments.clone();
            arguments.push(format!("--model-repository={}", linked.folder().display()));
            arguments.push("--model-control-mode=explicit".to_owned());
            let loaded = options.models.iter().filter(|_| options.load_models);
            arguments.extend(loaded.map(|model| format!("--load-model={model}")));
            repository = Some(linked);
            Ok(arguments)
        };
        let process = ServerProcess::start(&start, prepare, go_on)?;
        let control = Control::new(&process.http())?;
        // It may have been started by a script that stays.
        let pid = control.process_id().unwrap_or(process.pid());
        let repository = repository.context("the server was started without a repository")?;
        Ok(Self { process, pid, control, repository })
    }

    /// For requests about this server.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where its metrics are, in Prometheus's text format.
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.process.metrics())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its command line, the executable first.
    pub fn command(&self) -> &[String] {
        self.process.command()
    }

    /// None while it runs; else how it ended, and on the following lines the end of its log.
    pub fn ended(&self) -> Option<String> {
        let end = self.process.ended()?;
        let log = self.process.log_end(SHOWN_LOG_LINES);
        Some(format!("the server has ended ({end}); the end of its log:\n{log}"))
    }

    /// Loads or reloads a model, as [`Control::load`].
    ///
    /// # Errors
    ///
    /// Those of [`Control::load`], with the errors that the server has logged meanwhile: they give the reason of a failed
    /// load where its response does not.
    pub fn load(&self, model: &str, config: Option<&Value>) -> Result<()> {
        let before = self.process.log().len();
        self.control.load(model, config).map_err(|error| {
            let text = format!("{error:#}");
            let mut logged = self.errors_since(before);
            // Often the response ends with the same reason.
            logged.retain(|line| !line.rsplit(": ").next().is_some_and(|reason| text.contains(reason)));
            match logged.is_empty() {
                true => error,
                false => anyhow!("{text} (its log: {})", logged.join("; ")),
            }
        })
    }

    /// Gives a model another `config.pbtxt`, in the server's own repository; the models' own files stay as they are.
    /// It takes effect at the next load.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn rewrite_config(&self, model: &str, text: &str) -> Result<()> {
        self.repository.rewrite_config(model, text)
    }

    /// Undoes [`StartedServer::rewrite_config`], from the next load on.
    pub(super) fn restore_config(&self, model: &str) -> Result<()> {
        self.repository.restore_config(model)
    }

    /// The errors that the server has logged after the first `length` bytes, without their time stamps.
    fn errors_since(&self, length: usize) -> Vec<String> {
        let log = self.process.log();
        log.get(length..).unwrap_or_default().lines().filter_map(error_in).map(str::to_owned).collect()
    }
}
