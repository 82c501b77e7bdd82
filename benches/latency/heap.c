/* Counts the heap requests that one library makes, in a server that runs with this in LD_PRELOAD.
 *
 * HEAP_COUNTS names a file of four 64-bit numbers, shared with the benchmark: it writes the first two, from where
 * to where the library's code lies; here the requests from there are counted in the third and their bytes in the
 * fourth. */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, so that nothing has to be looked up, which could itself need memory. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

struct counts {
  uint64_t start, end, requests, bytes;
};

static struct counts *counts;

__attribute__((constructor)) static void map_counts(void) {
  const char *path = getenv("HEAP_COUNTS");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *place = mmap(0, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (place != MAP_FAILED) counts = place;
}

static void count(void *caller, size_t size) {
  if (!counts || (uint64_t)caller < counts->start || (uint64_t)caller >= counts->end) return;
  __atomic_fetch_add(&counts->requests, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&counts->bytes, size, __ATOMIC_RELAXED);
}

void *malloc(size_t size) {
  count(__builtin_return_address(0), size);
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  count(__builtin_return_address(0), number * size);
  return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
  count(__builtin_return_address(0), size);
  return __libc_realloc(old, size);
}
