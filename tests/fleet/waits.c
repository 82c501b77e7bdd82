/* A library of one custom operation, in TensorFlow's C API for kernels: FleetWait, y = x after a wait of
 * `fixed_ms + row_ms * rows` milliseconds, in which the thread sleeps.
 *
 * It stands in for a model whose work is done elsewhere (on an accelerator, say): servers on one machine then do not take
 * the processor from one another, and each one more adds capacity. It is built without TensorFlow's headers, so what it
 * needs of them is declared here.
 */
#define _POSIX_C_SOURCE 200112L
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;
typedef struct TF_ShapeHandle TF_ShapeHandle;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;

enum { FP32 = 1, MAX_RANK = 254 };

extern TF_Status* TF_NewStatus(void);
extern void TF_DeleteStatus(TF_Status*);
extern int TF_NumDims(const TF_Tensor*);
extern int64_t TF_Dim(const TF_Tensor*, int);
extern void* TF_TensorData(const TF_Tensor*);
extern size_t TF_TensorByteSize(const TF_Tensor*);
extern void TF_DeleteTensor(TF_Tensor*);
extern TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char*);
extern void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder*, const char*);
extern void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder*, const char*);
extern void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                            void (*)(TF_ShapeInferenceContext*, TF_Status*));
extern void TF_RegisterOpDefinition(TF_OpDefinitionBuilder*, TF_Status*);
extern TF_ShapeHandle* TF_NewShapeHandle(void);
extern void TF_DeleteShapeHandle(TF_ShapeHandle*);
extern void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*);
extern void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*);
extern TF_KernelBuilder* TF_NewKernelBuilder(const char*, const char*, void* (*)(TF_OpKernelConstruction*),
                                             void (*)(void*, TF_OpKernelContext*), void (*)(void*));
extern void TF_RegisterKernelBuilder(const char*, TF_KernelBuilder*, TF_Status*);
extern void TF_GetInput(TF_OpKernelContext*, int, TF_Tensor**, TF_Status*);
extern TF_Tensor* TF_AllocateOutput(TF_OpKernelContext*, int, int, const int64_t*, int, size_t, TF_Status*);

static void shape_of_first_input(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeHandle* shape = TF_NewShapeHandle();
  TF_ShapeInferenceContextGetInput(context, 0, shape, status);
  TF_ShapeInferenceContextSetOutput(context, 0, shape, status);
  TF_DeleteShapeHandle(shape);
}

static void* create(TF_OpKernelConstruction* construction) {
  (void)construction;
  return NULL;
}

static void delete_nothing(void* kernel) {
  (void)kernel;
}

static float scalar(TF_OpKernelContext* context, int index, TF_Status* status) {
  TF_Tensor* input = NULL;
  TF_GetInput(context, index, &input, status);
  float value = *(const float*)TF_TensorData(input);
  TF_DeleteTensor(input);
  return value;
}

static void sleep_ms(double ms) {
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  int64_t nanoseconds = end.tv_nsec + (int64_t)(ms * 1e6);
  end.tv_sec += (time_t)(nanoseconds / 1000000000);
  end.tv_nsec = (long)(nanoseconds % 1000000000);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR) {
  }
}

static void wait_for_rows(void* kernel, TF_OpKernelContext* context) {
  (void)kernel;
  TF_Status* status = TF_NewStatus();
  TF_Tensor* input = NULL;
  TF_GetInput(context, 0, &input, status);
  int64_t dims[MAX_RANK];
  int rank = TF_NumDims(input);
  for (int index = 0; index < rank; ++index) dims[index] = TF_Dim(input, index);
  double fixed_ms = scalar(context, 1, status);
  double row_ms = scalar(context, 2, status);
  sleep_ms(fixed_ms + row_ms * (double)(rank > 0 ? dims[0] : 1));
  size_t size = TF_TensorByteSize(input);
  TF_Tensor* output = TF_AllocateOutput(context, 0, FP32, dims, rank, size, status);
  memcpy(TF_TensorData(output), TF_TensorData(input), size);
  TF_DeleteTensor(output);
  TF_DeleteTensor(input);
  TF_DeleteStatus(status);
}

__attribute__((constructor)) static void register_all(void) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder("FleetWait");
  TF_OpDefinitionBuilderAddInput(op, "x: float");
  TF_OpDefinitionBuilderAddInput(op, "fixed_ms: float");
  TF_OpDefinitionBuilderAddInput(op, "row_ms: float");
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, shape_of_first_input);
  TF_RegisterOpDefinition(op, status);
  TF_KernelBuilder* kernel = TF_NewKernelBuilder("FleetWait", "CPU", create, wait_for_rows, delete_nothing);
  TF_RegisterKernelBuilder("FleetWait", kernel, status);
  TF_DeleteStatus(status);
}
