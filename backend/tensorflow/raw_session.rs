//! `TF_Session`: runs a graph.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use smallvec::{SmallVec, smallvec};
use tensorflow_c_sys::{TF_Operation, TF_Session, TF_SessionOptions, TF_Tensor};

use super::buffer::Buffer;
use super::graph::{Fetches, Graph, Outputs, Targets};
use super::library::api;
use super::proto::config::ConfigProto;
use super::run_options::{self, RunOptions};
use super::status::{Failure, checked};
use super::tensor::{RawTensor, Tensor};
use crate::few::Few;

/// A session and its graph. Any number of threads may run it.
pub struct RawSession {
    raw: NonNull<TF_Session>,
    graph: Arc<Graph>,
}

// SAFETY: TensorFlow's sessions may be used on any thread, several at a time.
unsafe impl Send for RawSession {}
// SAFETY: as above.
unsafe impl Sync for RawSession {}

impl RawSession {
    /// A session of `graph`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn new(graph: Arc<Graph>, config: &ConfigProto) -> Result<Self, Failure> {
        let options = SessionOptions::new(config)?;
        let raw = checked(|status| {
            // SAFETY: graph and options live during the call; the session takes a reference to the graph.
            unsafe { api().TF_NewSession(graph.raw(), options.0.as_ptr(), status) }
        })?;
        Ok(Self { raw: NonNull::new(raw).expect("a session where there is no error"), graph })
    }

    /// The session of the SavedModel in `folder` with these tags, its variables restored; and its `MetaGraphDef`. Each of
    /// the runs that this takes has so much time.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn load(
        folder: &Path,
        tags: &[&str],
        config: &ConfigProto,
        time: Duration,
    ) -> Result<(Self, Buffer), Failure> {
        let options = SessionOptions::new(config)?;
        let run_options = run_options::with_time(time);
        let graph = Arc::new(Graph::new());
        let mut meta_graph = Buffer::new();
        let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
        let folder = text(folder.as_os_str());
        let tags: Vec<CString> = tags.iter().map(|tag| text(OsStr::new(tag))).collect();
        let tags: Vec<_> = tags.iter().map(|tag| tag.as_ptr()).collect();
        let raw = checked(|status| {
            // SAFETY: everything lives during the call, which copies what it keeps; the graph is empty, and the session
            // takes a reference to it.
            unsafe {
                api().TF_LoadSessionFromSavedModel(
                    options.0.as_ptr(),
                    run_options.raw(),
                    folder.as_ptr(),
                    tags.as_ptr(),
                    tags.len() as i32,
                    graph.raw(),
                    meta_graph.raw_mut(),
                    status,
                )
            }
        })?;
        let raw = NonNull::new(raw).expect("a session where there is no error");
        Ok((Self { raw, graph }, meta_graph))
    }

    /// Whether one of its devices is a GPU.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn has_gpu(&self) -> Result<bool, Failure> {
        let devices = checked(|status| {
            // SAFETY: the session lives during the call; the list is ours and deleted below.
            unsafe { api().TF_SessionListDevices(self.raw.as_ptr(), status) }
        })?;
        // SAFETY: the list is alive until it is deleted, once, after the last use; the index is below its length.
        unsafe {
            let is_gpu = |index| {
                let kind = checked(|status| api().TF_DeviceListType(devices, index, status));
                kind.is_ok_and(|kind| !kind.is_null() && CStr::from_ptr(kind) == c"GPU")
            };
            let has_gpu = (0..api().TF_DeviceListCount(devices)).any(is_gpu);
            api().TF_DeleteDeviceList(devices);
            Ok(has_gpu)
        }
    }

    /// Its graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Runs the graph once: feeds `feeds` with `values`, which are as many, and fetches `fetches`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn run<'v>(
        &self,
        feeds: &Outputs,
        values: impl IntoIterator<Item = &'v Tensor>,
        fetches: &Fetches<'_>,
        options: RunOptions,
    ) -> Result<Few<RawTensor>, Failure> {
        self.call(feeds, values, fetches, &[], options.buffer(), None)
    }

    /// Runs the graph once, for so much time at most.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn run_within<'v>(
        &self,
        time: Duration,
        feeds: &Outputs,
        values: impl IntoIterator<Item = &'v Tensor>,
        fetches: &Fetches<'_>,
    ) -> Result<Few<RawTensor>, Failure> {
        self.call(feeds, values, fetches, &[], Some(&run_options::with_time(time)), None)
    }

    /// Runs the graph once for its `targets`, while a model is loaded.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn execute<'v>(
        &self,
        feeds: &Outputs,
        values: impl IntoIterator<Item = &'v Tensor>,
        targets: &Targets,
    ) -> Result<(), Failure> {
        let nothing = Fetches::All(&[]);
        self.call(feeds, values, &nothing, targets.raw(), RunOptions::PATIENT.buffer(), None).map(drop)
    }

    /// Runs the graph once, and returns what TensorFlow tells about that, a serialised `RunMetadata`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn observe<'v>(
        &self,
        feeds: &Outputs,
        values: impl IntoIterator<Item = &'v Tensor>,
        fetches: &Fetches<'_>,
        options: RunOptions,
    ) -> Result<Buffer, Failure> {
        let mut metadata = Buffer::new();
        self.call(feeds, values, fetches, &[], options.buffer(), Some(&mut metadata))?;
        Ok(metadata)
    }

    fn call<'v>(
        &self,
        feeds: &Outputs,
        values: impl IntoIterator<Item = &'v Tensor>,
        fetches: &Fetches<'_>,
        targets: &[*const TF_Operation],
        options: Option<&Buffer>,
        metadata: Option<&mut Buffer>,
    ) -> Result<Few<RawTensor>, Failure> {
        let (feeds, fetches) = (feeds.raw(), fetches.raw());
        let values: SmallVec<[*mut TF_Tensor; 8]> =
            values.into_iter().map(|value| value.raw().raw()).collect();
        assert_eq!(values.len(), feeds.len(), "a run needs one value for each feed");
        let mut results: SmallVec<[*mut TF_Tensor; 8]> = smallvec![ptr::null_mut(); fetches.len()];
        let metadata = metadata.map_or(ptr::null_mut(), Buffer::raw_mut);
        checked(|status| {
            // SAFETY: session, options, operations and values live during the call, which blocks until the run is over, even
            // where it is cancelled. There are as many values as feeds and as much room as fetches. Operations of
            // another graph are looked up by name in this one, so at worst they make the call fail. The values stay
            // ours.
            unsafe {
                api().TF_SessionRun(
                    self.raw.as_ptr(),
                    options.map_or(ptr::null(), Buffer::raw),
                    feeds.as_ptr(),
                    values.as_ptr(),
                    values.len() as i32,
                    fetches.as_ptr(),
                    results.as_mut_ptr(),
                    results.len() as i32,
                    targets.as_ptr(),
                    targets.len() as i32,
                    metadata,
                    status,
                );
            }
        })?;
        // SAFETY: after a run without an error each result is a tensor of ours.
        Ok(results.into_iter().filter_map(|raw| unsafe { RawTensor::own(raw) }).collect())
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        // SAFETY: the session is ours, and no run of it goes on: a run borrows it.
        let closed = checked(|status| unsafe { api().TF_CloseSession(self.raw.as_ptr(), status) });
        // SAFETY: as above; nothing uses the session any more, whatever the status says.
        let deleted = checked(|status| unsafe { api().TF_DeleteSession(self.raw.as_ptr(), status) });
        if let Err(error) = closed.and(deleted) {
            log::warn!("a session cannot be closed: {error}");
        }
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession").finish_non_exhaustive()
    }
}

struct SessionOptions(NonNull<TF_SessionOptions>);

impl SessionOptions {
    fn new(config: &ConfigProto) -> Result<Self, Failure> {
        // SAFETY: takes nothing; the new options are ours until `drop`.
        let raw = unsafe { api().TF_NewSessionOptions() };
        let options = Self(NonNull::new(raw).expect("memory for options"));
        let config = config.encode_to_vec();
        checked(|status| {
            // SAFETY: options and bytes live during the call, which copies what it keeps.
            unsafe { api().TF_SetConfig(options.0.as_ptr(), config.as_ptr().cast(), config.len(), status) }
        })?;
        Ok(options)
    }
}

impl Drop for SessionOptions {
    fn drop(&mut self) {
        // SAFETY: the options are ours, and nothing uses them any more.
        unsafe { api().TF_DeleteSessionOptions(self.0.as_ptr()) }
    }
}
