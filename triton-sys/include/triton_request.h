// Backend API, part 1: requests, their inputs and their responses.
//
// A returned TRITONSERVER_Error* is null on success; otherwise the caller owns it. Returned strings and shapes belong to
// the object and live as long as it does. Different threads may use different requests at the same time.

#ifndef TRITON_SYS_REQUEST_H
#define TRITON_SYS_REQUEST_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

// ---- request ----

/// The id that the client set; empty if it set none.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestId(TRITONBACKEND_Request* request, const char** id);

/// The number of the request's sequence; 0 if it belongs to none. An error if the client identified the sequence by a
/// string.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationId(
    TRITONBACKEND_Request* request, uint64_t* id);

/// The name of the request's sequence. An error if the client identified the sequence by a number.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationIdString(
    TRITONBACKEND_Request* request, const char** id);

/// A combination of `TRITONSERVER_RequestFlag`.
TRITON_SINCE_BACKEND(1, 8)
TRITONSERVER_Error* TRITONBACKEND_RequestFlags(TRITONBACKEND_Request* request, uint32_t* flags);

/// The timeout that the client set, in microseconds; 0 if it set none. Triton's name does not begin like those of its
/// neighbors.
TRITON_SINCE_BACKEND(1, 17)
TRITONSERVER_Error* TRITONBACKEND_InferenceRequestTimeoutMicroseconds(
    TRITONBACKEND_Request* request, uint64_t* timeout);

/// Whether the client has cancelled the request. It still has to be answered and released.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_RequestIsCancelled(
    TRITONBACKEND_Request* request, bool* is_cancelled);

/// The number of parameters that the client sent.
TRITON_SINCE_BACKEND(1, 12)
TRITONSERVER_Error* TRITONBACKEND_RequestParameterCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// A parameter. `type` says what `vvalue` points to; see `TRITONSERVER_ParameterType`, whose values have changed.
TRITON_SINCE_BACKEND(1, 12)
TRITONSERVER_Error* TRITONBACKEND_RequestParameter(
    TRITONBACKEND_Request* request, const uint32_t index, const char** key,
    TRITONSERVER_ParameterType* type, const void** vvalue);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// The name of an input. The order is that of the request, not that of the configuration; it differs between
/// requests.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputName(
    TRITONBACKEND_Request* request, const uint32_t index, const char** input_name);

/// An input by name. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInput(
    TRITONBACKEND_Request* request, const char* name, TRITONBACKEND_Input** input);

/// An input by index. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(
    TRITONBACKEND_Request* request, const uint32_t index, TRITONBACKEND_Input** input);

/// The number of outputs that the response must have: those that the client requested, or all outputs of the model.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// The name of a requested output. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputName(
    TRITONBACKEND_Request* request, const uint32_t index, const char** output_name);

/// Where the buffer of an output is likely to be, without allocating it. `memory_type` and `memory_type_id` are the
/// preference on entry and the likely result on return. `name` and `byte_size` may be null if they are not known yet.
/// UNAVAILABLE if the server cannot tell.
TRITON_SINCE_BACKEND(1, 7)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputBufferProperties(
    TRITONBACKEND_Request* request, const char* name, size_t* byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The trace of the request; null if it is not traced. Do not delete it.
TRITON_SINCE_BACKEND(1, 15)
TRITONSERVER_Error* TRITONBACKEND_RequestTrace(
    TRITONBACKEND_Request* request, TRITONSERVER_InferenceTrace** trace);

/// Returns the request to the server, with flags of `TRITONSERVER_RequestReleaseFlag`. Call it exactly once for each
/// request, also after an error. Afterwards neither the request nor anything obtained from it may be used.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(
    TRITONBACKEND_Request* request, uint32_t release_flags);

// ---- input ----

/// The properties of an input. Each output pointer may be null. `byte_size` is what the client sent: check it against
/// shape and type. The data is in `buffer_count` buffers.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_InputProperties(
    TRITONBACKEND_Input* input, const char** name, TRITONSERVER_DataType* datatype,
    const int64_t** shape, uint32_t* dims_count, uint64_t* byte_size, uint32_t* buffer_count);

/// As `TRITONBACKEND_InputProperties`, for the copy of the data that belongs to a host policy; null for the default
/// copy.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_InputPropertiesForHostPolicy(
    TRITONBACKEND_Input* input, const char* host_policy_name, const char** name,
    TRITONSERVER_DataType* datatype, const int64_t** shape, uint32_t* dims_count,
    uint64_t* byte_size, uint32_t* buffer_count);

/// One buffer of an input's data. `memory_type` and `memory_type_id` are the preference on entry and the actual
/// location on return. The buffer belongs to the input. An element can be split between two buffers.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(
    TRITONBACKEND_Input* input, const uint32_t index, const void** buffer,
    uint64_t* buffer_byte_size, TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// As `TRITONBACKEND_InputBuffer`, for the copy of the data that belongs to a host policy; null for the default copy.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_InputBufferForHostPolicy(
    TRITONBACKEND_Input* input, const char* host_policy_name, const uint32_t index,
    const void** buffer, uint64_t* buffer_byte_size, TRITONSERVER_MemoryType* memory_type,
    int64_t* memory_type_id);

/// One buffer of an input's data and its attributes, which belong to the input.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_InputBufferAttributes(
    TRITONBACKEND_Input* input, const uint32_t index, const void** buffer,
    TRITONSERVER_BufferAttributes** buffer_attributes);

// ---- response ----

/// Creates a response. The caller owns it until it is sent or deleted. The request must not have been released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseNew(
    TRITONBACKEND_Response** response, TRITONBACKEND_Request* request);

/// Creates a response from a factory, also after the request has been released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseNewFromFactory(
    TRITONBACKEND_Response** response, TRITONBACKEND_ResponseFactory* factory);

/// Deletes a response that was not sent. The client receives nothing.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseDelete(TRITONBACKEND_Response* response);

/// Sets a string parameter of the response. Name and value are copied. Names that begin with `triton_` are reserved
/// for the server.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseSetStringParameter(
    TRITONBACKEND_Response* response, const char* name, const char* value);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseSetIntParameter(
    TRITONBACKEND_Response* response, const char* name, const int64_t value);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseSetBoolParameter(
    TRITONBACKEND_Response* response, const char* name, const bool value);

TRITON_SINCE_BACKEND(1, 18)
TRITONSERVER_Error* TRITONBACKEND_ResponseSetDoubleParameter(
    TRITONBACKEND_Response* response, const char* name, const double value);

/// Adds an output tensor, which the model's configuration must declare. Name and shape are copied. The output lives
/// as long as the response.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(
    TRITONBACKEND_Response* response, TRITONBACKEND_Output** output, const char* name,
    const TRITONSERVER_DataType datatype, const int64_t* shape, const uint32_t dims_count);

/// Sends a response and takes ownership of it, whatever is returned. `send_flags` is a combination of
/// `TRITONSERVER_ResponseCompleteFlag`. If `error` is not null, the client receives it instead of the outputs; the
/// caller still owns it.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(
    TRITONBACKEND_Response* response, const uint32_t send_flags, TRITONSERVER_Error* error);

/// Reads an output of a response by index. Each output pointer may be null.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_InferenceResponseOutput(
    TRITONBACKEND_Response* response, const uint32_t index, const char** name,
    TRITONSERVER_DataType* datatype, const int64_t** shape, uint64_t* dim_count);

/// Reads an output of a response by name.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_InferenceResponseOutputByName(
    TRITONBACKEND_Response* response, const char* name, TRITONSERVER_DataType* datatype,
    const int64_t** shape, uint64_t* dim_count);

// ---- response factory ----

/// Creates a factory, which sends several responses to one request, or a response after the request has been
/// released. The caller owns it.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryNew(
    TRITONBACKEND_ResponseFactory** factory, TRITONBACKEND_Request* request);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryDelete(TRITONBACKEND_ResponseFactory* factory);

/// Sends flags without a response, for example that no further response follows.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactorySendFlags(
    TRITONBACKEND_ResponseFactory* factory, const uint32_t send_flags);

/// Whether the client has cancelled the factory's request.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryIsCancelled(
    TRITONBACKEND_ResponseFactory* factory, bool* is_cancelled);

// ---- output ----

/// The buffer for an output's data. `memory_type` and `memory_type_id` are the preference on entry and the actual
/// location on return: the server may choose another memory type. Fill it before sending the response.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(
    TRITONBACKEND_Output* output, void** buffer, const uint64_t buffer_byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The attributes of that buffer, which belong to the output. Call it after `TRITONBACKEND_OutputBuffer`.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_OutputBufferAttributes(
    TRITONBACKEND_Output* output, TRITONSERVER_BufferAttributes** buffer_attributes);

// ---- state of a sequence ----

/// Creates the new value of a state that the configuration declares for the request's sequence. It belongs to the
/// request and must not be used after `TRITONBACKEND_StateUpdate`.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateNew(
    TRITONBACKEND_State** state, TRITONBACKEND_Request* request, const char* name,
    const TRITONSERVER_DataType datatype, const int64_t* shape, const uint32_t dims_count);

/// Makes the new value visible to the next request of the sequence, which otherwise sees the old value. Call it
/// before the request is released.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateUpdate(TRITONBACKEND_State* state);

/// The buffer for a state's data, as for an output.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateBuffer(
    TRITONBACKEND_State* state, void** buffer, const uint64_t buffer_byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The attributes of that buffer, which belong to the state.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_StateBufferAttributes(
    TRITONBACKEND_State* state, TRITONSERVER_BufferAttributes** buffer_attributes);

}  // extern "C"

#endif  // TRITON_SYS_REQUEST_H
