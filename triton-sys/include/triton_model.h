// Backend API, part 2: backend, model, instance, memory, statistics.
//
// A returned TRITONSERVER_Error* is null on success; otherwise the caller owns it. Returned strings belong to the object
// and live as long as it does. Each object holds one pointer for the backend, its "state", initially null, which the
// server does not interpret.

#ifndef TRITON_SYS_MODEL_H
#define TRITON_SYS_MODEL_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// The version of the backend API of the running server. A backend rejects another major version. With an older minor
/// version it does without the later functions.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ApiVersion(uint32_t* major, uint32_t* minor);

// ---- memory ----

/// Allocates a buffer from the server's pools. UNSUPPORTED if the server has no such memory, UNAVAILABLE if none is
/// free.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_MemoryManagerAllocate(
    TRITONBACKEND_MemoryManager* manager, void** buffer, const TRITONSERVER_MemoryType memory_type,
    const int64_t memory_type_id, const uint64_t byte_size);

/// Frees a buffer, with the memory type and id that it was allocated with.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_MemoryManagerFree(
    TRITONBACKEND_MemoryManager* manager, void* buffer, const TRITONSERVER_MemoryType memory_type,
    const int64_t memory_type_id);

// ---- backend ----

/// The name by which models select this backend.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendName(TRITONBACKEND_Backend* backend, const char** name);

/// The `--backend-config` settings for this backend as JSON: `{"cmdline": {key: value}}`. The message belongs to the
/// backend.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendConfig(
    TRITONBACKEND_Backend* backend, TRITONSERVER_Message** backend_config);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendExecutionPolicy(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ExecutionPolicy* policy);

/// Sets the execution policy. Only in `TRITONBACKEND_Initialize`.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendSetExecutionPolicy(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ExecutionPolicy policy);

/// The folder that the backend was loaded from.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendArtifacts(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ArtifactType* artifact_type,
    const char** location);

/// The server's memory manager, which belongs to the server.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendMemoryManager(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_MemoryManager** manager);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendState(TRITONBACKEND_Backend* backend, void** state);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendSetState(TRITONBACKEND_Backend* backend, void* state);

/// Adds an instance group that the backend prefers if the configuration has none, in order of preference. `count` 0
/// and `device_ids` null leave the choice to the server. Only in `TRITONBACKEND_GetBackendAttribute`.
TRITON_SINCE_BACKEND(1, 10)
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeAddPreferredInstanceGroup(
    TRITONBACKEND_BackendAttribute* backend_attributes, const TRITONSERVER_InstanceGroupKind kind,
    const uint64_t count, const uint64_t* device_ids, const uint64_t id_count);

/// Whether the instances of a model may be created at the same time. Only in `TRITONBACKEND_GetBackendAttribute`.
TRITON_SINCE_BACKEND(1, 15)
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(
    TRITONBACKEND_BackendAttribute* backend_attributes, bool enabled);

// ---- model ----

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelName(TRITONBACKEND_Model* model, const char** name);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelVersion(TRITONBACKEND_Model* model, uint64_t* version);

/// The folder of the model, which contains the version folders.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelRepository(
    TRITONBACKEND_Model* model, TRITONBACKEND_ArtifactType* artifact_type, const char** location);

/// The configuration of the model as JSON; `config_version` is 1. Each call creates a message, which the caller owns.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelConfig(
    TRITONBACKEND_Model* model, const uint32_t config_version, TRITONSERVER_Message** model_config);

/// Whether the backend may complete the configuration.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelAutoCompleteConfig(
    TRITONBACKEND_Model* model, bool* auto_complete_config);

/// Sets the completed configuration; the message stays the caller's. Only in `TRITONBACKEND_ModelInitialize`, and
/// only if `TRITONBACKEND_ModelAutoCompleteConfig` allows it. The server takes inputs, outputs, the maximum batch
/// size, and a scheduler if the configuration has none; it may add to it, so read the configuration again.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelSetConfig(
    TRITONBACKEND_Model* model, const uint32_t config_version, TRITONSERVER_Message* model_config);

/// The server that runs the model, for the in-process server API.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelServer(
    TRITONBACKEND_Model* model, TRITONSERVER_Server** server);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelBackend(
    TRITONBACKEND_Model* model, TRITONBACKEND_Backend** backend);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelState(TRITONBACKEND_Model* model, void** state);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelSetState(TRITONBACKEND_Model* model, void* state);

/// Reports the memory that the model uses until it is finalized, one entry for each memory type and id. Each call
/// replaces the one before. The entries stay the caller's.
TRITON_SINCE_BACKEND(1, 13)
TRITONSERVER_Error* TRITONBACKEND_ModelReportMemoryUsage(
    TRITONBACKEND_Model* model, TRITONSERVER_BufferAttributes** usage, uint32_t usage_size);

// ---- instance ----

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceName(
    TRITONBACKEND_ModelInstance* instance, const char** name);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceKind(
    TRITONBACKEND_ModelInstance* instance, TRITONSERVER_InstanceGroupKind* kind);

/// The GPU of the instance; 0 for an instance on the CPU.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceDeviceId(
    TRITONBACKEND_ModelInstance* instance, int32_t* device_id);

/// The host policy of the instance as JSON: `{policy: {key: value}}`. The message belongs to the instance.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceHostPolicy(
    TRITONBACKEND_ModelInstance* instance, TRITONSERVER_Message** host_policy);

/// Whether the instance never receives requests, so that it need not prepare for them.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceIsPassive(
    TRITONBACKEND_ModelInstance* instance, bool* is_passive);

TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceProfileCount(
    TRITONBACKEND_ModelInstance* instance, uint32_t* count);

/// The name of one of the profiles that the configuration sets for the instance.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceProfileName(
    TRITONBACKEND_ModelInstance* instance, const uint32_t index, const char** profile_name);

TRITON_SINCE_BACKEND(1, 5)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceSecondaryDeviceCount(
    TRITONBACKEND_ModelInstance* instance, uint32_t* count);

/// Kind and id of one of the secondary devices that the configuration sets for the instance.
TRITON_SINCE_BACKEND(1, 5)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceSecondaryDeviceProperties(
    TRITONBACKEND_ModelInstance* instance, uint32_t index, const char** kind, int64_t* id);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceModel(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Model** model);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceState(
    TRITONBACKEND_ModelInstance* instance, void** state);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceSetState(
    TRITONBACKEND_ModelInstance* instance, void* state);

/// Reports the memory that the instance uses until it is finalized, one entry for each memory type and id. Each call
/// replaces the one before. The entries stay the caller's.
TRITON_SINCE_BACKEND(1, 13)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportMemoryUsage(
    TRITONBACKEND_ModelInstance* instance, TRITONSERVER_BufferAttributes** usage,
    uint32_t usage_size);

// ---- statistics; all times are CLOCK_MONOTONIC nanoseconds ----

/// Counts one request: its success, and the times between its four timestamps, which are ignored for a failure. Call
/// it before the request is released. The server takes the end of the request at this call.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request, const bool success,
    const uint64_t exec_start_ns, const uint64_t compute_start_ns, const uint64_t compute_end_ns,
    const uint64_t exec_end_ns);

/// Counts one execution of `batch_size` (the sum over its requests) and its times.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(
    TRITONBACKEND_ModelInstance* instance, const uint64_t batch_size, const uint64_t exec_start_ns,
    const uint64_t compute_start_ns, const uint64_t compute_end_ns, const uint64_t exec_end_ns);

/// Creates an empty record of one response of a decoupled model. The caller owns it, fills it with the functions
/// below, reports it, and may reuse it.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsNew(
    TRITONBACKEND_ModelInstanceResponseStatistics** response_statistics);

TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsDelete(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics);

TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetModelInstance(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics,
    TRITONBACKEND_ModelInstance* model_instance);

TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseFactory(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics,
    TRITONBACKEND_ResponseFactory* response_factory);

/// When the computation of the response began.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseStart(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, uint64_t response_start);

/// When writing the outputs began. Omit it for an empty response.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetComputeOutputStart(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics,
    uint64_t compute_output_start);

/// When the response was complete.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseEnd(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, uint64_t response_end);

/// The error that was sent, which stays the caller's. Omit it on success.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetError(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, TRITONSERVER_Error* error);

/// Counts the response.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportResponseStatistics(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics);

}  // extern "C"

#endif  // TRITON_SYS_MODEL_H
