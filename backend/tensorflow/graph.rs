//! `TF_Graph`: operations, their tensors, and the functions that they call.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use smallvec::SmallVec;
use tensorflow_c_sys::{
    TF_Buffer, TF_Function, TF_Graph, TF_ImportGraphDefOptions, TF_Operation, TF_Output, TF_Status,
};

use super::buffer::{Buffer, with_bytes};
use super::endpoint::Place;
use super::library::api;
use super::operation::Operation;
use super::status::{Failure, checked};
use crate::triton::{Code, Error, Result};

/// A graph. It grows by imports and never shrinks.
pub struct Graph(NonNull<TF_Graph>);

// SAFETY: TensorFlow locks a graph in every call that looks at what may change; its operations never change or move.
unsafe impl Send for Graph {}
// SAFETY: as above.
unsafe impl Sync for Graph {}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        // SAFETY: takes nothing; the new graph is ours until `drop`.
        let raw = unsafe { api().TF_NewGraph() };
        Self(NonNull::new(raw).expect("memory for a graph"))
    }

    /// For a call that uses it.
    pub fn raw(&self) -> *mut TF_Graph {
        self.0.as_ptr()
    }

    /// Adds the nodes of a serialised `GraphDef`. An input called by one of the names in `from_here` is the tensor of
    /// this graph that stands beside it.
    ///
    /// # Errors
    /// TensorFlow's own; or there is no such tensor.
    pub fn import(&self, definition: &[u8], from_here: &[(&str, Place)]) -> Result<()> {
        let options = ImportOptions::new();
        for (name, place) in from_here {
            let output = self.output(place)?;
            let name = c_string(name);
            // SAFETY: the options are ours; the name is copied during the call.
            unsafe {
                api().TF_ImportGraphDefOptionsAddInputMapping(options.0.as_ptr(), name.as_ptr(), 0, output);
            }
        }
        with_bytes(definition, |definition| {
            checked(|status| {
                // SAFETY: graph, bytes and options live during the call, which does not keep them.
                unsafe { api().TF_GraphImportGraphDef(self.raw(), definition, options.0.as_ptr(), status) }
            })
        })
        .map_err(|e| e.during("TensorFlow refuses the graph"))
    }

    /// The operation of this name.
    pub fn operation(&self, name: &str) -> Option<Operation<'_>> {
        let name = CString::new(name).ok()?;
        // SAFETY: the graph is alive and the name lives during the call; an operation lives as long as its graph.
        unsafe { Operation::of(api().TF_GraphOperationByName(self.raw(), name.as_ptr())) }
    }

    /// All operations.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let mut position = 0;
        std::iter::from_fn(move || {
            // SAFETY: as in `operation`; the position is the one that the call before left.
            unsafe { Operation::of(api().TF_GraphNextOperation(self.raw(), &mut position)) }
        })
    }

    /// The serialised definition of an operation's type, an `OpDef`.
    ///
    /// # Errors
    /// TensorFlow does not know the type.
    pub fn op_def(&self, op: &str) -> std::result::Result<Buffer, Failure> {
        let op = c_string(op);
        // SAFETY: graph and name live during the call.
        returned(|buffer, status| unsafe { api().TF_GraphGetOpDef(self.raw(), op.as_ptr(), buffer, status) })
    }

    /// The whole graph, a serialised `GraphDef`.
    ///
    /// # Errors
    /// It is larger than a message may be.
    pub fn definition(&self) -> std::result::Result<Buffer, Failure> {
        // SAFETY: the graph lives during the call.
        returned(|buffer, status| unsafe { api().TF_GraphToGraphDef(self.raw(), buffer, status) })
    }

    /// The versions of the graph, a serialised `VersionDef`. Those of an empty graph are this TensorFlow's.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn versions(&self) -> std::result::Result<Buffer, Failure> {
        // SAFETY: the graph lives during the call.
        returned(|buffer, status| unsafe { api().TF_GraphVersions(self.raw(), buffer, status) })
    }

    /// The functions of its library.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn functions(&self) -> std::result::Result<Vec<Function>, Failure> {
        // SAFETY: the graph is alive.
        let count = unsafe { api().TF_GraphNumFunctions(self.raw()) };
        let mut raw: Vec<*mut TF_Function> = vec![ptr::null_mut(); usize::try_from(count).unwrap_or(0)];
        let found = checked(|status| {
            // SAFETY: there is room for `count` functions, which are ours afterwards.
            unsafe { api().TF_GraphGetFunctions(self.raw(), raw.as_mut_ptr(), count, status) }
        })?;
        raw.truncate(usize::try_from(found).unwrap_or(0));
        Ok(raw.into_iter().filter_map(NonNull::new).map(Function).collect())
    }

    /// A tensor of the graph, for TensorFlow.
    ///
    /// # Errors
    /// There is no such operation, or it has no such output.
    fn output(&self, (name, index): &Place) -> Result<TF_Output> {
        let operation = self.operation(name).ok_or_else(|| no_operation(name))?;
        let count = operation.output_count();
        if !(0..count).contains(index) {
            return Err(Error::new(
                Code::NotFound,
                format!(
                    "the operation '{name}' ({}) has no output {index}; it has {count}",
                    operation.op_type()
                ),
            ));
        }
        Ok(TF_Output { oper: operation.raw(), index: *index })
    }

    /// TensorFlow's number of the type of a tensor.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn type_of(&self, place: &Place) -> Result<i32> {
        let output = self.output(place)?;
        // SAFETY: the operation is this graph's and has that output.
        Ok(unsafe { api().TF_OperationOutputType(output) }.0 as i32)
    }

    /// The shape of a tensor as far as it is known before a run: -1 for a dimension of any size, nothing where the rank is open.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn dims_of(&self, place: &Place) -> Result<Option<Vec<i64>>> {
        let output = self.output(place)?;
        let failed = |e: Failure| e.during("TensorFlow does not tell a tensor's shape");
        // SAFETY: the operation is this graph's and has that output.
        let rank = checked(|status| unsafe { api().TF_GraphGetTensorNumDims(self.raw(), output, status) });
        let Ok(rank) = usize::try_from(rank.map_err(failed)?) else { return Ok(None) };
        let mut dims = vec![0; rank];
        // SAFETY: as above, and there is room for its rank.
        checked(|status| unsafe {
            api().TF_GraphGetTensorShape(self.raw(), output, dims.as_mut_ptr(), rank as i32, status);
        })
        .map_err(failed)?;
        Ok(Some(dims))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the graph is ours. Sessions of it that live on keep it alive themselves.
        unsafe { api().TF_DeleteGraph(self.raw()) }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

/// Tensors of a graph, for runs.
#[derive(Debug)]
pub struct Outputs {
    raw: Vec<TF_Output>,
    /// The operations live as long.
    _graph: Arc<Graph>,
}

// SAFETY: the operations that it points to never change, and the graph that they belong to is kept alive.
unsafe impl Send for Outputs {}
// SAFETY: as above.
unsafe impl Sync for Outputs {}

impl Outputs {
    /// The tensors at these places.
    ///
    /// # Errors
    /// One is not in the graph.
    pub fn new<'p>(graph: &Arc<Graph>, places: impl IntoIterator<Item = &'p Place>) -> Result<Self> {
        let raw = places.into_iter().map(|place| graph.output(place)).collect::<Result<_>>()?;
        Ok(Self { raw, _graph: Arc::clone(graph) })
    }

    /// All of them, to be fed.
    pub fn raw(&self) -> &[TF_Output] {
        &self.raw
    }

    /// All of them, to be fetched.
    pub fn all(&self) -> Fetches<'_> {
        Fetches::All(&self.raw)
    }

    /// Those with these indices, to be fetched.
    ///
    /// # Panics
    /// There are not as many.
    pub fn some(&self, indices: impl IntoIterator<Item = usize>) -> Fetches<'_> {
        Fetches::Some(indices.into_iter().map(|index| self.raw[index]).collect(), PhantomData)
    }
}

/// Tensors to fetch, in the order of the results.
pub enum Fetches<'o> {
    /// All of an [`Outputs`].
    All(&'o [TF_Output]),
    /// Some of an [`Outputs`], whose operations live for `'o`.
    Some(SmallVec<[TF_Output; 4]>, PhantomData<&'o Outputs>),
}

impl Fetches<'_> {
    /// For a run.
    pub fn raw(&self) -> &[TF_Output] {
        match self {
            Self::All(raw) => raw,
            Self::Some(raw, _) => raw,
        }
    }
}

/// Operations of a graph that runs execute although nothing of them is fetched.
#[derive(Debug)]
pub struct Targets {
    raw: Vec<*const TF_Operation>,
    /// The operations live as long.
    _graph: Arc<Graph>,
}

impl Targets {
    /// The operations of these names.
    ///
    /// # Errors
    /// One is not in the graph.
    pub fn new<'n>(graph: &Arc<Graph>, names: impl IntoIterator<Item = &'n str>) -> Result<Self> {
        let find = |name| graph.operation(name).ok_or_else(|| no_operation(name));
        let raw = names.into_iter().map(|name| Ok(find(name)?.raw().cast_const()));
        Ok(Self { raw: raw.collect::<Result<_>>()?, _graph: Arc::clone(graph) })
    }

    /// For a run.
    pub fn raw(&self) -> &[*const TF_Operation] {
        &self.raw
    }
}

fn no_operation(name: &str) -> Error {
    Error::new(Code::NotFound, format!("the graph has no operation '{name}'"))
}

/// A function of a graph's library.
pub struct Function(NonNull<TF_Function>);

impl Function {
    /// Its name.
    pub fn name(&self) -> Cow<'_, str> {
        // SAFETY: the name is a C string that lives as long as the function.
        unsafe { CStr::from_ptr(api().TF_FunctionName(self.0.as_ptr())) }.to_string_lossy()
    }

    /// A serialised `FunctionDef`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn definition(&self) -> std::result::Result<Buffer, Failure> {
        // SAFETY: the function lives during the call.
        returned(|buffer, status| unsafe { api().TF_FunctionToFunctionDef(self.0.as_ptr(), buffer, status) })
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // SAFETY: the function is ours, and nothing uses it any more.
        unsafe { api().TF_DeleteFunction(self.0.as_ptr()) }
    }
}

struct ImportOptions(NonNull<TF_ImportGraphDefOptions>);

impl ImportOptions {
    fn new() -> Self {
        // SAFETY: takes nothing; the new options are ours until `drop`.
        let raw = unsafe { api().TF_NewImportGraphDefOptions() };
        Self(NonNull::new(raw).expect("memory for options"))
    }
}

impl Drop for ImportOptions {
    fn drop(&mut self) {
        // SAFETY: the options are ours, and nothing uses them any more.
        unsafe { api().TF_DeleteImportGraphDefOptions(self.0.as_ptr()) }
    }
}

/// A name for TensorFlow; one with a NUL in it, which nothing has, becomes the empty one.
fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

/// What a call returns in a buffer.
fn returned(call: impl FnOnce(*mut TF_Buffer, *mut TF_Status)) -> std::result::Result<Buffer, Failure> {
    let mut buffer = Buffer::new();
    checked(|status| call(buffer.raw_mut(), status)).map(|()| buffer)
}
