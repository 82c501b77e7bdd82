//! The shell script that starts the server and makes sure that it ends.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Written by the guard when the server has ended.
const EXIT_CODE: &str = "exit-code";

/// Starts the server and waits for it. The guard's standard input is a pipe from the process that started it. The pipe
/// closes when the server is to stop, and also when that process is gone for any reason. The watcher, a process of its
/// own so that the shell can wait for the server meanwhile, then sends SIGTERM, and SIGKILL after the limit. The
/// folder stays until the pipe is closed, so that the log can be read, and is removed by the guard, because nobody
/// else may be left to do it.
const SCRIPT: &str = r#"
limit=$1 cgroup=$2
shift 2
[ -z "$cgroup" ] || echo $$ >"$cgroup/cgroup.procs" || exit
exec 3<&0
"$@" >>"$SERVER_LOG" 2>&1 </dev/null 3<&- &
server=$!
{
  read -r _ <&3
  process=$(cat "$SERVER_FOLDER/server.pid" || echo "$server")
  kill -TERM "$process"
  waited=0
  while [ "$waited" -lt "$limit" ]; do sleep 1; waited=$((waited + 1)); done
  kill -KILL "$process" "$server"
} >/dev/null 2>&1 &
watcher=$!
echo "$server"
wait "$server"
code=$?
kill "$watcher"
echo "$code" >"$SERVER_FOLDER/exit-code.new"
mv "$SERVER_FOLDER/exit-code.new" "$SERVER_FOLDER/exit-code"
read -r _ <&3
rm -rf -- "$SERVER_FOLDER"
exit "$code"
"#;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The guarding shell was killed, so nobody knows.
    Unknown,
}

impl End {
    fn of_shell(code: Option<i32>) -> Self {
        match code {
            // A shell passes on that a signal ended its child as 128 and the signal's number.
            Some(code) if code > 128 => Self::Signal(code - 128),
            Some(code) => Self::Code(code),
            None => Self::Unknown,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("its guarding shell was killed"),
        }
    }
}

/// The running script. Dropping it stops the server, waits for its end, and removes the folder.
#[derive(Debug)]
pub(crate) struct Guard {
    // Asking whether a child has ended takes it exclusively.
    shell: Mutex<Child>,
    folder: PathBuf,
}

impl Guard {
    /// Runs `command` in `folder`, which the guard owns from then on. Returns the guard and the process id of what it
    /// runs.
    pub fn start(
        folder: PathBuf,
        log: &Path,
        command: &[String],
        environment: &[(String, Option<std::ffi::OsString>)],
        cgroup: Option<&Path>,
        limit_s: u64,
    ) -> Result<(Self, u32)> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SCRIPT, "sh", &limit_s.to_string()])
            .arg(cgroup.unwrap_or(Path::new("")))
            .args(command)
            .env("SERVER_FOLDER", &folder)
            .env("SERVER_LOG", log)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for this process, which then stops the server in good order.
            .process_group(0);
        for (variable, value) in environment {
            match value {
                Some(value) => shell.env(variable, value),
                None => shell.env_remove(variable),
            };
        }
        let mut shell = shell.spawn().context("the shell 'sh', which starts the server, cannot be run")?;
        let output = shell.stdout.take().context("the shell has no output")?;
        // From here on an error stops the server.
        let guard = Self { shell: Mutex::new(shell), folder };
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .context("the shell that starts the server cannot be read")?;
        let pid =
            line.trim().parse().context("the shell that starts the server did not print a process id")?;
        Ok((guard, pid))
    }

    /// None while the server runs.
    pub fn ended(&self) -> Option<End> {
        if let Ok(code) = fs::read_to_string(self.folder.join(EXIT_CODE)) {
            return Some(End::of_shell(code.trim().parse().ok()));
        }
        let status = self.shell.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok()??;
        Some(End::of_shell(status.code()))
    }

    /// Stops the server and waits for its end.
    pub fn stop(&mut self) -> End {
        let shell = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(shell.stdin.take());
        let code = shell.wait().ok().and_then(|status| status.code());
        // A guard that was killed has left it.
        let _ = fs::remove_dir_all(&self.folder);
        End::of_shell(code)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn guarded(script: &str, limit_s: u64) -> (Guard, PathBuf) {
        let folder = tempfile::tempdir().unwrap().keep();
        let command = ["sh", "-c", script].map(str::to_owned);
        let (guard, _) =
            Guard::start(folder.clone(), &folder.join("log"), &command, &[], None, limit_s).unwrap();
        (guard, folder)
    }

    fn wait_for_end(guard: &Guard) -> End {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(end) = guard.ended() {
                return end;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_end_is_told_and_the_folder_stays_until_then() {
        for (script, end, words) in [
            ("echo gone; exit 3", End::Code(3), "exit code 3"),
            ("echo gone; kill -9 $$", End::Signal(9), "signal 9"),
        ] {
            let (mut guard, folder) = guarded(script, 1);
            assert_eq!(wait_for_end(&guard), end);
            assert_eq!(end.to_string(), words);
            assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "gone\n");
            assert_eq!(guard.stop(), end);
            assert!(!folder.exists());
        }
    }

    #[test]
    fn a_server_that_does_not_end_when_told_is_killed() {
        let (mut guard, folder) = guarded("trap '' TERM; while :; do sleep 1; done", 1);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(guard.ended(), None, "it runs as long as the pipe is open");
        assert_eq!(guard.stop(), End::Signal(9));
        assert!(!folder.exists());
    }

    #[test]
    fn sigterm_goes_to_the_process_that_a_wrapper_names() {
        let wrapper =
            "sh -c 'trap \"exit 7\" TERM; while :; do sleep 0.1; done' & echo $! >server.pid; wait $!";
        let (mut guard, folder) = guarded(wrapper, 5);
        while !folder.join("server.pid").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(guard.stop(), End::Code(7));
    }
}
