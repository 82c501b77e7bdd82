//! `TF_Operation`: a node of a graph.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use tensorflow_c_sys::{TF_Input, TF_Operation};

use super::buffer::Buffer;
use super::library::api;
use super::status::{Failure, checked};

/// An operation of a graph that lives for `'g`.
#[derive(Clone, Copy)]
pub struct Operation<'g> {
    raw: NonNull<TF_Operation>,
    graph: PhantomData<&'g ()>,
}

impl<'g> Operation<'g> {
    /// # Safety
    /// `raw` is null or an operation of a graph that lives for `'g`.
    pub unsafe fn of(raw: *mut TF_Operation) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw, graph: PhantomData })
    }

    /// For a call that uses it.
    pub fn raw(self) -> *mut TF_Operation {
        self.raw.as_ptr()
    }

    /// Its name.
    pub fn name(self) -> Cow<'g, str> {
        // SAFETY: the operation is alive, and its name a C string that lives as long.
        unsafe { CStr::from_ptr(api().TF_OperationName(self.raw())) }.to_string_lossy()
    }

    /// Its type, such as `MatMul`.
    pub fn op_type(self) -> Cow<'g, str> {
        // SAFETY: the operation is alive, and its type a C string that lives as long.
        unsafe { CStr::from_ptr(api().TF_OperationOpType(self.raw())) }.to_string_lossy()
    }

    /// How many outputs it has.
    pub fn output_count(self) -> i32 {
        // SAFETY: the operation is alive.
        unsafe { api().TF_OperationNumOutputs(self.raw()) }
    }

    /// The operations that run before it: those that its inputs come from, and those that it only waits for.
    pub fn needs(self) -> Vec<Self> {
        // SAFETY: the operation is alive, and so are all others of its graph; the index is below their number; there is
        // room for as many as there are.
        unsafe {
            let inputs = (0..api().TF_OperationNumInputs(self.raw()))
                .map(|index| api().TF_OperationInput(TF_Input { oper: self.raw(), index }).oper);
            let count = api().TF_OperationNumControlInputs(self.raw());
            let mut controls = vec![ptr::null_mut(); usize::try_from(count).unwrap_or(0)];
            let written = api().TF_OperationGetControlInputs(self.raw(), controls.as_mut_ptr(), count);
            controls.truncate(usize::try_from(written).unwrap_or(0));
            inputs.chain(controls).filter_map(|raw| Self::of(raw)).collect()
        }
    }

    /// The serialised value of an attribute, an `AttrValue`.
    ///
    /// # Errors
    /// It has no such attribute.
    pub fn attribute(self, name: &str) -> Result<Buffer, Failure> {
        let name = CString::new(name).unwrap_or_default();
        let mut buffer = Buffer::new();
        checked(|status| {
            // SAFETY: operation, name and buffer live during the call.
            unsafe {
                api().TF_OperationGetAttrValueProto(self.raw(), name.as_ptr(), buffer.raw_mut(), status);
            }
        })?;
        Ok(buffer)
    }
}
