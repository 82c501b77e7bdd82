//! Which call fails, and how.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It returns an error and does nothing.
    Error,
    /// It does what it is for, and returns an error. What it has made, the server takes away again: the handle that it has
    /// written is of no object.
    Late,
    /// It returns success, and null in place of what it is to return.
    Null,
    /// It returns success, and memory of a GPU.
    Gpu,
}

use Kind::{Error, Gpu, Late, Null};

impl Kind {
    const ALL: [(Self, &'static str); 4] = [(Error, "error"), (Late, "late"), (Null, "null"), (Gpu, "gpu")];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

const MAY_FAIL: &[Kind] = &[Error, Late];
const MAY_GIVE_NULL: &[Kind] = &[Error, Late, Null];
const GIVES_MEMORY: &[Kind] = &[Error, Late, Null, Gpu];

/// The functions that the host plays, and how each may fail.
pub const PLAYED: &[(&str, &[Kind])] = &[
    ("TRITONBACKEND_ApiVersion", MAY_FAIL),
    ("TRITONBACKEND_BackendArtifacts", MAY_GIVE_NULL),
    ("TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading", MAY_FAIL),
    ("TRITONBACKEND_BackendConfig", MAY_GIVE_NULL),
    ("TRITONBACKEND_BackendMemoryManager", MAY_GIVE_NULL),
    ("TRITONBACKEND_BackendName", MAY_GIVE_NULL),
    ("TRITONBACKEND_BackendSetState", MAY_FAIL),
    ("TRITONBACKEND_BackendState", MAY_GIVE_NULL),
    ("TRITONBACKEND_InferenceRequestTimeoutMicroseconds", MAY_FAIL),
    ("TRITONBACKEND_InputBuffer", GIVES_MEMORY),
    ("TRITONBACKEND_InputProperties", MAY_GIVE_NULL),
    // Not after the effect: nobody would know of the memory.
    ("TRITONBACKEND_MemoryManagerAllocate", &[Error, Null]),
    ("TRITONBACKEND_MemoryManagerFree", MAY_FAIL),
    ("TRITONBACKEND_ModelAutoCompleteConfig", MAY_FAIL),
    ("TRITONBACKEND_ModelBackend", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelConfig", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelInstanceModel", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelInstanceReportBatchStatistics", MAY_FAIL),
    ("TRITONBACKEND_ModelInstanceReportStatistics", MAY_FAIL),
    ("TRITONBACKEND_ModelInstanceSetState", MAY_FAIL),
    ("TRITONBACKEND_ModelInstanceState", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelName", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelRepository", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelSetConfig", MAY_FAIL),
    ("TRITONBACKEND_ModelSetState", MAY_FAIL),
    ("TRITONBACKEND_ModelState", MAY_GIVE_NULL),
    ("TRITONBACKEND_ModelVersion", MAY_FAIL),
    ("TRITONBACKEND_OutputBuffer", GIVES_MEMORY),
    ("TRITONBACKEND_RequestId", MAY_GIVE_NULL),
    ("TRITONBACKEND_RequestInput", MAY_GIVE_NULL),
    ("TRITONBACKEND_RequestIsCancelled", MAY_FAIL),
    ("TRITONBACKEND_RequestOutputCount", MAY_FAIL),
    ("TRITONBACKEND_RequestOutputName", MAY_GIVE_NULL),
    // Not after the effect: with an error the request is not released, says its documentation, and stays the backend's.
    ("TRITONBACKEND_RequestRelease", &[Error]),
    ("TRITONBACKEND_ResponseDelete", MAY_FAIL),
    ("TRITONBACKEND_ResponseNew", MAY_GIVE_NULL),
    ("TRITONBACKEND_ResponseOutput", MAY_GIVE_NULL),
    ("TRITONBACKEND_ResponseSend", MAY_FAIL),
    ("TRITONBACKEND_ResponseSetIntParameter", MAY_FAIL),
    ("TRITONSERVER_ApiVersion", MAY_FAIL),
    // These two return what the backend asks of an error that it has: there is nothing to fail but the text.
    ("TRITONSERVER_ErrorCode", &[]),
    ("TRITONSERVER_ErrorDelete", &[]),
    ("TRITONSERVER_ErrorMessage", &[Null]),
    ("TRITONSERVER_ErrorNew", &[Null]),
    ("TRITONSERVER_LogIsEnabled", &[]),
    ("TRITONSERVER_LogMessage", &[Error]),
    ("TRITONSERVER_MessageDelete", MAY_FAIL),
    ("TRITONSERVER_MessageNewFromSerializedJson", MAY_GIVE_NULL),
    ("TRITONSERVER_MessageSerializeToJson", MAY_GIVE_NULL),
    ("TRITONSERVER_MetricArgsDelete", MAY_FAIL),
    ("TRITONSERVER_MetricArgsNew", MAY_GIVE_NULL),
    ("TRITONSERVER_MetricArgsSetHistogram", MAY_FAIL),
    ("TRITONSERVER_MetricDelete", MAY_FAIL),
    ("TRITONSERVER_MetricFamilyDelete", MAY_FAIL),
    ("TRITONSERVER_MetricFamilyNew", MAY_GIVE_NULL),
    ("TRITONSERVER_MetricIncrement", MAY_FAIL),
    ("TRITONSERVER_MetricNew", MAY_GIVE_NULL),
    ("TRITONSERVER_MetricNewWithArgs", MAY_GIVE_NULL),
    ("TRITONSERVER_MetricObserve", MAY_FAIL),
    ("TRITONSERVER_MetricSet", MAY_FAIL),
    ("TRITONSERVER_ParameterDelete", &[]),
    ("TRITONSERVER_ParameterNew", &[Null]),
    // Of the CUDA driver. A context that stays current, or is made current in spite of an error, no backend could undo.
    ("cuCtxPopCurrent_v2", &[Late]),
    ("cuCtxPushCurrent_v2", &[Error]),
    ("cuDeviceGet", MAY_FAIL),
    ("cuDevicePrimaryCtxRetain", MAY_GIVE_NULL),
    ("cuGetErrorName", &[Error, Null]),
    ("cuInit", MAY_FAIL),
    ("cuMemcpyDtoH_v2", MAY_FAIL),
    ("cuMemcpyHtoD_v2", MAY_FAIL),
    ("cuStreamSynchronize", MAY_FAIL),
];

/// Functions whose number of calls depends on the time that threads take, or on what the backend keeps from the life before: a
/// point of theirs may not be reached.
pub const BY_TIME: [&str; 10] = [
    "TRITONBACKEND_MemoryManagerAllocate",
    "TRITONBACKEND_MemoryManagerFree",
    "TRITONBACKEND_RequestIsCancelled",
    "TRITONSERVER_ErrorCode",
    "TRITONSERVER_ErrorMessage",
    "TRITONSERVER_ErrorNew",
    "TRITONSERVER_LogMessage",
    "TRITONSERVER_MetricIncrement",
    "TRITONSERVER_MetricObserve",
    "TRITONSERVER_MetricSet",
];

fn place(function: &str) -> Option<usize> {
    PLAYED.iter().position(|(name, _)| *name == function)
}

/// One call that fails: the `nth` of a function from the beginning of the scenario's part that is tried, the first being 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub function: String,
    pub nth: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.function, self.nth)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [kind, function, nth] = parts[..] else {
            return Err(format!("expected KIND:FUNCTION:NUMBER, found '{text}'"));
        };
        let (kind, _) = Kind::ALL
            .into_iter()
            .find(|(_, name)| *name == kind)
            .ok_or_else(|| format!("'{kind}' is none of error, late, null, gpu"))?;
        place(function).ok_or_else(|| format!("'{function}' is no function that the host plays"))?;
        let nth = nth.parse().map_err(|e| format!("'{nth}': {e}"))?;
        Ok(Self { kind, function: function.into(), nth })
    }
}

// All of it in atomics without an order of their own: see `objects::PARTS`.
static COUNTS: [AtomicU32; PLAYED.len()] = [const { AtomicU32::new(0) }; PLAYED.len()];
static ARMED: AtomicBool = AtomicBool::new(false);
static FUNCTION: AtomicUsize = AtomicUsize::new(usize::MAX);
static NTH: AtomicU32 = AtomicU32::new(0);
static KIND: AtomicUsize = AtomicUsize::new(0);
static HIT: AtomicBool = AtomicBool::new(false);
/// One in so many calls of a thread fails; none at 0.
static EVERY: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// From now on nothing is counted and nothing fails; then [`arm`] counts from 1.
pub fn plan(fault: Option<&Fault>) {
    disarm();
    COUNTS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    HIT.store(false, Ordering::Relaxed);
    let function = fault.and_then(|fault| place(&fault.function)).unwrap_or(usize::MAX);
    FUNCTION.store(function, Ordering::Relaxed);
    NTH.store(fault.map_or(0, |fault| fault.nth), Ordering::Relaxed);
    KIND.store(fault.map_or(0, |fault| fault.kind as usize), Ordering::Relaxed);
}

/// From now on calls are counted, and the planned one fails.
pub fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

/// The opposite of [`arm`]. The counts stay.
pub fn disarm() {
    ARMED.store(false, Ordering::Relaxed);
    EVERY.store(0, Ordering::Relaxed);
}

/// From now on one in `every` calls of each thread fails. So what is tried again at once does not fail again.
pub fn rain(every: u32) {
    EVERY.store(every, Ordering::Relaxed);
}

/// Whether the planned call came.
pub fn was_hit() -> bool {
    HIT.load(Ordering::Relaxed)
}

/// A call of `function` begins: how it fails.
pub fn due(function: &str) -> Option<Kind> {
    let place = place(function).expect("every function of the host is in the list");
    let every = EVERY.load(Ordering::Relaxed);
    if every > 0 {
        let call = CALLS.replace(CALLS.get().wrapping_add(1));
        let kinds = PLAYED[place].1;
        let falls = call.is_multiple_of(every) && !kinds.is_empty();
        return falls.then(|| kinds[(call / every) as usize % kinds.len()]);
    }
    if !ARMED.load(Ordering::Relaxed) {
        return None;
    }
    let count = COUNTS[place].fetch_add(1, Ordering::Relaxed) + 1;
    if place != FUNCTION.load(Ordering::Relaxed) || count != NTH.load(Ordering::Relaxed) {
        return None;
    }
    HIT.store(true, Ordering::Relaxed);
    Some(Kind::ALL[KIND.load(Ordering::Relaxed)].0)
}

/// All single faults of what was counted.
pub fn counted() -> Vec<Fault> {
    let mut faults = Vec::new();
    for ((function, kinds), count) in PLAYED.iter().zip(&COUNTS) {
        for nth in 1..=count.load(Ordering::Relaxed) {
            faults.extend(kinds.iter().map(|&kind| Fault { kind, function: (*function).into(), nth }));
        }
    }
    faults
}
