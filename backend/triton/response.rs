//! A response on its way to the client.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::{mem, ptr};

use triton_sys::{
    TRITONBACKEND_Response, TRITONSERVER_DataType, TRITONSERVER_MemoryType, TRITONSERVER_ResponseCompleteFlag,
};

use super::api;
use super::error::{Error, Result, check};

/// A response that is not sent yet; dropped unsent it is deleted, and the client sees nothing of it.
pub struct Response {
    raw: *mut TRITONBACKEND_Response,
}

impl Response {
    /// # Safety
    /// `raw` is a new response that nothing else owns.
    pub(super) unsafe fn new(raw: *mut TRITONBACKEND_Response) -> Self {
        Self { raw }
    }

    /// Adds an output and obtains the memory for its data.
    ///
    /// # Errors
    /// The model's configuration has no such output; the server or the client has no room for it, or
    /// none in the memory of the CPU.
    pub fn output(
        &self,
        name: &CStr,
        datatype: TRITONSERVER_DataType,
        shape: &[i64],
        byte_size: usize,
    ) -> Result<OutputBuffer<'_>> {
        let mut output = ptr::null_mut();
        let mut base = ptr::null_mut();
        let mut memory = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU;
        let mut device = 0;
        // SAFETY: the response is ours; name and shape outlive the call, which copies them. The output
        // belongs to the response.
        unsafe {
            check(api().TRITONBACKEND_ResponseOutput(
                self.raw,
                &mut output,
                name.as_ptr(),
                datatype,
                shape.as_ptr(),
                shape.len() as u32,
            ))?;
            check(api().TRITONBACKEND_OutputBuffer(
                output,
                &mut base,
                byte_size as u64,
                &mut memory,
                &mut device,
            ))?;
        }
        if memory == TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU {
            return Err(Error::unsupported(format!(
                "output '{}' is wanted in the memory of GPU {device}; this backend writes to system \
                 memory, so ask for the data itself or use system shared memory",
                name.to_string_lossy()
            )));
        }
        Ok(OutputBuffer { base: base.cast(), size: byte_size, _response: PhantomData })
    }

    /// Adds a parameter of the response.
    pub fn set_int_parameter(&self, name: &CStr, value: i64) -> Result<()> {
        // SAFETY: the response is ours; the name outlives the call, which copies it.
        check(unsafe { api().TRITONBACKEND_ResponseSetIntParameter(self.raw, name.as_ptr(), value) })
    }

    /// Sends it, as an error if there is one. No further response follows for the request.
    pub(super) fn send(self, error: Option<Error>) -> Result<()> {
        let raw = self.raw;
        mem::forget(self);
        let error = error.map_or(ptr::null_mut(), Error::into_raw);
        let flags = TRITONSERVER_ResponseCompleteFlag::TRITONSERVER_RESPONSE_COMPLETE_FINAL.0;
        // SAFETY: the response was ours, and the server takes it even when it fails to deliver it; the
        // error stays ours and is deleted once, after the call that reads it.
        unsafe {
            let sent = check(api().TRITONBACKEND_ResponseSend(raw, flags, error));
            if !error.is_null() {
                api().TRITONSERVER_ErrorDelete(error);
            }
            sent
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        // SAFETY: `send` forgets what it gives away, so an instance that is dropped is still ours.
        if let Err(error) = check(unsafe { api().TRITONBACKEND_ResponseDelete(self.raw) }) {
            log::error!("an unsent response could not be deleted: {error}");
        }
    }
}

/// The memory of one output. It is written to and never seen as a slice: with shared memory it is the
/// client's, who may have put two outputs in one place.
pub struct OutputBuffer<'r> {
    base: *mut u8,
    size: usize,
    _response: PhantomData<&'r Response>,
}

impl OutputBuffer<'_> {
    /// Fills it.
    ///
    /// # Panics
    /// When `data` is not exactly as long.
    pub fn copy_from(&self, data: &[u8]) {
        assert_eq!(data.len(), self.size, "an output buffer is filled whole");
        self.copy_at(0, data);
    }

    /// Fills it with the same value, over and over.
    ///
    /// # Panics
    /// When its length is not a multiple of the value's.
    pub fn repeat(&self, value: &[u8]) {
        assert_eq!(self.size % value.len(), 0, "an output buffer is filled whole");
        (0..self.size).step_by(value.len()).for_each(|offset| self.copy_at(offset, value));
    }

    fn copy_at(&self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            // SAFETY: the server vouches for `size` bytes at `base` until the response is sent, which
            // `self` cannot outlive; the callers keep `offset + data.len()` within them. `data` is our
            // own memory, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(data.as_ptr(), self.base.add(offset), data.len()) }
        }
    }
}
