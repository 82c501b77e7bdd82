// Versions and enumerations of Triton's C API.
//
// This file declares no object and no function, so that tests/header_check can include it inside a namespace and compare
// each value with NVIDIA's header.
//
// The values are part of the ABI. Triton adds values in new releases, so expect values that are not listed here.

#ifndef TRITON_SYS_TYPES_H
#define TRITON_SYS_TYPES_H

/// Version of the backend API (`TRITONBACKEND_*`) that these headers describe.
#define TRITONBACKEND_API_VERSION_MAJOR 1
#define TRITONBACKEND_API_VERSION_MINOR 19

/// Version of the server API (`TRITONSERVER_*`) that these headers describe.
#define TRITONSERVER_API_VERSION_MAJOR 1
#define TRITONSERVER_API_VERSION_MINOR 34

/// Element type of a tensor.
typedef enum TRITONSERVER_datatype_enum {
  TRITONSERVER_TYPE_INVALID = 0,  ///< Not a type: the result for an unknown name.
  TRITONSERVER_TYPE_BOOL = 1,  ///< One byte, 0 or 1.
  TRITONSERVER_TYPE_UINT8 = 2,
  TRITONSERVER_TYPE_UINT16 = 3,
  TRITONSERVER_TYPE_UINT32 = 4,
  TRITONSERVER_TYPE_UINT64 = 5,
  TRITONSERVER_TYPE_INT8 = 6,
  TRITONSERVER_TYPE_INT16 = 7,
  TRITONSERVER_TYPE_INT32 = 8,
  TRITONSERVER_TYPE_INT64 = 9,
  TRITONSERVER_TYPE_FP16 = 10,
  TRITONSERVER_TYPE_FP32 = 11,
  TRITONSERVER_TYPE_FP64 = 12,
  TRITONSERVER_TYPE_BYTES = 13,  ///< Strings: for each element its length, a little-endian uint32, then its bytes.
  TRITONSERVER_TYPE_BF16 = 14  ///< Since 22.04.
} TRITONSERVER_DataType;

/// Location of a buffer.
typedef enum TRITONSERVER_memorytype_enum {
  TRITONSERVER_MEMORY_CPU = 0,  ///< Ordinary host memory.
  TRITONSERVER_MEMORY_CPU_PINNED = 1,  ///< Page-locked host memory.
  TRITONSERVER_MEMORY_GPU = 2  ///< GPU memory. The memory type id is the device number.
} TRITONSERVER_MemoryType;

/// Type of a parameter of a request or response.
///
/// A value of this enumeration has changed: `BYTES` was 3 until `DOUBLE` took that value in 24.02. The version of the server
/// API does not tell the two apart, since 24.01 and 24.02 both report 1.28. Check whether the server has
/// `TRITONBACKEND_ResponseSetDoubleParameter`, which came with `DOUBLE`.
typedef enum TRITONSERVER_parametertype_enum {
  TRITONSERVER_PARAMETER_STRING = 0,  ///< A null-terminated string.
  TRITONSERVER_PARAMETER_INT = 1,  ///< A pointer to an int64_t.
  TRITONSERVER_PARAMETER_BOOL = 2,  ///< A pointer to a bool.
  TRITONSERVER_PARAMETER_DOUBLE = 3,  ///< A pointer to a double. Since 24.02.
  TRITONSERVER_PARAMETER_BYTES = 4  ///< Raw bytes. 3 before 24.02.
} TRITONSERVER_ParameterType;

/// Kind of an instance group in the model's configuration.
typedef enum TRITONSERVER_instancegroupkind_enum {
  TRITONSERVER_INSTANCEGROUPKIND_AUTO = 0,
  TRITONSERVER_INSTANCEGROUPKIND_CPU = 1,
  TRITONSERVER_INSTANCEGROUPKIND_GPU = 2,
  TRITONSERVER_INSTANCEGROUPKIND_MODEL = 3  ///< The backend chooses the devices.
} TRITONSERVER_InstanceGroupKind;

/// Severity of a log message. The values are not in order of severity.
typedef enum TRITONSERVER_loglevel_enum {
  TRITONSERVER_LOG_INFO = 0,
  TRITONSERVER_LOG_WARN = 1,
  TRITONSERVER_LOG_ERROR = 2,
  TRITONSERVER_LOG_VERBOSE = 3
} TRITONSERVER_LogLevel;

/// Code of an error. It determines the HTTP and gRPC status of the response.
typedef enum TRITONSERVER_errorcode_enum {
  TRITONSERVER_ERROR_UNKNOWN = 0,
  TRITONSERVER_ERROR_INTERNAL = 1,
  TRITONSERVER_ERROR_NOT_FOUND = 2,
  TRITONSERVER_ERROR_INVALID_ARG = 3,
  TRITONSERVER_ERROR_UNAVAILABLE = 4,
  TRITONSERVER_ERROR_UNSUPPORTED = 5,
  TRITONSERVER_ERROR_ALREADY_EXISTS = 6,
  TRITONSERVER_ERROR_CANCELLED = 7  ///< Since 23.10.
} TRITONSERVER_Error_Code;

/// What a trace records, as bits.
typedef enum tritonserver_tracelevel_enum {
  TRITONSERVER_TRACE_LEVEL_DISABLED = 0,
  TRITONSERVER_TRACE_LEVEL_MIN = 1,  ///< Old name, superseded by `TIMESTAMPS`.
  TRITONSERVER_TRACE_LEVEL_MAX = 2,  ///< Old name, superseded by `TIMESTAMPS`.
  TRITONSERVER_TRACE_LEVEL_TIMESTAMPS = 4,
  TRITONSERVER_TRACE_LEVEL_TENSORS = 8
} TRITONSERVER_InferenceTraceLevel;

/// Activities of a request that a trace can record.
typedef enum tritonserver_traceactivity_enum {
  TRITONSERVER_TRACE_REQUEST_START = 0,
  TRITONSERVER_TRACE_QUEUE_START = 1,
  TRITONSERVER_TRACE_COMPUTE_START = 2,
  TRITONSERVER_TRACE_COMPUTE_INPUT_END = 3,
  TRITONSERVER_TRACE_COMPUTE_OUTPUT_START = 4,
  TRITONSERVER_TRACE_COMPUTE_END = 5,
  TRITONSERVER_TRACE_REQUEST_END = 6,
  TRITONSERVER_TRACE_TENSOR_QUEUE_INPUT = 7,
  TRITONSERVER_TRACE_TENSOR_BACKEND_INPUT = 8,
  TRITONSERVER_TRACE_TENSOR_BACKEND_OUTPUT = 9,
  TRITONSERVER_TRACE_CUSTOM_ACTIVITY = 10  ///< An activity of the backend. Since server API 1.33.
} TRITONSERVER_InferenceTraceActivity;

/// Flags of a request that belongs to a sequence.
typedef enum tritonserver_requestflag_enum {
  TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1,
  TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2
} TRITONSERVER_RequestFlag;

/// Flags of `TRITONBACKEND_RequestRelease`.
typedef enum tritonserver_requestreleaseflag_enum {
  TRITONSERVER_REQUEST_RELEASE_ALL = 1,  ///< The request is finished.
  TRITONSERVER_REQUEST_RELEASE_RESCHEDULE = 2  ///< Schedule the request again. Newer servers only, and only for
                                               ///< iterative sequence models.
} TRITONSERVER_RequestReleaseFlag;

/// Flags of `TRITONBACKEND_ResponseSend`.
typedef enum tritonserver_responsecompleteflag_enum {
  TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1  ///< No further response follows for this request.
} TRITONSERVER_ResponseCompleteFlag;

/// Kind of a custom metric.
typedef enum TRITONSERVER_metrickind_enum {
  TRITONSERVER_METRIC_KIND_COUNTER = 0,  ///< Only increases.
  TRITONSERVER_METRIC_KIND_GAUGE = 1,  ///< Increases, decreases, and can be set.
  TRITONSERVER_METRIC_KIND_HISTOGRAM = 2  ///< Counts observations in buckets. Since server API 1.34.
} TRITONSERVER_MetricKind;

/// How the files of a backend or model are accessed.
typedef enum TRITONBACKEND_artifacttype_enum {
  TRITONBACKEND_ARTIFACT_FILESYSTEM = 0  ///< In a local folder.
} TRITONBACKEND_ArtifactType;

/// How the server calls the instances of a backend.
typedef enum TRITONBACKEND_execpolicy_enum {
  TRITONBACKEND_EXECUTION_BLOCKING = 0,  ///< One thread for each instance. Execute returns when the instance can take
                                         ///< the next batch.
  TRITONBACKEND_EXECUTION_DEVICE_BLOCKING = 1  ///< One thread for all instances of a device.
} TRITONBACKEND_ExecutionPolicy;

#endif  // TRITON_SYS_TYPES_H
