//! A running server.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use ureq::Agent;

use crate::guard::{End, Guard};
use crate::log;
use crate::options::Options;

const PORT_ATTEMPTS: usize = 5;
const LOG: &str = "server.log";
/// Lines of the log, and errors before them, in an error message.
const SHOWN_LINES: usize = 6;
const HOST: &str = "127.0.0.1";

/// A running server on free ports of 127.0.0.1. Dropping it stops it; it also ends when this process does.
#[derive(Debug)]
pub struct ServerProcess {
    guard: Guard,
    pid: u32,
    command: Vec<String>,
    ports: Ports,
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    grpc: u16,
    metrics: u16,
}

impl ServerProcess {
    /// Starts a server and waits until it is ready, as long as `go_on` has no error.
    ///
    /// `prepare` fills the server's new folder and returns the server's arguments, such as the model repository. Paths
    /// in them are absolute. Ports, addresses, id and exit timeout are set here: they come last, and win. `prepare` is
    /// called again with another folder if somebody else takes one of the ports before the server does.
    ///
    /// # Errors
    ///
    /// Those of `prepare` and `go_on`; or the server cannot be started, ends, or is not ready in time. Then the message
    /// holds the end of its log.
    pub fn start(
        options: &Options,
        mut prepare: impl FnMut(&Path) -> Result<Vec<String>>,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        for attempt in 1.. {
            let mut server = Self::spawn(options, &mut prepare)?;
            match server.wait_until_ready(options.ready_timeout, &go_on) {
                Ok(()) => return Ok(server),
                Err(_) if attempt < PORT_ATTEMPTS && server.log().contains("already in use") => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn spawn(options: &Options, prepare: &mut impl FnMut(&Path) -> Result<Vec<String>>) -> Result<Self> {
        let mut new = tempfile::Builder::new();
        // The log and the configuration of a server are nobody else's business.
        new.prefix(&options.name).permissions(fs::Permissions::from_mode(0o700));
        let folder = match &options.parent {
            Some(parent) => new.tempdir_in(parent),
            None => new.tempdir(),
        }
        .context("no temporary folder can be made for the server; TMPDIR names another place for it")?;
        let arguments = prepare(folder.path())?;
        let ports = Ports::free()?;
        let command = command(options, arguments, ports);
        let log = folder.path().join(LOG);
        File::create(&log).with_context(|| format!("'{}' cannot be written", log.display()))?;
        // The guard removes it.
        let folder = folder.keep();
        let (guard, pid) = Guard::start(
            folder.clone(),
            &log,
            &command,
            &options.environment,
            options.cgroup.as_deref(),
            options.exit_timeout.as_secs() * 2,
        )?;
        Ok(Self { guard, pid, command, ports, folder })
    }

    fn wait_until_ready(&mut self, timeout: Duration, go_on: &impl Fn() -> Result<()>) -> Result<()> {
        // Another server may hold the port, and would answer.
        let id = self.command.last().and_then(|id| id.strip_prefix("--id=")).unwrap_or_default().to_owned();
        let (agent, url) = (agent(), format!("http://{}", self.http()));
        let get = |path: &str| -> Option<String> {
            agent.get(format!("{url}{path}")).call().ok()?.into_body().read_to_string().ok()
        };
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            go_on()?;
            if let Some(end) = self.guard.ended() {
                bail!("the server did not start ({end}); the end of its log:\n{}", self.log_end(SHOWN_LINES));
            }
            if get("/v2/health/ready").is_some() && get("/v2").is_some_and(|about| about.contains(&id)) {
                if let Ok(pid) = fs::read_to_string(self.folder.join("server.pid")) {
                    self.pid = pid.trim().parse().context("'server.pid' does not hold a process id")?;
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "the server was not ready after {} s; the end of its log:\n{}",
            timeout.as_secs(),
            self.log_end(SHOWN_LINES)
        )
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its command line, the executable first.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// `127.0.0.1:PORT` of its HTTP endpoint.
    pub fn http(&self) -> String {
        format!("{HOST}:{}", self.ports.http)
    }

    /// `127.0.0.1:PORT` of its gRPC endpoint.
    pub fn grpc(&self) -> String {
        format!("{HOST}:{}", self.ports.grpc)
    }

    /// `127.0.0.1:PORT` of its metrics endpoint.
    pub fn metrics(&self) -> String {
        format!("{HOST}:{}", self.ports.metrics)
    }

    /// Its folder, which is also its working directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file it logs to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last `count` lines of its log, and the last `count` errors before them.
    pub fn log_end(&self, count: usize) -> String {
        log::end(&self.log(), count)
    }

    /// Whether its process is there and has not ended.
    pub fn is_running(&self) -> bool {
        // After the name in parentheses comes the state; Z is a process that has ended and waits for its parent.
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z')))
            .is_some_and(|ended| !ended)
    }

    /// How it ended; none while it runs, and for a moment after.
    pub fn ended(&self) -> Option<End> {
        self.guard.ended()
    }

    /// Sends SIGTERM and returns at once.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(pid, Signal::TERM).context("the server cannot be told to end")
    }

    /// Stops it and waits for its end, as dropping it does. Its log goes with its folder.
    pub fn stop(&mut self) -> End {
        self.guard.stop()
    }
}

impl Ports {
    fn free() -> Result<Self> {
        // All are held until all are chosen, so that they differ.
        let listen = || TcpListener::bind((HOST, 0)).context("there is no free port on 127.0.0.1");
        let (http, grpc, metrics) = (listen()?, listen()?, listen()?);
        let port = |of: &TcpListener| of.local_addr().map(|address| address.port());
        Ok(Self { http: port(&http)?, grpc: port(&grpc)?, metrics: port(&metrics)? })
    }
}

/// The command line. It ends with the id.
fn command(options: &Options, arguments: Vec<String>, ports: Ports) -> Vec<String> {
    let Options { executable, name, metrics, .. } = options;
    let mut command = vec![executable.path().display().to_string()];
    command.extend(arguments);
    for option in ["--http-address", "--grpc-address", "--metrics-address"] {
        if executable.has_option(option) {
            command.push(format!("{option}={HOST}"));
        }
    }
    if options.client_shared_memory && executable.has_option("--allow-client-shm") {
        command.push("--allow-client-shm=true".to_owned());
    }
    if !metrics {
        command.push("--allow-metrics=false".to_owned());
    }
    command.extend([
        format!("--http-port={}", ports.http),
        format!("--grpc-port={}", ports.grpc),
        format!("--metrics-port={}", ports.metrics),
        format!("--exit-timeout-secs={}", options.exit_timeout.as_secs()),
        format!("--id={name}{}-{}", std::process::id(), ports.http),
    ]);
    command
}

fn agent() -> Agent {
    Agent::config_builder()
        // A kept connection would make the server wait for it when it is to end.
        .max_idle_connections(0)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(2)))
        .build()
        .new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executable::Executable;

    /// The options for a script in place of the server, whose help names these options too.
    fn scripted(folder: &Path, options: &str, script: &str) -> Options {
        let file = folder.join("tritonserver");
        let help = format!("[ \"$1\" = --help ] && {{ echo --model-repository {options}; exit 1; }}");
        fs::write(&file, format!("#!/bin/sh\n{help}\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Options::new(Executable::ask(&file).unwrap(), "test-")
    }

    fn start(options: &Options) -> Result<ServerProcess> {
        ServerProcess::start(options, |_| Ok(Vec::new()), || Ok(()))
    }

    #[test]
    fn only_a_taken_port_is_a_reason_to_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let starts = || fs::read_to_string(&count).unwrap().lines().count();

        let note = format!("echo started >>'{}'", count.display());
        let script = format!("{note}; echo \"Socket '127.0.0.1:1' already in use\"; exit 3");
        let error = start(&scripted(folder.path(), "", &script)).unwrap_err().to_string();
        assert!(error.contains("(exit code 3)") && error.contains("already in use"), "{error}");
        assert_eq!(starts(), PORT_ATTEMPTS);

        let script = format!("{note}; echo no reason given; kill -9 $$");
        let error = start(&scripted(folder.path(), "", &script)).unwrap_err().to_string();
        assert!(error.contains("(signal 9)") && error.contains("no reason given"), "{error}");
        assert_eq!(starts(), PORT_ATTEMPTS + 1);
    }

    #[test]
    fn a_server_that_does_not_get_ready_is_stopped_and_its_log_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = scripted(folder.path(), "", "echo still loading; exec sleep 60");
        options.ready_timeout = Duration::from_millis(300);
        options.parent = Some(folder.path().to_owned());
        let error = start(&options).unwrap_err().to_string();
        assert!(error.contains("not ready after 0 s") && error.ends_with("still loading"), "{error}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["tritonserver"], "its folder is gone");
    }

    #[test]
    fn an_option_that_not_every_release_has_is_given_only_where_the_help_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let line = |known: &str, wanted: bool| {
            let mut options = scripted(folder.path(), known, "exit");
            options.client_shared_memory = wanted;
            command(&options, vec!["--load-model=m".to_owned()], Ports { http: 1, grpc: 2, metrics: 3 })
                .join(" ")
        };
        let old = line("", true);
        assert!(!old.contains("address") && !old.contains("shm") && old.contains("--http-port=1"), "{old}");
        let new = "--http-address --grpc-address --metrics-address --allow-client-shm";
        assert!(!line(new, false).contains("shm"));
        let new = line(new, true);
        assert!(
            new.contains("--http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1")
        );
        assert!(
            new.contains("--allow-client-shm=true") && new.contains("tritonserver --load-model=m"),
            "{new}"
        );
    }

    #[test]
    fn nobody_else_can_look_into_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let options = scripted(folder.path(), "", "exit");
        let mut mode = 0;
        let looked = |folder: &Path| {
            mode = fs::metadata(folder)?.permissions().mode();
            Ok(Vec::new())
        };
        ServerProcess::start(&options, looked, || Ok(())).unwrap_err();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn whoever_waits_may_give_up() {
        let folder = tempfile::tempdir().unwrap();
        let options = scripted(folder.path(), "", "exec sleep 60");
        let error = ServerProcess::start(&options, |_| Ok(Vec::new()), || bail!("interrupted")).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }

    #[test]
    fn free_ports_differ() {
        let Ports { http, grpc, metrics } = Ports::free().unwrap();
        assert!(http != grpc && grpc != metrics && http != metrics);
    }
}
