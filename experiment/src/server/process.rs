//! A Triton server of the tool's own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::control::Control;
use super::repository::LinkedRepository;

const PORT_ATTEMPTS: usize = 5;
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// What the server gives requests in flight when it is told to end, and what it then gets for the rest.
const EXIT_SECONDS: u32 = 10;
const KILL_SECONDS: u32 = EXIT_SECONDS + 10;
const SHOWN_LOG_LINES: usize = 6;
const LOG: &str = "server.log";

/// Starts the server and stays with it; ends as the server ends, with its exit code. Its standard input is a
/// pipe from this process: when that closes, be it because the server is to stop or because this process is gone
/// for whatever reason, the server is told to end, and killed when it does not. Its folder goes with it, for then
/// nobody else may be there to remove it. The watcher is a process of its
/// own so that the shell can wait for the server meanwhile.
const GUARD: &str = r#"
folder=$1 limit=$2
shift 2
exec 3<&0
"$@" >>server.log 2>&1 </dev/null 3<&- &
server=$!
{
  read -r _ <&3
  : >stopping
  kill -TERM "$server"
  waited=0
  while [ "$waited" -lt "$limit" ]; do sleep 1; waited=$((waited + 1)); done
  kill -KILL "$server"
} >/dev/null 2>&1 &
watcher=$!
exec 3<&-
echo "$server"
wait "$server"
code=$?
kill "$watcher" 2>/dev/null
test -e stopping && rm -rf -- "$folder"
exit "$code"
"#;

/// How the server is to be started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The executable `tritonserver`, 2.32 or newer.
    pub tritonserver: PathBuf,
    /// Where the models are. It is only read.
    pub model_repository: PathBuf,
    /// Models to load, by the names of their folders.
    pub models: Vec<String>,
    /// Further arguments for the server. Paths in them must be absolute, since it works in a folder of its own.
    /// Ports, addresses, repository and model control are the tool's; these come last, and win.
    pub arguments: Vec<String>,
}

/// A running server on free ports of 127.0.0.1. Dropping it stops it; it also ends when this process does.
#[derive(Debug)]
pub struct ServerProcess {
    // Asking how a process fares takes it exclusively, and who asks for that holds only a reference.
    guard: Mutex<Child>,
    pid: u32,
    id: String,
    command: Vec<String>,
    control: Control,
    metrics_port: u16,
    repository: LinkedRepository,
    // Dropped last, after the server has stopped.
    folder: TempDir,
}

impl ServerProcess {
    /// Starts a server and waits until it has loaded the models, at most two minutes and as long as `go_on` has no
    /// error.
    ///
    /// # Errors
    ///
    /// That of `go_on`. When it cannot be started, a model is not there or cannot be loaded, or it is not ready in time. The
    /// message holds the end of its log.
    pub fn start(options: &ServerOptions, go_on: impl Fn() -> Result<()>) -> Result<Self> {
        ensure!(
            options.tritonserver.is_file(),
            "there is no Triton server at '{}'; name the executable 'tritonserver'",
            options.tritonserver.display()
        );
        for attempt in 1.. {
            let mut server = Self::spawn(options)?;
            match server.wait_until_ready(&go_on) {
                Ok(()) => return Ok(server),
                // Between the choice of a port and the server's binding it, somebody else may have taken it.
                Err(_) if attempt < PORT_ATTEMPTS && server.log().contains("already in use") => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn spawn(options: &ServerOptions) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("triton-experiment-")
            .tempdir()
            .context("no temporary folder can be made for the server; TMPDIR names another place for it")?;
        let repository =
            LinkedRepository::new(folder.path().join("models"), &options.model_repository, &options.models)?;
        let [http_port, grpc_port, metrics_port] = free_ports()?;
        let id = format!("triton-experiment-{}-{http_port}", std::process::id());
        let executable = std::path::absolute(&options.tritonserver)?;
        let mut command = vec![executable.display().to_string()];
        command.extend(options.arguments.iter().cloned());
        command.extend([
            format!("--model-repository={}", repository.folder().display()),
            "--model-control-mode=explicit".to_owned(),
            "--http-address=127.0.0.1".to_owned(),
            "--grpc-address=127.0.0.1".to_owned(),
            "--metrics-address=127.0.0.1".to_owned(),
            format!("--http-port={http_port}"),
            format!("--grpc-port={grpc_port}"),
            format!("--metrics-port={metrics_port}"),
            format!("--exit-timeout-secs={EXIT_SECONDS}"),
            format!("--id={id}"),
        ]);
        command.extend(options.models.iter().map(|model| format!("--load-model={model}")));

        let log = folder.path().join(LOG);
        File::create(&log).with_context(|| format!("'{}' cannot be written", log.display()))?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(folder.path())
            .arg(KILL_SECONDS.to_string())
            .args(&command)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for this process, which then stops the server in good order.
            .process_group(0)
            .spawn()
            .context("the shell 'sh', which starts the server, cannot be run")?;
        let mut line = String::new();
        let output = guard.stdout.take().context("the shell has no output")?;
        BufReader::new(output)
            .read_line(&mut line)
            .context("the shell that starts the server says nothing")?;
        let pid =
            line.trim().parse().context("the shell that starts the server does not name its process")?;
        let control = Control::new(&format!("127.0.0.1:{http_port}"))?;
        Ok(Self { guard: Mutex::new(guard), pid, id, command, control, metrics_port, repository, folder })
    }

    fn wait_until_ready(&mut self, go_on: &impl Fn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            go_on()?;
            if let Some(how) = self.ended() {
                bail!("the server did not start: {how}");
            }
            // The name is compared because another server may hold the port, and would answer.
            if self.control.is_server_ready()
                && self.control.metadata().is_ok_and(|server| server.name == self.id)
            {
                // It may have been started by a script that stays.
                self.pid = self.control.process_id().unwrap_or(self.pid);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "the server was not ready after {} s; the end of its log:\n{}",
            READY_TIMEOUT.as_secs(),
            explanation(&self.log())
        )
    }

    /// For requests about this server.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where its metrics are, in Prometheus's text format.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its command line, the executable first.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// None while it runs; else how it ended, and on the following lines the end of its log.
    pub fn ended(&self) -> Option<String> {
        let end = self.guard.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok()??;
        // A shell passes on that a signal ended its child as 128 and the signal's number.
        let how = match end.code() {
            Some(code) if code > 128 => format!("signal {}", code - 128),
            Some(code) => format!("exit code {code}"),
            None => "its guarding shell was killed".to_owned(),
        };
        Some(format!("the server has ended ({how}); the end of its log:\n{}", explanation(&self.log())))
    }

    /// Gives a model another `config.pbtxt`, in the server's own repository; the models' own files stay as they
    /// are. It counts from the next load on.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn rewrite_config(&self, model: &str, text: &str) -> Result<()> {
        self.repository.rewrite_config(model, text)
    }

    /// Undoes [`ServerProcess::rewrite_config`], from the next load on.
    pub(super) fn restore_config(&self, model: &str) -> Result<()> {
        self.repository.restore_config(model)
    }

    /// How much the server has logged, in bytes.
    pub(super) fn log_length(&self) -> usize {
        self.log().len()
    }

    /// The errors that the server has logged after the first `length` bytes, without their time stamps. They say
    /// why a load failed where the answer to it does not.
    pub(super) fn errors_since(&self, length: usize) -> Vec<String> {
        self.log().get(length..).unwrap_or_default().lines().filter_map(error_in).map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(guard.stdin.take());
        // The guard ends with the server, which it kills if need be.
        let _ = guard.wait();
    }
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until all are chosen, so that they differ.
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port on 127.0.0.1")?;
        *port = listener.local_addr().context("a bound socket has no address")?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// What of a log explains an end: the last errors and the last lines. Tables say nothing about it.
fn explanation(log: &str) -> String {
    let lines: Vec<&str> =
        log.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['|', '+'])).collect();
    let (before, end) = lines.split_at(lines.len().saturating_sub(SHOWN_LOG_LINES));
    let errors: Vec<&str> = before.iter().filter(|line| error_in(line).is_some()).copied().collect();
    let errors = &errors[errors.len().saturating_sub(SHOWN_LOG_LINES)..];
    [errors, end].concat().join("\n")
}

/// The message of `E1123 13:25:04.824861 23262 file.cc:1460] "message"` or
/// `[libprotobuf ERROR file.cc:335] message`.
fn error_in(line: &str) -> Option<&str> {
    let (prefix, message) = line.split_once("] ")?;
    let of_server =
        prefix.strip_prefix('E').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (of_server || prefix.starts_with("[libprotobuf ERROR")).then(|| {
        let message = message.trim();
        message.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }

    /// A shell in place of the server: it runs `script`, and takes the server's options for its own arguments.
    fn start_shell(script: &str) -> String {
        let models = tempfile::tempdir().unwrap();
        let options = ServerOptions {
            tritonserver: "/bin/sh".into(),
            model_repository: models.path().to_owned(),
            models: Vec::new(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        };
        ServerProcess::start(&options, || Ok(())).unwrap_err().to_string()
    }

    #[test]
    fn only_a_taken_port_is_a_reason_to_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let starts = || fs::read_to_string(&count).unwrap().lines().count();

        let note = format!("echo started >>'{}'", count.display());
        let error = start_shell(&format!("{note}; echo \"Socket '127.0.0.1:1' already in use\"; exit 3"));
        assert!(error.contains("(exit code 3)") && error.contains("already in use"), "{error}");
        assert_eq!(starts(), PORT_ATTEMPTS);

        let error = start_shell(&format!("{note}; echo no reason given; kill -9 $$"));
        assert!(error.contains("(signal 9)") && error.contains("no reason given"), "{error}");
        assert_eq!(starts(), PORT_ATTEMPTS + 1);
    }

    #[test]
    fn a_server_that_does_not_end_when_told_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(folder.path())
            .arg("1")
            .args(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(guard.try_wait().unwrap().is_none(), "it runs as long as the pipe is open");
        drop(guard.stdin.take());
        assert_eq!(guard.wait().unwrap().code(), Some(128 + 9));
        assert!(!folder.path().exists());
    }

    #[test]
    fn of_a_log_the_end_is_shown_and_the_errors_before() {
        let lines: String = (1..=20).map(|number| format!("line {number}\n\n")).collect();
        let log = format!("first\nE1123 13:25:04.8 7 a.cc:1] \"reason\"\n{lines}| table |\n+---+\n");
        let expected: Vec<String> = (15..=20).map(|number| format!("line {number}")).collect();
        assert_eq!(
            explanation(&log),
            format!("E1123 13:25:04.8 7 a.cc:1] \"reason\"\n{}", expected.join("\n"))
        );
        assert_eq!(explanation("one"), "one");
    }

    #[test]
    fn errors_are_told_from_other_lines() {
        let of_server = r#"E1123 13:25:04.824861 7 model_repository_manager.cc:1460] "Poll failed""#;
        assert_eq!(error_in(of_server), Some("Poll failed"));
        assert_eq!(error_in("[libprotobuf ERROR text_format.cc:335] 1:2: no field"), Some("1:2: no field"));
        assert_eq!(error_in(r#"I1123 13:25:04.1 7 a.cc:1] "fine""#), None);
        assert_eq!(error_in("Error: something else] x"), None);
    }
}
