//! What is measured: a server, its model, and the meter that watches them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use crate::clock::now_ns;
use crate::plan::{Plan, PowerChoice, SharedMemory, duration};
use crate::power::{self, Sampler, Surroundings};
use crate::results::{Consumption, Model, Server};
use crate::server::configuration::{Change, Reconfigurer};
use crate::server::{Control, ModelMetadata, ServerMetadata, ServerOptions, StartedServer};
use serde_json::Value;

const POWERCAP: &str = "/sys/class/powercap";
const METRICS_PORT: u16 = 8002;

/// A process that was killed refuses connections only after a moment.
const DYING: Duration = Duration::from_millis(500);

/// A server with the model loaded, ready to be measured.
pub struct Target {
    own: Option<StartedServer>,
    control: Control,
    metadata: ServerMetadata,
    address: SocketAddr,
    model: ModelMetadata,
    /// What is watched while requests run.
    pub sampler: Sampler,
    interrupted: Arc<AtomicBool>,
}

/// The error of a run that was asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Target {
    /// Finds or starts the server, and a meter for it.
    ///
    /// # Errors
    /// The server or the model is not there, or the meter asked for cannot be had.
    pub fn open(plan: &Plan, interrupted: Arc<AtomicBool>) -> Result<Self> {
        let (own, control) = match (&plan.own_server, &plan.url) {
            (Some(server), _) => {
                let options = ServerOptions {
                    tritonserver: server.tritonserver.clone(),
                    model_repository: server.model_repository.clone(),
                    models: vec![plan.model.clone()],
                    shared_memory: plan.shared_memory != SharedMemory::None,
                    arguments: server.arguments.clone(),
                };
                let process = StartedServer::start(&options, || check_interruption(&interrupted))?;
                let control = Control::new(process.control().url())?;
                (Some(process), control)
            }
            (None, Some(url)) => (None, Control::new(url)?),
            (None, None) => bail!("the plan names no server"),
        };
        let metadata = control.metadata()?;
        let model = control.model_metadata(&plan.model, plan.version.as_deref())?;
        let address = control.address()?;
        ensure!(
            plan.shared_memory == SharedMemory::None || control.is_local(),
            "--shared-memory system needs the server on this machine, and {} is not",
            control.url()
        );
        let server_pid =
            plan.server_pid.or_else(|| own.as_ref().map(StartedServer::pid)).or_else(|| control.process_id());
        let metrics_url = plan
            .metrics_url
            .clone()
            .or_else(|| own.as_ref().map(StartedServer::metrics_url))
            .or_else(|| Some(format!("http://{}:{METRICS_PORT}/metrics", host_name(control.host()))));
        let meter = power::open(
            plan.power,
            &Surroundings {
                metrics_url,
                server_pid,
                // An address of this machine may lead elsewhere: through ssh, a container's proxy, kubectl.
                server_is_local: server_pid.is_some()
                    || (plan.power != PowerChoice::Auto && control.is_local()),
                powercap_root: PathBuf::from(POWERCAP),
                gpus: plan.gpus.clone(),
            },
        )?;
        let sampler = Sampler::start(meter, server_pid);
        Ok(Self { own, control, metadata, address, model, sampler, interrupted })
    }

    /// The server's control plane.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where requests go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For the results.
    pub fn describe_server(&self) -> Server {
        Server {
            url: self.control.url().to_owned(),
            // The tool's own server has a name to be known by, another one each time.
            name: if self.own.is_some() { "triton".to_owned() } else { self.metadata.name.clone() },
            version: self.metadata.version.clone(),
            extensions: self.metadata.extensions.clone(),
            command: self.own.as_ref().map(|own| own.command().to_vec()),
        }
    }

    /// For the results.
    pub fn describe_model(&self, plan: &Plan) -> Model {
        Model {
            name: plan.model.clone(),
            version: plan.version.clone().unwrap_or_default(),
            metadata: self.model.raw.clone(),
        }
    }

    /// What the idle server uses in `seconds`.
    ///
    /// # Errors
    /// Interrupted, or the meter failed.
    pub fn measure_idle(&self, seconds: f64) -> Result<Consumption> {
        let start = now_ns();
        self.rest(seconds)?;
        self.sampler.between(start, now_ns())
    }

    /// Waits.
    ///
    /// # Errors
    /// Interrupted, or the server is gone.
    pub fn rest(&self, seconds: f64) -> Result<()> {
        let until = Instant::now() + duration(seconds);
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.check()?;
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.check()
    }

    /// # Errors
    /// [`Interrupted`], or the server is gone.
    pub fn check(&self) -> Result<()> {
        check_interruption(&self.interrupted)?;
        self.check_server()
    }

    /// The reason behind an error, if it is that the server is gone: whatever asked it something then fails first.
    pub fn explain(&self, error: Error) -> Error {
        let deadline = Instant::now() + DYING;
        while !error.is::<Interrupted>() && Instant::now() < deadline {
            if let Err(gone) = self.check_server() {
                return gone;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        error
    }

    /// Only a refused connection counts: a server that is slow, or stopped for a while, is to be measured.
    fn check_server(&self) -> Result<()> {
        if let Some(own) = &self.own {
            return own.ended().map_or(Ok(()), |how| Err(anyhow!("while it was measured, {how}")));
        }
        let connection = TcpStream::connect_timeout(&self.address, Duration::from_secs(2));
        if let Err(error) = connection
            && error.kind() == ErrorKind::ConnectionRefused
        {
            bail!("the server {} is gone: {error}", self.control.url());
        }
        Ok(())
    }
}

fn check_interruption(interrupted: &AtomicBool) -> Result<()> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(Interrupted.into()),
        false => Ok(()),
    }
}

/// The host without the port.
fn host_name(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// The configurations of the model that a run measures, one in force at a time.
pub struct Configurations<'a> {
    target: &'a Target,
    plan: &'a Plan,
    /// None in a sweep, which changes nothing.
    reconfigurer: Option<Reconfigurer<'a>>,
    in_force: String,
}

impl<'a> Configurations<'a> {
    /// Changes start from `original`, the model's own configuration by an earlier part of the run; without, from what
    /// is in force.
    ///
    /// # Errors
    /// There are configurations to compare, and the server is not one whose models can be configured.
    pub fn new(target: &'a Target, plan: &'a Plan, original: Option<&Value>) -> Result<Self> {
        // The tool's own server has just started with what the repository says.
        let original = original.filter(|_| target.own.is_none());
        let own = target.own.as_ref();
        let reconfigurer = match plan.configurations.as_slice() {
            [] => None,
            _ => Some(Reconfigurer::new(&target.control, own, &plan.model, plan.reconfigure, original)?),
        };
        Ok(Self { target, plan, reconfigurer, in_force: String::new() })
    }

    /// In a comparison: what changes start from.
    pub fn original(&self) -> Option<&Value> {
        self.reconfigurer.as_ref().map(Reconfigurer::original)
    }

    /// Brings the configuration of that name into force, if it is not; without a name, in a sweep, the model's own
    /// is. Returns what the server reports.
    ///
    /// # Errors
    /// The plan does not have it, or the server does not take it.
    pub fn choose(&mut self, name: &str) -> Result<Value> {
        if let Some(reconfigurer) = &mut self.reconfigurer
            && self.in_force != name
        {
            let configuration = self
                .plan
                .configuration(name)
                .with_context(|| format!("the plan has no configuration '{name}'"))?;
            let change = Change { name: name.to_owned(), patch: configuration.merge_patch() };
            self.in_force = name.to_owned();
            return reconfigurer.apply(&change);
        }
        self.target.control.model_config(&self.plan.model, self.plan.version.as_deref())
    }

    /// Brings the model's own configuration back, if another one is in force and the server is to stay.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn restore(&mut self) -> Result<()> {
        match &mut self.reconfigurer {
            Some(reconfigurer) if self.target.own.is_none() => reconfigurer.restore(),
            _ => Ok(()),
        }
    }
}
