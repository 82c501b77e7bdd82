//! `TF_Buffer`: bytes that the C API takes or returns, mostly serialised protobuf messages.

use std::ptr::{self, NonNull};
use std::slice;

use prost::{DecodeError, Message};
use tensorflow_c_sys::TF_Buffer;

use super::library::api;

/// Bytes of TensorFlow's.
pub struct Buffer(NonNull<TF_Buffer>);

// SAFETY: the bytes belong to the buffer alone, and TensorFlow frees them on any thread.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer is only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// An empty one, for a call that returns bytes in it.
    pub fn new() -> Self {
        // SAFETY: takes nothing; the new buffer is ours until `drop`.
        let raw = unsafe { api().TF_NewBuffer() };
        Self(NonNull::new(raw).expect("memory for a buffer"))
    }

    /// A serialised message.
    pub fn of(message: &impl Message) -> Self {
        let bytes = message.encode_to_vec();
        // SAFETY: the bytes are copied during the call; the new buffer is ours until `drop`.
        let raw = unsafe { api().TF_NewBufferFromString(bytes.as_ptr().cast(), bytes.len()) };
        Self(NonNull::new(raw).expect("memory for a buffer"))
    }

    /// For a call that reads it.
    pub fn raw(&self) -> *const TF_Buffer {
        self.0.as_ptr()
    }

    /// For a call that writes it.
    pub fn raw_mut(&mut self) -> *mut TF_Buffer {
        self.0.as_ptr()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is ours, and written to only through `&mut self`.
        let TF_Buffer { data, length, .. } = unsafe { *self.0.as_ptr() };
        if length == 0 {
            return &[];
        }
        // SAFETY: TensorFlow keeps `length` bytes at `data` until the buffer is written again or deleted.
        unsafe { slice::from_raw_parts(data.cast(), length) }
    }

    /// The message that it holds.
    ///
    /// # Errors
    /// It holds something else.
    pub fn decode<M: Message + Default>(&self) -> Result<M, DecodeError> {
        M::decode(self.bytes())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the buffer is ours, and nothing uses it any more.
        unsafe { api().TF_DeleteBuffer(self.0.as_ptr()) }
    }
}

/// Shows `bytes` to a call as a buffer, without a copy.
pub fn with_bytes<T>(bytes: &[u8], call: impl FnOnce(*const TF_Buffer) -> T) -> T {
    let buffer = TF_Buffer { data: bytes.as_ptr().cast(), length: bytes.len(), data_deallocator: None };
    call(ptr::from_ref(&buffer))
}
