//! The variables of a session: how they are read, and what becomes of their memory when the session is closed.
//!
//! With oneDNN, TensorFlow has an allocator for the process (`MklCPUAllocator`) that gives nothing back to the system: what
//! a model has had is kept for the next one. And it may put the next one elsewhere, so that the same model, loaded again,
//! takes the memory twice. A model's memory is nearly all variables, so their pages are given back here, while they are
//! still ours; the allocator keeps addresses only.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use prost::Message;

use super::endpoint::Place;
use super::graph::{Graph, Outputs, Targets};
use super::operation::Operation;
use super::process::release_free_memory;
use super::proto::graph::{GraphDef, NodeDef};
use super::raw_session::RawSession;
use super::run_options::RunOptions;
use super::tensor::{RawTensor, Tensor};

/// The operation whose value is a handle to a variable.
pub const HANDLE: &str = "VarHandleOp";
/// The operation that lets a variable be read without a copy; since TensorFlow 2.10 or so.
const SHARE: &str = "DisableCopyOnRead";

/// Bytes of a variable from which on its pages are given back one by one. Smaller ones are small beside their number.
const LARGE: usize = 64 << 10;

/// Adds operations that take a variable's handle to a graph: one of the type `op` for each of `variables`, which are the names
/// of the nodes that have the handles. Their names end in `suffix`. `attributes` are the serialised `AttrValue`s of each.
///
/// Returns their names.
///
/// # Errors
/// There is no such variable, or there are such operations already.
fn add<'v>(
    graph: &Graph,
    op: &str,
    variables: impl IntoIterator<Item = &'v Handle>,
    suffix: &str,
    attributes: impl Fn(&Handle) -> BTreeMap<String, Vec<u8>>,
) -> Result<Vec<String>, String> {
    let versions = graph.versions().map_err(|e| e.to_string())?.bytes().to_vec();
    let mut added = GraphDef { versions: Some(versions), ..GraphDef::default() };
    let mut handles = Vec::new();
    for variable in variables {
        let name = variable.name.as_str();
        added.node.push(NodeDef {
            name: format!("{name}/{suffix}"),
            op: op.into(),
            input: vec![name.into()],
            attr: attributes(variable),
            ..NodeDef::default()
        });
        handles.push((name, (name.into(), 0)));
    }
    graph.import(&added.encode_to_vec(), &handles).map_err(|e| e.message)?;
    Ok(added.node.into_iter().map(|node| node.name).collect())
}

/// A node of a graph whose value is a handle to a variable.
pub struct Handle {
    /// The node.
    pub name: String,
    /// The serialised `AttrValue` of the variable's type.
    pub datatype: Vec<u8>,
}

impl Handle {
    /// All of a graph.
    ///
    /// # Errors
    /// TensorFlow's own.
    fn all(graph: &Graph) -> Result<Vec<Self>, String> {
        let handles = graph.operations().filter(|operation| operation.op_type() == HANDLE);
        let handle = |operation: Operation<'_>| {
            let datatype = operation.attribute("dtype").map_err(|e| e.to_string())?;
            Ok(Self { name: operation.name().into_owned(), datatype: datatype.bytes().to_vec() })
        };
        handles.map(handle).collect()
    }
}

/// Adds operations that read variables to a graph and returns their values, by operations whose names end in `suffix`.
///
/// # Errors
/// There is no such variable, or there are such operations already.
pub fn add_reads(graph: &Graph, variables: &[Handle], suffix: &str) -> Result<Vec<Place>, String> {
    let datatype = |handle: &Handle| [("dtype".to_string(), handle.datatype.clone())].into();
    let reads = add(graph, "ReadVariableOp", variables, suffix, datatype)?;
    Ok(reads.into_iter().map(|read| (read, 0)).collect())
}

/// Lets variables of a session be read without a copy again. Once an operation has looked up rows of it (`ResourceGather`), each
/// reading is a copy.
///
/// # Errors
/// TensorFlow is too old for this, or one of the variables has no value.
pub fn read_without_copies(session: &RawSession, suffix: &str) -> Result<(), String> {
    let graph = session.graph();
    let variables = &Handle::all(graph)?;
    graph.op_def(SHARE).map_err(|e| e.to_string())?;
    let shares = add(graph, SHARE, variables, suffix, |_| BTreeMap::new())?;
    let targets = Targets::new(graph, shares.iter().map(String::as_str)).map_err(|e| e.message)?;
    let nothing = Outputs::new(graph, []).map_err(|e| e.message)?;
    session.execute(&nothing, [], &targets).map_err(|e| e.to_string())
}

/// The session of a model. When it is dropped, it is closed; and the memory of its variables goes back to the system, where that
/// is wanted and nothing else uses it.
pub struct ModelSession {
    // Dropped in this order.
    session: RawSession,
    memory: Memory,
    gives_back: bool,
}

impl ModelSession {
    pub fn new(session: RawSession) -> Self {
        Self { session, memory: Memory(Vec::new()), gives_back: false }
    }

    /// Lets the memory go back when the session is dropped. That takes runs, about a tenth of Inception-v3's load time, so a
    /// session that was frozen is left out: the frozen model shares its memory, or the rest of the load uses it.
    pub fn give_back_at_end(&mut self) {
        self.gives_back = true;
    }
}

impl Deref for ModelSession {
    type Target = RawSession;

    fn deref(&self) -> &RawSession {
        &self.session
    }
}

impl Drop for ModelSession {
    fn drop(&mut self) {
        // A variable that has no value makes this fail for all. Their memory then stays with the allocator.
        if self.gives_back
            && let Ok(values) = shared_values(&self.session)
        {
            self.memory = Memory(values);
        }
    }
}

impl fmt::Debug for ModelSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

/// The values of variables that are in main memory, in that memory.
fn shared_values(session: &RawSession) -> Result<Vec<Tensor>, String> {
    let graph = session.graph();
    let variables = Handle::all(graph)?;
    if variables.is_empty() {
        return Ok(Vec::new());
    }
    read_without_copies(session, "share_to_close")?;
    let reads = add_reads(graph, &variables, "read_to_close")?;
    let reads = Outputs::new(graph, &reads).map_err(|e| e.message)?;
    let nothing = Outputs::new(graph, []).map_err(|e| e.message)?;
    let read = || session.run(&nothing, [], &reads.all(), RunOptions::PATIENT).map_err(|e| e.to_string());
    // What a device has in memory of its own is copied by each reading: that is not the variable's memory.
    let [first, second] = [read()?, read()?];
    let large = |value: RawTensor| Tensor::from_raw(value).ok().filter(|value| value.bytes().len() >= LARGE);
    let pairs = first.into_iter().map(large).zip(second.into_iter().map(large));
    let shared = |(first, second): (Option<Tensor>, Option<Tensor>)| {
        let (first, second) = (first?, second?);
        (first.bytes().as_ptr() == second.bytes().as_ptr()).then_some(first)
    };
    Ok(pairs.filter_map(shared).collect())
}

/// Memory that goes back to the system where it is the only reference to it.
struct Memory(Vec<Tensor>);

impl Drop for Memory {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        for blank in self.0.drain(..).map(Box::new).filter_map(Tensor::reclaim) {
            blank.give_back();
        }
        release_free_memory();
    }
}
