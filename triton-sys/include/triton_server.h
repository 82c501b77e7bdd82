// The part of the server API (TRITONSERVER_*) that a backend needs.
//
// Where a function returns TRITONSERVER_Error*, null is success and an error belongs to the caller.
// Strings that a function gives out stay the server's.

#ifndef TRITON_SYS_SERVER_H
#define TRITON_SYS_SERVER_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// The version of the server API that the running server speaks.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_ApiVersion(uint32_t* major, uint32_t* minor);

// ---- names of the enumerations' values ----

/// A data type's name as it stands in the configuration without `TYPE_`, such as `FP32`. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_DataTypeString(TRITONSERVER_DataType datatype);

/// The data type of such a name; `TRITONSERVER_TYPE_INVALID` when the server does not know it.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_DataType TRITONSERVER_StringToDataType(const char* dtype);

/// Bytes of one element; 0 for `BYTES`, whose elements differ in size, and for `INVALID`.
TRITON_SINCE_SERVER(1, 0)
uint32_t TRITONSERVER_DataTypeByteSize(TRITONSERVER_DataType datatype);

/// A memory type's name. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_MemoryTypeString(TRITONSERVER_MemoryType memtype);

/// A parameter type's name. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_ParameterTypeString(TRITONSERVER_ParameterType paramtype);

/// An instance group kind's name. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InstanceGroupKindString(TRITONSERVER_InstanceGroupKind kind);

// ---- errors ----

/// Makes an error; the message is copied. Give it away (by returning it, or where a function says it
/// takes it) or delete it.
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

/// Whether lines of this severity are written at present. Cheap; ask before building a long line.
TRITON_SINCE_SERVER(1, 0)
bool TRITONSERVER_LogIsEnabled(TRITONSERVER_LogLevel level);

/// Writes one line to the server's log, under the file name and line number given. Any thread may call
/// it; the strings are read before it returns.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_LogMessage(
    TRITONSERVER_LogLevel level, const char* filename, const int line, const char* msg);

// ---- JSON messages ----

/// Makes a message of `byte_size` bytes of JSON, which are copied. The caller owns the message.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageNewFromSerializedJson(
    TRITONSERVER_Message** message, const char* base, size_t byte_size);

/// Deletes a message that the caller owns.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageDelete(TRITONSERVER_Message* message);

/// A message's JSON: `byte_size` bytes without a NUL at the end, which stay the message's.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_MessageSerializeToJson(
    TRITONSERVER_Message* message, const char** base, size_t* byte_size);

// ---- parameters, here the labels of metrics ----

/// Makes a parameter out of a name and what `value` points to, both copied; null for `BYTES`, which
/// has a function of its own. The caller owns it.
TRITON_SINCE_SERVER(1, 8)
TRITONSERVER_Parameter* TRITONSERVER_ParameterNew(
    const char* name, const TRITONSERVER_ParameterType type, const void* value);

/// Makes a parameter of raw bytes. The name is copied, the bytes are not: they must outlive it.
TRITON_SINCE_SERVER(1, 13)
TRITONSERVER_Parameter* TRITONSERVER_ParameterBytesNew(
    const char* name, const void* byte_ptr, const uint64_t size);

/// Deletes a parameter that the caller owns.
TRITON_SINCE_SERVER(1, 8)
void TRITONSERVER_ParameterDelete(TRITONSERVER_Parameter* parameter);

// ---- buffer attributes ----

/// Makes empty buffer attributes. The caller owns them.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesNew(
    TRITONSERVER_BufferAttributes** buffer_attributes);

/// Deletes buffer attributes that the caller made; never those that an input or output lent out.
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

/// The CUDA IPC handle, or null when the buffer has none.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesCudaIpcHandle(
    TRITONSERVER_BufferAttributes* buffer_attributes, void** cuda_ipc_handle);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_BufferAttributesByteSize(
    TRITONSERVER_BufferAttributes* buffer_attributes, size_t* byte_size);

// ---- traces; a backend gets one with TRITONBACKEND_RequestTrace ----

/// A trace level's name. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InferenceTraceLevelString(TRITONSERVER_InferenceTraceLevel level);

/// A trace activity's name. Static.
TRITON_SINCE_SERVER(1, 0)
const char* TRITONSERVER_InferenceTraceActivityString(
    TRITONSERVER_InferenceTraceActivity activity);

/// The trace's number, unique within the server.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceId(
    TRITONSERVER_InferenceTrace* trace, uint64_t* id);

/// The number of the trace that this one is a part of; 0 for none.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceParentId(
    TRITONSERVER_InferenceTrace* trace, uint64_t* parent_id);

/// The traced model's name. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceModelName(
    TRITONSERVER_InferenceTrace* trace, const char** model_name);

TRITON_SINCE_SERVER(1, 0)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceModelVersion(
    TRITONSERVER_InferenceTrace* trace, int64_t* model_version);

/// The traced request's id; the empty string when the client gave none. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 21)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceRequestId(
    TRITONSERVER_InferenceTrace* trace, const char** request_id);

/// The propagation context that came with the request, as JSON. Valid as long as the trace.
TRITON_SINCE_SERVER(1, 29)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceContext(
    TRITONSERVER_InferenceTrace* trace, const char** trace_context);

/// Puts a point of the backend's own into the trace: its name and a `CLOCK_MONOTONIC` time in
/// nanoseconds.
TRITON_SINCE_SERVER(1, 33)
TRITONSERVER_Error* TRITONSERVER_InferenceTraceReportActivity(
    TRITONSERVER_InferenceTrace* trace, uint64_t timestamp, const char* activity_name);

// ---- custom metrics; UNSUPPORTED from a server that was built without metrics ----

/// Makes a family of metrics with the name and help text that `/metrics` will show. The caller owns it.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricFamilyNew(
    TRITONSERVER_MetricFamily** family, const TRITONSERVER_MetricKind kind, const char* name,
    const char* description);

/// Deletes a family. Fails while it has metrics.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricFamilyDelete(TRITONSERVER_MetricFamily* family);

TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_GetMetricFamilyKind(
    TRITONSERVER_MetricFamily* family, TRITONSERVER_MetricKind* kind);

/// Makes empty metric arguments. The caller owns them.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsNew(TRITONSERVER_MetricArgs** args);

/// The upper bounds of a histogram's buckets, ascending; they are copied.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsSetHistogram(
    TRITONSERVER_MetricArgs* args, const double* buckets, const uint64_t buckets_count);

TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricArgsDelete(TRITONSERVER_MetricArgs* args);

/// Makes a counter or gauge within a family, told apart by its labels (string parameters, copied; they
/// stay the caller's). The caller owns the metric.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricNew(
    TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
    const TRITONSERVER_Parameter** labels, const uint64_t label_count);

/// The same with arguments, which a histogram needs; they stay the caller's.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricNewWithArgs(
    TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
    const TRITONSERVER_Parameter** labels, const uint64_t label_count,
    const TRITONSERVER_MetricArgs* args);

/// Deletes a metric, before its family.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricDelete(TRITONSERVER_Metric* metric);

/// The present value of a counter or gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricValue(TRITONSERVER_Metric* metric, double* value);

/// Adds to a counter (never a negative number) or a gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricIncrement(TRITONSERVER_Metric* metric, double value);

/// Sets a gauge.
TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_MetricSet(TRITONSERVER_Metric* metric, double value);

/// Puts one observation into a histogram.
TRITON_SINCE_SERVER(1, 34)
TRITONSERVER_Error* TRITONSERVER_MetricObserve(TRITONSERVER_Metric* metric, double value);

TRITON_SINCE_SERVER(1, 12)
TRITONSERVER_Error* TRITONSERVER_GetMetricKind(
    TRITONSERVER_Metric* metric, TRITONSERVER_MetricKind* kind);

}  // extern "C"

#endif  // TRITON_SYS_SERVER_H
