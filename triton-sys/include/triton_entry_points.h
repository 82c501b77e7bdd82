// What a backend defines and exports. The server looks up these functions when it opens the backend. Only
// TRITONBACKEND_ModelInstanceExecute is required.
//
// A returned error is null on success; otherwise the server owns it. No function may unwind.

#ifndef TRITON_SYS_ENTRY_POINTS_H
#define TRITON_SYS_ENTRY_POINTS_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// The library has been opened. Called once, before any other function. An error closes the library and fails the
/// model that uses the backend.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend);

/// The library is about to be closed. Called once, after all models have been unloaded.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend);

/// Sets the backend's attributes. The server may call it several times.
TRITON_ENTRY_POINT(1, 10)
TRITONSERVER_Error* TRITONBACKEND_GetBackendAttribute(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_BackendAttribute* backend_attributes);

/// A model is being loaded. Several models may be loaded at the same time, each on its own thread.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model);

/// A model is being unloaded. Its instances are gone and all its requests have been released.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model);

/// An instance is being created. The instances of a model are created one after another, unless the backend allows
/// otherwise (`TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading`).
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance);

/// An instance is being deleted. It has no requests left.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance);

/// Runs a batch of requests. On success the backend owns the requests: it answers and releases each of them, now or
/// later, on any thread. On an error the server owns all of them and answers each with that error, so return no error
/// after the first response. The array is valid only until the function returns.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,
    const uint32_t request_count);

/// Whether the model is ready: null if this instance can take requests, otherwise an error that says why not. Called
/// on the thread of the health request, while batches run.
TRITON_ENTRY_POINT(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReady(TRITONBACKEND_ModelInstance* instance);

/// Custom batching: called once for each model that uses it. The functions below receive what is stored in `batcher`.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatcherInitialize(
    TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model);

/// Custom batching: frees what `TRITONBACKEND_ModelBatcherInitialize` has created.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatcherFinalize(TRITONBACKEND_Batcher* batcher);

/// Custom batching: whether this request may join the batch that is being formed. False closes the batch.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchIncludeRequest(
    TRITONBACKEND_Request* request, void* userp, bool* should_include);

/// Custom batching: a new batch begins. `userp` receives the backend's own data for it.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchInitialize(
    const TRITONBACKEND_Batcher* batcher, void** userp);

/// Custom batching: the batch is closed. Frees what `TRITONBACKEND_ModelBatchInitialize` has created.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchFinalize(void* userp);

}  // extern "C"

#endif  // TRITON_SYS_ENTRY_POINTS_H
