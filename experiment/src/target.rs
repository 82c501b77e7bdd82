//! What is measured: a server, its model, and the meter.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use crate::clock::now_ns;
use crate::data::{Form, Rows, Source};
use crate::plan::{Plan, PowerChoice, SharedMemory, duration};
use crate::power::{self, Sampler, Surroundings};
use crate::results::{Consumption, Model, Server};
use crate::server::configuration::{Change, Reconfigurer};
use crate::server::{Control, ModelMetadata, ServerMetadata, ServerOptions, StartedServer, energy_devices};
use serde_json::Value;

const METRICS_PORT: u16 = 8002;

/// The idle time is cut into so many parts at most, to see how its power varies.
const IDLE_PARTS: usize = 5;

/// A killed process takes a moment until it refuses connections.
const DYING: Duration = Duration::from_millis(500);

/// A server with the model loaded, ready to be measured.
pub struct Target {
    own: Option<StartedServer>,
    control: Control,
    metadata: ServerMetadata,
    address: SocketAddr,
    model: ModelMetadata,
    metrics_url: String,
    /// Consumption without the model, if that was measured.
    pub idle_without_model: Option<Consumption>,
    /// Samples energy and CPU time in the background.
    pub sampler: Sampler,
    interrupted: Arc<AtomicBool>,
    /// Tells the user how a point goes on.
    teller: RefCell<Option<Teller>>,
    rows: RefCell<Option<KeptRows>>,
}

type Teller = Box<dyn Fn(&str)>;

/// The rows of the plan's data, with the forms of inputs and outputs that they were read for.
struct KeptRows {
    inputs: Vec<Form>,
    outputs: Vec<Form>,
    rows: Rc<Rows>,
}

/// The error of a run that was interrupted.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Target {
    /// Connects to the server or starts it, and opens the meter. With `without_model` the idle server is measured before the
    /// model is loaded, where the plan lets the tool load it and there is energy to measure; `say` tells the user.
    ///
    /// # Errors
    /// The server, the model or the requested meter is not available.
    pub fn open(
        plan: &Plan,
        interrupted: Arc<AtomicBool>,
        without_model: bool,
        say: impl Fn(&str),
    ) -> Result<Self> {
        let may_have_energy = !matches!(plan.power, PowerChoice::CpuTime | PowerChoice::None);
        let load_later = without_model && may_have_energy;
        let (own, control) = match (&plan.own_server, &plan.url) {
            (Some(server), _) => {
                let options = ServerOptions {
                    tritonserver: server.tritonserver.clone(),
                    model_repository: server.model_repository.clone(),
                    models: vec![plan.model.clone()],
                    load_models: !load_later,
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
        let address = control.address()?;
        ensure!(
            plan.shared_memory == SharedMemory::None || control.is_local(),
            "--shared-memory system needs a server on this machine, and {} is elsewhere",
            control.url()
        );
        let server_pid =
            plan.server_pid.or_else(|| own.as_ref().map(StartedServer::pid)).or_else(|| control.process_id());
        let metrics_url = plan
            .metrics_url
            .clone()
            .or_else(|| own.as_ref().map(StartedServer::metrics_url))
            .unwrap_or_else(|| format!("http://{}:{METRICS_PORT}/metrics", host_name(control.host())));
        let meter = power::open(
            plan.power,
            &Surroundings {
                metrics_url: Some(metrics_url.clone()),
                server_pid,
                // A local address may forward to another machine: ssh, a container proxy, kubectl.
                server_is_local: server_pid.is_some()
                    || (plan.power != PowerChoice::Auto && control.is_local()),
                powercap_root: plan.powercap_dir.clone(),
                gpus: plan.gpus.clone(),
            },
        )?;
        let sampler = Sampler::start(meter, server_pid);
        let model = ModelMetadata::default();
        let idle_without_model = None;
        let mut target = Self {
            own,
            control,
            metadata,
            address,
            model,
            metrics_url,
            idle_without_model,
            sampler,
            interrupted,
            teller: RefCell::default(),
            rows: RefCell::default(),
        };
        if without_model {
            target.idle_without_model = target.without_model(plan, load_later, say)?;
        }
        target.model = target.control.model_metadata(&plan.model, plan.version.as_deref())?;
        Ok(target)
    }

    /// Measures the idle server without the model, where the tool may load it, and loads it. `load_later`: its own server
    /// has not loaded it yet.
    fn without_model(
        &self,
        plan: &Plan,
        load_later: bool,
        say: impl Fn(&str),
    ) -> Result<Option<Consumption>> {
        let has_energy = self.sampler.source().has_energy;
        let measure = || {
            say("measuring the idle server without the model");
            self.measure_idle(plan.idle_s).map(Some)
        };
        if let Some(own) = &self.own {
            let idle = if has_energy { measure()? } else { None };
            if load_later {
                own.load(&plan.model, None)?;
            }
            return Ok(idle);
        }
        if !plan.idle_unload {
            return Ok(None);
        }
        if !has_energy {
            say("--idle-unload: there is no meter, so the model stays loaded");
            return Ok(None);
        }
        let version = plan.version.as_deref();
        let before = self.control.model_config(&plan.model, version)?;
        self.control.unload(&plan.model).context("--idle-unload needs --model-control-mode=explicit")?;
        let idle = measure();
        // Also when the measurement was interrupted: other clients wait for the model.
        self.control.load(&plan.model, None)?;
        if self.control.model_config(&plan.model, version)? != before {
            // It had been loaded with a configuration other than that in the repository.
            self.control.load(&plan.model, Some(&before))?;
        }
        idle
    }

    /// Loads the model of another plan, too, on a server that the tool started.
    ///
    /// # Errors
    /// The server refuses it, or has no such model.
    pub fn also_load(&self, plan: &Plan) -> Result<()> {
        if let Some(own) = &self.own {
            own.load(&plan.model, None)?;
        }
        self.control.model_metadata(&plan.model, plan.version.as_deref()).map(drop)
    }

    /// Has the user told how a point goes on by this.
    pub fn set_teller(&self, teller: impl Fn(&str) + 'static) {
        *self.teller.borrow_mut() = Some(Box::new(teller));
    }

    /// Tells the user how a point goes on.
    pub fn tell(&self, text: &str) {
        if let Some(teller) = &*self.teller.borrow() {
            teller(text);
        }
    }

    /// The rows of the plan's data, read once for all points. Only a configuration that changes the forms of inputs or
    /// outputs has them read again.
    ///
    /// # Errors
    /// They cannot be read, or do not fit.
    pub fn rows(&self, plan: &Plan, inputs: Vec<Form>, outputs: Vec<Form>) -> Result<Rc<Rows>> {
        let mut kept = self.rows.borrow_mut();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.inputs == inputs && kept.outputs == outputs) {
            return Ok(kept.rows.clone());
        }
        // Before others are read.
        *kept = None;
        let source = Source {
            data: plan.data_path.clone().context("the plan names no data")?,
            expect: plan.expect_path.clone(),
            scaling: plan.image_scaling,
        };
        let rows = Rc::new(source.read(&inputs, &outputs)?);
        *kept = Some(KeptRows { inputs, outputs, rows: rows.clone() });
        Ok(rows)
    }

    /// The devices whose energy the model's responses tell.
    ///
    /// # Errors
    /// That is unknown.
    pub fn energy_devices(&self, plan: &Plan) -> Result<Vec<String>> {
        energy_devices(&self.metrics_url, &plan.model, plan.version.as_deref())
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
            // A server that the tool starts has a different id each time.
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

    /// For the results: the model of this plan, which may be another than the one that the target was opened with.
    ///
    /// # Errors
    /// The server has no such model.
    pub fn describe_model_of(&self, plan: &Plan) -> Result<Model> {
        let metadata = self.control.model_metadata(&plan.model, plan.version.as_deref())?.raw;
        Ok(Model { metadata, ..self.describe_model(plan) })
    }

    /// Measures the idle server for `seconds`.
    ///
    /// # Errors
    /// Interrupted, or the meter failed.
    pub fn measure_idle(&self, seconds: f64) -> Result<Consumption> {
        let mut edges = vec![now_ns()];
        // Shorter parts would show the ticks of the meter and not how its power varies.
        let parts = (seconds as usize).clamp(1, IDLE_PARTS);
        for _ in 0..parts {
            self.rest(seconds / parts as f64)?;
            edges.push(now_ns());
        }
        self.sampler.over(&edges)
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

    /// Replaces an error by its cause if the server is gone: the request that notices it first fails with another one.
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

    /// Only a refused connection counts: a server that is slow or paused is still measured.
    fn check_server(&self) -> Result<()> {
        if let Some(own) = &self.own {
            return own.ended().map_or(Ok(()), |how| Err(anyhow!("during the measurement, {how}")));
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

/// The configurations of the model that a run measures, one at a time.
pub struct Configurations<'a> {
    target: &'a Target,
    plan: &'a Plan,
    /// None in a sweep, which does not change the configuration.
    reconfigurer: Option<Reconfigurer<'a>>,
    in_force: String,
}

impl<'a> Configurations<'a> {
    /// Changes are applied to `original`, the configuration of the model before an interrupted run; without it, to the
    /// current configuration.
    ///
    /// # Errors
    /// There are configurations to compare, and the model's configuration cannot be read or changed.
    pub fn new(target: &'a Target, plan: &'a Plan, original: Option<&Value>) -> Result<Self> {
        // A server that the tool starts has the configuration of its repository.
        let original = original.filter(|_| target.own.is_none());
        let own = target.own.as_ref();
        let reconfigurer = match plan.configurations.as_slice() {
            [] => None,
            _ => Some(Reconfigurer::new(&target.control, own, &plan.model, plan.reconfigure, original)?),
        };
        Ok(Self { target, plan, reconfigurer, in_force: String::new() })
    }

    /// In a comparison: the configuration that changes are applied to.
    pub fn original(&self) -> Option<&Value> {
        self.reconfigurer.as_ref().map(Reconfigurer::original)
    }

    /// Applies the configuration of that name, unless it is already active. A sweep has one without a name, the model's
    /// own. Returns what the server reports.
    ///
    /// # Errors
    /// The plan does not have it, or the server rejects it.
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

    /// Restores the original configuration, if another one is active and the server keeps running.
    ///
    /// # Errors
    /// The server rejects it.
    pub fn restore(&mut self) -> Result<()> {
        match &mut self.reconfigurer {
            Some(reconfigurer) if self.target.own.is_none() => reconfigurer.restore(),
            _ => Ok(()),
        }
    }
}
