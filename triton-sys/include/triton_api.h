// The part of the Triton Inference Server C API that a backend meets: what it calls and what it
// defines. Written for this crate; signatures and numbers are those of Triton's public headers.
//
// The in-process server API (creating a server, sending it requests) is left out.
//
// C++ is needed, as for Triton's own headers: objects are named without `struct`.

#ifndef TRITON_SYS_API_H
#define TRITON_SYS_API_H

#include "triton_objects.h"
#include "triton_types.h"

#include "triton_server.h"

#include "triton_request.h"

#include "triton_model.h"

#include "triton_entry_points.h"

#endif  // TRITON_SYS_API_H
