//! What every server has and this backend does not call.

use triton_sys::TRITONSERVER_Error;

use crate::{call, violations};

macro_rules! unplayed {
    ($($name:ident,)*) => {
        $(
            // Its arguments are not looked at.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            extern "C" fn $name() -> *mut TRITONSERVER_Error {
                violations::add(concat!(stringify!($name), " was called, which the host does not play").into());
                call::error("not played")
            }
        )*

        /// Keeps the functions in the program, which itself calls none of them.
        #[used]
        static KEPT: &[extern "C" fn() -> *mut TRITONSERVER_Error] = &[$($name,)*];

        /// Their names.
        #[cfg(test)]
        pub const NAMES: &[&str] = &[$(stringify!($name),)*];
    };
}

unplayed! {
    TRITONBACKEND_BackendExecutionPolicy,
    TRITONBACKEND_BackendSetExecutionPolicy,
    TRITONBACKEND_ModelInstanceDeviceId,
    TRITONBACKEND_ModelInstanceKind,
    TRITONBACKEND_ModelInstanceName,
    TRITONBACKEND_ModelServer,
    TRITONBACKEND_RequestCorrelationId,
    TRITONBACKEND_RequestInputByIndex,
    TRITONBACKEND_RequestInputCount,
    TRITONBACKEND_RequestInputName,
    TRITONBACKEND_ResponseFactoryDelete,
    TRITONBACKEND_ResponseFactoryNew,
    TRITONBACKEND_ResponseFactorySendFlags,
    TRITONBACKEND_ResponseNewFromFactory,
    TRITONBACKEND_ResponseSetBoolParameter,
    TRITONBACKEND_ResponseSetStringParameter,
    TRITONSERVER_DataTypeByteSize,
    TRITONSERVER_DataTypeString,
    TRITONSERVER_ErrorCodeString,
    TRITONSERVER_InferenceTraceActivityString,
    TRITONSERVER_InferenceTraceId,
    TRITONSERVER_InferenceTraceLevelString,
    TRITONSERVER_InferenceTraceModelName,
    TRITONSERVER_InferenceTraceModelVersion,
    TRITONSERVER_InferenceTraceParentId,
    TRITONSERVER_InstanceGroupKindString,
    TRITONSERVER_MemoryTypeString,
    TRITONSERVER_ParameterTypeString,
    TRITONSERVER_StringToDataType,
}
