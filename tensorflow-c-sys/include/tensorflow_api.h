// The part of TensorFlow's C API that runs models: graphs, sessions, tensors, SavedModels. Written for this crate;
// signatures and values are those of TensorFlow's public headers.
//
// Conventions of the API:
// - A function with a TF_Status sets it on an error. Most set it to TF_OK on success; some that read attributes leave an
//   earlier error in place.
// - Objects are deleted with the TF_Delete function of their type, which accepts null.
// - `unsigned char` is a boolean, unless a function says otherwise.
//
// Left out: building graphs by hand, gradients, eager execution, kernels, servers, file systems, checkpoint readers.

#ifndef TENSORFLOW_C_SYS_API_H
#define TENSORFLOW_C_SYS_API_H

#include "tensorflow_marks.h"
#include "tensorflow_objects.h"
#include "tensorflow_types.h"

#include "tensorflow_core.h"

#include "tensorflow_graph.h"

#include "tensorflow_session.h"

#endif  // TENSORFLOW_C_SYS_API_H
