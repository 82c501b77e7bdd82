// Backend API, part two: backend, model, instance, memory, statistics.
//
// Where a function returns TRITONSERVER_Error*, null is success and an error belongs to the caller.
// Strings that a function gives out belong to the object and live as long as it does.
// Each object carries one pointer of the backend's own ("state"), null at first; the server never looks
// at it.

#ifndef TRITON_SYS_MODEL_H
#define TRITON_SYS_MODEL_H

#include "triton_objects.h"
#include "triton_types.h"

extern "C" {

/// The version of the backend API that the running server speaks. A backend refuses another major
/// version; with an older minor version it does without the later functions.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ApiVersion(uint32_t* major, uint32_t* minor);

// ---- memory ----

/// Takes a buffer out of the server's pools. UNSUPPORTED: never to be had here; UNAVAILABLE: not now.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_MemoryManagerAllocate(
    TRITONBACKEND_MemoryManager* manager, void** buffer, const TRITONSERVER_MemoryType memory_type,
    const int64_t memory_type_id, const uint64_t byte_size);

/// Gives a buffer back, with the memory type and id that it was taken with.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_MemoryManagerFree(
    TRITONBACKEND_MemoryManager* manager, void* buffer, const TRITONSERVER_MemoryType memory_type,
    const int64_t memory_type_id);

// ---- backend ----

/// The name under which models ask for this backend.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendName(TRITONBACKEND_Backend* backend, const char** name);

/// What was given with `--backend-config` for this backend, as JSON: `{"cmdline": {key: value}}`. The
/// message stays the backend's.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendConfig(
    TRITONBACKEND_Backend* backend, TRITONSERVER_Message** backend_config);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendExecutionPolicy(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ExecutionPolicy* policy);

/// Chooses the execution policy. Only within `TRITONBACKEND_Initialize`.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendSetExecutionPolicy(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ExecutionPolicy policy);

/// The folder that the backend was loaded from.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendArtifacts(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_ArtifactType* artifact_type,
    const char** location);

/// The server's memory manager, which stays the server's.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendMemoryManager(
    TRITONBACKEND_Backend* backend, TRITONBACKEND_MemoryManager** manager);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendState(TRITONBACKEND_Backend* backend, void** state);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_BackendSetState(TRITONBACKEND_Backend* backend, void* state);

/// Names instances that the backend would like where the configuration names none; the first call is
/// the dearest wish. `count` 0 and `device_ids` null leave the choice to the server. Only within
/// `TRITONBACKEND_GetBackendAttribute`.
TRITON_SINCE_BACKEND(1, 10)
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeAddPreferredInstanceGroup(
    TRITONBACKEND_BackendAttribute* backend_attributes, const TRITONSERVER_InstanceGroupKind kind,
    const uint64_t count, const uint64_t* device_ids, const uint64_t id_count);

/// Whether a model's instances may be made at the same time. Only within
/// `TRITONBACKEND_GetBackendAttribute`.
TRITON_SINCE_BACKEND(1, 15)
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(
    TRITONBACKEND_BackendAttribute* backend_attributes, bool enabled);

// ---- model ----

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelName(TRITONBACKEND_Model* model, const char** name);

TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelVersion(TRITONBACKEND_Model* model, uint64_t* version);

/// The model's folder: the one that holds the version folders.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelRepository(
    TRITONBACKEND_Model* model, TRITONBACKEND_ArtifactType* artifact_type, const char** location);

/// The model's configuration as JSON; `config_version` is 1. A new message on each call, which the
/// caller owns.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelConfig(
    TRITONBACKEND_Model* model, const uint32_t config_version, TRITONSERVER_Message** model_config);

/// Whether the backend may fill in what the configuration leaves open.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelAutoCompleteConfig(
    TRITONBACKEND_Model* model, bool* auto_complete_config);

/// Sets the completed configuration; the message stays the caller's. Only within
/// `TRITONBACKEND_ModelInitialize`, and only where `TRITONBACKEND_ModelAutoCompleteConfig` says so. The
/// server takes over inputs, outputs, the batch limit and a scheduler where there was none, and may add
/// to it: read the configuration again afterwards.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelSetConfig(
    TRITONBACKEND_Model* model, const uint32_t config_version, TRITONSERVER_Message* model_config);

/// The server that the model runs in; for the in-process server API.
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

/// Tells the server how much memory the model takes until its Finalize, one entry for each memory type
/// and id. Each call replaces the one before; the entries stay the caller's.
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

/// The GPU that the instance shall use; 0 for an instance on the CPU.
TRITON_SINCE_BACKEND(1, 0)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceDeviceId(
    TRITONBACKEND_ModelInstance* instance, int32_t* device_id);

/// The instance's host policy as JSON: `{policy: {key: value}}`. The message stays the instance's.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceHostPolicy(
    TRITONBACKEND_ModelInstance* instance, TRITONSERVER_Message** host_policy);

/// Whether the instance is never called, so need not prepare anything.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceIsPassive(
    TRITONBACKEND_ModelInstance* instance, bool* is_passive);

TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceProfileCount(
    TRITONBACKEND_ModelInstance* instance, uint32_t* count);

/// The name of one of the profiles that the configuration gives the instance.
TRITON_SINCE_BACKEND(1, 4)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceProfileName(
    TRITONBACKEND_ModelInstance* instance, const uint32_t index, const char** profile_name);

TRITON_SINCE_BACKEND(1, 5)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceSecondaryDeviceCount(
    TRITONBACKEND_ModelInstance* instance, uint32_t* count);

/// Kind and number of one of the further devices that the configuration gives the instance.
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

/// Tells the server how much memory the instance takes until its Finalize, one entry for each memory
/// type and id. Each call replaces the one before; the entries stay the caller's.
TRITON_SINCE_BACKEND(1, 13)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportMemoryUsage(
    TRITONBACKEND_ModelInstance* instance, TRITONSERVER_BufferAttributes** usage,
    uint32_t usage_size);

// ---- statistics; all times are CLOCK_MONOTONIC nanoseconds ----

/// Counts one request: its success, and the times between its four stamps, which are not looked at for
/// a failure. Before the request is released. The server takes the request's end at this call.
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

/// Makes an empty record about one response of a decoupled model. The caller owns it, fills it with the
/// setters below, reports it, and may use it again.
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

/// When work on the response began.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseStart(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, uint64_t response_start);

/// When its outputs began to be written; left out for an empty response.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetComputeOutputStart(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics,
    uint64_t compute_output_start);

/// When the response was complete.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetResponseEnd(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, uint64_t response_end);

/// The error that was sent, which stays the caller's; left out for a success.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceResponseStatisticsSetError(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics, TRITONSERVER_Error* error);

/// Counts the response.
TRITON_SINCE_BACKEND(1, 19)
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportResponseStatistics(
    TRITONBACKEND_ModelInstanceResponseStatistics* response_statistics);

}  // extern "C"

#endif  // TRITON_SYS_MODEL_H
