//! The table of functions.

use std::collections::HashSet;

use triton_sys::{API_VERSION, ApiKind, ENTRY_POINTS, FUNCTIONS, Function, SERVER_API_VERSION, Version};

/// What a backend could call in Triton 2.7.0 (21.02), the first release of the backend API. A second list, so that a mark
/// changed by mistake is found.
const FIRST_BACKEND_API: &[&str] = &[
    "ApiVersion",
    "BackendArtifacts",
    "BackendConfig",
    "BackendExecutionPolicy",
    "BackendMemoryManager",
    "BackendName",
    "BackendSetExecutionPolicy",
    "BackendSetState",
    "BackendState",
    "InputBuffer",
    "InputProperties",
    "MemoryManagerAllocate",
    "MemoryManagerFree",
    "ModelAutoCompleteConfig",
    "ModelBackend",
    "ModelConfig",
    "ModelInstanceDeviceId",
    "ModelInstanceKind",
    "ModelInstanceModel",
    "ModelInstanceName",
    "ModelInstanceReportBatchStatistics",
    "ModelInstanceReportStatistics",
    "ModelInstanceSetState",
    "ModelInstanceState",
    "ModelName",
    "ModelRepository",
    "ModelServer",
    "ModelSetConfig",
    "ModelSetState",
    "ModelState",
    "ModelVersion",
    "OutputBuffer",
    "RequestCorrelationId",
    "RequestId",
    "RequestInput",
    "RequestInputByIndex",
    "RequestInputCount",
    "RequestInputName",
    "RequestOutputCount",
    "RequestOutputName",
    "RequestRelease",
    "ResponseDelete",
    "ResponseFactoryDelete",
    "ResponseFactoryNew",
    "ResponseFactorySendFlags",
    "ResponseNew",
    "ResponseNewFromFactory",
    "ResponseOutput",
    "ResponseSend",
    "ResponseSetBoolParameter",
    "ResponseSetIntParameter",
    "ResponseSetStringParameter",
];

const FIRST_SERVER_API: &[&str] = &[
    "ApiVersion",
    "DataTypeByteSize",
    "DataTypeString",
    "ErrorCode",
    "ErrorCodeString",
    "ErrorDelete",
    "ErrorMessage",
    "ErrorNew",
    "InferenceTraceActivityString",
    "InferenceTraceId",
    "InferenceTraceLevelString",
    "InferenceTraceModelName",
    "InferenceTraceModelVersion",
    "InferenceTraceParentId",
    "InstanceGroupKindString",
    "LogIsEnabled",
    "LogMessage",
    "MemoryTypeString",
    "MessageDelete",
    "MessageNewFromSerializedJson",
    "MessageSerializeToJson",
    "ParameterTypeString",
    "StringToDataType",
];

#[test]
fn exactly_the_first_release_is_required() {
    for (api, prefix, expected) in [
        (ApiKind::Backend, "TRITONBACKEND_", FIRST_BACKEND_API),
        (ApiKind::Server, "TRITONSERVER_", FIRST_SERVER_API),
    ] {
        let required: Vec<&str> = FUNCTIONS
            .iter()
            .filter(|function| function.api == api && function.is_required())
            .map(|function| function.name)
            .collect();
        let expected: Vec<String> = expected.iter().map(|name| format!("{prefix}{name}")).collect();
        assert_eq!(required, expected, "functions of {api} 1.0");
    }
}

#[test]
fn later_functions_carry_their_version() {
    let since = |name: &str| {
        let function = FUNCTIONS.iter().find(|function| function.name == name);
        function.unwrap_or_else(|| panic!("{name} is not in FUNCTIONS")).since
    };
    assert_eq!(since("TRITONBACKEND_InputBufferForHostPolicy"), Version { major: 1, minor: 4 });
    assert_eq!(since("TRITONBACKEND_RequestIsCancelled"), Version { major: 1, minor: 16 });
    assert_eq!(since("TRITONBACKEND_ResponseSetDoubleParameter"), Version { major: 1, minor: 18 });
    assert_eq!(since("TRITONSERVER_MetricNew"), Version { major: 1, minor: 12 });
    assert_eq!(since("TRITONSERVER_MetricArgsNew"), Version { major: 1, minor: 34 });
}

#[test]
fn names_are_sorted_and_unique() {
    for list in [FUNCTIONS, ENTRY_POINTS] {
        assert!(list.windows(2).all(|pair| pair[0].name < pair[1].name), "Api::has uses a binary search");
    }
    let exported: HashSet<&str> = ENTRY_POINTS.iter().map(|function| function.name).collect();
    for Function { name, .. } in FUNCTIONS {
        assert!(!exported.contains(name), "{name} is the backend's own; it must not be looked up");
    }
    assert!(exported.contains("TRITONBACKEND_ModelInstanceExecute"));
    assert_eq!(exported.len(), 14);
}

#[test]
fn names_and_apis_fit() {
    for Function { name, api, .. } in FUNCTIONS {
        let prefix = match api {
            ApiKind::Backend => "TRITONBACKEND_",
            ApiKind::Server => "TRITONSERVER_",
        };
        assert!(name.starts_with(prefix), "{name} is marked as one of the {api}");
    }
}

/// The version macros of this crate's headers are those of the newest function in them. (Other headers
/// can be older or newer.)
#[test]
fn the_headers_version_is_that_of_the_newest_function() {
    let nvidia = std::env::var_os("TRITON_INCLUDE_DIR").is_some_and(|dir| !dir.is_empty());
    if cfg!(feature = "bindgen") && nvidia {
        println!("skipped: TRITON_INCLUDE_DIR is set, so the version macros are NVIDIA's");
        return;
    }
    let newest = |api: ApiKind| {
        let versions = FUNCTIONS.iter().chain(ENTRY_POINTS).filter(|function| function.api == api);
        versions.map(|function| function.since).max()
    };
    assert_eq!(newest(ApiKind::Backend), Some(API_VERSION));
    assert_eq!(newest(ApiKind::Server), Some(SERVER_API_VERSION));
}

#[test]
fn versions_compare_by_number() {
    let version = |major, minor| Version { major, minor };
    assert!(version(1, 9) < version(1, 10));
    assert!(version(1, 99) < version(2, 0));
    assert_eq!(version(1, 19).to_string(), "1.19");
}
