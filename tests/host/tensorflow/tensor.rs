//! Tensors: a shape, and memory that several may share.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use tensorflow_c_sys::{TF_DataType, TF_Tensor};

type Deallocator = unsafe extern "C" fn(*mut c_void, usize, *mut c_void);

/// Memory of a tensor.
pub enum Data {
    /// In words, so that it is aligned.
    Own(Box<[u64]>),
    Foreign {
        data: *mut c_void,
        len: usize,
        free: Deallocator,
        argument: *mut c_void,
    },
}

// SAFETY: who reads and writes it is up to the callers; its owner lets any thread free it.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

impl Data {
    fn pointer(&self) -> *mut c_void {
        match self {
            Self::Own(words) => words.as_ptr().cast_mut().cast(),
            Self::Foreign { data, .. } => *data,
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Self::Foreign { data, len, free, argument } = *self {
            // SAFETY: the owner's function is called once, with its own arguments.
            unsafe { free(data, len, argument) };
        }
    }
}

/// A tensor.
#[derive(Clone)]
pub struct Tensor {
    kind: TF_DataType,
    dims: Vec<i64>,
    len: usize,
    data: Arc<Data>,
}

impl Tensor {
    /// A tensor of FP32.
    pub fn of(dims: Vec<i64>, values: &[f32]) -> Self {
        let len = size_of_val(values);
        let mut words = vec![0_u64; len.div_ceil(8)].into_boxed_slice();
        // SAFETY: there is room for as many bytes, and nobody else has it.
        unsafe { words.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(values.as_ptr().cast(), len) };
        Self { kind: TF_DataType::TF_FLOAT, dims, len, data: Arc::new(Data::Own(words)) }
    }

    /// The first dimension.
    pub fn rows(&self) -> i64 {
        self.dims[0]
    }

    /// Its values, if they are of type `T`.
    ///
    /// # Safety
    /// `T` has the size of the elements, any bytes are a `T`, and nobody writes to them meanwhile.
    pub unsafe fn values<T>(&self) -> &[T] {
        // SAFETY: the data has `len` bytes, aligned for any element; the caller promises the rest.
        unsafe { std::slice::from_raw_parts(self.data.pointer().cast(), self.len / size_of::<T>()) }
    }

    /// Gives it to a caller.
    pub fn into_raw(self) -> *mut TF_Tensor {
        Box::into_raw(Box::new(self)).cast()
    }
}

/// # Safety
/// The tensor lives.
pub unsafe fn tensor<'t>(raw: *const TF_Tensor) -> &'t Tensor {
    // SAFETY: as the caller promises; it was made by `into_raw`.
    unsafe { &*raw.cast() }
}

/// # Safety
/// So many numbers are there.
unsafe fn dims_of(dims: *const i64, count: c_int) -> Vec<i64> {
    // SAFETY: as the caller promises.
    (0..count as usize).map(|index| unsafe { *dims.add(index) }).collect()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_NewTensor(
    kind: TF_DataType,
    dims: *const i64,
    count: c_int,
    data: *mut c_void,
    len: usize,
    free: Option<Deallocator>,
    argument: *mut c_void,
) -> *mut TF_Tensor {
    let free = free.expect("memory has an owner");
    // SAFETY: the caller passes so many numbers.
    let dims = unsafe { dims_of(dims, count) };
    Tensor { kind, dims, len, data: Arc::new(Data::Foreign { data, len, free, argument }) }.into_raw()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_AllocateTensor(
    kind: TF_DataType,
    dims: *const i64,
    count: c_int,
    len: usize,
) -> *mut TF_Tensor {
    let words = vec![0; len.div_ceil(8)].into_boxed_slice();
    // SAFETY: the caller passes so many numbers.
    let dims = unsafe { dims_of(dims, count) };
    Tensor { kind, dims, len, data: Arc::new(Data::Own(words)) }.into_raw()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_TensorMaybeMove(raw: *mut TF_Tensor) -> *mut TF_Tensor {
    // SAFETY: the tensor lives, and is the caller's.
    let tensor = unsafe { &mut *raw.cast::<Tensor>() };
    // `get_mut` sees what was done through other references before they were dropped; a count alone would not.
    let only = matches!(Arc::get_mut(&mut tensor.data), Some(Data::Own(_)));
    if only { raw } else { ptr::null_mut() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_DeleteTensor(raw: *mut TF_Tensor) {
    // SAFETY: the caller gives up what `into_raw` has made.
    drop(unsafe { Box::from_raw(raw.cast::<Tensor>()) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_TensorType(raw: *const TF_Tensor) -> TF_DataType {
    // SAFETY: the tensor lives.
    unsafe { tensor(raw) }.kind
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_NumDims(raw: *const TF_Tensor) -> c_int {
    // SAFETY: the tensor lives.
    unsafe { tensor(raw) }.dims.len() as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_Dim(raw: *const TF_Tensor, index: c_int) -> i64 {
    // SAFETY: the tensor lives.
    unsafe { tensor(raw) }.dims[index as usize]
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_TensorByteSize(raw: *const TF_Tensor) -> usize {
    // SAFETY: the tensor lives.
    unsafe { tensor(raw) }.len
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TF_TensorData(raw: *const TF_Tensor) -> *mut c_void {
    // SAFETY: the tensor lives.
    unsafe { tensor(raw) }.data.pointer()
}
