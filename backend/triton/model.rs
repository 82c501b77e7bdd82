//! What the server tells about a model and about an instance of it.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::ptr;

use serde_json::Value;
use triton_sys::{
    TRITONBACKEND_ArtifactType, TRITONBACKEND_Backend, TRITONBACKEND_Model, TRITONSERVER_Message,
};

use super::api::api;
use super::error::{Error, Result, check, not_null, string};

/// The configuration version this project reads.
const CONFIG_VERSION: u32 = 1;

/// The server's handle of this backend, valid during the entry point that was given it.
#[derive(Clone, Copy)]
pub struct BackendHandle<'a> {
    raw: *mut TRITONBACKEND_Backend,
    _call: PhantomData<&'a ()>,
}

impl BackendHandle<'_> {
    /// # Safety
    /// `raw` is the handle the server passed to the entry point that is running, and the value does
    /// not outlive that call.
    pub(super) unsafe fn new(raw: *mut TRITONBACKEND_Backend) -> Self {
        Self { raw, _call: PhantomData }
    }

    /// The name under which models ask for the backend.
    pub fn name(&self) -> Result<String> {
        let mut name = ptr::null();
        // SAFETY: the handle is valid (see `new`); the string belongs to it and is copied at once.
        unsafe {
            check(api().TRITONBACKEND_BackendName(self.raw, &mut name))?;
            not_null(name.cast_mut(), "name of the backend")?;
            Ok(string(name))
        }
    }

    /// What `--backend-config` and the server's own options say, as the server's JSON.
    pub fn config(&self) -> Result<Value> {
        let mut message = ptr::null_mut();
        // SAFETY: the handle is valid; the message belongs to the backend and is not deleted here.
        unsafe {
            check(api().TRITONBACKEND_BackendConfig(self.raw, &mut message))?;
            not_null(message, "configuration of the backend")?;
            json(message, "the backend's configuration")
        }
    }

    /// The folder that holds this library.
    pub fn folder(&self) -> Result<PathBuf> {
        let mut kind = TRITONBACKEND_ArtifactType::TRITONBACKEND_ARTIFACT_FILESYSTEM;
        let mut location = ptr::null();
        // SAFETY: as in `name`.
        let folder = unsafe {
            check(api().TRITONBACKEND_BackendArtifacts(self.raw, &mut kind, &mut location))?;
            not_null(location.cast_mut(), "folder of the backend")?;
            string(location)
        };
        filesystem(kind, folder, "the backend's folder")
    }
}

/// The server's handle of one version of a model, valid during the entry point that was given it.
#[derive(Clone, Copy)]
pub struct ModelHandle<'a> {
    raw: *mut TRITONBACKEND_Model,
    _call: PhantomData<&'a ()>,
}

impl ModelHandle<'_> {
    /// # Safety
    /// As for [`BackendHandle::new`].
    pub(super) unsafe fn new(raw: *mut TRITONBACKEND_Model) -> Self {
        Self { raw, _call: PhantomData }
    }

    pub(super) fn raw(&self) -> *mut TRITONBACKEND_Model {
        self.raw
    }

    /// The model's name.
    pub fn name(&self) -> Result<String> {
        let mut name = ptr::null();
        // SAFETY: the handle is valid (see `new`); the string belongs to it and is copied at once.
        unsafe {
            check(api().TRITONBACKEND_ModelName(self.raw, &mut name))?;
            not_null(name.cast_mut(), "name of the model")?;
            Ok(string(name))
        }
    }

    /// The version, the name of the folder that holds the model's files.
    pub fn version(&self) -> Result<u64> {
        let mut version = 0;
        // SAFETY: the handle is valid; the number is written to our variable.
        check(unsafe { api().TRITONBACKEND_ModelVersion(self.raw, &mut version) })?;
        Ok(version)
    }

    /// The model's folder in the repository (a local copy where the repository is remote).
    pub fn folder(&self) -> Result<PathBuf> {
        let mut kind = TRITONBACKEND_ArtifactType::TRITONBACKEND_ARTIFACT_FILESYSTEM;
        let mut location = ptr::null();
        // SAFETY: as in `name`.
        let folder = unsafe {
            check(api().TRITONBACKEND_ModelRepository(self.raw, &mut kind, &mut location))?;
            // An empty path would be the server's working directory.
            not_null(location.cast_mut(), "folder of the model")?;
            string(location)
        };
        filesystem(kind, folder, "the model's folder")
    }

    /// The model's configuration as the server completed it, as JSON.
    pub fn config(&self) -> Result<Value> {
        let mut message: *mut TRITONSERVER_Message = ptr::null_mut();
        // SAFETY: the handle is valid; ModelConfig makes a message that we own, read before it is
        // deleted, and delete once.
        unsafe {
            check(api().TRITONBACKEND_ModelConfig(self.raw, CONFIG_VERSION, &mut message))?;
            not_null(message, "configuration of the model")?;
            let config = json(message, "the model's configuration");
            check(api().TRITONSERVER_MessageDelete(message))?;
            config
        }
    }

    /// Whether the backend may complete the configuration, which is the server's default.
    pub fn may_complete_config(&self) -> Result<bool> {
        let mut allowed = false;
        // SAFETY: the handle is valid; the answer is written to our variable.
        check(unsafe { api().TRITONBACKEND_ModelAutoCompleteConfig(self.raw, &mut allowed) })?;
        Ok(allowed)
    }

    /// Gives the model another configuration; only while it is being loaded.
    ///
    /// # Errors
    /// The server does not find it valid.
    pub fn set_config(&self, config: &Value) -> Result<()> {
        let text = config.to_string();
        let mut message = ptr::null_mut();
        // SAFETY: the handle is valid. The text is copied into the message, which is ours and deleted
        // once, after the server has read it.
        unsafe {
            check(api().TRITONSERVER_MessageNewFromSerializedJson(
                &mut message,
                text.as_ptr().cast(),
                text.len(),
            ))?;
            not_null(message, "message")?;
            let set = check(api().TRITONBACKEND_ModelSetConfig(self.raw, CONFIG_VERSION, message));
            check(api().TRITONSERVER_MessageDelete(message))?;
            set
        }
    }
}

/// Reads a message of the server's.
///
/// # Safety
/// `message` is a valid message during the call.
unsafe fn json(message: *mut TRITONSERVER_Message, what: &str) -> Result<Value> {
    let mut base = ptr::null();
    let mut size = 0;
    // SAFETY: the caller vouches for the message; the text belongs to it, is `size` bytes long and is
    // read during the call.
    let text = unsafe {
        check(api().TRITONSERVER_MessageSerializeToJson(message, &mut base, &mut size))?;
        if base.is_null() { &[][..] } else { std::slice::from_raw_parts(base.cast::<u8>(), size) }
    };
    serde_json::from_slice(text)
        .map_err(|e| Error::internal(format!("{what}, as the server gives it, is not JSON: {e}")))
}

fn filesystem(kind: TRITONBACKEND_ArtifactType, path: String, what: &str) -> Result<PathBuf> {
    if kind == TRITONBACKEND_ArtifactType::TRITONBACKEND_ARTIFACT_FILESYSTEM {
        return Ok(PathBuf::from(path));
    }
    Err(Error::unsupported(format!(
        "{what} is an artifact of type {}, but this backend reads local folders only",
        kind.0
    )))
}
