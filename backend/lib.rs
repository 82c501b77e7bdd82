//! A Triton backend that runs TensorFlow models and puts each request's own server-side latency
//! into its response.
//!
//! The rooms, from the top floor down. Each one uses only those below it:
//!
//! | room | what happens there |
//! |---|---|
//! | this file | the backend as the server sees it: [`triton::entry`] calls [`TensorFlowBackend`] |
//! | [`load`], [`model_file`] | a model is loaded: configuration, files, session, trial runs, queue |
//! | [`trial`] | what is run at load: inline execution, service times, batch size buckets |
//! | [`batching`] | adaptive batching: the queue, the policy, the workers |
//! | [`execute`] | the pipeline: gather, run, scatter, stamp, send |
//! | [`model`] | what configuration and SavedModel, or graph, agree on |
//! | [`tensorflow`] | TensorFlow's C API made safe: library, session, tensors; freezing |
//! | [`energy`] | meters, and whose energy it was: books that balance |
//! | [`signals`] | what autoscalers and alerts go by: busy time, latencies, refusals |
//! | [`config`] | config.pbtxt and `--backend-config` as types |
//! | [`triton`] | the server's C API made safe: requests, responses, models, errors, logging |
//! | [`buckets`], [`few`] | the sizes that batches are filled up to; short lists without heap memory |
//!
//! A request goes one way: `triton::entry` -> (`batching` ->) `execute::pipeline` -> `gather` -> `tensorflow::Session`
//! -> `scatter` -> `timing` -> `triton::response`. ARCHITECTURE.md has what holds across rooms.

#![deny(unsafe_code)]
// The library's only public items are its C entry points: the documentation is for who works on it.
#![allow(rustdoc::private_intra_doc_links)]

mod batching;
mod buckets;
mod config;
mod energy;
mod execute;
mod executors;
mod few;
mod load;
mod model;
mod model_file;
mod signals;
#[allow(unsafe_code)]
mod tensorflow;
mod trial;
#[allow(unsafe_code)]
mod triton;

use std::sync::Arc;

use batching::{ModelQueue, Worker};
use config::BackendOptions;
use execute::{Executor, Overlap};
use few::Few;
use load::{Metrics, ServedModel};
use signals::{Counted, Publisher};
use tensorflow::{library, math_mode};
use triton::entry::Backend;
use triton::model::{BackendHandle, ModelHandle};
use triton::request::Request;
use triton::{Code, Error, Result};

triton::entry::export_backend!(crate::TensorFlowBackend);

/// Logged at load. Between NULs, so that `strings` prints it on a line of its own.
const STAMP: &str = concat!("\0tensorflow_latency ", env!("TENSORFLOW_LATENCY_VERSION"), "\0");

/// The backend as the server sees it.
struct TensorFlowBackend {
    options: BackendOptions,
    /// Where the server has metrics.
    families: Option<batching::Families>,
    publisher: Option<Publisher>,
}

/// An instance of a model.
struct Instance {
    executor: Arc<Executor>,
    threads: Threads,
    _counted: Option<Counted>,
}

/// The threads that an instance has.
enum Threads {
    /// None: batches are executed in the server's.
    None,
    /// With adaptive batching, one that executes the batches.
    Worker(Worker),
    /// On a GPU, one that computes a batch while the next one is gathered.
    Overlap(Overlap),
}

impl Backend for TensorFlowBackend {
    type Model = ServedModel;
    type Instance = Instance;

    fn start(handle: BackendHandle<'_>) -> Result<Self> {
        let name = handle.name()?;
        log::info!("backend '{name}': {}", STAMP.trim_matches('\0'));
        let options = BackendOptions::from_json(&name, &handle.config()?)?;
        math_mode::set(&name, options.math_mode);
        library::open(&name, options.tensorflow_dir.as_deref(), &handle.folder()?)?;
        let families = batching::Families::new()
            .inspect_err(|reason| log::debug!("adaptive batching publishes no metrics: {reason}"));
        let publisher = Publisher::start()
            .inspect_err(|reason| log::debug!("no metrics are published of what instances do: {reason}"));
        Ok(Self { options, families: families.ok(), publisher: publisher.ok() })
    }

    fn load(&self, handle: ModelHandle<'_>) -> Result<ServedModel> {
        let metrics = Metrics { batching: self.families.as_ref(), signals: self.publisher.as_ref() };
        ServedModel::load(handle, &self.options, metrics)
    }

    fn start_instance(model: &Arc<ServedModel>) -> Result<Instance> {
        let executor = model.executors.of_instance()?;
        let threads = match (&model.queue, model.overlap) {
            (Some(ModelQueue { queue, .. }), _) => {
                Threads::Worker(Worker::start(Arc::clone(&executor), Arc::clone(queue))?)
            }
            (None, Some(rule)) => Threads::Overlap(Overlap::start(Arc::clone(&executor), rule)?),
            (None, None) => Threads::None,
        };
        let counted = model.signals.as_ref().map(|signals| signals.count());
        Ok(Instance { executor, threads, _counted: counted })
    }

    fn execute(instance: &Instance, requests: Few<Request>) {
        match &instance.threads {
            Threads::Worker(worker) => worker.accept(requests),
            Threads::Overlap(overlap) => overlap.execute(requests),
            Threads::None => instance.executor.execute(requests),
        }
    }

    fn is_ready(instance: &Instance) -> Result<()> {
        match &instance.threads {
            Threads::Worker(worker) if !worker.is_alive() => Err(Error::new(
                Code::Unavailable,
                format!(
                    "model '{}': the thread that executes the batches of an instance has ended; see the server's log",
                    instance.executor.model.name
                ),
            )),
            _ => Ok(()),
        }
    }

    fn finish(instance: &Instance) {
        if let Threads::Worker(worker) = &instance.threads {
            worker.finish();
        }
    }
}
