// Enumerations and structures of TensorFlow's C API.
//
// This file declares no function and no opaque object, so that tests/header_check can include it inside a namespace and
// compare each value and each field with TensorFlow's own headers.
//
// TensorFlow adds enumerators in minor releases. Expect values that are not listed here.

#ifndef TENSORFLOW_C_SYS_TYPES_H
#define TENSORFLOW_C_SYS_TYPES_H

#include "tensorflow_marks.h"
#include "tensorflow_objects.h"

/// Code of a status. The values are those of gRPC.
typedef enum TF_Code {
  TF_OK = 0,
  TF_CANCELLED = 1,
  TF_UNKNOWN = 2,
  TF_INVALID_ARGUMENT = 3,
  TF_DEADLINE_EXCEEDED = 4,
  TF_NOT_FOUND = 5,
  TF_ALREADY_EXISTS = 6,
  TF_PERMISSION_DENIED = 7,
  TF_RESOURCE_EXHAUSTED = 8,
  TF_FAILED_PRECONDITION = 9,
  TF_ABORTED = 10,
  TF_OUT_OF_RANGE = 11,
  TF_UNIMPLEMENTED = 12,
  TF_INTERNAL = 13,
  TF_UNAVAILABLE = 14,
  TF_DATA_LOSS = 15,
  TF_UNAUTHENTICATED = 16
} TF_Code;

/// Element type of a tensor. The values are those of the protobuf enumeration `DataType`.
typedef enum TF_DataType {
  TF_FLOAT = 1,
  TF_DOUBLE = 2,
  TF_INT32 = 3,
  TF_UINT8 = 4,
  TF_INT16 = 5,
  TF_INT8 = 6,
  TF_STRING = 7,  ///< Each element is a `TF_TString`.
  TF_COMPLEX64 = 8,
  TF_COMPLEX = 8,  ///< Old name of `TF_COMPLEX64`.
  TF_INT64 = 9,
  TF_BOOL = 10,  ///< One byte, 0 or 1.
  TF_QINT8 = 11,
  TF_QUINT8 = 12,
  TF_QINT32 = 13,
  TF_BFLOAT16 = 14,
  TF_QINT16 = 15,
  TF_QUINT16 = 16,
  TF_UINT16 = 17,
  TF_COMPLEX128 = 18,
  TF_HALF = 19,
  TF_RESOURCE = 20,
  TF_VARIANT = 21,
  TF_UINT32 = 22,
  TF_UINT64 = 23,
  TF_FLOAT8_E5M2 = 24,  ///< Since TensorFlow 2.12.
  TF_FLOAT8_E4M3FN = 25,  ///< Since TensorFlow 2.12.
  TF_FLOAT8_E4M3FNUZ = 26,  ///< Since TensorFlow 2.19.
  TF_FLOAT8_E4M3B11FNUZ = 27,  ///< Since TensorFlow 2.19.
  TF_FLOAT8_E5M2FNUZ = 28,  ///< Since TensorFlow 2.19.
  TF_INT4 = 29,  ///< Since TensorFlow 2.15. One byte for each element.
  TF_UINT4 = 30,  ///< Since TensorFlow 2.15. One byte for each element.
  TF_INT2 = 31,  ///< Since TensorFlow 2.20. One byte for each element.
  TF_UINT2 = 32,  ///< Since TensorFlow 2.20. One byte for each element.
  TF_FLOAT4_E2M1FN = 33  ///< Since TensorFlow 2.21.
} TF_DataType;

/// Kind of an attribute's value.
typedef enum TF_AttrType {
  TF_ATTR_STRING = 0,
  TF_ATTR_INT = 1,
  TF_ATTR_FLOAT = 2,
  TF_ATTR_BOOL = 3,
  TF_ATTR_TYPE = 4,
  TF_ATTR_SHAPE = 5,
  TF_ATTR_TENSOR = 6,
  TF_ATTR_PLACEHOLDER = 7,
  TF_ATTR_FUNC = 8
} TF_AttrType;

/// How a `TF_TString` stores its bytes: the two lowest bits of its first byte.
typedef enum TF_TString_Type {
  TF_TSTR_SMALL = 0,  ///< Up to 22 bytes, stored in the structure itself.
  TF_TSTR_LARGE = 1,  ///< Memory from `malloc`, which the string owns.
  TF_TSTR_OFFSET = 2,  ///< At a distance from the structure. TensorFlow's tensors in memory do not use it.
  TF_TSTR_VIEW = 3,  ///< Memory of somebody else.
  TF_TSTR_TYPE_MASK = 3  ///< Masks these bits.
} TF_TString_Type;

/// A serialized protobuf message, or other bytes.
typedef struct TF_Buffer {
  const void* data;
  size_t length;
  /// Called by `TF_DeleteBuffer`; null where nothing is to be freed.
  void (*data_deallocator)(void* data, size_t length);
} TF_Buffer;

/// An input of an operation.
typedef struct TF_Input {
  TF_Operation* oper;
  int index;
} TF_Input;

/// An output of an operation: a tensor of the graph.
typedef struct TF_Output {
  TF_Operation* oper;
  int index;
} TF_Output;

/// Describes the value of an attribute.
typedef struct TF_AttrMetadata {
  /// 1 for a list.
  unsigned char is_list;
  /// Length of the list; -1 where there is none.
  int64_t list_size;
  /// For a list, the kind of its elements.
  TF_AttrType type;
  /// String, shape: bytes or dimensions needed for the value, of all elements for a list. -1 for a shape of unknown
  /// rank.
  int64_t total_size;
} TF_AttrMetadata;

/// A string that owns memory from `malloc`.
typedef struct TF_TString_Large {
  /// Length times 4, plus `TF_TSTR_LARGE`.
  size_t size;
  /// Bytes allocated, less one for a terminating null byte.
  size_t cap;
  char* ptr;
} TF_TString_Large;

/// A string stored at a distance from its structure.
typedef struct TF_TString_Offset {
  /// Length times 4, plus `TF_TSTR_OFFSET`.
  uint32_t size;
  /// From the start of the structure.
  uint32_t offset;
  uint32_t count;
} TF_TString_Offset;

/// A string in memory of somebody else, which must outlive it.
typedef struct TF_TString_View {
  /// Length times 4, plus `TF_TSTR_VIEW`.
  size_t size;
  const char* ptr;
  /// Since TensorFlow 2.21: a counted reference to the owner of the memory, or null. Earlier releases neither read nor
  /// write this field. Always set it to null.
  void* owner_ref;
} TF_TString_View;

/// A string of up to 22 bytes.
typedef struct TF_TString_Small {
  /// Length times 4.
  uint8_t size;
  /// Ends with a null byte.
  char str[23];
} TF_TString_Small;

/// The structure as bytes.
typedef struct TF_TString_Raw {
  uint8_t raw[24];
} TF_TString_Raw;

/// An element of a tensor of strings, as laid out on a little-endian machine. `TF_TString_Type` in the two lowest bits
/// of the first byte says which member is valid. All bytes zero is the empty string, and the initial state that
/// TensorFlow expects.
///
/// A LARGE string must be freed (`TF_StringDealloc`, or `free` of its pointer) before the memory of its tensor is:
/// `TF_DeleteTensor` frees the tensor's memory only.
typedef struct TF_TString {
  union {
    TF_TString_Small smll;
    TF_TString_Large large;
    TF_TString_Offset offset;
    TF_TString_View view;
    TF_TString_Raw raw;
  } u;
} TF_TString;

#endif  // TENSORFLOW_C_SYS_TYPES_H
