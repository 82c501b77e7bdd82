/* Loaded before all else into a server: it has no histograms of backends then, as servers before 24.08. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const char *const LATER[] = {
    "TRITONSERVER_MetricArgsNew",     "TRITONSERVER_MetricArgsSetHistogram", "TRITONSERVER_MetricArgsDelete",
    "TRITONSERVER_MetricNewWithArgs", "TRITONSERVER_MetricObserve",
};

/* The versions of the C library's own, newest first; the last two are the oldest of ARM and of x86. */
static const char *const VERSIONS[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};

void *dlsym(void *library, const char *name) {
    static void *(*real)(void *, const char *);
    for (size_t i = 0; real == NULL && i < sizeof VERSIONS / sizeof *VERSIONS; i++) {
        *(void **)&real = dlvsym(RTLD_NEXT, "dlsym", VERSIONS[i]);
    }
    for (size_t i = 0; i < sizeof LATER / sizeof *LATER; i++) {
        if (strcmp(name, LATER[i]) == 0) {
            /* Not null alone: dlerror has to tell that it is missing. */
            return real(library, "TRITONSERVER_NoSuchFunction");
        }
    }
    return real(library, name);
}
