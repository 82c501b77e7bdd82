//! What the server's statistics are told: the stamps of each request and of each execution.

use triton_sys::{TRITONBACKEND_ModelInstance, TRITONBACKEND_Request};

use super::api::api;
use super::error::check;

/// The stamps of one request, in the order in which they are taken (`CLOCK_MONOTONIC`, nanoseconds).
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

impl Stamps {
    /// The stamps of a request that failed at `now`. The server counts a failure with its whole duration only, which
    /// it knows itself, and does not read these.
    pub(super) fn of_failure(arrival: u64, now: u64) -> Self {
        Self { arrival, exec_start: now, compute_start: now, compute_end: now, request_end: now }
    }
}

/// Reports one request. It counts as failed without `stamps` of a success.
///
/// # Safety
/// Neither the request nor the instance it was handed to has been given back to the server.
pub(super) unsafe fn report_request(
    instance: *mut TRITONBACKEND_ModelInstance,
    request: *mut TRITONBACKEND_Request,
    success: bool,
    stamps: &Stamps,
) {
    // SAFETY: as the caller promises; the call reads both, and any thread may make it.
    let reported = check(unsafe {
        api().TRITONBACKEND_ModelInstanceReportStatistics(
            instance,
            request,
            success,
            stamps.exec_start,
            stamps.compute_start,
            stamps.compute_end,
            stamps.request_end,
        )
    });
    if let Err(error) = reported {
        log::warn!("the statistics lack a request: {error}");
    }
}

/// Reports one execution of so many rows, however many requests it served.
///
/// # Safety
/// The server has not taken the instance back.
pub(super) unsafe fn report_execution(
    instance: *mut TRITONBACKEND_ModelInstance,
    rows: u64,
    stamps: &Stamps,
) {
    // SAFETY: as the caller promises; any thread may make the call.
    let reported = check(unsafe {
        api().TRITONBACKEND_ModelInstanceReportBatchStatistics(
            instance,
            rows,
            stamps.exec_start,
            stamps.compute_start,
            stamps.compute_end,
            stamps.request_end,
        )
    });
    if let Err(error) = reported {
        log::warn!("the statistics lack an execution: {error}");
    }
}
