//! A request of the server's: answered exactly once and released exactly once.
//!
//! Ownership says which of the two is still to do. A [`Request`] is not answered yet: [`Request::fail`] answers it
//! with an error, [`Request::respond`] moves it into a [`Response`](super::response::Response), which is consumed when it
//! is sent. What is left is an [`Answered`]; dropping it reports the request to the statistics and releases it. Dropping
//! a `Request` or a `Response` answers with an error first. A request for which the server makes no response is neither
//! answered nor released until Execute ends, which decides ([`unanswered`]).

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use triton_sys::{
    TRITONBACKEND_Input, TRITONBACKEND_ModelInstance, TRITONBACKEND_Request, TRITONBACKEND_Response,
    TRITONSERVER_DataType, TRITONSERVER_Error, TRITONSERVER_MemoryType, TRITONSERVER_ResponseCompleteFlag,
};

use super::accepted::{ATTEMPTS, Accepted, Release, Unreleased};
use super::api::{api, frequent};
use super::cuda::Gpu;
use super::error::{Error, Result, check, not_null};
use super::statistics::{Stamps, report_execution, report_request};
use super::{clock, panics, unanswered};

/// A request that this backend has accepted and not answered yet.
///
/// Dropping it answers with an error, which quotes the panic if one is the reason.
pub struct Request(Option<Accepted>);

impl Request {
    /// # Safety
    /// As for [`Accepted::new`].
    pub(super) unsafe fn new(
        raw: *mut TRITONBACKEND_Request,
        instance: *mut TRITONBACKEND_ModelInstance,
        arrival: u64,
        unreleased: &Arc<Unreleased>,
    ) -> Self {
        // SAFETY: as the caller promises.
        Self(Some(unsafe { Accepted::new(raw, instance, arrival, unreleased) }))
    }

    fn accepted(&self) -> &Accepted {
        self.0.as_ref().expect("only methods that consume the request take it out")
    }

    fn raw(&self) -> *mut TRITONBACKEND_Request {
        self.accepted().raw()
    }

    /// Takes over what is to be answered.
    pub(super) fn into_accepted(mut self) -> Accepted {
        self.0.take().expect("only methods that consume the request take it out")
    }

    /// The reverse of [`Self::into_accepted`].
    pub(super) fn from_accepted(accepted: Accepted) -> Self {
        Self(Some(accepted))
    }

    /// When Execute was handed it (`CLOCK_MONOTONIC`, ns).
    pub fn arrival(&self) -> u64 {
        self.accepted().arrival()
    }

    /// Whether the client has cancelled it. Servers before 23.10 do not tell.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: the request is ours, and so not released.
        unsafe { is_cancelled(self.raw()) }
    }

    /// What tells whether the client has cancelled it, beside whoever answers it. The server has the request back only when
    /// this is gone, too.
    pub fn probe(&self) -> Probe {
        Probe(self.accepted().share())
    }

    /// The timeout that the client set, in nanoseconds. Servers before 23.12 do not tell.
    pub fn timeout(&self) -> Option<u64> {
        let mut timeout_us = 0;
        if let Ok(timeout) = &api().TRITONBACKEND_InferenceRequestTimeoutMicroseconds {
            // SAFETY: the request is ours; the number is written to our variable.
            if let Err(error) = check(unsafe { timeout(self.raw(), &mut timeout_us) }) {
                log::debug!("the server does not tell a request's timeout: {error}");
            }
        }
        (timeout_us > 0).then(|| timeout_us.saturating_mul(1000))
    }

    /// The id that the client gave; empty when it gave none.
    pub fn id(&self) -> Result<&str> {
        let mut id = ptr::null();
        // SAFETY: the request is ours (see `new`), and its strings live until it is released.
        unsafe {
            check(api().TRITONBACKEND_RequestId(self.raw(), &mut id))?;
            text(id)
        }
    }

    /// One of its inputs.
    ///
    /// # Errors
    /// The request has no input of this name.
    pub fn input(&self, name: &CStr) -> Result<Input<'_>> {
        let mut raw = ptr::null_mut();
        let mut datatype = TRITONSERVER_DataType::TRITONSERVER_TYPE_INVALID;
        let (mut shape, mut rank) = (ptr::null(), 0);
        let mut buffer_count = 0;
        // SAFETY: the request is ours; the input and its shape belong to it and live until it is
        // released. The other results are written to our variables.
        unsafe {
            check((frequent().TRITONBACKEND_RequestInput)(self.raw(), name.as_ptr(), &mut raw))?;
            not_null(raw, "input")?;
            check((frequent().TRITONBACKEND_InputProperties)(
                raw,
                ptr::null_mut(),
                &mut datatype,
                &mut shape,
                &mut rank,
                ptr::null_mut(),
                &mut buffer_count,
            ))?;
            let shape = if rank == 0 {
                &[][..]
            } else {
                not_null(shape.cast_mut(), "shape")?;
                std::slice::from_raw_parts(shape, rank as usize)
            };
            Ok(Input { raw, datatype, shape, buffer_count, request: self })
        }
    }

    /// Whether it has an input of this name.
    pub fn has_input(&self, name: &CStr) -> bool {
        self.input(name).is_ok()
    }

    /// A buffer of no bytes, for an input that it does not have.
    pub fn no_buffer(&self) -> InputBuffer<'_> {
        InputBuffer { base: ptr::null(), size: 0, gpu: None, request: self }
    }

    /// How many outputs the client wants: those it named, or else all of the model's.
    pub fn output_count(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: the request is ours; the number is written to our variable.
        check(unsafe { (frequent().TRITONBACKEND_RequestOutputCount)(self.raw(), &mut count) })?;
        Ok(count)
    }

    /// The name of one of these outputs; no two are the same.
    pub fn output_name(&self, index: u32) -> Result<&str> {
        let mut name = ptr::null();
        // SAFETY: the request is ours, and its strings live until it is released.
        unsafe {
            check(api().TRITONBACKEND_RequestOutputName(self.raw(), index, &mut name))?;
            text(name)
        }
    }

    /// Answers with an error.
    pub fn fail(self, error: Error) -> Answered {
        fail(self.into_accepted(), error)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(accepted) = self.0.take() {
            fail(
                accepted,
                Error::internal(match panics::message() {
                    Some(panic) => format!("the backend panicked, please report this: {panic}"),
                    None => "the backend dropped the request without an answer, please report this".into(),
                }),
            );
        }
    }
}

fn fail(accepted: Accepted, error: Error) -> Answered {
    log::debug!("a request failed: {error}");
    let mut answer = answer(&accepted, &error);
    for _ in 1..ATTEMPTS {
        let Err(Unsent::NoResponse(reason)) = &answer else { break };
        log::debug!("the server makes no response, asked again: {reason}");
        answer = self::answer(&accepted, &error);
    }
    match answer {
        Ok(()) => Answered { accepted: Some(accepted), stamps: None, is_reported: false },
        Err(Unsent::NotDelivered(reason)) => {
            log::error!("an error response could not be sent: {reason}");
            Answered { accepted: Some(accepted), stamps: None, is_reported: false }
        }
        Err(Unsent::NoResponse(reason)) => {
            log::error!("the server made no response to a request in {ATTEMPTS} attempts: {reason}");
            Answered { accepted: unanswered::keep(accepted, error), stamps: None, is_reported: false }
        }
    }
}

/// Why a client may not have the error that it was to get.
enum Unsent {
    /// There is no response; the request can still be answered.
    NoResponse(Error),
    /// The response is the server's.
    NotDelivered(Error),
}

fn answer(accepted: &Accepted, error: &Error) -> std::result::Result<(), Unsent> {
    let response = accepted.new_response().map_err(Unsent::NoResponse)?;
    error.clone().lend(|error| {
        if error.is_null() {
            // Sent without one, it would be a success without outputs.
            delete(response);
            return Err(Unsent::NoResponse(Error::internal("the server makes no error object")));
        }
        // SAFETY: the response is ours, from `new_response`, and sent once; the error lives during the call.
        unsafe { send(response, error) }.map_err(Unsent::NotDelivered)
    })
}

/// Sends a response, the only one to its request, with an error in place of its outputs if that is not null.
///
/// # Safety
/// The response is the caller's, who gives it up: the server takes it even when it fails to deliver it. The error is null
/// or lives during the call, which reads it.
pub(super) unsafe fn send(
    response: *mut TRITONBACKEND_Response,
    error: *mut TRITONSERVER_Error,
) -> Result<()> {
    let flags = TRITONSERVER_ResponseCompleteFlag::TRITONSERVER_RESPONSE_COMPLETE_FINAL.0;
    // SAFETY: as the caller promises.
    check(unsafe { api().TRITONBACKEND_ResponseSend(response, flags, error) })
}

/// Deletes a response that was not sent.
pub(super) fn delete(response: *mut TRITONBACKEND_Response) {
    // SAFETY: the callers own the response and give it up; it was not sent.
    if let Err(error) = check(unsafe { api().TRITONBACKEND_ResponseDelete(response) }) {
        log::error!("an unsent response could not be deleted: {error}");
    }
}

/// A request whose answer has left. Dropping it reports it to the statistics, unless that is done, and releases it.
pub struct Answered {
    /// None for one that could not be answered, and that Execute sees to at its end.
    accepted: Option<Accepted>,
    /// None for one that failed.
    stamps: Option<Stamps>,
    is_reported: bool,
}

impl Answered {
    /// A request whose response with these stamps was sent.
    pub(super) fn with_success(accepted: Accepted, stamps: Stamps) -> Self {
        Self { accepted: Some(accepted), stamps: Some(stamps), is_reported: false }
    }

    /// The stamps, if it was answered with a success.
    pub fn stamps(&self) -> Option<&Stamps> {
        self.stamps.as_ref()
    }

    /// Reports these requests, and then the execution that they were, of so many rows, to the statistics of the instance that
    /// the server handed them to: who finds the execution there finds its requests as well. Nothing is reported of those that
    /// Execute may yet give back.
    pub fn report(all: &mut [Self], rows: usize, stamps: &Stamps) {
        all.iter_mut().for_each(Self::report_request);
        if let Some(accepted) = all.iter().find_map(|answered| answered.accepted.as_ref()) {
            // SAFETY: the instance lives until its last request is released (see `Accepted::new`), and this one is not.
            unsafe { report_execution(accepted.instance(), rows as u64, stamps) }
        }
    }

    fn report_request(&mut self) {
        let Some(accepted) = self.accepted.as_ref().filter(|_| !self.is_reported) else { return };
        self.is_reported = true;
        let success = self.stamps.is_some();
        let stamps = self.stamps.unwrap_or_else(|| Stamps::of_failure(accepted.arrival(), clock::now_ns()));
        // SAFETY: the request is released when the field is dropped, and the instance lives until then.
        unsafe { report_request(accepted.instance(), accepted.raw(), success, &stamps) }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.report_request();
    }
}

/// One input of a request.
pub struct Input<'r> {
    raw: *mut TRITONBACKEND_Input,
    /// The type of its elements.
    pub datatype: TRITONSERVER_DataType,
    /// Its shape, with the batch dimension where the model has one.
    pub shape: &'r [i64],
    buffer_count: u32,
    request: &'r Request,
}

impl<'r> Input<'r> {
    /// The first piece of its data.
    ///
    /// # Errors
    /// It is in the memory of a GPU that cannot be reached.
    pub fn first_buffer(&self) -> Result<InputBuffer<'r>> {
        if self.buffer_count == 0 {
            return Ok(self.request.no_buffer());
        }
        self.buffer(0)
    }

    /// The pieces that follow, in order, where the server holds it in several.
    ///
    /// # Errors
    /// A piece is in the memory of a GPU that cannot be reached.
    pub fn further_buffers(&self) -> Result<Vec<InputBuffer<'r>>> {
        if self.buffer_count <= 1 { Ok(Vec::new()) } else { self.all_further_buffers() }
    }

    #[cold]
    #[inline(never)]
    fn all_further_buffers(&self) -> Result<Vec<InputBuffer<'r>>> {
        (1..self.buffer_count).map(|index| self.buffer(index)).collect()
    }

    fn buffer(&self, index: u32) -> Result<InputBuffer<'r>> {
        let mut base = ptr::null();
        let mut size = 0;
        let mut memory = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU;
        let mut device = 0;
        // SAFETY: the input belongs to a request that outlives `self`; the results are written to our
        // variables.
        check(unsafe {
            (frequent().TRITONBACKEND_InputBuffer)(
                self.raw,
                index,
                &mut base,
                &mut size,
                &mut memory,
                &mut device,
            )
        })?;
        if size > 0 {
            not_null(base.cast_mut(), "memory of an input")?;
        }
        let gpu = Gpu::of(memory, device, size as usize)?;
        Ok(InputBuffer { base: base.cast(), size: size as usize, gpu, request: self.request })
    }
}

/// A piece of an input's data. It is copied out or lent, and never seen as a slice: with shared memory it belongs to
/// the client, who may write to it at any time.
pub struct InputBuffer<'r> {
    base: *const u8,
    size: usize,
    /// Where it is, if not in system memory.
    gpu: Option<&'static Gpu>,
    request: &'r Request,
}

impl InputBuffer<'_> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Where it begins: an address of the memory that it is in, which may be a GPU's.
    pub fn as_ptr(&self) -> *const u8 {
        self.base
    }

    /// Copies all of it.
    ///
    /// # Errors
    /// It is in the memory of a GPU, from which it cannot be copied. Not all of `target` is initialised then.
    ///
    /// # Panics
    /// When `target` is not exactly as long.
    pub fn copy_to(&self, target: &mut [MaybeUninit<u8>]) -> Result<()> {
        assert_eq!(target.len(), self.size, "an input buffer is copied whole");
        if let Some(gpu) = self.gpu {
            // SAFETY: the server guarantees `size` bytes at `base` of that GPU's memory until the request is released, which
            // outlives `self`. The target is as long.
            return unsafe { gpu.read(self.base, target) };
        }
        if self.size > 0 {
            // SAFETY: the server guarantees `size` bytes at `base` until the request is released, which outlives
            // `self`; `target` is our own memory, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(self.base, target.as_mut_ptr().cast(), self.size) }
        }
        Ok(())
    }

    /// Copies all of it behind what is in `bytes`.
    ///
    /// # Errors
    /// As for [`Self::copy_to`]; nothing counts as copied then.
    pub fn append_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.reserve(self.size);
        self.copy_to(&mut bytes.spare_capacity_mut()[..self.size])?;
        // SAFETY: `copy_to` has initialised as many more, for which there is room.
        unsafe { bytes.set_len(bytes.len() + self.size) }
        Ok(())
    }

    /// Its bytes, to be copied by several threads; nothing where they are in the memory of a GPU.
    pub fn bytes(&self) -> Option<RequestBytes<'_>> {
        let bytes = || RequestBytes { base: self.base, size: self.size, _request: PhantomData };
        self.gpu.is_none().then(bytes)
    }

    /// Lends its memory beyond the life of the request: the server has the request back only when the loan is over,
    /// too. Memory of a GPU is not lent.
    pub fn lend(&self) -> Option<LentBuffer> {
        let lend =
            || LentBuffer { base: self.base, size: self.size, _release: self.request.accepted().share() };
        self.gpu.is_none().then(lend)
    }
}

/// The bytes of a piece of an input's data, which is not released meanwhile. Any thread may copy them.
#[derive(Clone, Copy)]
pub struct RequestBytes<'r> {
    base: *const u8,
    size: usize,
    _request: PhantomData<&'r Request>,
}

// SAFETY: the server keeps the memory readable, from any thread, until the request is released, which outlives `self`; nothing
// but that memory is reached through it.
unsafe impl Send for RequestBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for RequestBytes<'_> {}

impl RequestBytes<'_> {
    /// Their number.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Copies those that begin at `start`, as many as there is room for.
    ///
    /// # Panics
    /// There are not as many.
    pub fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]) {
        let len = target.len();
        assert!(start.checked_add(len).is_some_and(|end| end <= self.size), "bytes behind the end");
        if len > 0 {
            // SAFETY: as in `InputBuffer::copy_to`, and checked above.
            unsafe { ptr::copy_nonoverlapping(self.base.add(start), target.as_mut_ptr().cast(), len) }
        }
    }
}

/// Memory of a request that stays readable until this is dropped, on any thread.
pub struct LentBuffer {
    base: *const u8,
    size: usize,
    _release: Arc<Release>,
}

// SAFETY: the memory is only read through it, which any thread may do until the request is released, and `_release`
// keeps that from happening.
unsafe impl Send for LentBuffer {}

impl LentBuffer {
    /// Where it is in memory.
    pub fn as_ptr(&self) -> *const u8 {
        self.base
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.size
    }
}

/// Tells whether the client has cancelled a request, which is not released while this exists.
pub struct Probe(Arc<Release>);

impl Probe {
    /// Whether the server tells at all: since 23.10.
    pub fn knows_cancelled() -> bool {
        api().TRITONBACKEND_RequestIsCancelled.is_ok()
    }

    /// Whether the client has cancelled it.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: `Release` is dropped after this, so that the request is still ours. The server reads a flag that its front
        // ends set from threads of their own: that another thread answers the request meanwhile does not matter.
        unsafe { is_cancelled(self.0.raw()) }
    }
}

/// # Safety
/// The request is not released before this returns.
unsafe fn is_cancelled(request: *mut TRITONBACKEND_Request) -> bool {
    let mut cancelled = false;
    if let Ok(is_cancelled) = &api().TRITONBACKEND_RequestIsCancelled {
        // SAFETY: the caller vouches for the request; the answer is written to our variable.
        if let Err(error) = check(unsafe { is_cancelled(request, &mut cancelled) }) {
            log::debug!("the server does not say whether a request was cancelled: {error}");
        }
    }
    cancelled
}

/// # Safety
/// `raw` is null or a NUL-terminated string that lives for `'a`.
unsafe fn text<'a>(raw: *const c_char) -> Result<&'a str> {
    if raw.is_null() {
        return Ok("");
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(raw) }
        .to_str()
        .map_err(|_| Error::invalid("a name in the request is not valid UTF-8"))
}
