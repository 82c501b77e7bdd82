// Backend API, part one: a request, its inputs, the responses to it.
//
// Where a function returns TRITONSERVER_Error*, null is success and an error belongs to the caller.
// Strings and shapes that a function gives out belong to the object and live as long as it does.
// Functions on different requests may be called from different threads at the same time.

#ifndef TRITON_SYS_REQUEST_H
#define TRITON_SYS_REQUEST_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

// ---- request ----

/// The id that the client chose; the empty string for none.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestId(TRITONBACKEND_Request* request, const char** id);

/// The number of the sequence that the request belongs to; 0 for none. An error when the client chose
/// a string.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationId(
    TRITONBACKEND_Request* request, uint64_t* id);

/// The same where the client chose a string; an error when it chose a number.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationIdString(
    TRITONBACKEND_Request* request, const char** id);

/// `TRITONSERVER_RequestFlag`s, or-ed.
TRITON_SINCE_BACKEND(1, 8)
TRITONSERVER_Error* TRITONBACKEND_RequestFlags(TRITONBACKEND_Request* request, uint32_t* flags);

/// The time-out that the client asked for, in microseconds; 0 for none. The name begins otherwise than
/// its neighbours', as in Triton.
TRITON_SINCE_BACKEND(1, 17)
TRITONSERVER_Error* TRITONBACKEND_InferenceRequestTimeoutMicroseconds(
    TRITONBACKEND_Request* request, uint64_t* timeout);

/// Whether the client has given the request up. It must be answered and released all the same.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_RequestIsCancelled(
    TRITONBACKEND_Request* request, bool* is_cancelled);

/// How many parameters the client sent along.
TRITON_SINCE_BACKEND(1, 12)
TRITONSERVER_Error* TRITONBACKEND_RequestParameterCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// One parameter; what `vvalue` points to is told by the type. See the note on numbers at
/// `TRITONSERVER_ParameterType`.
TRITON_SINCE_BACKEND(1, 12)
TRITONSERVER_Error* TRITONBACKEND_RequestParameter(
    TRITONBACKEND_Request* request, const uint32_t index, const char** key,
    TRITONSERVER_ParameterType* type, const void** vvalue);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// An input's name. The order is the request's, not the configuration's, and differs between requests.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputName(
    TRITONBACKEND_Request* request, const uint32_t index, const char** input_name);

/// An input by its name. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInput(
    TRITONBACKEND_Request* request, const char* name, TRITONBACKEND_Input** input);

/// An input by its place. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(
    TRITONBACKEND_Request* request, const uint32_t index, TRITONBACKEND_Input** input);

/// How many outputs the response must hold: those the client named, or all of the model's.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputCount(
    TRITONBACKEND_Request* request, uint32_t* count);

/// The name of one of these outputs. Valid until the request is released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputName(
    TRITONBACKEND_Request* request, const uint32_t index, const char** output_name);

/// Where the buffer for an output is likely to lie, without allocating it. `memory_type` and
/// `memory_type_id` carry the wish in and the likely answer out; `name` and `byte_size` may be null where
/// they are not known yet. UNAVAILABLE when the server cannot tell.
TRITON_SINCE_BACKEND(1, 7)
TRITONSERVER_Error* TRITONBACKEND_RequestOutputBufferProperties(
    TRITONBACKEND_Request* request, const char* name, size_t* byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The request's trace; null when it is not traced. Do not delete it.
TRITON_SINCE_BACKEND(1, 15)
TRITONSERVER_Error* TRITONBACKEND_RequestTrace(
    TRITONBACKEND_Request* request, TRITONSERVER_InferenceTrace** trace);

/// Gives the request back (`TRITONSERVER_RequestReleaseFlag`). Afterwards neither it nor anything that
/// was got from it may be touched. Once for each request, also after an error.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(
    TRITONBACKEND_Request* request, uint32_t release_flags);

// ---- input ----

/// What an input is. Each out-pointer may be null. `byte_size` is what the client sent: compare it with
/// shape and type before trusting it. The data lies in `buffer_count` pieces.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_InputProperties(
    TRITONBACKEND_Input* input, const char** name, TRITONSERVER_DataType* datatype,
    const int64_t** shape, uint32_t* dims_count, uint64_t* byte_size, uint32_t* buffer_count);

/// The same for the copy of the data that suits a host policy; null asks for the common copy.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_InputPropertiesForHostPolicy(
    TRITONBACKEND_Input* input, const char* host_policy_name, const char** name,
    TRITONSERVER_DataType* datatype, const int64_t** shape, uint32_t* dims_count,
    uint64_t* byte_size, uint32_t* buffer_count);

/// One piece of an input's data. `memory_type` and `memory_type_id` carry the wish in and the fact out.
/// The piece stays the input's. An element can be split between two pieces.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(
    TRITONBACKEND_Input* input, const uint32_t index, const void** buffer,
    uint64_t* buffer_byte_size, TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The same for the copy of the data that suits a host policy; null asks for the common copy.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_InputBufferForHostPolicy(
    TRITONBACKEND_Input* input, const char* host_policy_name, const uint32_t index,
    const void** buffer, uint64_t* buffer_byte_size, TRITONSERVER_MemoryType* memory_type,
    int64_t* memory_type_id);

/// One piece of an input's data with its attributes, which stay the input's.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_InputBufferAttributes(
    TRITONBACKEND_Input* input, const uint32_t index, const void** buffer,
    TRITONSERVER_BufferAttributes** buffer_attributes);

// ---- response ----

/// Starts a response. It belongs to the caller until it is sent or deleted. The request must not have
/// been released.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseNew(
    TRITONBACKEND_Response** response, TRITONBACKEND_Request* request);

/// Starts a response from a factory, which works after the request's release too.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseNewFromFactory(
    TRITONBACKEND_Response** response, TRITONBACKEND_ResponseFactory* factory);

/// Drops a response that was not sent. The client hears nothing of it.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseDelete(TRITONBACKEND_Response* response);

/// Puts a string parameter into the response; name and value are copied. Names that begin with
/// `triton_` are the server's.
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

/// Adds an output tensor, which the model's configuration must declare. Name and shape are copied; the
/// output lives as long as the response.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(
    TRITONBACKEND_Response* response, TRITONBACKEND_Output** output, const char* name,
    const TRITONSERVER_DataType datatype, const int64_t* shape, const uint32_t dims_count);

/// Sends a response and takes it, whatever is returned. `send_flags` are
/// `TRITONSERVER_ResponseCompleteFlag`s. `error` may be null; else the client gets it instead of the
/// outputs, and it stays the caller's to delete.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(
    TRITONBACKEND_Response* response, const uint32_t send_flags, TRITONSERVER_Error* error);

/// Reads an output of a response back by its place. Each out-pointer may be null.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_InferenceResponseOutput(
    TRITONBACKEND_Response* response, const uint32_t index, const char** name,
    TRITONSERVER_DataType* datatype, const int64_t** shape, uint64_t* dim_count);

/// Reads an output of a response back by its name.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_InferenceResponseOutputByName(
    TRITONBACKEND_Response* response, const char* name, TRITONSERVER_DataType* datatype,
    const int64_t** shape, uint64_t* dim_count);

// ---- response factory ----

/// Makes a factory, needed by whoever answers a request several times or after its release. The caller
/// owns it.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryNew(
    TRITONBACKEND_ResponseFactory** factory, TRITONBACKEND_Request* request);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryDelete(TRITONBACKEND_ResponseFactory* factory);

/// Sends flags without a response, such as that no further response follows.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactorySendFlags(
    TRITONBACKEND_ResponseFactory* factory, const uint32_t send_flags);

/// Whether the client has given the factory's request up.
TRITON_SINCE_BACKEND(1, 16)
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryIsCancelled(
    TRITONBACKEND_ResponseFactory* factory, bool* is_cancelled);

// ---- output ----

/// The buffer for an output's data. `memory_type` and `memory_type_id` carry the wish in and the fact
/// out: the server may answer with another kind of memory. To be filled before the response is sent.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(
    TRITONBACKEND_Output* output, void** buffer, const uint64_t buffer_byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The attributes of that buffer, which stay the output's. After `TRITONBACKEND_OutputBuffer`.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_OutputBufferAttributes(
    TRITONBACKEND_Output* output, TRITONSERVER_BufferAttributes** buffer_attributes);

// ---- state of a sequence ----

/// Makes the new value of a state that the configuration declares for the request's sequence. It
/// belongs to the request, and is not to be touched after `TRITONBACKEND_StateUpdate`.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateNew(
    TRITONBACKEND_State** state, TRITONBACKEND_Request* request, const char* name,
    const TRITONSERVER_DataType datatype, const int64_t* shape, const uint32_t dims_count);

/// Makes the new value the one that the sequence's next request finds; without it, that request finds
/// the old one. Before the request's release.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateUpdate(TRITONBACKEND_State* state);

/// The buffer for a state's data, as for an output.
TRITON_SINCE_BACKEND(1, 6)
TRITONSERVER_Error* TRITONBACKEND_StateBuffer(
    TRITONBACKEND_State* state, void** buffer, const uint64_t buffer_byte_size,
    TRITONSERVER_MemoryType* memory_type, int64_t* memory_type_id);

/// The attributes of that buffer, which stay the state's.
TRITON_SINCE_BACKEND(1, 9)
TRITONSERVER_Error* TRITONBACKEND_StateBufferAttributes(
    TRITONBACKEND_State* state, TRITONSERVER_BufferAttributes** buffer_attributes);

}  // extern "C"

#endif  // TRITON_SYS_REQUEST_H
