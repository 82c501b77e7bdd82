//! A Triton backend that runs TensorFlow SavedModels and puts each request's own server-side latency
//! into its response.
//!
//! The rooms, in the order in which a request goes through them:
//!
//! | room | what happens there |
//! |---|---|
//! | [`triton`] | the server's C API made safe; its entry points call [`TensorFlowBackend`] |
//! | [`execute`] | the pipeline: gather, run, scatter, stamp, send |
//! | [`gather`] | the requests' input buffers become one batched tensor for each input |
//! | [`tensorflow`] | the session and its tensors |
//! | [`scatter`] | the batched outputs become each request's own |
//! | [`timing`] | the request's end is taken and its times are attached to the response |
//!
//! and what they rest on, made once at load: [`tensorflow::library`] finds and opens TensorFlow,
//! [`tensorflow::math_mode`] tells it whether to compute in BF16, [`config`] reads the model's configuration, [`complete`] fills in what it leaves
//! out, [`model`] holds it against the SavedModel's signature, [`calling_thread`] measures where its operations
//! run best; [`datatype`] has the element types, [`few`] the lists that need no heap.

#![deny(unsafe_code)]
// The library's only public items are its C entry points: the documentation is for who works on it.
#![allow(rustdoc::private_intra_doc_links)]

mod batching;
mod calling_thread;
mod complete;
mod config;
mod datatype;
mod execute;
mod few;
mod gather;
mod model;
mod scatter;
#[allow(unsafe_code)]
mod tensorflow;
mod timing;
#[allow(unsafe_code)]
mod triton;
mod zeros;

use std::sync::Arc;

use batching::Worker;
use config::BackendOptions;
use few::Few;
use model::Model;
use tensorflow::{library, math_mode};
use triton::Result;
use triton::entry::Backend;
use triton::model::{BackendHandle, ModelHandle};
use triton::request::Request;

triton::entry::export_backend!(crate::TensorFlowBackend);

/// What the server's log tells at load. Between NULs, so that `strings` gives it a line of its own.
const STAMP: &str = concat!("\0tensorflow_latency ", env!("TENSORFLOW_LATENCY_VERSION"), "\0");

/// The backend as the server sees it.
struct TensorFlowBackend {
    options: BackendOptions,
    /// Where the server has metrics.
    families: Option<batching::Families>,
}

/// An instance of a model: with adaptive batching, a thread.
struct Instance {
    model: Arc<Model>,
    _worker: Option<Worker>,
}

impl Backend for TensorFlowBackend {
    type Model = Model;
    type Instance = Instance;

    fn start(handle: BackendHandle<'_>) -> Result<Self> {
        let name = handle.name()?;
        log::info!("backend '{name}': {}", STAMP.trim_matches('\0'));
        let options = BackendOptions::from_json(&handle.config()?)?;
        math_mode::set(&name, options.math_mode);
        library::open(&name, options.tensorflow_dir.as_deref(), &handle.folder()?)?;
        let families = batching::Families::new()
            .inspect_err(|reason| log::debug!("adaptive batching shows no metrics: {reason}"));
        Ok(Self { options, families: families.ok() })
    }

    fn load(&self, handle: ModelHandle<'_>) -> Result<Model> {
        Model::load(handle, &self.options, self.families.as_ref())
    }

    fn start_instance(model: &Arc<Model>) -> Result<Instance> {
        let start = |queue: &Arc<_>| Worker::start(Arc::clone(model), Arc::clone(queue));
        let worker = model.queue.as_ref().map(start).transpose()?;
        Ok(Instance { model: Arc::clone(model), _worker: worker })
    }

    fn execute(instance: &Instance, requests: Few<Request>) {
        match &instance.model.queue {
            Some(queue) => batching::accept(&instance.model, queue, requests),
            None => execute::execute(&instance.model, requests),
        }
    }

    fn finish(instance: &Instance) {
        if let Some(queue) = &instance.model.queue {
            queue.finish();
        }
    }
}
