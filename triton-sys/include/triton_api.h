// The part of the Triton Inference Server's C API that a backend calls and defines. Written for this crate; signatures and
// values are those of Triton's public headers.
//
// Left out: the in-process server API (creating a server, sending requests to it).
//
// These headers are C++, like Triton's own: objects are named without `struct`.

#ifndef TRITON_SYS_API_H
#define TRITON_SYS_API_H

#include "triton_objects.h"
#include "triton_types.h"

#include "triton_server.h"

#include "triton_request.h"

#include "triton_model.h"

#include "triton_entry_points.h"

#endif  // TRITON_SYS_API_H
