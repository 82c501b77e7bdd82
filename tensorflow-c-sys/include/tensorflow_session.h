// Sessions, devices, libraries of operations.

#ifndef TENSORFLOW_C_SYS_SESSION_H
#define TENSORFLOW_C_SYS_SESSION_H

#include "tensorflow_marks.h"
#include "tensorflow_objects.h"
#include "tensorflow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- options ----

TF_SINCE(2, 4)
TF_SessionOptions* TF_NewSessionOptions(void);

TF_SINCE(2, 4)
void TF_DeleteSessionOptions(TF_SessionOptions* options);

/// Where the session runs: empty for this process, otherwise the address of a server.
TF_SINCE(2, 4)
void TF_SetTarget(TF_SessionOptions* options, const char* target);

/// Replaces the configuration by a serialized ConfigProto.
TF_SINCE(2, 4)
void TF_SetConfig(TF_SessionOptions* options, const void* proto, size_t proto_len, TF_Status* status);

/// Sets the just-in-time compilation of the configuration. Call it after `TF_SetConfig`, which replaces it.
TF_EXPERIMENTAL_SINCE(2, 4)
void TF_EnableXLACompilation(TF_SessionOptions* options, unsigned char enable);

/// Whether XLA compiles a cluster only once it has run several times. For the whole process. Returns the earlier value.
TF_EXPERIMENTAL_SINCE(2, 4)
unsigned char TF_SetXlaEnableLazyCompilation(unsigned char enable);

/// Whether XLA compiles for CPUs too. For the whole process. Returns the earlier value.
TF_EXPERIMENTAL_SINCE(2, 4)
unsigned char TF_SetTfXlaCpuGlobalJit(unsigned char enable);

/// Sets the automatic clustering for XLA, in the form of the flag `tf_xla_auto_jit`. For the whole process.
TF_EXPERIMENTAL_SINCE(2, 4)
void TF_SetXlaAutoJitMode(const char* mode);

/// Sets the size of the smallest cluster for XLA. For the whole process.
TF_EXPERIMENTAL_SINCE(2, 4)
void TF_SetXlaMinClusterSize(int size);

// ---- sessions ----

/// A session over a graph, which stays the caller's. `options` may be deleted afterwards. Null on an error.
TF_SINCE(2, 4)
TF_Session* TF_NewSession(TF_Graph* graph, const TF_SessionOptions* options, TF_Status* status);

/// Loads a SavedModel: imports the MetaGraphDef with exactly these tags into an empty graph, restores variables and runs
/// the initialization. `run_options` may be null. Writes the MetaGraphDef into `meta_graph_def`, an empty buffer, unless
/// that is null. Null on an error.
TF_SINCE(2, 4)
TF_Session* TF_LoadSessionFromSavedModel(
    const TF_SessionOptions* session_options, const TF_Buffer* run_options, const char* export_dir,
    const char* const* tags, int tags_len, TF_Graph* graph, TF_Buffer* meta_graph_def, TF_Status* status);

/// Closes the session: runs that have begun are cancelled, later ones fail.
TF_SINCE(2, 4)
void TF_CloseSession(TF_Session* session, TF_Status* status);

/// Deletes the session, whatever `status` says.
TF_SINCE(2, 4)
void TF_DeleteSession(TF_Session* session, TF_Status* status);

/// Runs the graph: feeds `inputs`, fetches `outputs` and runs `target_opers`. Blocks until done. The input tensors stay
/// the caller's. On success the caller owns each of `output_values`; on an error they are null. `run_options`, a
/// serialized RunOptions, and `run_metadata`, an empty buffer, may be null. Any number of threads may run one session.
TF_SINCE(2, 4)
void TF_SessionRun(
    TF_Session* session, const TF_Buffer* run_options, const TF_Output* inputs,
    TF_Tensor* const* input_values, int ninputs, const TF_Output* outputs, TF_Tensor** output_values,
    int noutputs, const TF_Operation* const* target_opers, int ntargets, TF_Buffer* run_metadata,
    TF_Status* status);

// ---- devices; their strings live as long as the list ----

/// The devices of a session. The caller owns the list.
TF_SINCE(2, 4)
TF_DeviceList* TF_SessionListDevices(TF_Session* session, TF_Status* status);

TF_SINCE(2, 4)
void TF_DeleteDeviceList(TF_DeviceList* list);

TF_SINCE(2, 4)
int TF_DeviceListCount(const TF_DeviceList* list);

/// Such as "/job:localhost/replica:0/task:0/device:CPU:0".
TF_SINCE(2, 4)
const char* TF_DeviceListName(const TF_DeviceList* list, int index, TF_Status* status);

/// Such as "GPU".
TF_SINCE(2, 4)
const char* TF_DeviceListType(const TF_DeviceList* list, int index, TF_Status* status);

/// The memory that TensorFlow may use on the device; -1 on an error.
TF_SINCE(2, 4)
int64_t TF_DeviceListMemoryBytes(const TF_DeviceList* list, int index, TF_Status* status);

/// A random number that changes when the device is started anew.
TF_SINCE(2, 4)
uint64_t TF_DeviceListIncarnation(const TF_DeviceList* list, int index, TF_Status* status);

// ---- operation types ----

/// Loads a library of custom operations and registers them for the whole process. Null on an error.
TF_SINCE(2, 4)
TF_Library* TF_LoadLibrary(const char* library_filename, TF_Status* status);

/// Deletes the handle; the library stays loaded.
TF_SINCE(2, 4)
void TF_DeleteLibraryHandle(TF_Library* lib_handle);

/// The operations of a library as a serialized OpList. The bytes live as long as the handle.
TF_SINCE(2, 4)
TF_Buffer TF_GetOpList(TF_Library* lib_handle);

/// All operation types of the process as a serialized OpList. The caller owns the buffer.
TF_SINCE(2, 4)
TF_Buffer* TF_GetAllOpList(void);

/// All kernels as a serialized KernelList. The caller owns the buffer.
TF_SINCE(2, 4)
TF_Buffer* TF_GetAllRegisteredKernels(TF_Status* status);

/// The kernels of one operation type as a serialized KernelList. The caller owns the buffer.
TF_SINCE(2, 4)
TF_Buffer* TF_GetRegisteredKernelsForOp(const char* name, TF_Status* status);

/// Whether an operation type is stateful, by its OpDef.
TF_EXPERIMENTAL_SINCE(2, 4)
int TF_OpIsStateful(const char* op_type, TF_Status* status);

/// Loads a plug-in for a kind of device. Null on an error.
TF_EXPERIMENTAL_SINCE(2, 5)
TF_Library* TF_LoadPluggableDeviceLibrary(const char* library_filename, TF_Status* status);

/// Deletes the handle; the plug-in stays loaded.
TF_EXPERIMENTAL_SINCE(2, 5)
void TF_DeletePluggableDeviceLibraryHandle(TF_Library* lib_handle);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TENSORFLOW_C_SYS_SESSION_H
