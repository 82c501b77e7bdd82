//! How a server is started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::executable::Executable;

/// How a server is started. Everything but the executable has a default.
#[derive(Clone, Debug)]
pub struct Options {
    /// The executable, or a wrapper of it.
    pub executable: Executable,
    /// What the server's folder and its `--id` begin with.
    pub name: String,
    /// Where the server's folder is made. Default: the system's folder for temporary files.
    pub parent: Option<PathBuf>,
    /// Changes to the environment of this process, which the server inherits: a variable's value, or none to remove
    /// it.
    pub environment: Vec<(String, Option<OsString>)>,
    /// A control group (its folder below `/sys/fs/cgroup`) to start the server in.
    pub cgroup: Option<PathBuf>,
    /// Whether it serves metrics. Default: yes.
    pub metrics: bool,
    /// Whether clients may register shared memory with it. Servers before 2.69 always allow that. Default: no.
    pub client_shared_memory: bool,
    /// How long it has to get ready. Default: 2 minutes.
    pub ready_timeout: Duration,
    /// How long a server that is told to end waits for requests in flight, in whole seconds. At twice that time it is
    /// killed. Default: 10 s.
    pub exit_timeout: Duration,
}

impl Options {
    /// The defaults.
    pub fn new(executable: Executable, name: &str) -> Self {
        Self {
            executable,
            name: name.to_owned(),
            parent: None,
            environment: Vec::new(),
            cgroup: None,
            metrics: true,
            client_shared_memory: false,
            ready_timeout: Duration::from_secs(120),
            exit_timeout: Duration::from_secs(10),
        }
    }
}
