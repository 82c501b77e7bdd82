//! Tensors: elements as bytes, in TensorFlow's memory or in somebody else's.
//!
//! Who owns what, and until when:
//!
//! - [`Blank`] is memory that nobody else knows, TensorFlow's or page-locked, and the only kind that is written to. Once it
//!   is filled it becomes a [`Tensor`], which is read only.
//! - A [`Tensor`] shares its memory: a graph may store it in a variable or pass it through to an output without a copy,
//!   so it can live longer than the `Tensor` that was fed.
//! - [`Tensor::borrowing`] lends somebody else's memory to TensorFlow. It is given back (its [`ForeignMemory`] is
//!   dropped) when the last tensor that uses it is gone: the `Tensor` that was fed, and each output that aliases it
//!   (`Identity`, `Reshape`). Drop outputs as soon as they are written.

use std::any::Any;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::slice;

use tensorflow_c_sys::{TF_DataType, TF_TString, TF_Tensor};

use super::copy::Copiers;
use super::library::api;
use super::memory::{ALIGNMENT, ForeignMemory, SharedSource, Source};
use super::pinned::PinnedPool;
use super::process;
use super::strings::{Strings, characters};
use super::types;
use crate::config::MAX_RANK;
use crate::few::Dims;
use crate::triton::DataType;
use crate::triton::{Error, Result};

/// The bytes of a tensor of this shape; nothing where TensorFlow cannot have it: it multiplies the dimensions and the
/// element's size in signed 64 bits and ends the process when that overflows, even where a dimension of 0 follows.
pub fn byte_size(datatype: DataType, dims: &[i64]) -> Option<usize> {
    if dims.len() > MAX_RANK {
        return None;
    }
    let (mut largest, mut is_empty) = (datatype.byte_size() as i64, false);
    for &dim in dims {
        if dim < 0 {
            return None;
        }
        is_empty |= dim == 0;
        largest = largest.checked_mul(dim.max(1))?;
    }
    usize::try_from(if is_empty { 0 } else { largest }).ok()
}

fn impossible(datatype: DataType, dims: &[i64]) -> Error {
    Error::invalid(format!("a tensor of {datatype} {dims:?} is larger than TensorFlow's tensors can be"))
}

/// A `TF_Tensor` that is ours.
#[derive(Debug)]
pub struct RawTensor(NonNull<TF_Tensor>);

// SAFETY: a TF_Tensor is a counted reference to memory; TensorFlow counts atomically, on any thread.
unsafe impl Send for RawTensor {}
// SAFETY: through a shared reference the tensor is only read.
unsafe impl Sync for RawTensor {}

impl RawTensor {
    /// # Safety
    /// `raw` is null or a tensor that nothing else owns.
    pub unsafe fn own(raw: *mut TF_Tensor) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    /// For a call that does not keep it.
    pub fn raw(&self) -> *mut TF_Tensor {
        self.0.as_ptr()
    }

    /// TensorFlow's number of the element type.
    pub fn type_number(&self) -> i32 {
        // SAFETY: the tensor is alive.
        unsafe { api().TF_TensorType(self.raw()) }.0 as i32
    }
}

impl Drop for RawTensor {
    fn drop(&mut self) {
        // SAFETY: the tensor is ours, and nothing uses this reference any more.
        unsafe { api().TF_DeleteTensor(self.raw()) }
    }
}

/// A tensor with values. They are read only, because others may share them.
#[derive(Debug)]
pub struct Tensor {
    raw: RawTensor,
    datatype: DataType,
    dims: Dims<i64>,
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: `data` points into the memory of `raw`, which is `Send`, and is only read while the tensor is shared.
unsafe impl Send for Tensor {}
// SAFETY: as above.
unsafe impl Sync for Tensor {}

impl Tensor {
    /// A tensor of zeros, or of empty strings.
    ///
    /// # Errors
    /// There is no memory for it, or there can be no tensor of that shape.
    pub fn zeroed(datatype: DataType, dims: &[i64]) -> Result<Self> {
        if datatype == DataType::Bytes {
            let len = byte_size(datatype, dims).ok_or_else(|| impossible(datatype, dims))?;
            return Self::of_strings(dims, Strings::new(len / datatype.byte_size(), 0)?);
        }
        let blank = Blank::new(datatype, dims)?;
        // SAFETY: a blank's memory is writable and its own, and zeros are values of every element type.
        unsafe { ptr::write_bytes(blank.tensor.data.as_ptr(), 0, blank.tensor.len) };
        Ok(*blank.tensor)
    }

    /// A tensor over `memory`, which has its values. TensorFlow reads it in place, and `memory` is dropped once nothing
    /// uses it any more: on any thread, at the earliest in this call, after the tensor is dropped at the latest if no
    /// graph keeps it.
    ///
    /// # Errors
    /// `memory` itself, where TensorFlow would copy it (it is not aligned to [`ALIGNMENT`] bytes), where a copy is
    /// needed anyway (booleans, which clients send as any byte, and strings), where there is nothing to borrow, and where its
    /// length is not that of the shape.
    pub fn borrowing<M: ForeignMemory>(
        datatype: DataType,
        dims: &[i64],
        memory: M,
    ) -> std::result::Result<Self, M> {
        let (data, len) = (memory.ptr(), memory.len());
        let is_any_bytes = !matches!(datatype, DataType::Bool | DataType::Bytes);
        let fits = byte_size(datatype, dims) == Some(len) && len > 0;
        if !fits || !is_any_bytes || !data.addr().is_multiple_of(ALIGNMENT) {
            return Err(memory);
        }
        Ok(Self::over(datatype, dims, memory))
    }

    /// A tensor of these strings.
    ///
    /// # Errors
    /// They are not as many as the shape has elements, or there can be no tensor of that shape.
    pub fn of_strings(dims: &[i64], strings: Strings) -> Result<Self> {
        let datatype = DataType::Bytes;
        let len = byte_size(datatype, dims).ok_or_else(|| impossible(datatype, dims))?;
        if strings.len() != len {
            return Err(Error::internal(format!(
                "{} bytes for a tensor of strings {dims:?}, which has {len}",
                strings.len()
            )));
        }
        if len == 0 {
            // There is nothing to lend.
            return Blank::new(datatype, dims)?.finish().map(|tensor| *tensor);
        }
        Ok(Self::over(datatype, dims, strings))
    }

    /// A tensor over memory that is aligned, as large as its shape, and has values of this type.
    fn over<M: ForeignMemory>(datatype: DataType, dims: &[i64], memory: M) -> Self {
        let (data, len) = (memory.ptr(), memory.len());
        let owner = Box::into_raw(Box::new(memory));
        // SAFETY: the shape is one that TensorFlow can have, and `len` its size. `memory` vouches for `len` bytes at
        // `data` until it is dropped, which only `release` does: TensorFlow calls that once, when its last reference
        // is gone. It does not write to memory that it does not own.
        let raw = unsafe {
            api().TF_NewTensor(
                TF_DataType(types::number(datatype) as _),
                dims.as_ptr(),
                dims.len() as i32,
                data.cast_mut().cast(),
                len,
                Some(release::<M>),
                owner.cast(),
            )
        };
        // SAFETY: the new tensor is ours.
        let raw = unsafe { RawTensor::own(raw) }.expect("a tensor over memory as large as its shape");
        Self::adopt(raw, datatype)
    }

    /// A tensor that TensorFlow returned.
    ///
    /// # Errors
    /// This backend does not have its element type.
    pub fn from_raw(raw: RawTensor) -> Result<Self> {
        match types::from_number(raw.type_number()) {
            Some(datatype) => Ok(Self::adopt(raw, datatype)),
            None => {
                let name = types::name(raw.type_number());
                Err(Error::unsupported(format!("a tensor of {name}, which this backend does not take")))
            }
        }
    }

    fn adopt(raw: RawTensor, datatype: DataType) -> Self {
        // SAFETY: the tensor is alive during these calls; the index is below its rank. Its memory stays where it is
        // until the last reference is gone, and `raw` is one.
        let (dims, len, data) = unsafe {
            let rank = api().TF_NumDims(raw.raw());
            let dims = (0..rank).map(|index| api().TF_Dim(raw.raw(), index)).collect();
            (dims, api().TF_TensorByteSize(raw.raw()), api().TF_TensorData(raw.raw()))
        };
        // Of a tensor without elements TensorFlow may have no memory.
        let data = NonNull::new(data.cast()).filter(|_| len > 0).unwrap_or(NonNull::dangling());
        Self { raw, datatype, dims, data, len }
    }

    /// The element type.
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// The shape.
    pub fn dims(&self) -> &[i64] {
        &self.dims
    }

    /// The elements as they are in memory; of strings, the structures.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes at `data` live as long as `raw` and are initialised: by `Blank::finish`, by the operation
        // that returned them, or by the owner of the foreign memory. While this reference to them exists, TensorFlow
        // does not write to them: kernels write in place only where theirs is the only reference, and so do the
        // operations that update variables. (For foreign memory, see [`ForeignMemory`].)
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// The elements of a tensor of strings.
    ///
    /// # Panics
    /// It is of another type.
    pub fn strings(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        assert_eq!(self.datatype, DataType::Bytes, "a tensor of strings");
        let structures = self.data.cast::<TF_TString>();
        assert!(self.len == 0 || structures.is_aligned(), "TensorFlow aligns what it makes");
        let structures = if self.len == 0 { NonNull::dangling() } else { structures };
        // SAFETY: as in `bytes`: whoever made the tensor has made structures of all of it, `Strings` or an operation.
        let all = unsafe { slice::from_raw_parts(structures.as_ptr(), self.len / size_of::<TF_TString>()) };
        // SAFETY: the characters belong to the structures: they are as long in place, and as little written to.
        all.iter().map(|string| unsafe { characters(string) })
    }

    /// For a run that is fed with it.
    pub fn raw(&self) -> &RawTensor {
        &self.raw
    }

    /// The memory, to be filled again; nothing where it is somebody else's or still used by others.
    pub fn reclaim(self: Box<Self>) -> Option<Blank> {
        // SAFETY: the tensor is alive. The call returns its argument, untouched, where that is the only reference to
        // memory of TensorFlow's, and null otherwise.
        let only = !unsafe { api().TF_TensorMaybeMove(self.raw.raw()) }.is_null();
        only.then_some(Blank { tensor: self, filled: 0, pinned: false })
    }
}

/// A tensor that is not filled yet: its bytes are appended one piece after the other.
#[derive(Debug)]
pub struct Blank {
    /// Nobody else has its memory, and what is behind `filled` may not be initialised: so nothing but `finish` may let the tensor
    /// out. In a box, because it goes through many hands, once for each batch.
    tensor: Box<Tensor>,
    filled: usize,
    /// Whether the memory is page-locked, which TensorFlow borrows; otherwise it is TensorFlow's.
    pinned: bool,
}

impl Blank {
    /// A tensor of any values, but not of strings ([`Tensor::of_strings`]).
    ///
    /// # Errors
    /// There is no memory for it, or there can be no tensor of that shape.
    #[cold] // most tensors come from the pool
    pub fn new(datatype: DataType, dims: &[i64]) -> Result<Self> {
        let len = byte_size(datatype, dims).ok_or_else(|| impossible(datatype, dims))?;
        if datatype == DataType::Bytes && len > 0 {
            return Err(Error::internal("strings are not any bytes"));
        }
        let number = TF_DataType(types::number(datatype) as _);
        // SAFETY: the shape is one that TensorFlow can have, and `len` its size; the new tensor is ours.
        let raw =
            unsafe { RawTensor::own(api().TF_AllocateTensor(number, dims.as_ptr(), dims.len() as i32, len)) };
        let no_memory =
            || Error::internal(format!("no memory for a tensor of {datatype} {dims:?} ({len} bytes)"));
        let raw = raw.ok_or_else(no_memory)?;
        // SAFETY: the tensor is alive.
        if len > 0 && unsafe { api().TF_TensorData(raw.raw()) }.is_null() {
            return Err(no_memory());
        }
        Ok(Self { tensor: Box::new(Tensor::adopt(raw, datatype)), filled: 0, pinned: false })
    }

    /// A tensor of any values in page-locked memory; nothing where `pool` has none, or TensorFlow would copy it.
    #[inline(never)] // for models on a GPU only
    pub fn pinned(pool: &PinnedPool, datatype: DataType, dims: &[i64]) -> Option<Self> {
        let len = byte_size(datatype, dims).filter(|&len| len > 0 && datatype != DataType::Bool)?;
        // TensorFlow does not look at the memory before a run is fed with the tensor.
        let tensor = Tensor::borrowing(datatype, dims, pool.take(len)?).ok()?;
        Some(Self { tensor: Box::new(tensor), filled: 0, pinned: true })
    }

    /// Whether it is in page-locked memory.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// The element type.
    pub fn datatype(&self) -> DataType {
        self.tensor.datatype
    }

    /// The shape.
    pub fn dims(&self) -> &[i64] {
        &self.tensor.dims
    }

    /// The bytes of all elements.
    pub fn byte_size(&self) -> usize {
        self.tensor.len
    }

    /// What follows the bytes that are there, for so many more.
    ///
    /// # Panics
    /// There is no room for them.
    fn room(&mut self, len: usize) -> &mut [MaybeUninit<u8>] {
        let room = self.byte_size() - self.filled;
        assert!(len <= room, "{len} bytes for a tensor that has room for {room}");
        // SAFETY: these bytes are within the blank's memory, which nobody else has (see `tensor`), and `self` is borrowed
        // for as long as the slice lives.
        unsafe { slice::from_raw_parts_mut(self.tensor.data.as_ptr().add(self.filled).cast(), len) }
    }

    /// Copies `source` behind what is there. A boolean that is neither 0 nor 1 becomes 1, which is what TensorFlow
    /// takes it for.
    ///
    /// # Errors
    /// The source's own; nothing counts as copied then.
    ///
    /// # Panics
    /// There is no room for it.
    pub fn append<S: Source + ?Sized>(&mut self, source: &S) -> Result<()> {
        let len = source.len();
        let is_bool = self.datatype() == DataType::Bool;
        let target = self.room(len);
        source.copy_to(target)?;
        if is_bool {
            // SAFETY: `copy_to` has initialised all of it.
            unsafe { to_booleans(target) }
        }
        self.filled += len;
        Ok(())
    }

    /// Copies `sources` behind what is there, one behind the other, by several threads. For other types than booleans.
    ///
    /// # Panics
    /// There is no room for them.
    pub fn append_all<S: SharedSource>(&mut self, sources: &[S], copiers: &Copiers) {
        debug_assert_ne!(self.datatype(), DataType::Bool);
        let len = sources.iter().map(S::len).sum();
        copiers.copy(sources, self.room(len));
        self.filled += len;
    }

    /// Fills what is left with copies of the last `unit` bytes that are there.
    ///
    /// # Panics
    /// There are not as many, or there is something to fill and nothing to copy.
    pub fn repeat_last(&mut self, unit: usize) {
        let start = self.filled.checked_sub(unit).expect("as many bytes as are to be copied");
        let (all, data) = (self.byte_size(), self.tensor.data.as_ptr());
        while self.filled < all {
            // From `start` on there are only copies: all of them are copied at once.
            let len = (self.filled - start).min(all - self.filled);
            assert!(len > 0, "copies of nothing do not fill a tensor");
            // SAFETY: both pieces are within the blank's memory, which nobody else has (see `tensor`). What is copied lies
            // before `filled` and is initialised; the copies begin there, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(data.add(start), data.add(self.filled), len) }
            self.filled += len;
        }
    }

    /// Frees its memory, the pages of which go back to the system. TensorFlow's allocator gets addresses, behind which
    /// there are new pages once somebody writes to them.
    pub fn give_back(self) {
        if !self.pinned {
            // SAFETY: the memory is TensorFlow's, nobody else has it, and a blank's values may be any.
            unsafe { process::release_pages(self.tensor.data, self.tensor.len) }
        }
    }

    /// The tensor.
    ///
    /// # Errors
    /// It is not full.
    pub fn finish(self) -> Result<Box<Tensor>> {
        if self.filled == self.tensor.len { Ok(self.tensor) } else { Err(not_full(&self)) }
    }
}

#[cold]
#[inline(never)]
fn not_full(blank: &Blank) -> Error {
    let (filled, datatype, dims, len) = (blank.filled, blank.datatype(), blank.dims(), blank.byte_size());
    Error::internal(format!("{filled} bytes for a tensor of {datatype} {dims:?}, which has {len}"))
}

/// Makes every byte that is not 0 a 1.
///
/// # Safety
/// All of them are initialised.
#[inline(never)]
unsafe fn to_booleans(bytes: &mut [MaybeUninit<u8>]) {
    for byte in bytes {
        // SAFETY: the caller promises it.
        byte.write(u8::from(unsafe { byte.assume_init() } != 0));
    }
}

/// TensorFlow's last reference to foreign memory is gone.
unsafe extern "C" fn release<M: ForeignMemory>(_data: *mut c_void, _len: usize, owner: *mut c_void) {
    // SAFETY: `owner` is the box that `Tensor::borrowing` made for a tensor of `M`, and TensorFlow calls this once for
    // that tensor. `M` is `Send`, so it may be dropped on this thread.
    let owner = unsafe { Box::from_raw(owner.cast::<M>()) };
    let dropped: std::result::Result<(), Box<dyn Any + Send>> =
        catch_unwind(AssertUnwindSafe(|| drop(owner)));
    if dropped.is_err() {
        log::error!("a panic while the memory of a request was given back; please report this");
    }
}
