// The objects of TensorFlow's C API, all opaque.

#ifndef TENSORFLOW_C_SYS_OBJECTS_H
#define TENSORFLOW_C_SYS_OBJECTS_H

/// The result of a call: a code and a message.
typedef struct TF_Status TF_Status;
/// A tensor: element type, shape and memory.
typedef struct TF_Tensor TF_Tensor;
/// A graph of operations. Thread-safe. Several sessions may share one.
typedef struct TF_Graph TF_Graph;
/// An operation of a graph. Lives as long as the graph.
typedef struct TF_Operation TF_Operation;
/// A function of a graph's library.
typedef struct TF_Function TF_Function;
/// Options for importing a GraphDef.
typedef struct TF_ImportGraphDefOptions TF_ImportGraphDefOptions;
/// What an import has returned.
typedef struct TF_ImportGraphDefResults TF_ImportGraphDefResults;
/// Options for a new session.
typedef struct TF_SessionOptions TF_SessionOptions;
/// Runs a graph. Thread-safe.
typedef struct TF_Session TF_Session;
/// The devices of a session.
typedef struct TF_DeviceList TF_DeviceList;
/// A library of custom operations.
typedef struct TF_Library TF_Library;

#endif  // TENSORFLOW_C_SYS_OBJECTS_H
