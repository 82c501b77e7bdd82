//! A request of the server's: answered exactly once and released exactly once.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use triton_sys::{
    TRITONBACKEND_Input, TRITONBACKEND_ModelInstance, TRITONBACKEND_Request, TRITONSERVER_DataType,
    TRITONSERVER_MemoryType, TRITONSERVER_RequestReleaseFlag,
};

use super::error::{Error, Result, check};
use super::response::Response;
use super::{api, clock, panics};
use crate::few::Few;
use crate::tensorflow::Source;

/// The stamps of one request (`CLOCK_MONOTONIC`, ns), in the order they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Execute was handed the request.
    pub arrival: u64,
    /// The batch that holds the request starts.
    pub exec_start: u64,
    /// The inputs are gathered; the session is about to run.
    pub compute_start: u64,
    /// The session has returned.
    pub compute_end: u64,
    /// The request's outputs are written; the response is about to be sent.
    pub request_end: u64,
}

#[derive(Clone, Copy)]
enum Outcome {
    Unanswered,
    Answered(Stamps),
    Failed,
}

/// How many requests of an instance are not yet released.
#[derive(Default)]
pub(super) struct Unreleased {
    count: Mutex<usize>,
    none: Condvar,
}

impl Unreleased {
    fn add(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn remove(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            self.none.notify_all();
        }
    }

    /// Waits until all are.
    pub(super) fn wait_for_none(&self) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.none.wait_while(count, |count| *count > 0));
    }
}

/// A request that this backend has accepted.
///
/// However it goes out of scope, the client has an answer, the server's statistics know of it, and the
/// server has the request back: dropping one that was not answered answers it with an error, which
/// tells of the panic when one is the reason.
pub struct Request {
    raw: *mut TRITONBACKEND_Request,
    instance: *mut TRITONBACKEND_ModelInstance,
    unreleased: Arc<Unreleased>,
    arrival: u64,
    outcome: Outcome,
}

// SAFETY: the server lets a request be used and released from any thread, one at a time; `Request` is
// neither Clone nor Sync, and whoever holds it is the only one to touch it.
unsafe impl Send for Request {}

impl Request {
    /// # Safety
    /// `raw` was handed to Execute for `instance`, and nothing else owns it from now on. The server keeps
    /// it valid until it is released, and the instance until its Finalize returns, which has to wait until
    /// `unreleased` knows of none.
    pub(super) unsafe fn new(
        raw: *mut TRITONBACKEND_Request,
        instance: *mut TRITONBACKEND_ModelInstance,
        arrival: u64,
        unreleased: &Arc<Unreleased>,
    ) -> Self {
        unreleased.add();
        Self { raw, instance, unreleased: Arc::clone(unreleased), arrival, outcome: Outcome::Unanswered }
    }

    /// When Execute was handed it (`CLOCK_MONOTONIC`, ns).
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// Whether the client has taken it back; servers before 23.10 do not tell.
    pub fn is_cancelled(&self) -> bool {
        let mut cancelled = false;
        if let Ok(is_cancelled) = &api().TRITONBACKEND_RequestIsCancelled {
            // SAFETY: the request is ours; the answer is written to our variable.
            if let Err(error) = check(unsafe { is_cancelled(self.raw, &mut cancelled) }) {
                log::debug!("the server does not tell whether a request was cancelled: {error}");
            }
        }
        cancelled
    }

    /// How long the client is willing to have it wait, in nanoseconds; servers before 23.12 do not tell.
    pub fn timeout(&self) -> Option<u64> {
        let mut timeout_us = 0;
        if let Ok(timeout) = &api().TRITONBACKEND_InferenceRequestTimeoutMicroseconds {
            // SAFETY: the request is ours; the number is written to our variable.
            if let Err(error) = check(unsafe { timeout(self.raw, &mut timeout_us) }) {
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
            check(api().TRITONBACKEND_RequestId(self.raw, &mut id))?;
            text(id)
        }
    }

    /// One of its inputs.
    pub fn input(&self, name: &CStr) -> Result<Input<'_>> {
        let mut raw = ptr::null_mut();
        let mut datatype = TRITONSERVER_DataType::TRITONSERVER_TYPE_INVALID;
        let (mut shape, mut rank) = (ptr::null(), 0);
        let mut buffer_count = 0;
        // SAFETY: the request is ours; the input and its shape belong to it and live until it is
        // released. The other results are written to our variables.
        unsafe {
            check(api().TRITONBACKEND_RequestInput(self.raw, name.as_ptr(), &mut raw))?;
            check(api().TRITONBACKEND_InputProperties(
                raw,
                ptr::null_mut(),
                &mut datatype,
                &mut shape,
                &mut rank,
                ptr::null_mut(),
                &mut buffer_count,
            ))?;
            let shape = if rank == 0 { &[][..] } else { std::slice::from_raw_parts(shape, rank as usize) };
            Ok(Input { raw, datatype, shape, buffer_count, _request: PhantomData })
        }
    }

    /// How many outputs the client wants: those it named, or else all of the model's.
    pub fn output_count(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: the request is ours; the number is written to our variable.
        check(unsafe { api().TRITONBACKEND_RequestOutputCount(self.raw, &mut count) })?;
        Ok(count)
    }

    /// The name of one of these outputs; no two are the same.
    pub fn output_name(&self, index: u32) -> Result<&str> {
        let mut name = ptr::null();
        // SAFETY: the request is ours, and its strings live until it is released.
        unsafe {
            check(api().TRITONBACKEND_RequestOutputName(self.raw, index, &mut name))?;
            text(name)
        }
    }

    /// A response to fill, for [`Request::send`].
    pub fn respond(&self) -> Result<Response> {
        let mut raw = ptr::null_mut();
        // SAFETY: the request is ours; the new response is ours until it is sent or deleted.
        unsafe {
            check(api().TRITONBACKEND_ResponseNew(&mut raw, self.raw))?;
            Ok(Response::new(raw))
        }
    }

    /// Sends the answer. The stamps go to the statistics when the request is released.
    pub fn send(&mut self, response: Response, stamps: Stamps) {
        // Set first: from here on the response has left, whatever the server says of the delivery.
        self.outcome = Outcome::Answered(stamps);
        if let Err(error) = response.send(None) {
            log::error!("a response could not be sent: {error}");
        }
    }

    /// Answers with an error, in place of whatever the response was to be.
    pub fn fail(&mut self, error: Error) {
        if !matches!(self.outcome, Outcome::Unanswered) {
            return;
        }
        self.outcome = Outcome::Failed;
        log::debug!("a request failed: {error}");
        if let Err(failure) = self.respond().and_then(|response| response.send(Some(error))) {
            log::error!("an error response could not be sent: {failure}");
        }
    }

    fn report(&self) {
        let now = clock::now_ns();
        let (success, stamps) = match self.outcome {
            Outcome::Answered(stamps) => (true, stamps),
            // The server counts a failure with its whole duration only, so these stamps are not read.
            _ => {
                let arrival = self.arrival;
                let stamps = Stamps {
                    arrival,
                    exec_start: now,
                    compute_start: now,
                    compute_end: now,
                    request_end: now,
                };
                (false, stamps)
            }
        };
        // SAFETY: the request is ours and not yet released, as this call needs; the instance lives
        // until its last request is released (see `new`).
        let reported = check(unsafe {
            api().TRITONBACKEND_ModelInstanceReportStatistics(
                self.instance,
                self.raw,
                success,
                stamps.exec_start,
                stamps.compute_start,
                stamps.compute_end,
                stamps.request_end,
            )
        });
        if let Err(error) = reported {
            log::warn!("a request is missing in the statistics: {error}");
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if matches!(self.outcome, Outcome::Unanswered) {
            self.fail(Error::internal(match panics::message() {
                Some(panic) => format!("the backend panicked, please report this: {panic}"),
                None => "the backend dropped the request without an answer, please report this".into(),
            }));
        }
        self.report();
        let flags = TRITONSERVER_RequestReleaseFlag::TRITONSERVER_REQUEST_RELEASE_ALL.0;
        // SAFETY: the request is ours, and nobody can use it after `drop`; this gives it back.
        if let Err(error) = check(unsafe { api().TRITONBACKEND_RequestRelease(self.raw, flags) }) {
            log::error!("a request could not be released: {error}");
        }
        self.unreleased.remove();
    }
}

/// Reports one execution, however many requests it served, to the batch statistics of the instance
/// that `member`, a request of it, was handed to.
pub fn report_batch(member: &Request, batch_size: u64, stamps: Stamps) {
    // SAFETY: the instance lives until its last request is released, and `member` is not yet.
    let reported = check(unsafe {
        api().TRITONBACKEND_ModelInstanceReportBatchStatistics(
            member.instance,
            batch_size,
            stamps.exec_start,
            stamps.compute_start,
            stamps.compute_end,
            stamps.request_end,
        )
    });
    if let Err(error) = reported {
        log::warn!("an execution is missing in the statistics: {error}");
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
    _request: PhantomData<&'r Request>,
}

impl<'r> Input<'r> {
    /// Its data, in order, in as many pieces as the server holds it in.
    ///
    /// # Errors
    /// A piece that is not in the memory of the CPU.
    pub fn buffers(&self) -> Result<Few<InputBuffer<'r>>> {
        (0..self.buffer_count).map(|index| self.buffer(index)).collect()
    }

    fn buffer(&self, index: u32) -> Result<InputBuffer<'r>> {
        let mut base = ptr::null();
        let mut size = 0;
        let mut memory = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU;
        let mut device = 0;
        // SAFETY: the input belongs to a request that outlives `self`; the results are written to our
        // variables.
        check(unsafe {
            api().TRITONBACKEND_InputBuffer(self.raw, index, &mut base, &mut size, &mut memory, &mut device)
        })?;
        if memory == TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU {
            return Err(Error::unsupported(format!(
                "is in the memory of GPU {device}; this backend takes system memory, so send the data \
                 itself or use system shared memory"
            )));
        }
        Ok(InputBuffer { base: base.cast(), size: size as usize, _request: PhantomData })
    }
}

/// A piece of an input's data. It is copied out and never seen as a slice: with shared memory it is
/// the client's, who may write to it at any time.
pub struct InputBuffer<'r> {
    base: *const u8,
    size: usize,
    _request: PhantomData<&'r Request>,
}

impl InputBuffer<'_> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.size
    }
}

// SAFETY: the length does not change, and all of `target` is written.
unsafe impl Source for InputBuffer<'_> {
    fn len(&self) -> usize {
        self.size
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) {
        assert_eq!(target.len(), self.size, "an input buffer is copied whole");
        if self.size > 0 {
            // SAFETY: the server vouches for `size` bytes at `base` until the request is released,
            // which it outlives; `target` is our own memory, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(self.base, target.as_mut_ptr().cast(), self.size) }
        }
    }
}

/// # Safety
/// `raw` is null or a NUL-terminated string that lives for `'a`.
unsafe fn text<'a>(raw: *const c_char) -> Result<&'a str> {
    if raw.is_null() {
        return Ok("");
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(raw) }
        .to_str()
        .map_err(|_| Error::invalid("a name in the request is not valid UTF-8"))
}
