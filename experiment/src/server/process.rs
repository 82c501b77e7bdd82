//! A server of the tool's own: started in a temporary folder on free ports of this machine, stopped by its process id.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::control::Control;

/// Starts the server and stays with it. Its standard input is a pipe from the tool: when that closes, be it because the
/// tool stops the server or because the tool is gone for whatever reason, the server is told to end, and killed when it
/// does not. So no server outlives the tool.
const GUARD: &str = r#"
"$@" >>"$SERVER_LOG" 2>&1 </dev/null &
server=$!
echo "$server"
read -r _
kill -TERM "$server" 2>/dev/null
(sleep 30; kill -KILL "$server") >/dev/null 2>&1 &
killer=$!
wait "$server"
code=$?
kill "$killer" 2>/dev/null
rm -rf -- "$SERVER_FOLDER"
exit "$code"
"#;

/// Between the choice of a free port and the server's bind another process may take it.
const ATTEMPTS: usize = 5;

/// Time to load the models.
const READY: Duration = Duration::from_secs(300);

const LOG_LINES: usize = 15;

/// What to start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The executable.
    pub tritonserver: PathBuf,
    /// The folder of the models. Its files stay as they are.
    pub model_repository: PathBuf,
    /// The models to load.
    pub models: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A running server. It is stopped when this is dropped: requests in flight get ten seconds.
pub struct ServerProcess {
    guard: Mutex<Child>,
    pid: u32,
    folder: TempDir,
    command: Vec<String>,
    control: Control,
    metrics_url: String,
}

impl ServerProcess {
    /// Starts a server with these models and no others, and waits until it is ready.
    ///
    /// # Errors
    /// The executable or a model is not there, or the server does not become ready; with the end of its log.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        ensure!(
            options.tritonserver.is_file(),
            "--tritonserver {}: there is no such file",
            options.tritonserver.display()
        );
        for attempt in 1.. {
            let mut server = Self::launch(options)?;
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(error) => {
                    let taken = server.log().contains("in use");
                    if !taken || attempt == ATTEMPTS {
                        return Err(error);
                    }
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    fn launch(options: &ServerOptions) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("triton-experiment-").tempdir().context("no temporary folder")?;
        let repository = folder.path().join("models");
        for model in &options.models {
            link_model(&options.model_repository.join(model), &repository.join(model))
                .with_context(|| format!("the model '{model}' of {}", options.model_repository.display()))?;
        }
        let [http, grpc, metrics] = free_ports()?;
        let mut command = vec![
            absolute(&options.tritonserver)?,
            format!("--model-repository={}", repository.display()),
            "--model-control-mode=explicit".to_owned(),
            "--http-address=127.0.0.1".to_owned(),
            format!("--http-port={http}"),
            "--grpc-address=127.0.0.1".to_owned(),
            format!("--grpc-port={grpc}"),
            format!("--metrics-port={metrics}"),
            "--exit-timeout-secs=10".to_owned(),
        ];
        command.extend(options.models.iter().map(|model| format!("--load-model={model}")));
        command.extend(options.arguments.iter().cloned());

        let log = folder.path().join("server.log");
        File::create(&log).context("the temporary folder cannot be written")?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "sh"])
            .args(&command)
            .env("SERVER_LOG", &log)
            .env("SERVER_FOLDER", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Where the shell would say that the server was killed.
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for the tool, which then stops the server.
            .process_group(0)
            .spawn()
            .context("/bin/sh cannot be started")?;
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
        let pid = line.trim().parse().context("the server could not be started")?;
        Ok(Self {
            guard: Mutex::new(guard),
            pid,
            folder,
            command,
            control: Control::new(&format!("127.0.0.1:{http}"))?,
            metrics_url: format!("http://127.0.0.1:{metrics}/metrics"),
        })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        // The process is compared because another server may have the port, and would answer.
        while !(self.control.is_ready() && self.control.process_id() == Some(self.pid)) {
            if let Some(how) = self.ended() {
                bail!("the server did not start: {how}");
            }
            ensure!(
                Instant::now() < deadline,
                "the server was not ready after {} s; {}",
                READY.as_secs(),
                self.log_end()
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Its control plane.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Its Prometheus endpoint.
    pub fn metrics_url(&self) -> String {
        self.metrics_url.clone()
    }

    /// The process of the server itself.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its command line.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// None while it runs; else how it ended, with the end of its log.
    pub fn ended(&self) -> Option<String> {
        // After the name in parentheses comes the state; Z is a process that has ended and waits for its parent.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        if state.is_some_and(|state| !state.starts_with('Z')) {
            return None;
        }
        // The log goes with the guard, which cleans up when it is told to end.
        let end = self.log_end();
        let mut guard = self.guard.lock().expect("no thread fails while it holds the guard");
        drop(guard.stdin.take());
        let code = guard.wait().ok().and_then(|status| status.code());
        Some(match code {
            Some(code) if code > 128 => format!("signal {}; {end}", code - 128),
            Some(code) => format!("exit code {code}; {end}"),
            None => end,
        })
    }

    /// Replaces the model's `config.pbtxt` in the temporary repository; loading the model anew brings it into force.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rewrite_config(&self, model: &str, text: &str) -> Result<()> {
        let file = self.config_file(model);
        // It may be a link to the user's own, which stays as it is.
        let _ = fs::remove_file(&file);
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Takes a rewritten `config.pbtxt` back: the user's own again, or none.
    ///
    /// # Errors
    /// The temporary repository cannot be written.
    pub fn restore_config(&self, model: &str, repository: &Path) -> Result<()> {
        let file = self.config_file(model);
        let _ = fs::remove_file(&file);
        let original = repository.join(model).join("config.pbtxt");
        if original.exists() {
            symlink(absolute(&original)?, &file)
                .with_context(|| format!("{} cannot be made", file.display()))?;
        }
        Ok(())
    }

    fn config_file(&self, model: &str) -> PathBuf {
        self.folder.path().join("models").join(model).join("config.pbtxt")
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("the end of its log:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().expect("no thread fails while it holds the guard");
        drop(guard.stdin.take());
        let _ = guard.wait();
    }
}

/// A folder with links to all that is in a model's folder, so that its `config.pbtxt` can be another one.
fn link_model(source: &Path, target: &Path) -> Result<()> {
    let entries =
        fs::read_dir(source).with_context(|| format!("the folder {} cannot be read", source.display()))?;
    fs::create_dir_all(target)?;
    for entry in entries {
        let entry = entry?;
        symlink(absolute(&entry.path())?, target.join(entry.file_name()))?;
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<String> {
    let absolute = fs::canonicalize(path).with_context(|| format!("{} cannot be found", path.display()))?;
    Ok(absolute.display().to_string())
}

fn free_ports() -> Result<[u16; 3]> {
    // All are held until all are chosen, so that they differ.
    let listeners = [bind()?, bind()?, bind()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn bind() -> Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").context("there is no free port")
}
