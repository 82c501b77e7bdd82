//! Graphs and their operations, as far as the file of a model says them.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::{Arc, OnceLock};

use prost::Message;
use tensorflow_c_sys::{
    TF_Buffer, TF_DataType, TF_Function, TF_Graph, TF_Input, TF_Operation, TF_Output, TF_Status,
};

#[derive(Clone, PartialEq, Message)]
struct SavedModel {
    #[prost(bytes, repeated, tag = "2")]
    meta_graphs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct MetaGraphDef {
    #[prost(message, optional, tag = "2")]
    graph: Option<GraphDef>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<NodeDef>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeDef {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    op: String,
    #[prost(string, repeated, tag = "3")]
    inputs: Vec<String>,
}

/// An operation.
pub struct Operation {
    name: CString,
    pub kind: CString,
    /// Their places in the graph.
    inputs: Vec<usize>,
    /// The graph's operations, to which `inputs` lead.
    graph: *const Graph,
}

// SAFETY: an operation does not change, and lives in the graph that it points to.
unsafe impl Send for Operation {}
// SAFETY: as above.
unsafe impl Sync for Operation {}

/// A graph, which is loaded once.
#[derive(Default)]
pub struct Graph(OnceLock<Vec<Operation>>);

impl Graph {
    fn operations(&self) -> &[Operation] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// Loads the first graph of a file. Returns its `MetaGraphDef`.
    pub fn load(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        let saved_model = SavedModel::decode(file).map_err(|e| e.to_string())?;
        let meta_graph = saved_model.meta_graphs.into_iter().next().ok_or("no graph")?;
        let nodes =
            MetaGraphDef::decode(&meta_graph[..]).map_err(|e| e.to_string())?.graph.unwrap_or_default().nodes;
        let place = |name: &String| nodes.iter().position(|node| node.name == *name);
        let operation = |node: &NodeDef| Operation {
            name: CString::new(&*node.name).expect("no NUL"),
            kind: CString::new(&*node.op).expect("no NUL"),
            inputs: node.inputs.iter().filter_map(place).collect(),
            graph: ptr::from_ref(self),
        };
        self.0.set(nodes.iter().map(operation).collect()).map_err(|_| "it was loaded before")?;
        Ok(meta_graph)
    }
}

/// # Safety
/// The graph lives.
pub unsafe fn graph<'g>(raw: *mut TF_Graph) -> &'g Graph {
    // SAFETY: as the caller promises; it was made by `TF_NewGraph`.
    unsafe { &*raw.cast() }
}

/// # Safety
/// The operation's graph lives.
pub unsafe fn operation<'g>(raw: *mut TF_Operation) -> &'g Operation {
    // SAFETY: as the caller promises.
    unsafe { &*raw.cast() }
}

fn raw(operation: Option<&Operation>) -> *mut TF_Operation {
    operation.map_or(ptr::null_mut(), |operation| ptr::from_ref(operation).cast_mut().cast())
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_NewGraph() -> *mut TF_Graph {
    Arc::into_raw(Arc::new(Graph::default())).cast_mut().cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteGraph(graph: *mut TF_Graph) {
    // SAFETY: the caller gives up its reference, which `TF_NewGraph` has made.
    drop(unsafe { Arc::from_raw(graph.cast::<Graph>()) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_GraphOperationByName(
    of: *mut TF_Graph,
    name: *const c_char,
) -> *mut TF_Operation {
    // SAFETY: graph and name live.
    let (graph, name) = unsafe { (graph(of), CStr::from_ptr(name)) };
    raw(graph.operations().iter().find(|operation| *operation.name == *name))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_GraphNextOperation(of: *mut TF_Graph, position: *mut usize) -> *mut TF_Operation {
    // SAFETY: the graph lives, and the position is the caller's.
    unsafe {
        let found = graph(of).operations().get(*position);
        *position += 1;
        raw(found)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_GraphGetOpDef(
    _graph: *mut TF_Graph,
    _name: *const c_char,
    buffer: *mut TF_Buffer,
    _status: *mut TF_Status,
) {
    // That none of the model's operations has a state.
    // SAFETY: the buffer is the caller's.
    unsafe { super::set(buffer, &[]) }
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_GraphNumFunctions(_graph: *mut TF_Graph) -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_GraphGetFunctions(
    _graph: *mut TF_Graph,
    _functions: *mut *mut TF_Function,
    _most: c_int,
    _status: *mut TF_Status,
) -> c_int {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_OperationName(of: *mut TF_Operation) -> *const c_char {
    // SAFETY: the operation lives.
    unsafe { operation(of) }.name.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_OperationOpType(of: *mut TF_Operation) -> *const c_char {
    // SAFETY: the operation lives.
    unsafe { operation(of) }.kind.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_OperationNumOutputs(_of: *mut TF_Operation) -> c_int {
    1
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_OperationOutputType(output: TF_Output) -> TF_DataType {
    // SAFETY: the operation lives.
    let name = unsafe { &operation(output.oper).name };
    // Only the types of the signature's tensors matter.
    if **name == *c"b" { TF_DataType::TF_INT32 } else { TF_DataType::TF_FLOAT }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_OperationNumInputs(of: *mut TF_Operation) -> c_int {
    // SAFETY: the operation lives.
    unsafe { operation(of) }.inputs.len() as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_OperationInput(input: TF_Input) -> TF_Output {
    // SAFETY: the operation and its graph live.
    let found = unsafe {
        let operation = operation(input.oper);
        let graph = &*operation.graph;
        &graph.operations()[operation.inputs[input.index as usize]]
    };
    TF_Output { oper: raw(Some(found)), index: 0 }
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_OperationNumControlInputs(_of: *mut TF_Operation) -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn TF_OperationGetControlInputs(
    _of: *mut TF_Operation,
    _inputs: *mut *mut TF_Operation,
    _most: c_int,
) -> c_int {
    0
}
