// Graphs, operations, functions, import.

#ifndef TENSORFLOW_C_SYS_GRAPH_H
#define TENSORFLOW_C_SYS_GRAPH_H

#include "tensorflow_marks.h"
#include "tensorflow_objects.h"
#include "tensorflow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- graphs ----

/// A new, empty graph. Delete it with `TF_DeleteGraph`.
TF_SINCE(2, 4)
TF_Graph* TF_NewGraph(void);

/// Deletes the graph once no session uses it.
TF_SINCE(2, 4)
void TF_DeleteGraph(TF_Graph* graph);

/// The operation of this name; null if there is none.
TF_SINCE(2, 4)
TF_Operation* TF_GraphOperationByName(TF_Graph* graph, const char* oper_name);

/// Iterates over the operations: start with `*pos` 0, stop at null.
TF_SINCE(2, 4)
TF_Operation* TF_GraphNextOperation(TF_Graph* graph, size_t* pos);

/// Writes the graph as a serialized GraphDef, which may not exceed 2 GB, into an empty buffer.
TF_SINCE(2, 4)
void TF_GraphToGraphDef(TF_Graph* graph, TF_Buffer* output_graph_def, TF_Status* status);

/// Writes the definition of an operation type as a serialized OpDef into an empty buffer.
TF_SINCE(2, 4)
void TF_GraphGetOpDef(TF_Graph* graph, const char* op_name, TF_Buffer* output_op_def, TF_Status* status);

/// Writes the graph's versions as a serialized VersionDef into an empty buffer.
TF_SINCE(2, 4)
void TF_GraphVersions(TF_Graph* graph, TF_Buffer* output_version_def, TF_Status* status);

/// The number of dimensions of a tensor; -1 if unknown. An `index` that the operation does not have is not reported in
/// `status`: TensorFlow throws a C++ exception, which no caller can catch.
TF_SINCE(2, 4)
int TF_GraphGetTensorNumDims(TF_Graph* graph, TF_Output output, TF_Status* status);

/// The shape of a tensor, -1 for an unknown dimension. `num_dims` is the answer of `TF_GraphGetTensorNumDims`.
TF_SINCE(2, 4)
void TF_GraphGetTensorShape(
    TF_Graph* graph, TF_Output output, int64_t* dims, int num_dims, TF_Status* status);

/// Narrows the shape of a tensor. -1 is an unknown dimension; `num_dims` -1 an unknown rank.
TF_SINCE(2, 4)
void TF_GraphSetTensorShape(
    TF_Graph* graph, TF_Output output, const int64_t* dims, const int num_dims, TF_Status* status);

/// Computes a tensor that does not depend on placeholders or state. Returns 0 if it cannot be computed; otherwise 1,
/// and the caller owns `*result`.
TF_SINCE(2, 4)
unsigned char TF_TryEvaluateConstant(
    TF_Graph* graph, TF_Output output, TF_Tensor** result, TF_Status* status);

// ---- operations; their strings live as long as the graph ----

TF_SINCE(2, 4)
const char* TF_OperationName(TF_Operation* oper);

/// Such as "MatMul".
TF_SINCE(2, 4)
const char* TF_OperationOpType(TF_Operation* oper);

/// The requested device; empty if none was requested.
TF_SINCE(2, 4)
const char* TF_OperationDevice(TF_Operation* oper);

TF_SINCE(2, 4)
int TF_OperationNumOutputs(TF_Operation* oper);

TF_SINCE(2, 4)
TF_DataType TF_OperationOutputType(TF_Output oper_out);

/// The number of outputs that one named output of the OpDef has become.
TF_SINCE(2, 4)
int TF_OperationOutputListLength(TF_Operation* oper, const char* arg_name, TF_Status* status);

/// Control inputs are not counted.
TF_SINCE(2, 4)
int TF_OperationNumInputs(TF_Operation* oper);

TF_SINCE(2, 4)
TF_DataType TF_OperationInputType(TF_Input oper_in);

/// The number of inputs that one named input of the OpDef has become.
TF_SINCE(2, 4)
int TF_OperationInputListLength(TF_Operation* oper, const char* arg_name, TF_Status* status);

/// The tensor that feeds an input.
TF_SINCE(2, 4)
TF_Output TF_OperationInput(TF_Input oper_in);

/// The tensors that feed all inputs, at most `max_inputs` of them.
TF_SINCE(2, 4)
void TF_OperationAllInputs(TF_Operation* oper, TF_Output* inputs, int max_inputs);

/// May change when operations are added to the graph.
TF_SINCE(2, 4)
int TF_OperationOutputNumConsumers(TF_Output oper_out);

/// The inputs that an output feeds, at most `max_consumers`. Returns how many were written.
TF_SINCE(2, 4)
int TF_OperationOutputConsumers(TF_Output oper_out, TF_Input* consumers, int max_consumers);

TF_SINCE(2, 4)
int TF_OperationNumControlInputs(TF_Operation* oper);

/// At most `max_control_inputs` control inputs. Returns how many were written.
TF_SINCE(2, 4)
int TF_OperationGetControlInputs(
    TF_Operation* oper, TF_Operation** control_inputs, int max_control_inputs);

TF_SINCE(2, 4)
int TF_OperationNumControlOutputs(TF_Operation* oper);

/// At most `max_control_outputs` control outputs. Returns how many were written.
TF_SINCE(2, 4)
int TF_OperationGetControlOutputs(
    TF_Operation* oper, TF_Operation** control_outputs, int max_control_outputs);

/// Writes the operation as a serialized NodeDef into an empty buffer.
TF_SINCE(2, 4)
void TF_OperationToNodeDef(TF_Operation* oper, TF_Buffer* output_node_def, TF_Status* status);

// ---- attributes of operations; reset the status before each call, see TF_OperationGetAttrMetadata ----

/// The result is not initialized on an error. On success an earlier error stays in `status`, so that it must be `TF_OK`
/// before the call.
TF_SINCE(2, 4)
TF_AttrMetadata TF_OperationGetAttrMetadata(TF_Operation* oper, const char* attr_name, TF_Status* status);

/// Writes at most `max_length` bytes, without a terminating null byte.
TF_SINCE(2, 4)
void TF_OperationGetAttrString(
    TF_Operation* oper, const char* attr_name, void* value, size_t max_length, TF_Status* status);

TF_SINCE(2, 4)
void TF_OperationGetAttrInt(TF_Operation* oper, const char* attr_name, int64_t* value, TF_Status* status);

TF_SINCE(2, 4)
void TF_OperationGetAttrFloat(TF_Operation* oper, const char* attr_name, float* value, TF_Status* status);

TF_SINCE(2, 4)
void TF_OperationGetAttrBool(
    TF_Operation* oper, const char* attr_name, unsigned char* value, TF_Status* status);

TF_SINCE(2, 4)
void TF_OperationGetAttrType(
    TF_Operation* oper, const char* attr_name, TF_DataType* value, TF_Status* status);

TF_SINCE(2, 4)
void TF_OperationGetAttrTypeList(
    TF_Operation* oper, const char* attr_name, TF_DataType* values, int max_values, TF_Status* status);

/// Writes at most `num_dims` dimensions, -1 for an unknown one.
TF_SINCE(2, 4)
void TF_OperationGetAttrShape(
    TF_Operation* oper, const char* attr_name, int64_t* value, int num_dims, TF_Status* status);

/// The caller owns `*value`.
TF_SINCE(2, 4)
void TF_OperationGetAttrTensor(
    TF_Operation* oper, const char* attr_name, TF_Tensor** value, TF_Status* status);

/// Writes the value as a serialized AttrValue into an empty buffer.
TF_SINCE(2, 4)
void TF_OperationGetAttrValueProto(
    TF_Operation* oper, const char* attr_name, TF_Buffer* output_attr_value, TF_Status* status);

/// The number of attributes that are set.
TF_SINCE(2, 7)
int TF_OperationGetNumAttrs(TF_Operation* oper);

/// The length of the name of attribute number `i`.
TF_SINCE(2, 7)
int TF_OperationGetAttrNameLength(TF_Operation* oper, int i);

/// Writes the name of attribute number `i`; `output` holds as many bytes as `TF_OperationGetAttrNameLength` says.
TF_SINCE(2, 7)
void TF_OperationGetAttrName(TF_Operation* oper, int i, char* output, TF_Status* status);

// ---- functions ----

TF_SINCE(2, 4)
int TF_GraphNumFunctions(TF_Graph* graph);

/// At most `max_func` functions; the caller owns them. Returns how many were written.
TF_SINCE(2, 4)
int TF_GraphGetFunctions(TF_Graph* graph, TF_Function** functions, int max_func, TF_Status* status);

/// Copies a function, and its gradient if not null, into the library of another graph.
TF_SINCE(2, 4)
void TF_GraphCopyFunction(
    TF_Graph* graph, const TF_Function* function, const TF_Function* gradient, TF_Status* status);

/// Lives as long as the function.
TF_SINCE(2, 4)
const char* TF_FunctionName(TF_Function* function);

/// Writes the function as a serialized FunctionDef into an empty buffer.
TF_SINCE(2, 4)
void TF_FunctionToFunctionDef(TF_Function* function, TF_Buffer* output_func_def, TF_Status* status);

/// Makes a function of a serialized FunctionDef. The caller owns it.
TF_SINCE(2, 4)
TF_Function* TF_FunctionImportFunctionDef(const void* proto, size_t proto_len, TF_Status* status);

/// Deletes the caller's function; copies in graphs stay.
TF_SINCE(2, 4)
void TF_DeleteFunction(TF_Function* function);

/// Removes a function from the library of a graph.
TF_EXPERIMENTAL_SINCE(2, 12)
void TF_GraphRemoveFunction(TF_Graph* graph, const char* func_name, TF_Status* status);

// ---- import ----

TF_SINCE(2, 4)
TF_ImportGraphDefOptions* TF_NewImportGraphDefOptions(void);

TF_SINCE(2, 4)
void TF_DeleteImportGraphDefOptions(TF_ImportGraphDefOptions* options);

/// Puts `prefix/` before each imported name.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsSetPrefix(TF_ImportGraphDefOptions* options, const char* prefix);

/// The device for operations that request none.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsSetDefaultDevice(TF_ImportGraphDefOptions* options, const char* device);

/// Whether a name that is taken is changed, instead of an error.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsSetUniquifyNames(
    TF_ImportGraphDefOptions* options, unsigned char uniquify_names);

/// Whether a prefix that is taken is changed, instead of an error.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsSetUniquifyPrefix(
    TF_ImportGraphDefOptions* options, unsigned char uniquify_prefix);

/// Replaces a tensor of the import by one of the graph.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsAddInputMapping(
    TF_ImportGraphDefOptions* options, const char* src_name, int src_index, TF_Output dst);

/// Replaces a control dependency of the import by one of the graph.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsRemapControlDependency(
    TF_ImportGraphDefOptions* options, const char* src_name, TF_Operation* dst);

/// Makes all imported operations run after `oper`.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsAddControlDependency(TF_ImportGraphDefOptions* options, TF_Operation* oper);

/// Asks for an imported tensor.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsAddReturnOutput(
    TF_ImportGraphDefOptions* options, const char* oper_name, int index);

TF_SINCE(2, 4)
int TF_ImportGraphDefOptionsNumReturnOutputs(const TF_ImportGraphDefOptions* options);

/// Asks for an imported operation.
TF_SINCE(2, 4)
void TF_ImportGraphDefOptionsAddReturnOperation(TF_ImportGraphDefOptions* options, const char* oper_name);

TF_SINCE(2, 4)
int TF_ImportGraphDefOptionsNumReturnOperations(const TF_ImportGraphDefOptions* options);

/// Whether colocation with an operation that does not exist is an error.
TF_EXPERIMENTAL_SINCE(2, 4)
void TF_ImportGraphDefOptionsSetValidateColocationConstraints(
    TF_ImportGraphDefOptions* options, unsigned char enable);

/// Imports a serialized GraphDef. On an error the graph is unchanged.
TF_SINCE(2, 4)
void TF_GraphImportGraphDef(
    TF_Graph* graph, const TF_Buffer* graph_def, const TF_ImportGraphDefOptions* options,
    TF_Status* status);

/// Imports a serialized GraphDef and writes the tensors that were asked for; `num_return_outputs` is their number.
TF_SINCE(2, 4)
void TF_GraphImportGraphDefWithReturnOutputs(
    TF_Graph* graph, const TF_Buffer* graph_def, const TF_ImportGraphDefOptions* options,
    TF_Output* return_outputs, int num_return_outputs, TF_Status* status);

/// Imports a serialized GraphDef. The caller owns the results; null on an error.
TF_SINCE(2, 4)
TF_ImportGraphDefResults* TF_GraphImportGraphDefWithResults(
    TF_Graph* graph, const TF_Buffer* graph_def, const TF_ImportGraphDefOptions* options,
    TF_Status* status);

TF_SINCE(2, 4)
void TF_DeleteImportGraphDefResults(TF_ImportGraphDefResults* results);

/// The tensors that were asked for. The array lives as long as the results.
TF_SINCE(2, 4)
void TF_ImportGraphDefResultsReturnOutputs(
    TF_ImportGraphDefResults* results, int* num_outputs, TF_Output** outputs);

/// The operations that were asked for. The array lives as long as the results.
TF_SINCE(2, 4)
void TF_ImportGraphDefResultsReturnOperations(
    TF_ImportGraphDefResults* results, int* num_opers, TF_Operation*** opers);

/// The input mappings whose tensor does not exist in the import. The arrays live as long as the results.
TF_SINCE(2, 4)
void TF_ImportGraphDefResultsMissingUnusedInputMappings(
    TF_ImportGraphDefResults* results, int* num_missing_unused_input_mappings, const char*** src_names,
    int** src_indexes);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TENSORFLOW_C_SYS_GRAPH_H
