//! The entry points: what the server calls, in the order of a model's life.
//!
//! [`Backend`] is what a backend has to be; [`export_backend`] makes the C functions of it.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use triton_sys::{
    TRITONBACKEND_Backend, TRITONBACKEND_BackendAttribute, TRITONBACKEND_Model, TRITONBACKEND_ModelInstance,
    TRITONBACKEND_Request, TRITONSERVER_Error,
};

use super::accepted::{Accepted, Unreleased};
use super::api::{api, is_loaded, load_api};
use super::error::{Code, Error, Result, check, to_raw};
use super::model::{BackendHandle, ModelHandle};
use super::panics::guard;
use super::request::Request;
use super::states::{borrow, borrow_last, hand_out, take_back};
use super::unanswered::Call;
use super::{clock, panics, server_log, spare};
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
    spare::make();
    to_raw(guard(|| {
        // SAFETY: the handle is valid during this call, which `start` cannot outlive.
        let state = B::start(unsafe { BackendHandle::new(backend) })?;
        // SAFETY: the handle is valid, and the server only stores the pointer.
        hand_out(backend, state, |state| unsafe { api().TRITONBACKEND_BackendSetState(backend, state) })
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
        // SAFETY: the model is valid and knows its backend, whose state lives until `finalize`, which the server calls
        // after the last model is gone.
        let loaded = unsafe {
            check(api().TRITONBACKEND_ModelBackend(model, &mut backend))?;
            borrow::<_, B>(backend)?.load(ModelHandle::new(model))?
        };
        // SAFETY: the handle is valid, and the server only stores the pointer.
        hand_out(model, Arc::new(loaded), |state| unsafe { api().TRITONBACKEND_ModelSetState(model, state) })
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
        // SAFETY: the instance is valid and knows its model, whose state lives until `model_finalize`, which the server
        // calls after the last instance is gone.
        let made = unsafe {
            check(api().TRITONBACKEND_ModelInstanceModel(instance, &mut model))?;
            B::start_instance(borrow::<_, Arc<B::Model>>(model)?)?
        };
        let kept = Kept { instance: made, unreleased: Arc::default() };
        // SAFETY: the handle is valid, and the server only stores the pointer.
        hand_out(instance, kept, |state| unsafe {
            api().TRITONBACKEND_ModelInstanceSetState(instance, state)
        })
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
    // SAFETY: the server passes `count` requests.
    let raw = unsafe { std::slice::from_raw_parts(requests, count as usize) };
    let take = |unreleased: &Arc<Unreleased>| -> Few<Request> {
        // From here on they are ours: a `Request` sees to it that it is answered and released, whatever happens.
        // SAFETY: the server gives the requests up when the result is success, and only those are returned with an error
        // that are neither answered nor released (`give_back`). The instance is valid until `instance_finalize` returns,
        // which waits for `unreleased`, or until this call returns, before which they are released.
        raw.iter().map(|&request| unsafe { Request::new(request, instance, arrival, unreleased) }).collect()
    };
    // Until here the requests are the server's: an error gives every one of them that answer.
    // SAFETY: the instance is valid, and its state lives until `instance_finalize`.
    let kept = match guard(|| unsafe { state_of::<B>(instance) }) {
        Ok(kept) => kept,
        Err(error) => {
            let raw = error.clone().into_raw();
            if raw.is_null() {
                // Which is success: nobody else sees to the requests then.
                take(&Arc::default()).into_iter().for_each(|request| drop(request.fail(error.clone())));
            }
            return raw;
        }
    };
    let requests = take(&kept.unreleased);
    let call = Call::begin();
    let executed = guard(|| {
        B::execute(&kept.instance, requests);
        Ok(())
    });
    drop(executed); // a panic was logged by the hook and told to the clients by `Request::drop`
    let unanswered = call.end();
    if unanswered.is_empty() { ptr::null_mut() } else { give_back(raw, unanswered) }
}

/// The state of an instance: the server's pointer, or where it does not tell that, what was noted in Initialize.
///
/// # Safety
/// As for [`instance_execute`], and the result is used during that call only.
unsafe fn state_of<'a, B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
) -> Result<&'a Kept<B::Instance>> {
    let mut state = ptr::null_mut();
    // SAFETY: the instance is valid; the pointer is written to our variable.
    let told = check(unsafe { api().TRITONBACKEND_ModelInstanceState(instance, &mut state) });
    // SAFETY: what the server keeps for an instance is null or what `instance_initialize` gave it, which lives until
    // `instance_finalize`.
    match (told, unsafe { state.cast::<Kept<B::Instance>>().as_ref() }) {
        (Ok(()), Some(kept)) => Ok(kept),
        // SAFETY: as above.
        _ => unsafe { borrow(instance) },
    }
}

/// Ends an Execute call in which the server made no response to some requests. If these are all that it was called with,
/// they are left with the server, which answers them with the error that is returned. Otherwise they have no answer, unless
/// the last attempt succeeds, and null is returned.
#[cold]
fn give_back(
    requests: &[*mut TRITONBACKEND_Request],
    unanswered: Vec<(Accepted, Error)>,
) -> *mut TRITONSERVER_Error {
    let is_of_call =
        |(accepted, _): &(Accepted, Error)| requests.contains(&accepted.raw()) && accepted.is_unshared();
    if unanswered.len() == requests.len() && unanswered.iter().all(is_of_call) {
        let error = unanswered[0].1.clone().into_raw();
        if !error.is_null() {
            unanswered.into_iter().for_each(|(accepted, _)| accepted.give_back());
            return error;
        }
    }
    for (accepted, error) in unanswered {
        drop(Request::from_accepted(accepted).fail(error));
    }
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
        let kept: Result<&Kept<B::Instance>> = unsafe { borrow(instance) };
        let kept = kept.map_err(|_| {
            Error::new(
                Code::Unavailable,
                "the instance is not ready: its Initialize has failed, or has not returned yet",
            )
        })?;
        B::is_ready(&kept.instance)
    }))
}

/// # Safety
/// As for [`instance_execute`]; the instance is not used afterwards.
pub unsafe fn instance_finalize<B: Backend>(
    instance: *mut TRITONBACKEND_ModelInstance,
) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        // SAFETY: the state is not taken back before the end of the block. The server calls this also for an instance
        // whose Initialize has failed and said why; there may be no state then.
        if let Some(kept) = unsafe { borrow_last::<_, Kept<B::Instance>>(instance) } {
            B::finish(&kept.instance);
            kept.unreleased.wait_for_none();
        }
        // SAFETY: the server calls nothing else for the instance any more, and the loan above is over.
        drop(unsafe { take_back::<_, Kept<B::Instance>>(instance) });
        Ok(())
    }))
}

/// # Safety
/// As for [`instance_initialize`]; the model is not used afterwards.
pub unsafe fn model_finalize<B: Backend>(model: *mut TRITONBACKEND_Model) -> *mut TRITONSERVER_Error {
    to_raw(guard(|| {
        // SAFETY: the server calls nothing else for the model any more, and its instances are gone.
        drop(unsafe { take_back::<_, Arc<B::Model>>(model) });
        Ok(())
    }))
}

/// # Safety
/// As for [`initialize`]; the backend is not used afterwards.
pub unsafe fn finalize<B: Backend>(backend: *mut TRITONBACKEND_Backend) -> *mut TRITONSERVER_Error {
    // The server calls this also when Initialize has failed, perhaps for want of the API itself.
    if !is_loaded() {
        return ptr::null_mut();
    }
    let result = to_raw(guard(|| {
        // SAFETY: the server calls nothing else for the backend any more, and its models are gone.
        drop(unsafe { take_back::<_, B>(backend) });
        Ok(())
    }));
    spare::delete();
    result
}
