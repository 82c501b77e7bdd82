//! The entry points: what the server calls, in the order of a model's life.
//!
//! [`Backend`] is what a backend has to be; [`export_backend`] makes the C functions of it.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use triton_sys::{
    TRITONBACKEND_Backend, TRITONBACKEND_BackendAttribute, TRITONBACKEND_Model, TRITONBACKEND_ModelInstance,
    TRITONBACKEND_Request, TRITONSERVER_Error,
};

use super::api::{api, is_loaded, load_api};
use super::error::{Code, Error, Result, check, to_raw};
use super::model::{BackendHandle, ModelHandle};
use super::panics::guard;
use super::request::{Request, Unreleased};
use super::{clock, panics, server_log};
use crate::few::Few;

/// A backend: how it starts, how it loads a model, how it executes requests. Dropping ends it.
pub trait Backend: Send + Sync + Sized + 'static {
    /// One version of a model, shared by all its instances.
    type Model: Send + Sync + 'static;
    /// An instance of it. Dropped after the last of the instance's requests is released.
    type Instance: Send + Sync + 'static;

    /// The server has loaded the library.
    ///
    /// # Errors
    /// The models that ask for this backend fail to load with the error.
    fn start(handle: BackendHandle<'_>) -> Result<Self>;

    /// The server loads a version of a model.
    ///
    /// # Errors
    /// The model fails to load with the error.
    fn load(&self, handle: ModelHandle<'_>) -> Result<Self::Model>;

    /// The server makes an instance of a model.
    ///
    /// # Errors
    /// The model fails to load with the error.
    fn start_instance(model: &Arc<Self::Model>) -> Result<Self::Instance>;

    /// The server hands over requests for an instance. Instances execute in parallel. The requests may be
    /// kept beyond the call and answered later, from any thread.
    fn execute(instance: &Self::Instance, requests: Few<Request>);

    /// The server asks whether an instance takes requests.
    ///
    /// # Errors
    /// It does not, and why. The model counts as not ready then.
    fn is_ready(instance: &Self::Instance) -> Result<()>;

    /// No request follows for this instance: what it has kept is to be answered soon. Called before the
    /// instance is dropped.
    fn finish(instance: &Self::Instance);
}

/// An instance as the server keeps it.
struct Kept<I> {
    instance: I,
    unreleased: Arc<Unreleased>,
}

/// Defines the C entry points of a [`Backend`], which are all that the library exports.
macro_rules! export_backend {
    ($backend:ty) => {
        #[allow(unsafe_code)]
        mod exports {
            use triton_sys::*;
            use $crate::triton::entry;

            /// Called once, after the library is loaded.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_Initialize(
                backend: *mut TRITONBACKEND_Backend,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: the server passes what the documentation of the entry point says, on one
                // thread at a time for one handle; the same holds for all of them below.
                unsafe { entry::initialize::<$backend>(backend) }
            }

            /// Called after Initialize by servers from 22.09 on: what the backend is able to do.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_GetBackendAttribute(
                _backend: *mut TRITONBACKEND_Backend,
                attributes: *mut TRITONBACKEND_BackendAttribute,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::attributes(attributes) }
            }

            /// Called for each version of a model that is loaded.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelInitialize(
                model: *mut TRITONBACKEND_Model,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::model_initialize::<$backend>(model) }
            }

            /// Called for each instance of a model, after ModelInitialize.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelInstanceInitialize(
                instance: *mut TRITONBACKEND_ModelInstance,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::instance_initialize::<$backend>(instance) }
            }

            /// Called for each batch of requests, by one thread at a time for one instance.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelInstanceExecute(
                instance: *mut TRITONBACKEND_ModelInstance,
                requests: *mut *mut TRITONBACKEND_Request,
                count: u32,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize; `requests` are `count` requests.
                unsafe { entry::instance_execute::<$backend>(instance, requests, count) }
            }

            /// Called by servers from 25.12 on when somebody asks whether the model is ready, while batches run.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelInstanceReady(
                instance: *mut TRITONBACKEND_ModelInstance,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize, but for other calls that run at the same time.
                unsafe { entry::instance_ready::<$backend>(instance) }
            }

            /// Called when an instance goes, which gets no further requests.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelInstanceFinalize(
                instance: *mut TRITONBACKEND_ModelInstance,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::instance_finalize::<$backend>(instance) }
            }

            /// Called when a version of a model goes, after its instances.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_ModelFinalize(
                model: *mut TRITONBACKEND_Model,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::model_finalize::<$backend>(model) }
            }

            /// Called once, before the library is closed.
            #[unsafe(no_mangle)]
            extern "C" fn TRITONBACKEND_Finalize(
                backend: *mut TRITONBACKEND_Backend,
            ) -> *mut TRITONSERVER_Error {
                // SAFETY: as in Initialize.
                unsafe { entry::finalize::<$backend>(backend) }
            }

            // The compiler holds each one against its declaration in the header.
            const _: TRITONBACKEND_InitializeFn = Some(TRITONBACKEND_Initialize);
            const _: TRITONBACKEND_GetBackendAttributeFn = Some(TRITONBACKEND_GetBackendAttribute);
            const _: TRITONBACKEND_ModelInitializeFn = Some(TRITONBACKEND_ModelInitialize);
            const _: TRITONBACKEND_ModelInstanceInitializeFn = Some(TRITONBACKEND_ModelInstanceInitialize);
            const _: TRITONBACKEND_ModelInstanceExecuteFn = Some(TRITONBACKEND_ModelInstanceExecute);
            const _: TRITONBACKEND_ModelInstanceReadyFn = Some(TRITONBACKEND_ModelInstanceReady);
            const _: TRITONBACKEND_ModelInstanceFinalizeFn = Some(TRITONBACKEND_ModelInstanceFinalize);
            const _: TRITONBACKEND_ModelFinalizeFn = Some(TRITONBACKEND_ModelFinalize);
            const _: TRITONBACKEND_FinalizeFn = Some(TRITONBACKEND_Finalize);
        }
    };
}
pub(crate) use export_backend;

/// # Safety
/// `backend` is the handle passed to `TRITONBACKEND_Initialize`.
pub unsafe fn initialize<B: Backend>(backend: *mut TRITONBACKEND_Backend) -> *mut TRITONSERVER_Error {
    if let Err(error) = load_api() {
        // SAFETY: the process is a Triton server, see `load_api`; it owns the error that is returned.
        let for_server = unsafe { error.to_server() };
        return for_server.map(NonNull::as_ptr).unwrap_or_else(|| panic!("{error}"));
    }
    server_log::install();
    panics::install();
    to_raw(guard(|| {
        // SAFETY: the handle is valid during this call, which `start` cannot outlive.
        let state = B::start(unsafe { BackendHandle::new(backend) })?;
        // SAFETY: the handle is valid; the state is taken back in `finalize`.
        unsafe { hand_out(state, |state| api().TRITONBACKEND_BackendSetState(backend, state)) }
    }))
}

/// # Safety
/// `attributes` was passed to `TRITONBACKEND_GetBackendAttribute`.
pub unsafe fn attributes(attributes: *mut TRITONBACKEND_BackendAttribute) -> *mut TRITONSERVER_Error {
    if !is_loaded() {
        return ptr::null_mut();
    }
    to_raw(guard(|| {
        if api().TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading.is_err() {
            return Ok(()); // servers before 23.08 load instances one after the other
        }
        // SAFETY: the function is there, and the attributes are valid during this call.
        check(unsafe {
            api().TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(attributes, true)
        })
    }))
}

/// # Safety
/// `model` was passed to `TRITONBACKEND_ModelInitialize`, of a backend started with [`initialize`].
pub unsafe fn model_initialize<B: Backend>(model: *mut TRITONBACKEND_Model) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        let mut backend = ptr::null_mut();
        // SAFETY: the model is valid and knows its backend, whose state is a `B` that lives until
        // `finalize`, which the server calls after the last model is gone.
        let loaded = unsafe {
            check(api().TRITONBACKEND_ModelBackend(model, &mut backend))?;
            let backend: &B = borrow(|state| api().TRITONBACKEND_BackendState(backend, state))?;
            backend.load(ModelHandle::new(model))?
        };
        // SAFETY: the handle is valid; the state is taken back in `model_finalize`.
        unsafe { hand_out(Arc::new(loaded), |state| api().TRITONBACKEND_ModelSetState(model, state)) }
    }))
}

/// # Safety
/// `instance` was passed to `TRITONBACKEND_ModelInstanceInitialize`, of a model that
/// [`model_initialize`] loaded.
pub unsafe fn instance_initialize<B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        let mut model = ptr::null_mut();
        // SAFETY: the instance is valid and knows its model, whose state is an `Arc<B::Model>` that
        // lives until `model_finalize`; the new state is taken back in `instance_finalize`.
        unsafe {
            check(api().TRITONBACKEND_ModelInstanceModel(instance, &mut model))?;
            let model: &Arc<B::Model> = borrow(|state| api().TRITONBACKEND_ModelState(model, state))?;
            let kept = Kept { instance: B::start_instance(model)?, unreleased: Arc::default() };
            hand_out(kept, |state| api().TRITONBACKEND_ModelInstanceSetState(instance, state))
        }
    }))
}

/// # Safety
/// The arguments were passed to `TRITONBACKEND_ModelInstanceExecute`, for an instance that
/// [`instance_initialize`] made.
pub unsafe fn instance_execute<B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
    requests: *mut *mut TRITONBACKEND_Request,
    count: u32,
) -> *mut TRITONSERVER_Error {
    let arrival = clock::now_ns();
    // Until here the requests are the server's: an error gives every one of them that answer.
    // SAFETY: the instance is valid; its state is a `Kept<B::Instance>` until `instance_finalize`.
    let state = guard(|| unsafe { borrow(|state| api().TRITONBACKEND_ModelInstanceState(instance, state)) });
    let kept: &Kept<B::Instance> = match state {
        Ok(kept) => kept,
        Err(error) => return error.into_raw(),
    };
    // From here on they are ours, and the result is success whatever happens: a `Request` sees to it
    // that it is answered and released.
    // SAFETY: the server passes `count` requests and gives them up when the result is success. The instance
    // is valid until `instance_finalize` returns, which waits for `unreleased`.
    let requests = unsafe { std::slice::from_raw_parts(requests, count as usize) }
        .iter()
        .map(|&request| unsafe { Request::new(request, instance, arrival, &kept.unreleased) })
        .collect();
    let executed = guard(|| {
        B::execute(&kept.instance, requests);
        Ok(())
    });
    drop(executed); // a panic was logged by the hook and told to the clients by `Request::drop`
    ptr::null_mut()
}

/// # Safety
/// `instance` was passed to `TRITONBACKEND_ModelInstanceReady`, and [`instance_finalize`] is not called for it meanwhile.
pub unsafe fn instance_ready<B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        // SAFETY: the instance is valid; its state is a `Kept<B::Instance>` from `instance_initialize` to
        // `instance_finalize`, and null before.
        let state = unsafe { borrow(|state| api().TRITONBACKEND_ModelInstanceState(instance, state)) };
        let kept: &Kept<B::Instance> = state.map_err(|error| Error::new(Code::Unavailable, error.message))?;
        B::is_ready(&kept.instance)
    }))
}

/// # Safety
/// As for [`instance_execute`]; the instance is not used afterwards.
pub unsafe fn instance_finalize<B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        // SAFETY: the state was handed out in `instance_initialize` and is not taken back before the end of
        // the block.
        unsafe {
            let kept: &Kept<B::Instance> =
                borrow(|state| api().TRITONBACKEND_ModelInstanceState(instance, state))?;
            B::finish(&kept.instance);
            kept.unreleased.wait_for_none();
        }
        // SAFETY: the state was handed out in `instance_initialize` and is used no more.
        unsafe {
            take_back::<Kept<B::Instance>>(|state| api().TRITONBACKEND_ModelInstanceState(instance, state))
        }
    }))
}

/// # Safety
/// As for [`instance_initialize`]; the model is not used afterwards.
pub unsafe fn model_finalize<B: Backend>(model: *mut TRITONBACKEND_Model) -> *mut TRITONSERVER_Error {
    // SAFETY: the state was handed out in `model_initialize` and is used no more.
    to_raw(guard(|| unsafe {
        take_back::<Arc<B::Model>>(|state| api().TRITONBACKEND_ModelState(model, state))
    }))
}

/// # Safety
/// As for [`initialize`]; the backend is not used afterwards.
pub unsafe fn finalize<B: Backend>(backend: *mut TRITONBACKEND_Backend) -> *mut TRITONSERVER_Error {
    // The server calls this also when Initialize has failed, perhaps for want of the API itself.
    if !is_loaded() {
        return ptr::null_mut();
    }
    // SAFETY: the state was handed out in `initialize` and is used no more.
    to_raw(guard(|| unsafe { take_back::<B>(|state| api().TRITONBACKEND_BackendState(backend, state)) }))
}

/// Gives the server a state to keep; on an error the state is dropped.
///
/// # Safety
/// `set` stores the pointer for the server and does nothing else with it.
unsafe fn hand_out<T>(state: T, set: impl FnOnce(*mut c_void) -> *mut TRITONSERVER_Error) -> Result<()> {
    let state = Box::into_raw(Box::new(state));
    check(set(state.cast())).inspect_err(|_| {
        // SAFETY: it was made two lines above, and the server did not take it.
        drop(unsafe { Box::from_raw(state) });
    })
}

/// Lends a state that [`hand_out`] gave the server.
///
/// # Safety
/// `get` fetches what was stored for the very same type, and the state is not taken back during `'a`.
unsafe fn borrow<'a, T>(get: impl FnOnce(*mut *mut c_void) -> *mut TRITONSERVER_Error) -> Result<&'a T> {
    let mut state = ptr::null_mut();
    check(get(&mut state))?;
    // SAFETY: the caller vouches for it; null is what the server returns when nothing was stored.
    unsafe { state.cast::<T>().as_ref() }
        .ok_or_else(|| Error::internal("the server returned no state where the backend stored one"))
}

/// Takes a state back that [`hand_out`] gave the server, and drops it.
///
/// # Safety
/// As for [`borrow`], and nothing uses the state any more.
unsafe fn take_back<T>(get: impl FnOnce(*mut *mut c_void) -> *mut TRITONSERVER_Error) -> Result<()> {
    let mut state = ptr::null_mut();
    check(get(&mut state))?;
    if !state.is_null() {
        // SAFETY: the caller vouches for it. Null is the state of what failed to initialise.
        drop(unsafe { Box::from_raw(state.cast::<T>()) });
    }
    Ok(())
}
