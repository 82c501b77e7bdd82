// What a backend defines and exports. The server looks these up with dlsym when it opens the backend;
// only TRITONBACKEND_ModelInstanceExecute must be there.
//
// Each returns null for success, or an error that then belongs to the server. None may unwind.

#ifndef TRITON_SYS_ENTRY_POINTS_H
#define TRITON_SYS_ENTRY_POINTS_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// Called once after the library is opened, before anything else. An error closes the library and
/// fails the model that asked for the backend.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend);

/// Called once before the library is closed, after all models are gone.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend);

/// The server asks what the backend prefers. It may ask several times in the backend's life.
TRITON_ENTRY_POINT(1, 10)
TRITONSERVER_Error* TRITONBACKEND_GetBackendAttribute(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_BackendAttribute* backend_attributes);

/// A model is being loaded. Several models may be loaded at the same time, each on a thread of its own.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model);

/// A model is being unloaded; its instances are gone and all its requests are released.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model);

/// An instance is being made. By default one after the other within a model; at the same time where
/// the backend allowed it (`TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading`).
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance);

/// An instance goes. No request of it is left.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance);

/// Here is a batch. With success the backend owns the requests: it answers and releases each, now or
/// later, from any thread. With an error the server keeps them all and answers each with that error;
/// so after the first response an error is no longer possible. The array itself is valid only until
/// the function returns.
TRITON_ENTRY_POINT(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,
    const uint32_t request_count);

/// Somebody asks whether the model is ready: null says this instance can take requests, an error says
/// why not. Called on the thread of the health request, beside running batches.
TRITON_ENTRY_POINT(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReady(TRITONBACKEND_ModelInstance* instance);

/// Custom batching: once for each model that uses it. What is put into `batcher` comes back in the
/// calls below.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatcherInitialize(
    TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model);

/// Custom batching: frees what `TRITONBACKEND_ModelBatcherInitialize` made.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatcherFinalize(TRITONBACKEND_Batcher* batcher);

/// Custom batching: may this request join the batch that is being formed? False closes the batch.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchIncludeRequest(
    TRITONBACKEND_Request* request, void* userp, bool* should_include);

/// Custom batching: a new batch begins; `userp` takes what the backend wants to remember for it.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchInitialize(
    const TRITONBACKEND_Batcher* batcher, void** userp);

/// Custom batching: the batch is closed; frees what `TRITONBACKEND_ModelBatchInitialize` made.
TRITON_ENTRY_POINT(1, 11)
TRITONSERVER_Error* TRITONBACKEND_ModelBatchFinalize(void* userp);

}  // extern "C"

#endif  // TRITON_SYS_ENTRY_POINTS_H
