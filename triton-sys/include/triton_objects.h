// The objects of the Triton C API, all opaque, and the marks on its functions.

#ifndef TRITON_SYS_OBJECTS_H
#define TRITON_SYS_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Marks: the version of the API in whose first release a function appeared. They expand to nothing;
// build/marks.rs reads them and makes the crate's table FUNCTIONS. Every function has exactly one.
#define TRITON_SINCE_BACKEND(major, minor)
#define TRITON_SINCE_SERVER(major, minor)
// Mark of a function that the backend defines and the server looks up; the version is that of the
// backend API. Such a function is never looked up by this crate.
#define TRITON_ENTRY_POINT(major, minor)

/// An error on its way to somebody; a null pointer means success. Who receives one owns it and
/// either passes it on to the server or deletes it.
struct TRITONSERVER_Error;
/// A JSON document that crosses the API.
struct TRITONSERVER_Message;
/// A named, typed value.
struct TRITONSERVER_Parameter;
/// Where and how large a buffer is.
struct TRITONSERVER_BufferAttributes;
/// The record of one request's way through the server.
struct TRITONSERVER_InferenceTrace;
/// The server itself; a backend can only hand the pointer on.
struct TRITONSERVER_Server;
/// Several metrics of one name that differ in their labels.
struct TRITONSERVER_MetricFamily;
/// One number that the server publishes under `/metrics`.
struct TRITONSERVER_Metric;
/// What a metric needs beyond its labels, such as a histogram's buckets.
struct TRITONSERVER_MetricArgs;

/// Gives out the server's pooled memory.
struct TRITONBACKEND_MemoryManager;
/// One input tensor of a request; lives as long as the request.
struct TRITONBACKEND_Input;
/// One output tensor of a response; lives as long as the response.
struct TRITONBACKEND_Output;
/// One state tensor of a sequence.
struct TRITONBACKEND_State;
/// One inference request.
struct TRITONBACKEND_Request;
/// Makes the responses of one request, also after the request was released.
struct TRITONBACKEND_ResponseFactory;
/// One response to one request.
struct TRITONBACKEND_Response;
/// The backend, one for each loaded shared library.
struct TRITONBACKEND_Backend;
/// One loaded version of a model.
struct TRITONBACKEND_Model;
/// One of the model's instances.
struct TRITONBACKEND_ModelInstance;
/// What is to be counted about one response of a decoupled model.
struct TRITONBACKEND_ModelInstanceResponseStatistics;
/// What a backend tells the server about itself.
struct TRITONBACKEND_BackendAttribute;
/// The state of a backend's own batching strategy. The backend makes it: any pointer it likes.
struct TRITONBACKEND_Batcher;

#endif  // TRITON_SYS_OBJECTS_H
