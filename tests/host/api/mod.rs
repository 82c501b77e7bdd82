//! The functions that the backend finds in this process, as in a server.

mod errors;
mod loading;
mod memory_manager;
mod metrics;
mod requests;
mod responses;
mod unplayed;

use std::ffi::c_void;

use triton_sys::Symbols;

pub use loading::{Attribute, Backend, Message, Model, ModelInstance};
pub use memory_manager::Pinned;
pub use metrics::{Metric, MetricArgs, MetricFamily, Parameter};
pub use responses::{Output, Response};

use errors::*;
use loading::*;
use memory_manager::*;
use metrics::*;
use requests::*;
use responses::*;

macro_rules! exported {
    ($($name:ident,)*) => {
        /// Never called: the compiler holds each function against its declaration in the header.
        #[allow(dead_code)]
        fn as_declared(symbols: &mut Symbols) {
            $(symbols.$name = Ok($name);)*
        }

        /// Keeps the functions in the program, which itself calls none of them.
        #[used]
        static KEPT: Kept = Kept(&[$($name as *const c_void,)*]);

        /// The names of the functions.
        #[cfg(test)]
        pub const NAMES: &[&str] = &[$(stringify!($name),)*];
    };
}

struct Kept(#[allow(dead_code)] &'static [*const c_void]);

// SAFETY: nobody reads it.
unsafe impl Sync for Kept {}

exported! {
    TRITONBACKEND_ApiVersion,
    TRITONBACKEND_BackendArtifacts,
    TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading,
    TRITONBACKEND_BackendConfig,
    TRITONBACKEND_BackendMemoryManager,
    TRITONBACKEND_BackendName,
    TRITONBACKEND_BackendSetState,
    TRITONBACKEND_BackendState,
    TRITONBACKEND_InferenceRequestTimeoutMicroseconds,
    TRITONBACKEND_InputBuffer,
    TRITONBACKEND_InputProperties,
    TRITONBACKEND_MemoryManagerAllocate,
    TRITONBACKEND_MemoryManagerFree,
    TRITONBACKEND_ModelAutoCompleteConfig,
    TRITONBACKEND_ModelBackend,
    TRITONBACKEND_ModelConfig,
    TRITONBACKEND_ModelInstanceModel,
    TRITONBACKEND_ModelInstanceReportBatchStatistics,
    TRITONBACKEND_ModelInstanceReportStatistics,
    TRITONBACKEND_ModelInstanceSetState,
    TRITONBACKEND_ModelInstanceState,
    TRITONBACKEND_ModelName,
    TRITONBACKEND_ModelRepository,
    TRITONBACKEND_ModelSetConfig,
    TRITONBACKEND_ModelSetState,
    TRITONBACKEND_ModelState,
    TRITONBACKEND_ModelVersion,
    TRITONBACKEND_OutputBuffer,
    TRITONBACKEND_RequestId,
    TRITONBACKEND_RequestInput,
    TRITONBACKEND_RequestIsCancelled,
    TRITONBACKEND_RequestOutputCount,
    TRITONBACKEND_RequestOutputName,
    TRITONBACKEND_RequestRelease,
    TRITONBACKEND_ResponseDelete,
    TRITONBACKEND_ResponseNew,
    TRITONBACKEND_ResponseOutput,
    TRITONBACKEND_ResponseSend,
    TRITONBACKEND_ResponseSetIntParameter,
    TRITONSERVER_ApiVersion,
    TRITONSERVER_ErrorCode,
    TRITONSERVER_ErrorDelete,
    TRITONSERVER_ErrorMessage,
    TRITONSERVER_ErrorNew,
    TRITONSERVER_LogIsEnabled,
    TRITONSERVER_LogMessage,
    TRITONSERVER_MessageDelete,
    TRITONSERVER_MessageNewFromSerializedJson,
    TRITONSERVER_MessageSerializeToJson,
    TRITONSERVER_MetricArgsDelete,
    TRITONSERVER_MetricArgsNew,
    TRITONSERVER_MetricArgsSetHistogram,
    TRITONSERVER_MetricDelete,
    TRITONSERVER_MetricFamilyDelete,
    TRITONSERVER_MetricFamilyNew,
    TRITONSERVER_MetricIncrement,
    TRITONSERVER_MetricNew,
    TRITONSERVER_MetricNewWithArgs,
    TRITONSERVER_MetricObserve,
    TRITONSERVER_MetricSet,
    TRITONSERVER_ParameterDelete,
    TRITONSERVER_ParameterNew,
}

#[test]
fn what_is_exported_is_what_is_played() {
    let played = crate::faults::PLAYED.iter().map(|(name, _)| *name);
    let played: Vec<&str> = played.filter(|name| !crate::cuda::has(name)).collect();
    assert_eq!(NAMES, played, "the lists of api/mod.rs and faults.rs, both sorted");
    let names: Vec<&str> = NAMES.iter().chain(unplayed::NAMES).copied().collect();
    let missing = triton_sys::FUNCTIONS.iter().filter(|function| function.is_required());
    let missing: Vec<&str> =
        missing.map(|function| function.name).filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "every server has them: {missing:?}");
}
