/* The library of the CUDA driver as the backend opens it. Each function is one of the test program: cuda.rs. */
#include <stddef.h>
#include <stdint.h>

#define PLAYED(name, parameters, arguments) \
  int host_##name parameters;               \
  int name parameters { return host_##name arguments; }

PLAYED(cuCtxPopCurrent_v2, (void **context), (context))
PLAYED(cuCtxPushCurrent_v2, (void *context), (context))
PLAYED(cuDeviceGet, (int *device, int ordinal), (device, ordinal))
PLAYED(cuDevicePrimaryCtxRetain, (void **context, int device), (context, device))
PLAYED(cuGetErrorName, (int error, const char **name), (error, name))
PLAYED(cuInit, (unsigned flags), (flags))
PLAYED(cuMemcpyDtoH_v2, (void *to, uint64_t from, size_t size), (to, from, size))
PLAYED(cuMemcpyHtoD_v2, (uint64_t to, const void *from, size_t size), (to, from, size))
PLAYED(cuStreamSynchronize, (void *stream), (stream))
