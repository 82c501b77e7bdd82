// The part of the server API (TRITONSERVER_*) that a backend needs.
//
// A returned TRITONSERVER_Error* is null on success; otherwise the caller owns it. Returned strings belong to the server.

#ifndef TRITON_SYS_SERVER_H
#define TRITON_SYS_SERVER_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// The version of the server API of the running server.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_ApiVersion(uint32_t* major, uint32_t* minor);

// ---- names of enumeration values ----

/// The name of a data type as in the configuration, without `TYPE_`, such as `FP32`. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_DataTypeString(TRITONSERVER_DataType datatype);

/// The data type of such a name; `TRITONSERVER_TYPE_INVALID` if the server does not know it.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_DataType TRITONSERVER_StringToDataType(const char* dtype);

/// The size of an element in bytes; 0 for `BYTES`, whose elements differ in size, and for `INVALID`.
TRITON_SINCE_SERVER(1, 0)
uint32_t TRITONSERVER_DataTypeByteSize(TRITONSERVER_DataType datatype);

/// The name of a memory type. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_MemoryTypeString(TRITONSERVER_MemoryType memtype);

/// The name of a parameter type. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_ParameterTypeString(TRITONSERVER_ParameterType paramtype);

/// The name of an instance group kind. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InstanceGroupKindString(TRITONSERVER_InstanceGroupKind kind);

// ---- errors ----

/// Creates an error; the message is copied. The caller deletes it, or passes on its ownership by returning it or to a
/// function that takes it.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code code, const char* msg);

/// Deletes an error that the caller owns.
TRITON_SINCE_SERVER(1, 0)
void TRITONSERVER_ErrorDelete(TRITONSERVER_Error* error);

/// The code of an error, which must not be null.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error_Code TRITONSERVER_ErrorCode(TRITONSERVER_Error* error);

/// The name of an error's code. Valid as long as the error.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_ErrorCodeString(TRITONSERVER_Error* error);

/// An error's message. Valid as long as the error.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_ErrorMessage(TRITONSERVER_Error* error);

// ---- log ----

/// Whether messages of this severity are written at present. Cheap; ask before formatting a long message.
TRITON_SINCE_SERVER(1, 0)
bool TRITONSERVER_LogIsEnabled(TRITONSERVER_LogLevel level);

/// Writes one message to the server's log, with the given file name and line number. Any thread may call it. The
/// strings are read before it returns.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_LogMessage(
    TRITONSERVER_LogLevel level, const char* filename, const int line, const char* msg);

// ---- JSON messages ----

/// Creates a message from `byte_size` bytes of JSON, which are copied. The caller owns the message.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageNewFromSerializedJson(
    TRITONSERVER_Message** message, const char* base, size_t byte_size);

/// Deletes a message that the caller owns.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageDelete(TRITONSERVER_Message* message);

/// The JSON of a message: `byte_size` bytes without a terminating null byte, which belong to the message.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageSerializeToJson(
    TRITONSERVER_Message* message, const char** base, size_t* byte_size);

// ---- parameters: labels of metrics ----

/// Creates a parameter; the name and what `value` points to are copied. Null for `BYTES`, which has its own function.
/// The caller owns it.
TRITON_SINCE_SERVER(1, 8)
TRITONSERVER_Parameter* TRITONSERVER_ParameterNew(
    const char* name, const TRITONSERVER_ParameterType type, const void* value);

/// Creates a parameter of raw bytes. The name is copied; the bytes are not, and must outlive the parameter.
TRITON_SINCE_SERVER(1, 13)
TRITONSERVER_Parameter* TRITONSERVER_ParameterBytesNew(
    const char* name, const void* byte_ptr, const uint64_t size);

/// Deletes a parameter that the caller owns.
TRITON_SINCE_SERVER(1, 8)
void TRITONSERVER_ParameterDelete(TRITONSERVER_Parameter* parameter);

// ---- buffer attributes ----

/// Creates empty buffer attributes. The caller owns them.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesNew(
    TRITONSERVER_BufferAttributes** buffer_attributes);

/// Deletes buffer attributes that the caller has created; never those of an input or output.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesDelete(
    TRITONSERVER_BufferAttributes* buffer_attributes);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesSetMemoryType(
    TRITONSERVER_BufferAttributes* buffer_attributes, TRITONSERVER_MemoryType memory_type);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesSetMemoryTypeId(
    TRITONSERVER_BufferAttributes* buffer_attributes, int64_t memory_type_id);

/// Sets the CUDA IPC handle; null for none. The handle is not copied.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesSetCudaIpcHandle(
    TRITONSERVER_BufferAttributes* buffer_attributes, void* cuda_ipc_handle);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesSetByteSize(
    TRITONSERVER_BufferAttributes* buffer_attributes, size_t byte_size);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesMemoryType(
    TRITONSERVER_BufferAttributes* buffer_attributes, TRITONSERVER_MemoryType* memory_type);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesMemoryTypeId(
    TRITONSERVER_BufferAttributes* buffer_attributes, int64_t* memory_type_id);

/// The CUDA IPC handle; null if the buffer has none.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesCudaIpcHandle(
    TRITONSERVER_BufferAttributes* buffer_attributes, void** cuda_ipc_handle);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesByteSize(
    TRITONSERVER_BufferAttributes* buffer_attributes, size_t* byte_size);

// ---- traces, from TRITONBACKEND_RequestTrace ----

/// The name of a trace level. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InferenceTraceLevelString(TRITONSERVER_InferenceTraceLevel level);

/// The name of a trace activity. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InferenceTraceActivityString(
    TRITONSERVER_InferenceTraceActivity activity);

/// The id of the trace, unique in the server.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceId(
    TRITONSERVER_InferenceTrace* trace, uint64_t* id);

/// The id of the trace that this one belongs to; 0 if there is none.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceParentId(
    TRITONSERVER_InferenceTrace* trace, uint64_t* parent_id);

/// The name of the traced model. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceModelName(
    TRITONSERVER_InferenceTrace* trace, const char** model_name);

TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceModelVersion(
    TRITONSERVER_InferenceTrace* trace, int64_t* model_version);

/// The id of the traced request; empty if the client set none. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 21)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceRequestId(
    TRITONSERVER_InferenceTrace* trace, const char** request_id);

/// The propagation context of the request, as JSON. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 29)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceContext(
    TRITONSERVER_InferenceTrace* trace, const char** trace_context);

/// Adds an activity of the backend's to the trace: its name and a `CLOCK_MONOTONIC` time in nanoseconds.
TRITON_SINCE_SERVER(1, 33)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceReportActivity(
    TRITONSERVER_InferenceTrace* trace, uint64_t timestamp, const char* activity_name);

// ---- custom metrics; UNSUPPORTED if the server was built without metrics ----

/// Creates a metric family with the name and help text that `/metrics` shows. The caller owns it.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricFamilyNew(
    TRITONSERVER_MetricFamily** family, const TRITONSERVER_MetricKind kind, const char* name,
    const char* description);

/// Deletes a family. Fails while the family has metrics.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricFamilyDelete(TRITONSERVER_MetricFamily* family);

TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_GetMetricFamilyKind(
    TRITONSERVER_MetricFamily* family, TRITONSERVER_MetricKind* kind);

/// Creates empty metric arguments. The caller owns them.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsNew(TRITONSERVER_MetricArgs** args);

/// Sets the upper bounds of a histogram's buckets, in ascending order. They are copied.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsSetHistogram(
    TRITONSERVER_MetricArgs* args, const double* buckets, const uint64_t buckets_count);

TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsDelete(TRITONSERVER_MetricArgs* args);

/// Creates a counter or gauge in a family, identified by its labels: string parameters, which are copied and stay the
/// caller's. The caller owns the metric.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricNew(
    TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
    const TRITONSERVER_Parameter** labels, const uint64_t label_count);

/// As `TRITONSERVER_MetricNew`, with arguments, which a histogram needs. The arguments stay the caller's.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricNewWithArgs(
    TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
    const TRITONSERVER_Parameter** labels, const uint64_t label_count,
    const TRITONSERVER_MetricArgs* args);

/// Deletes a metric. Call it before its family is deleted.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricDelete(TRITONSERVER_Metric* metric);

/// The current value of a counter or gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricValue(TRITONSERVER_Metric* metric, double* value);

/// Adds to a counter (not a negative number) or to a gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricIncrement(TRITONSERVER_Metric* metric, double value);

/// Sets a gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricSet(TRITONSERVER_Metric* metric, double value);

/// Adds an observation to a histogram.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricObserve(TRITONSERVER_Metric* metric, double value);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_GetMetricKind(
    TRITONSERVER_Metric* metric, TRITONSERVER_MetricKind* kind);

}  // extern "C"

#endif  // TRITON_SYS_SERVER_H
