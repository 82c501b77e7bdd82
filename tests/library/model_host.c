/* A program that plays a Triton server with one model: it loads it, executes requests and unloads it, and makes calls of
 * the backend fail as it is told. Its arguments are the backend, TensorFlow's folder, the model's folder, the model's
 * configuration as JSON, and what to do:
 *
 *   fail FUNCTION FIRST COUNT   the next calls of a function, from the FIRST on, fail without an effect
 *   late FUNCTION FIRST COUNT   the same, after their effect
 *   none FUNCTION FIRST COUNT   the same, with success and null in place of what they return
 *   heal                        when all requests have been given back, nothing fails any more
 *   start, load, instance       the Initialize of the backend, the model and an instance
 *   execute REQUESTS            an Execute with one request for each letter: g is a good one, b has a wrong shape
 *   end                         the Finalize of what was initialised, whether with success or not
 *
 * It prints what the entry points return, and for each request how it was answered and given back. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int code; char text[1024]; } Error;
typedef struct { void *state; } Handle;
typedef struct { int at; bool bad; long shape[2]; float data[16]; int answers, releases, reports; char error[1024]; } Request;
typedef struct { Request *request; float data[64]; bool has_output; } Response;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { char kind[8]; const char *name; int first, count, seen; } faults[16];
static int fault_count, errors, responses;
static const char *tensorflow, *folder, *config;
static Handle backend, model, instance;

static Error *make_error(const char *text)
{
  Error *error = calloc(1, sizeof *error);
  snprintf(error->text, sizeof error->text, "%s", text);
  __atomic_add_fetch(&errors, 1, __ATOMIC_SEQ_CST);
  return error;
}

/* The kind of fault that is due in this call of a function; 0 if none is. */
static char due(const char *name)
{
  char kind = 0;
  pthread_mutex_lock(&lock);
  for (int at = 0; at < fault_count; at++)
    if (!strcmp(faults[at].name, name)) {
      int seen = ++faults[at].seen;
      if (seen >= faults[at].first && seen < faults[at].first + faults[at].count) kind = faults[at].kind[0];
    }
  pthread_mutex_unlock(&lock);
  return kind;
}

#define PLANTED(name) make_error("planted in " name)
#define BEGIN(name) char fault = due(name); if (fault == 'f') return PLANTED(name)
#define END(name) return fault == 'l' ? PLANTED(name) : NULL

void *TRITONSERVER_ErrorNew(int code, const char *text)
{
  if (due("ErrorNew")) return NULL;
  Error *error = make_error(text);
  error->code = code;
  return error;
}
int TRITONSERVER_ErrorCode(Error *error) { return error->code; }
const char *TRITONSERVER_ErrorMessage(Error *error) { return error->text; }
void TRITONSERVER_ErrorDelete(Error *error) { free(error); __atomic_sub_fetch(&errors, 1, __ATOMIC_SEQ_CST); }
bool TRITONSERVER_LogIsEnabled(int level) { return level < 3; }
void *TRITONSERVER_LogMessage(int level, const char *file, int line, const char *text)
{
  (void)file; (void)line;
  printf("log %c: %s\n", "IWE"[level], text);
  return NULL;
}
void *TRITONSERVER_MessageSerializeToJson(const char *message, const char **base, size_t *size)
{
  BEGIN("MessageSerializeToJson");
  *base = message; *size = strlen(message);
  END("MessageSerializeToJson");
}

void *TRITONBACKEND_BackendName(Handle *of, const char **name) { (void)of; *name = "stand_in"; return NULL; }
void *TRITONBACKEND_BackendArtifacts(Handle *of, unsigned *kind, const char **place)
{
  (void)of; *kind = 0; *place = folder;
  return NULL;
}
void *TRITONBACKEND_BackendConfig(Handle *of, char **message)
{
  static char text[2048];
  (void)of;
  snprintf(text, sizeof text, "{\"cmdline\":{\"tensorflow-dir\":\"%s\"}}", tensorflow);
  *message = text;
  return NULL;
}

#define STATE(OF) \
  void *TRITONBACKEND_##OF##SetState(Handle *of, void *state) \
  { BEGIN(#OF "SetState"); of->state = state; END(#OF "SetState"); } \
  void *TRITONBACKEND_##OF##State(Handle *of, void **state) \
  { BEGIN(#OF "State"); *state = fault == 'n' ? NULL : of->state; END(#OF "State"); }
STATE(Backend)
STATE(Model)
STATE(ModelInstance)

void *TRITONBACKEND_ModelBackend(Handle *of, Handle **to) { (void)of; BEGIN("ModelBackend"); *to = &backend; END("ModelBackend"); }
void *TRITONBACKEND_ModelInstanceModel(Handle *of, Handle **to)
{
  (void)of;
  BEGIN("ModelInstanceModel");
  *to = &model;
  END("ModelInstanceModel");
}
void *TRITONBACKEND_ModelName(Handle *of, const char **name) { (void)of; *name = "model"; return NULL; }
void *TRITONBACKEND_ModelVersion(Handle *of, uint64_t *version) { (void)of; *version = 1; return NULL; }
void *TRITONBACKEND_ModelRepository(Handle *of, unsigned *kind, const char **place)
{
  (void)of; *kind = 0; *place = folder;
  return NULL;
}
void *TRITONBACKEND_ModelConfig(Handle *of, unsigned version, const char **message)
{
  (void)of; (void)version;
  BEGIN("ModelConfig");
  *message = config;
  END("ModelConfig");
}
void *TRITONBACKEND_ModelAutoCompleteConfig(Handle *of, bool *allowed) { (void)of; *allowed = false; return NULL; }

void *TRITONBACKEND_RequestId(Request *of, const char **id) { (void)of; *id = ""; return NULL; }
void *TRITONBACKEND_RequestInput(Request *of, const char *name, Request **input)
{
  (void)name;
  BEGIN("RequestInput");
  *input = of;
  END("RequestInput");
}
void *TRITONBACKEND_InputProperties(Request *of, const char **name, int *type, const long **shape, unsigned *rank,
                                    uint64_t *size, unsigned *buffers)
{
  BEGIN("InputProperties");
  if (name) *name = "x";
  if (type) *type = 11;
  if (shape) *shape = of->shape;
  if (rank) *rank = 2;
  if (size) *size = sizeof of->data;
  if (buffers) *buffers = 1;
  END("InputProperties");
}
void *TRITONBACKEND_InputBuffer(Request *of, unsigned index, const void **base, uint64_t *size, int *memory, long *device)
{
  (void)index;
  BEGIN("InputBuffer");
  *base = of->data; *size = sizeof of->data; *memory = 0; *device = 0;
  END("InputBuffer");
}
void *TRITONBACKEND_RequestOutputCount(Request *of, unsigned *count)
{
  (void)of;
  BEGIN("RequestOutputCount");
  *count = 1;
  END("RequestOutputCount");
}
void *TRITONBACKEND_RequestOutputName(Request *of, unsigned index, const char **name)
{
  (void)of; (void)index; *name = "y";
  return NULL;
}
void *TRITONBACKEND_RequestRelease(Request *of, unsigned flags)
{
  (void)flags;
  /* With an error the request is not released. */
  if (due("RequestRelease")) return PLANTED("RequestRelease");
  __atomic_add_fetch(&of->releases, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

void *TRITONBACKEND_ResponseNew(Response **response, Request *request)
{
  BEGIN("ResponseNew");
  if (fault == 'n') { *response = NULL; return NULL; }
  *response = calloc(1, sizeof **response);
  (*response)->request = request;
  __atomic_add_fetch(&responses, 1, __ATOMIC_SEQ_CST);
  END("ResponseNew");
}
void *TRITONBACKEND_ResponseOutput(Response *of, Response **output, const char *name, int type, const long *shape,
                                   unsigned rank)
{
  (void)name; (void)type; (void)shape; (void)rank;
  BEGIN("ResponseOutput");
  *output = of;
  END("ResponseOutput");
}
void *TRITONBACKEND_OutputBuffer(Response *of, void **base, uint64_t size, int *memory, long *device)
{
  BEGIN("OutputBuffer");
  if (size > sizeof of->data) abort();
  *base = of->data; *memory = 0; *device = 0;
  of->has_output = true;
  END("OutputBuffer");
}
void *TRITONBACKEND_ResponseDelete(Response *of)
{
  char fault = due("ResponseDelete");
  free(of);
  __atomic_sub_fetch(&responses, 1, __ATOMIC_SEQ_CST);
  return fault ? PLANTED("ResponseDelete") : NULL;
}
void *TRITONBACKEND_ResponseSend(Response *of, unsigned flags, Error *error)
{
  char fault = due("ResponseSend");
  Request *request = of->request;
  if (flags != 1) abort();
  request->answers++;
  if (error) snprintf(request->error, sizeof request->error, "%s", error->text);
  else if (!of->has_output) strcpy(request->error, "A SUCCESS WITHOUT OUTPUTS");
  else if (of->data[3] != request->data[3] + 1) strcpy(request->error, "A WRONG ANSWER");
  free(of);
  __atomic_sub_fetch(&responses, 1, __ATOMIC_SEQ_CST);
  return fault ? PLANTED("ResponseSend") : NULL;
}
void *TRITONBACKEND_ModelInstanceReportStatistics(Handle *of, Request *request, bool success, uint64_t a, uint64_t b,
                                                  uint64_t c, uint64_t d)
{
  (void)of; (void)success; (void)a; (void)b; (void)c; (void)d;
  if (request->releases) abort();
  request->reports++;
  return due("ModelInstanceReportStatistics") ? PLANTED("ModelInstanceReportStatistics") : NULL;
}
void *TRITONBACKEND_ModelInstanceReportBatchStatistics(Handle *of, uint64_t rows, uint64_t a, uint64_t b, uint64_t c,
                                                       uint64_t d)
{
  (void)of; (void)rows; (void)a; (void)b; (void)c; (void)d;
  return due("ModelInstanceReportBatchStatistics") ? PLANTED("ModelInstanceReportBatchStatistics") : NULL;
}

static void *library;

static Error *call(const char *name, Handle *of)
{
  char entry[64];
  snprintf(entry, sizeof entry, "TRITONBACKEND_%s", name);
  Error *(*function)(Handle *) = (Error *(*)(Handle *))dlsym(library, entry);
  Error *error = function(of);
  printf("%s: %s\n", name, error ? error->text : "success");
  return error;
}

static void done(Error *error) { if (error) TRITONSERVER_ErrorDelete(error); }

/* The threads of the backend's own. */
static int workers(void)
{
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *task; tasks && (task = readdir(tasks));) {
    char path[300], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
    FILE *file = fopen(path, "r");
    if (file && fgets(name, sizeof name, file) && !strcmp(name, "batches\n")) count++;
    if (file) fclose(file);
  }
  if (tasks) closedir(tasks);
  return count;
}

static Request *all[1000];
static int request_count;

static void execute(const char *kinds)
{
  Error *(*function)(Handle *, Request **, unsigned) =
    (Error *(*)(Handle *, Request **, unsigned))dlsym(library, "TRITONBACKEND_ModelInstanceExecute");
  Request *batch[16];
  unsigned count = strlen(kinds);
  for (unsigned at = 0; at < count; at++) {
    Request *request = batch[at] = calloc(1, sizeof *request);
    request->at = request_count;
    request->bad = kinds[at] == 'b';
    request->shape[0] = 1;
    request->shape[1] = request->bad ? 15 : 16;
    for (int element = 0; element < 16; element++) request->data[element] = request_count + element;
    all[request_count++] = request;
  }
  Error *error = function(&instance, batch, count);
  printf("Execute: %s\n", error ? error->text : "success");
  /* The server answers and releases requests that it has been left with. */
  for (unsigned at = 0; error && at < count; at++) {
    batch[at]->answers++;
    batch[at]->releases++;
    snprintf(batch[at]->error, sizeof batch[at]->error, "by the server: %s", error->text);
  }
  done(error);
}

/* Waits for the backend's threads: until all requests have been given back, 10 s at most. */
static void settle(void)
{
  for (int round = 0; round < 10000; round++) {
    int open = 0;
    for (int at = 0; at < request_count; at++) open += !__atomic_load_n(&all[at]->releases, __ATOMIC_SEQ_CST);
    if (!open) return;
    usleep(1000);
  }
}

static void end(void)
{
  done(call("ModelInstanceFinalize", &instance));
  done(call("ModelFinalize", &model));
  done(call("Finalize", &backend));
  for (int at = 0; at < request_count; at++) {
    Request *request = all[at];
    printf("request %d: %d answers, %d releases, %d reports, %s\n", at, request->answers, request->releases,
           request->reports, request->error[0] ? request->error : "answered well");
  }
  printf("left: %d workers, %d responses\n", workers(), responses);
}

int main(int count, char **values)
{
  setvbuf(stdout, NULL, _IOLBF, 0);
  tensorflow = values[2]; folder = values[3]; config = values[4];
  library = dlopen(values[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) { printf("dlopen: %s\n", dlerror()); return 1; }
  for (int at = 5; at < count; at++) {
    const char *what = values[at];
    if (!strcmp(what, "start")) done(call("Initialize", &backend));
    else if (!strcmp(what, "load")) done(call("ModelInitialize", &model));
    else if (!strcmp(what, "instance")) done(call("ModelInstanceInitialize", &instance));
    else if (!strcmp(what, "execute")) execute(values[++at]);
    else if (!strcmp(what, "end")) end();
    else if (!strcmp(what, "heal")) { settle(); fault_count = 0; }
    else {
      strcpy(faults[fault_count].kind, what);
      faults[fault_count].name = values[at + 1];
      faults[fault_count].first = atoi(values[at + 2]);
      faults[fault_count].count = atoi(values[at + 3]);
      faults[fault_count++].seen = 0;
      at += 3;
    }
  }
  return 0;
}
