//! A response on its way to the client.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

use triton_sys::{TRITONBACKEND_Response, TRITONSERVER_DataType, TRITONSERVER_MemoryType};

use super::accepted::Accepted;
use super::api::{api, frequent};
use super::cuda::Gpu;
use super::error::{Error, Result, check, not_null};
use super::request::{Answered, Request, delete, send};
use super::statistics::Stamps;

impl Request {
    /// Begins the answer. If the server makes no response, the request is answered with that error.
    pub fn respond(self) -> std::result::Result<Response, Answered> {
        let accepted = self.into_accepted();
        match accepted.new_response() {
            Ok(raw) => Ok(Response { raw, accepted: Some(accepted) }),
            Err(error) => Err(Request::from_accepted(accepted).fail(error)),
        }
    }
}

/// A response that is not sent yet, with the request that it answers. Dropping it deletes it, and the client gets an
/// error in its place.
pub struct Response {
    raw: *mut TRITONBACKEND_Response,
    /// None once it is sent.
    accepted: Option<Accepted>,
}

impl Response {
    /// When Execute was handed the request (`CLOCK_MONOTONIC`, ns).
    pub fn arrival(&self) -> u64 {
        self.accepted.as_ref().map_or(0, Accepted::arrival)
    }

    /// Sends it. The stamps go to the statistics when the request is released.
    pub fn send(mut self, stamps: Stamps) -> Answered {
        let accepted =
            self.accepted.take().expect("only `send` and `fail` take it, and consume the response");
        // SAFETY: the response is ours, from `respond`, and consumed here; without an error it is a success.
        if let Err(error) = unsafe { send(self.raw, ptr::null_mut()) } {
            log::error!("a response could not be sent: {error}");
        }
        // The response has left, whatever the server says of its delivery.
        Answered::with_success(accepted, stamps)
    }

    /// Answers with an error in its place.
    pub fn fail(mut self, error: Error) -> Answered {
        let accepted =
            self.accepted.take().expect("only `send` and `fail` take it, and consume the response");
        delete(self.raw);
        Request::from_accepted(accepted).fail(error)
    }

    /// Adds an output and obtains the memory for its data.
    ///
    /// # Errors
    /// The model's configuration has no such output; the server or the client has no room for it, or only in the memory
    /// of a GPU that cannot be reached.
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
            check((frequent().TRITONBACKEND_ResponseOutput)(
                self.raw,
                &mut output,
                name.as_ptr(),
                datatype,
                shape.as_ptr(),
                shape.len() as u32,
            ))?;
            not_null(output, "output")?;
            check((frequent().TRITONBACKEND_OutputBuffer)(
                output,
                &mut base,
                byte_size as u64,
                &mut memory,
                &mut device,
            ))?;
        }
        if byte_size > 0 {
            not_null(base, "memory for an output")?;
        }
        let gpu = Gpu::of(memory, device, byte_size)?;
        Ok(OutputBuffer { base: base.cast(), size: byte_size, gpu, _response: PhantomData })
    }

    /// Adds a parameter of the response.
    pub fn set_int_parameter(&self, name: &CStr, value: i64) -> Result<()> {
        // SAFETY: the response is ours; the name outlives the call, which copies it.
        check(unsafe { api().TRITONBACKEND_ResponseSetIntParameter(self.raw, name.as_ptr(), value) })
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if let Some(accepted) = self.accepted.take() {
            delete(self.raw);
            drop(Request::from_accepted(accepted));
        }
    }
}

/// The memory of one output. It is written to and never seen as a slice: with shared memory it is the
/// client's, who may have put two outputs in one place.
pub struct OutputBuffer<'r> {
    base: *mut u8,
    size: usize,
    /// Where it is, if not in system memory.
    gpu: Option<&'static Gpu>,
    _response: PhantomData<&'r Response>,
}

impl OutputBuffer<'_> {
    /// Fills it.
    ///
    /// # Errors
    /// It is in the memory of a GPU, to which the data cannot be copied.
    ///
    /// # Panics
    /// When `data` is not exactly as long.
    pub fn copy_from(&self, data: &[u8]) -> Result<()> {
        assert_eq!(data.len(), self.size, "an output buffer is filled whole");
        if let Some(gpu) = self.gpu {
            // SAFETY: the server guarantees `size` bytes at `base` of that GPU's memory until the response is sent, which
            // `self` cannot outlive. The data is as long.
            return unsafe { gpu.write(self.base, data) };
        }
        self.copy_at(0, data);
        Ok(())
    }

    /// Fills it with strings, as Triton has its BYTES: each with its length in front, 4 bytes, little-endian.
    ///
    /// # Errors
    /// A string is too long for that; or as for [`Self::copy_from`].
    ///
    /// # Panics
    /// When [`strings_size`] of them is not exactly its length.
    pub fn copy_strings<'s>(&self, strings: impl Iterator<Item = &'s [u8]>) -> Result<()> {
        if self.gpu.is_some() {
            let mut all = Vec::with_capacity(self.size);
            for string in strings {
                all.extend_from_slice(&length(string)?);
                all.extend_from_slice(string);
            }
            return self.copy_from(&all);
        }
        let mut offset = 0;
        for string in strings {
            for part in [&length(string)?[..], string] {
                assert!(part.len() <= self.size - offset, "an output buffer has room for its strings");
                self.copy_at(offset, part);
                offset += part.len();
            }
        }
        assert_eq!(offset, self.size, "an output buffer is filled whole");
        Ok(())
    }

    /// Fills it with the same value, over and over.
    ///
    /// # Errors
    /// As for [`Self::copy_from`].
    ///
    /// # Panics
    /// When its length is not a multiple of the value's.
    pub fn repeat(&self, value: &[u8]) -> Result<()> {
        assert_eq!(self.size % value.len(), 0, "an output buffer is filled whole");
        if self.gpu.is_some() {
            return self.repeat_at_once(value);
        }
        (0..self.size).step_by(value.len()).for_each(|offset| self.copy_at(offset, value));
        Ok(())
    }

    /// With one copy, however many rows there are.
    #[cold]
    #[inline(never)]
    fn repeat_at_once(&self, value: &[u8]) -> Result<()> {
        self.copy_from(&value.repeat(self.size / value.len()))
    }

    fn copy_at(&self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            // SAFETY: the callers have system memory. The server guarantees `size` bytes at `base` until the response is sent, which
            // `self` cannot outlive; the callers keep `offset + data.len()` within them. The two may overlap: `data` may
            // be an input in shared memory that the graph passed through, and the client may want the output there.
            unsafe { ptr::copy(data.as_ptr(), self.base.add(offset), data.len()) }
        }
    }
}

/// Bytes that strings take in an output.
pub fn strings_size<'s>(strings: impl Iterator<Item = &'s [u8]>) -> usize {
    strings.map(|string| size_of::<u32>() + string.len()).sum()
}

/// What is in front of a string.
fn length(string: &[u8]) -> Result<[u8; 4]> {
    let len = u32::try_from(string.len()).map_err(|_| {
        Error::internal(format!("a string of {} bytes: a response takes strings below 4 GiB", string.len()))
    })?;
    Ok(len.to_le_bytes())
}
