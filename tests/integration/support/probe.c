/* A backend that does nothing but tell, in the server's log, what it sees in the server's process. The tests compile it
   with the machine's C compiler and have the server open it; it uses nothing that an old C library lacks. */

#include <stdint.h>
#include <stdio.h>

const char *gnu_get_libc_version(void);

void *TRITONBACKEND_ApiVersion(uint32_t *major, uint32_t *minor);
void *TRITONSERVER_ErrorNew(int code, const char *message);

void *TRITONBACKEND_Initialize(void *backend) {
    uint32_t major = 0, minor = 0;
    (void)backend;
    TRITONBACKEND_ApiVersion(&major, &minor);
    fprintf(stderr, "tensorflow_latency_probe {\"backend_api\": \"%u.%u\", \"glibc\": \"%s\"}\n", major, minor,
            gnu_get_libc_version());
    /* 4 is TRITONSERVER_ERROR_UNAVAILABLE: there is nothing to serve. */
    return TRITONSERVER_ErrorNew(4, "the probe has told what it saw");
}

/* The server opens no backend without it. */
void *TRITONBACKEND_ModelInstanceExecute(void *instance, void **requests, uint32_t count) {
    (void)instance, (void)requests, (void)count;
    return TRITONSERVER_ErrorNew(4, "the probe serves nothing");
}
