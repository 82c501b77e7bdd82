//! What tensors are filled from, and memory of somebody else's that they can be in.

use std::mem::MaybeUninit;
use std::ptr;

use crate::triton::Result;

/// How memory that TensorFlow borrows must be aligned, in bytes (`EIGEN_MAX_ALIGN_BYTES`): it copies all other.
pub const ALIGNMENT: usize = 64;

/// Bytes that can be copied into a tensor.
///
/// # Safety
/// `len` returns the same number each time, and `copy_to` initialises all of a `target` of that length if it succeeds.
pub unsafe trait Source {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Copies all of them to `target`, which is as long.
    ///
    /// # Errors
    /// They cannot be read.
    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) -> Result<()>;
}

// SAFETY: a slice's length does not change while it is borrowed, and all of `target` is copied to.
unsafe impl Source for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn copy_to(&self, target: &mut [MaybeUninit<u8>]) -> Result<()> {
        assert_eq!(target.len(), <[u8]>::len(self), "bytes are copied whole");
        // SAFETY: both are as long, and `target` is borrowed alone, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(self.as_ptr(), target.as_mut_ptr().cast(), target.len()) }
        Ok(())
    }
}

/// Bytes that several threads can copy parts of.
///
/// # Safety
/// `len` returns the same number each time, and `copy_part` initialises all of `target` if that is within these bytes.
pub unsafe trait SharedSource: Sync {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Copies those that begin at `start` to `target`.
    fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]);
}

// SAFETY: as above; `target` is copied to whole or not at all, since what is not there panics.
unsafe impl SharedSource for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]) {
        let part = &self[start..][..target.len()];
        // SAFETY: both are as long, and `target` is borrowed alone, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), target.as_mut_ptr().cast(), part.len()) }
    }
}

// SAFETY: the source's own.
unsafe impl<S: SharedSource + ?Sized> SharedSource for &S {
    fn len(&self) -> usize {
        S::len(self)
    }

    fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]) {
        S::copy_part(self, start, target);
    }
}

/// Memory of somebody else's that TensorFlow may read.
///
/// # Safety
/// From the first call of `ptr` until the value is dropped, `len` bytes at `ptr` can be read from any thread, and this
/// process writes to none of them, except for a tensor that no graph has seen yet. Both functions return the same each
/// time, also after the value has moved. (Where the memory is shared with another process, that one may write to it, and
/// the values that are read are then whatever it wrote.) Dropping the value does not panic.
pub unsafe trait ForeignMemory: Send + 'static {
    /// Where it begins.
    fn ptr(&self) -> *const u8;

    /// How many bytes there are.
    fn len(&self) -> usize;
}
