//! The memory of requests as TensorFlow uses it: copied into a tensor, or lent.

use std::mem::MaybeUninit;

use super::tensor::{ForeignMemory, Source};
use crate::triton::Result;
use crate::triton::request::{InputBuffer, LentBuffer};

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
