// Version, log, status, buffers, tensors, strings.

#ifndef TENSORFLOW_C_SYS_CORE_H
#define TENSORFLOW_C_SYS_CORE_H

#include "tensorflow_marks.h"
#include "tensorflow_objects.h"
#include "tensorflow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The version of the library, such as "2.20.0". The string is static.
TF_SINCE(2, 4)
const char* TF_Version(void);

/// Sends each line that TensorFlow logs to `listener`, on the thread that logs it. Cannot be undone.
TF_SINCE(2, 4)
void TF_RegisterLogListener(void (*listener)(const char* line));

// ---- status ----

/// A new status, which is `TF_OK`. Delete it with `TF_DeleteStatus`. Not thread-safe: each call that runs at the same
/// time needs a status of its own.
TF_SINCE(2, 4)
TF_Status* TF_NewStatus(void);

TF_SINCE(2, 4)
void TF_DeleteStatus(TF_Status* status);

/// Replaces code and message. The message is copied.
TF_SINCE(2, 4)
void TF_SetStatus(TF_Status* status, TF_Code code, const char* message);

TF_SINCE(2, 4)
TF_Code TF_GetCode(const TF_Status* status);

/// The message; empty if the code is `TF_OK`. Valid until the status changes or is deleted.
TF_SINCE(2, 4)
const char* TF_Message(const TF_Status* status);

// ---- buffers ----

/// A new, empty buffer. Delete it with `TF_DeleteBuffer`.
TF_SINCE(2, 4)
TF_Buffer* TF_NewBuffer(void);

/// A new buffer with a copy of the bytes.
TF_SINCE(2, 4)
TF_Buffer* TF_NewBufferFromString(const void* proto, size_t proto_len);

/// Deletes the buffer, and its bytes with the buffer's deallocator.
TF_SINCE(2, 4)
void TF_DeleteBuffer(TF_Buffer* buffer);

/// The buffer's fields. The bytes stay the buffer's.
TF_SINCE(2, 4)
TF_Buffer TF_GetBuffer(TF_Buffer* buffer);

// ---- tensors ----

/// The size of an element in bytes. 0 for `TF_STRING`, whose elements are `TF_TString`, and for other types whose elements
/// are not plain data, such as `TF_RESOURCE`.
TF_SINCE(2, 4)
size_t TF_DataTypeSize(TF_DataType data_type);

/// A tensor over memory of the caller. TensorFlow reads it, and calls `deallocator` once nothing refers to it any more:
/// on any thread, possibly after `TF_DeleteTensor`, possibly before this function returns. If the memory is not aligned
/// to 64 bytes (more for some builds), TensorFlow copies it and calls `deallocator` at once. Null if `len` is too small
/// for the shape; `deallocator` has then been called.
TF_SINCE(2, 4)
TF_Tensor* TF_NewTensor(
    TF_DataType data_type, const int64_t* dims, int num_dims, void* data, size_t len,
    void (*deallocator)(void* data, size_t len, void* arg), void* deallocator_arg);

/// A tensor with memory of TensorFlow's, aligned and not initialized. `len` is its size in bytes.
TF_SINCE(2, 4)
TF_Tensor* TF_AllocateTensor(TF_DataType data_type, const int64_t* dims, int num_dims, size_t len);

/// Returns `tensor` if it is the only reference to memory that TensorFlow allocated, and null otherwise; either way it
/// stays as it is.
TF_SINCE(2, 4)
TF_Tensor* TF_TensorMaybeMove(TF_Tensor* tensor);

/// Deletes the tensor. Its memory lives on while TensorFlow refers to it.
TF_SINCE(2, 4)
void TF_DeleteTensor(TF_Tensor* tensor);

TF_SINCE(2, 4)
TF_DataType TF_TensorType(const TF_Tensor* tensor);

TF_SINCE(2, 4)
int TF_NumDims(const TF_Tensor* tensor);

/// The size of one dimension. `dim_index` is 0 or more and less than `TF_NumDims`.
TF_SINCE(2, 4)
int64_t TF_Dim(const TF_Tensor* tensor, int dim_index);

TF_SINCE(2, 4)
size_t TF_TensorByteSize(const TF_Tensor* tensor);

/// The tensor's memory. May be null for a tensor of no bytes.
TF_SINCE(2, 4)
void* TF_TensorData(const TF_Tensor* tensor);

/// The number of elements, the product of all dimensions.
TF_SINCE(2, 4)
int64_t TF_TensorElementCount(const TF_Tensor* tensor);

/// Whether the memory is aligned as TensorFlow's kernels want it.
TF_SINCE(2, 4)
bool TF_TensorIsAligned(const TF_Tensor* tensor);

/// The alignment in bytes that `TF_NewTensor` needs to use memory without a copy.
TF_SINCE(2, 17)
size_t TF_TensorDefaultAlignment(void);

/// Changes the shape; the number of elements stays.
TF_SINCE(2, 11)
void TF_SetShape(TF_Tensor* tensor, const int64_t* dims, int num_dims);

/// Makes `to` a tensor of another type and shape over the memory of `from`.
TF_SINCE(2, 4)
void TF_TensorBitcastFrom(
    const TF_Tensor* from, TF_DataType type, TF_Tensor* to, const int64_t* new_dims, int num_new_dims,
    TF_Status* status);

/// Reads a serialized TensorProto into `to`.
TF_SINCE(2, 7)
void TF_TensorFromProto(const TF_Buffer* from, TF_Tensor* to, TF_Status* status);

// ---- strings ----
//
// TensorFlow 2.4 has the same strings but exports no functions for them; use the layout of TF_TString there.

/// Makes an empty string out of uninitialized memory.
TF_SINCE(2, 5)
void TF_StringInit(TF_TString* string);

/// Replaces the value by a copy of the bytes.
TF_SINCE(2, 5)
void TF_StringCopy(TF_TString* destination, const char* source, size_t size);

/// Replaces the value by a reference to the bytes, which must outlive it.
TF_SINCE(2, 5)
void TF_StringAssignView(TF_TString* destination, const char* source, size_t size);

/// The bytes, without a terminating null byte in some cases. Valid until the string changes.
TF_SINCE(2, 5)
const char* TF_StringGetDataPointer(const TF_TString* string);

TF_SINCE(2, 5)
TF_TString_Type TF_StringGetType(const TF_TString* string);

TF_SINCE(2, 5)
size_t TF_StringGetSize(const TF_TString* string);

TF_SINCE(2, 5)
size_t TF_StringGetCapacity(const TF_TString* string);

/// Frees the memory that the string owns; the string is then empty.
TF_SINCE(2, 5)
void TF_StringDealloc(TF_TString* string);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TENSORFLOW_C_SYS_CORE_H
