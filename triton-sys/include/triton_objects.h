// The objects of Triton's C API, all opaque, and the marks on its functions.

#ifndef TRITON_SYS_OBJECTS_H
#define TRITON_SYS_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A mark is the API version of the first release with the function. It expands to nothing; build/marks.rs reads it to
// generate the table FUNCTIONS. Every function has exactly one.
#define TRITON_SINCE_BACKEND(major, minor)
#define TRITON_SINCE_SERVER(major, minor)
// A function that the backend defines and the server looks up. The version is that of the backend API.
#define TRITON_ENTRY_POINT(major, minor)

/// An error; a null pointer means success. The receiver owns it, and passes it on to the server or deletes it.
struct TRITONSERVER_Error;
/// A JSON document.
struct TRITONSERVER_Message;
/// A named, typed value.
struct TRITONSERVER_Parameter;
/// Location and size of a buffer.
struct TRITONSERVER_BufferAttributes;
/// The trace of a request through the server.
struct TRITONSERVER_InferenceTrace;
/// The server, for the in-process server API.
struct TRITONSERVER_Server;
/// Metrics with the same name and different labels.
struct TRITONSERVER_MetricFamily;
/// A value that the server publishes under `/metrics`.
struct TRITONSERVER_Metric;
/// Arguments of a new metric, such as a histogram's buckets.
struct TRITONSERVER_MetricArgs;

/// Allocates from the server's memory pools.
struct TRITONBACKEND_MemoryManager;
/// An input tensor of a request. Lives as long as the request.
struct TRITONBACKEND_Input;
/// An output tensor of a response. Lives as long as the response.
struct TRITONBACKEND_Output;
/// A state tensor of a sequence.
struct TRITONBACKEND_State;
/// An inference request.
struct TRITONBACKEND_Request;
/// Creates responses to a request, also after the request has been released.
struct TRITONBACKEND_ResponseFactory;
/// A response to a request.
struct TRITONBACKEND_Response;
/// A backend, one for each shared library.
struct TRITONBACKEND_Backend;
/// A loaded version of a model.
struct TRITONBACKEND_Model;
/// An instance of a model.
struct TRITONBACKEND_ModelInstance;
/// Statistics of a response of a decoupled model.
struct TRITONBACKEND_ModelInstanceResponseStatistics;
/// Attributes of a backend.
struct TRITONBACKEND_BackendAttribute;
/// The data of a custom batcher: any pointer of the backend's.
struct TRITONBACKEND_Batcher;

#endif  // TRITON_SYS_OBJECTS_H
