//! The memory of requests as TensorFlow uses it: copied into a tensor, or lent.

use std::mem::MaybeUninit;

use super::memory::{ForeignMemory, SharedSource, Source};
use crate::triton::Result;
use crate::triton::request::{InputBuffer, LentBuffer, RequestBytes};

// SAFETY: the length is the server's and does not change, and `InputBuffer::copy_to` fills all of a target as long, or
// returns an error.
unsafe impl Source for InputBuffer<'_> {
    fn len(&self) -> usize {
        InputBuffer::len(self)
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) -> Result<()> {
        InputBuffer::copy_to(self, target)
    }
}

// SAFETY: as above, for every part of it.
unsafe impl SharedSource for RequestBytes<'_> {
    fn len(&self) -> usize {
        RequestBytes::len(self)
    }

    fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]) {
        RequestBytes::copy_part(self, start, target);
    }
}

// SAFETY: the server keeps the memory of a request readable, and where it is, until the request is released, which
// `LentBuffer` puts off until it is dropped. The server does not write to the inputs of a request, and this
// backend does so only if the client puts an output where its input is: then after the run, through `ptr::copy`, which allows
// for that. Dropping it makes one call of the server's and logs its error.
unsafe impl ForeignMemory for LentBuffer {
    fn ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn len(&self) -> usize {
        LentBuffer::len(self)
    }
}
