//! What the server does with the backend, from Initialize to Finalize.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{Attribute, Backend, Message, Model, ModelInstance};
use crate::call::make_no_errors;
use crate::check;
use crate::faults::{self, Fault};
use crate::library::{self, named};
use crate::objects;
use crate::request::{Answer, Asked, OnGpu, Record, Request};
use crate::violations;

/// Requests that are released later count as never.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Initialize and Finalize of the backend.
    Start,
    /// A model is loaded and unloaded.
    Load,
    /// Requests come.
    Execute,
    /// Requests come from several threads for several instances, and one in some calls fails.
    Traffic,
}

/// Who makes the batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    Triton,
    Adaptive,
}

/// What the backend finds where it looks for the CUDA driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// What the machine has. Nothing is in the memory of a GPU.
    OfTheMachine,
    /// The one that this program plays.
    Played,
    /// Nothing that could be opened.
    Missing,
}

/// Whether `TRITONSERVER_ErrorNew` makes errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// Always.
    Made,
    /// Until the backend has started.
    MadeAtStart,
    /// Never.
    NeverMade,
}

impl Errors {
    pub const ALL: [Self; 3] = [Self::Made, Self::MadeAtStart, Self::NeverMade];

    pub fn name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::MadeAtStart => "made-at-start",
            Self::NeverMade => "never-made",
        }
    }
}

/// A life of the backend.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub part: Part,
    pub batching: Batching,
    /// Whether the configuration leaves inputs and outputs to the backend.
    pub completes: bool,
    /// How many latency values come as parameters.
    pub parameters: usize,
    /// Whether the model is treated as one on a GPU: inputs in page-locked memory, computed by a thread of the backend's.
    pub on_gpu: bool,
    pub driver: Driver,
    /// Whether batches are filled up with copies of their last row.
    pub buckets: bool,
}

const fn scenario(name: &'static str, part: Part, batching: Batching) -> Scenario {
    Scenario {
        name,
        part,
        batching,
        completes: false,
        parameters: 0,
        on_gpu: false,
        driver: Driver::OfTheMachine,
        buckets: false,
    }
}

/// A scenario with memory of GPUs.
const fn with_gpus(name: &'static str, part: Part, batching: Batching) -> Scenario {
    Scenario { driver: Driver::Played, ..scenario(name, part, batching) }
}

/// A scenario of a model that is treated as one on a GPU.
const fn on_gpu(name: &'static str, part: Part) -> Scenario {
    Scenario { on_gpu: true, ..scenario(name, part, Batching::Triton) }
}

pub const ALL: [Scenario; 18] = [
    scenario("start", Part::Start, Batching::Triton),
    scenario("load", Part::Load, Batching::Triton),
    Scenario { completes: true, ..scenario("load-completed", Part::Load, Batching::Triton) },
    scenario("load-adaptive", Part::Load, Batching::Adaptive),
    scenario("execute", Part::Execute, Batching::Triton),
    Scenario { parameters: 6, ..scenario("execute-parameters", Part::Execute, Batching::Triton) },
    scenario("execute-adaptive", Part::Execute, Batching::Adaptive),
    with_gpus("execute-gpu", Part::Execute, Batching::Triton),
    with_gpus("execute-gpu-adaptive", Part::Execute, Batching::Adaptive),
    Scenario {
        driver: Driver::Missing,
        ..scenario("execute-without-driver", Part::Execute, Batching::Triton)
    },
    on_gpu("load-on-gpu", Part::Load),
    on_gpu("execute-on-gpu", Part::Execute),
    Scenario { on_gpu: true, ..with_gpus("execute-on-gpu-with-gpus", Part::Execute, Batching::Triton) },
    on_gpu("traffic-on-gpu", Part::Traffic),
    Scenario { buckets: true, parameters: 7, ..scenario("execute-buckets", Part::Execute, Batching::Triton) },
    scenario("traffic", Part::Traffic, Batching::Triton),
    scenario("traffic-adaptive", Part::Traffic, Batching::Adaptive),
    with_gpus("traffic-gpu-adaptive", Part::Traffic, Batching::Adaptive),
];

/// The scenario of a name.
pub fn of_name(name: &str) -> Option<Scenario> {
    ALL.into_iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    fn config(&self) -> String {
        let parameter = |name: &str, value: &str| format!(r#""{name}":{{"string_value":"{value}"}}"#);
        let mut parameters = vec![parameter("TF_RUN_IN_CALLING_THREAD", "true")];
        if self.batching == Batching::Adaptive {
            parameters.push(parameter("batching", "adaptive"));
        }
        if self.on_gpu {
            parameters.push(parameter("test_gpu", "true"));
        }
        if self.buckets {
            parameters.push(parameter("batch_size_buckets", "3"));
        }
        if self.parameters > 0 {
            parameters.push(parameter("latency-parameters", "true"));
        }
        let tensors = if self.completes {
            r#""input":[],"output":[]"#.into()
        } else {
            let tensor = |(name, kind, dims): &(&str, &str, &str)| {
                format!(r#"{{"name":"{name}","data_type":"TYPE_{kind}","dims":[{dims}]}}"#)
            };
            let list =
                |tensors: &[(&str, &str, &str)]| tensors.iter().map(tensor).collect::<Vec<_>>().join(",");
            let inputs = list(&[("a", "FP32", "4"), ("b", "INT32", "2,3")]);
            let outputs = list(&[
                ("sum", "FP32", "1"),
                ("outer", "FP32", "4,6"),
                ("guarded", "FP32", "4"),
                ("compute_latency_ns", "INT64", "1"),
                ("executed_batch_size", "INT64", "1"),
            ]);
            format!(r#""input":[{inputs}],"output":[{outputs}]"#)
        };
        format!(
            r#"{{"name":"mixed","max_batch_size":8,{tensors},"instance_group":[{{"kind":"KIND_CPU"}}],"parameters":{{{}}}}}"#,
            parameters.join(",")
        )
    }

    /// The requests of one Execute: every kind.
    fn requests(&self) -> Vec<Asked> {
        if self.driver != Driver::OfTheMachine {
            return self.requests_with_gpus();
        }
        let good = || Asked { parameters: self.parameters, ..Asked::of(1) };
        let mut requests = vec![
            good(),
            Asked {
                rows: 2,
                pieces: 3,
                aligned: false,
                outputs: vec!["outer", "compute_latency_ns"],
                ..good()
            },
            Asked { is_bad: true, ..good() },
            Asked { pieces: 2, ..good() },
        ];
        if self.batching == Batching::Adaptive {
            requests.push(Asked { is_cancelled: true, ..good() });
            requests.push(Asked { timeout_us: 1, ..good() });
        }
        requests
    }

    /// The same where memory of GPUs is part of it.
    fn requests_with_gpus(&self) -> Vec<Asked> {
        let refused_for = (self.driver == Driver::Missing).then_some("libcuda.so.1");
        let of_gpu = |rows| Asked { refused_for, ..Asked::of(rows) };
        vec![
            Asked { inputs_on: OnGpu::All, ..of_gpu(1) },
            Asked::of(1),
            Asked { pieces: 3, inputs_on: OnGpu::Some, aligned: false, ..of_gpu(2) },
            Asked { inputs_on: OnGpu::All, is_bad: true, ..Asked::of(1) },
            Asked { outputs_on: Some(1), ..of_gpu(1) },
            Asked {
                inputs_on: OnGpu::All,
                outputs_on: Some(0),
                outputs: vec!["executed_batch_size", "outer"],
                ..of_gpu(2)
            },
        ]
    }

    /// What is executed, one after the other: requests together, then such as come alone.
    fn executions(&self) -> Vec<Vec<Asked>> {
        let mut executions = vec![self.requests(), vec![self.simple()]];
        if self.driver == Driver::Played {
            executions.push(vec![Asked { inputs_on: OnGpu::All, outputs_on: Some(0), ..Asked::of(1) }]);
        }
        executions
    }

    /// A request that needs as little of the model as possible.
    fn simple(&self) -> Asked {
        Asked { outputs: vec!["sum"], parameters: self.parameters, ..Asked::of(1) }
    }
}

/// What happened in a life.
pub struct Life {
    pub scenario: Scenario,
    pub errors: Errors,
    pub fault: Option<Fault>,
    /// What became of the requests while something could fail.
    pub records: Vec<Arc<Record>>,
    /// And of the one that came when nothing failed any more, if the model seemed to be loaded.
    pub last: Option<Arc<Record>>,
    /// What Execute returned for it.
    pub of_last: Result<(), String>,
    /// The error objects that the backend had when it began, for when the server makes none.
    pub errors_before: usize,
}

impl Life {
    fn of(scenario: Scenario, errors: Errors, fault: Option<&Fault>) -> Self {
        let fault = fault.cloned();
        Self { scenario, errors, fault, records: Vec::new(), last: None, of_last: Ok(()), errors_before: 0 }
    }
}

/// What a life is lived in. Where only requests are tried, the model stays loaded from one life to the next.
pub struct World {
    scenario: Scenario,
    errors: Errors,
    server: Server,
    /// Whether Initialize has succeeded; none before it is called.
    started: Option<bool>,
    /// The model, with whether its Initialize has succeeded.
    model: Option<(usize, bool)>,
}

impl World {
    pub fn new(scenario: Scenario, errors: Errors) -> Self {
        Self { scenario, errors, server: Server { backend: 0, config: 0 }, started: None, model: None }
    }

    /// Lives once. Violations are noted; a request that is not given back ends the process, because nothing can be unloaded
    /// then.
    pub fn live(&mut self, fault: Option<&Fault>) {
        faults::plan(fault);
        let (scenario, errors) = (self.scenario, self.errors);
        let mut life = Life::of(scenario, errors, fault);
        let stays_loaded = scenario.part == Part::Execute;
        self.start();
        self.load();
        life.errors_before = check::errors();
        if let Some((model, true)) = self.model {
            let count = if scenario.part == Part::Traffic { 2 } else { 1 };
            let instances: Vec<usize> = (0..count).map(|_| self.server.new_instance(model)).collect();
            let made: Vec<bool> =
                instances.iter().map(|&instance| library::instance_initialize(instance).is_ok()).collect();
            if made.iter().all(|&made| made) {
                serve(&mut life, &instances);
            }
            // A server finalizes also what has failed to initialize.
            for instance in instances {
                unload(instance, library::instance_finalize, "ModelInstanceFinalize");
                objects::remove::<ModelInstance>(
                    objects::as_pointer::<u8>(instance),
                    "the end of an instance",
                );
            }
        }
        if !stays_loaded {
            self.unload();
        }
        faults::disarm();
        check::after(&life);
        if !stays_loaded {
            check::nothing_is_loaded();
        }
    }

    /// The last life is over.
    pub fn end(mut self) {
        faults::plan(None);
        self.unload();
        check::nothing_is_loaded();
    }

    fn start(&mut self) {
        if self.started.is_some() {
            return;
        }
        make_no_errors(self.errors == Errors::NeverMade);
        self.server = Server::new(&self.scenario);
        if self.scenario.part == Part::Start {
            faults::arm();
        }
        let started = library::initialize(self.server.backend).is_ok();
        let attributes = objects::add(Arc::new(Attribute));
        // A server asks only a backend that has started.
        if started {
            let _ = library::attributes(self.server.backend, attributes);
        }
        objects::remove::<Attribute>(objects::as_pointer::<u8>(attributes), "the end of the attributes");
        make_no_errors(self.errors != Errors::Made);
        self.started = Some(started);
    }

    fn load(&mut self) {
        if self.model.is_some() || self.started != Some(true) || self.scenario.part == Part::Start {
            return;
        }
        if self.scenario.part == Part::Load {
            faults::arm();
        }
        let model = self.server.new_model(&self.scenario);
        self.model = Some((model, library::model_initialize(model).is_ok()));
    }

    /// A server finalizes also what has failed to initialize.
    fn unload(&mut self) {
        if let Some((model, _)) = self.model.take() {
            unload(model, library::model_finalize, "ModelFinalize");
            objects::remove::<Model>(objects::as_pointer::<u8>(model), "the end of the model");
        }
        if self.started.take().is_some() {
            unload(self.server.backend, library::finalize, "Finalize");
            objects::remove::<Backend>(
                objects::as_pointer::<u8>(self.server.backend),
                "the end of the backend",
            );
            objects::remove::<Message>(
                objects::as_pointer::<u8>(self.server.config),
                "the end of the backend",
            );
        }
    }
}

/// The server's own part in unloading always succeeds, so a Finalize has no reason to fail.
fn unload(handle: usize, finalize: fn(usize) -> Result<(), String>, name: &str) {
    if let Err(error) = finalize(handle) {
        violations::add(format!("{name} returned an error: {error}"));
    }
}

fn serve(life: &mut Life, instances: &[usize]) {
    let scenario = life.scenario;
    let ready = library::instance_ready(instances[0]);
    if life.errors != Errors::NeverMade && ready.is_err() {
        violations::add(format!("an instance that was made is not ready: {ready:?}"));
    }
    match scenario.part {
        Part::Execute => {
            faults::arm();
            for asked in scenario.executions() {
                let records = execute(instances[0], &asked, life.records.len()).0;
                wait_for(&records);
                life.records.extend(records);
            }
        }
        Part::Traffic => {
            faults::rain(FAILS_IN);
            life.records = traffic(&scenario, instances);
        }
        Part::Start | Part::Load => {}
    }
    faults::disarm();
    let (records, returned) = execute(instances[0], &[scenario.simple()], life.records.len());
    wait_for(&records);
    life.last = records.into_iter().next();
    life.of_last = returned;
    match scenario.part {
        Part::Traffic => faults::rain(FAILS_IN),
        _ => faults::arm(),
    }
}

/// One in so many calls of a thread fails in traffic. A prime, so that it is each time another one.
const FAILS_IN: u32 = 23;
/// How often each of the server's threads calls Execute in traffic.
const EXECUTES: usize = 60;

/// Each instance has a thread of the server's that hands requests over without waiting for the answers.
fn traffic(scenario: &Scenario, instances: &[usize]) -> Vec<Arc<Record>> {
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (index, &instance) in instances.iter().enumerate() {
            let all = &all;
            scope.spawn(move || {
                let mut own = Vec::new();
                for round in 0..EXECUTES {
                    let first = (round * instances.len() + index) * 10;
                    let asked = if round % 3 == 2 { vec![scenario.simple()] } else { scenario.requests() };
                    own.extend(execute(instance, &asked, first).0);
                    if round % 20 == 19 {
                        wait_for(&own);
                    }
                    let _ = library::instance_ready(instance);
                }
                all.lock().expect("no thread panics").extend(own);
            });
        }
    });
    let all = all.into_inner().expect("no thread panics");
    wait_for(&all);
    all
}

/// Hands requests over. What Execute returns an error for, the server answers and takes back itself.
fn execute(instance: usize, asked: &[Asked], first: usize) -> (Vec<Arc<Record>>, Result<(), String>) {
    let made = asked.iter().enumerate().map(|(at, asked)| Request::arrive(first + at, asked.clone()));
    let (records, handles): (Vec<_>, Vec<_>) = made.unzip();
    let returned = library::execute(instance, &handles);
    if let Err(error) = &returned {
        for &handle in &handles {
            let request = objects::as_pointer::<u8>(handle);
            match objects::remove::<Request>(request, "the server's answer to an Execute that failed") {
                Some(request) => {
                    request.record.answered(Answer::ByServer(error.clone()));
                    request.release();
                }
                None => violations::add("Execute returned an error and has released a request".into()),
            }
        }
    }
    (records, returned)
}

/// Waits until all of them are given back.
fn wait_for(records: &[Arc<Record>]) {
    let end = Instant::now() + PATIENCE;
    while records.iter().any(|record| !record.is_released()) {
        if Instant::now() > end {
            let left: Vec<usize> =
                records.iter().filter(|record| !record.is_released()).map(|record| record.number).collect();
            violations::add(format!("not given back within {PATIENCE:?}: requests {left:?}"));
            check::end_process();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// The server's objects of a life.
struct Server {
    backend: usize,
    config: usize,
}

impl Server {
    fn new(scenario: &Scenario) -> Self {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL in paths");
        let tensorflow = named("TL_TENSORFLOW_DIR");
        let parameters = if scenario.parameters > 0 { r#","latency-parameters":"true""# } else { "" };
        let json = format!(r#"{{"cmdline":{{"tensorflow-dir":"{}"{parameters}}}}}"#, tensorflow.display());
        let json = CString::new(json).expect("no NUL in paths");
        let config = objects::add(Arc::new(Message { text: json, is_backends: false }));
        let backend = objects::add(Arc::new(Backend {
            name: c"tensorflow_latency".into(),
            folder: text(named("TL_BACKEND").parent().expect("a file in a folder")),
            config,
            state: AtomicPtr::default(),
        }));
        Self { backend, config }
    }

    fn new_model(&self, scenario: &Scenario) -> usize {
        let folder = crate::points::repository();
        objects::add(Arc::new(Model {
            backend: self.backend,
            name: c"mixed".into(),
            folder: CString::new(folder.as_os_str().as_bytes()).expect("no NUL in paths"),
            config: Mutex::new(scenario.config()),
            may_complete: scenario.completes,
            state: AtomicPtr::default(),
        }))
    }

    fn new_instance(&self, model: usize) -> usize {
        objects::add(Arc::new(ModelInstance {
            model,
            state: AtomicPtr::default(),
            reported: AtomicUsize::default(),
        }))
    }
}
