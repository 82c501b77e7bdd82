//! Page-locked memory for the inputs of a model that runs on a GPU, kept from one batch for the next.
//!
//! TensorFlow copies an input in ordinary memory to page-locked memory of its own before the GPU can have it; what is
//! page-locked goes to the GPU at once.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::copy::Copiers;
use super::memory::{ALIGNMENT, ForeignMemory};
use crate::triton::memory::{MemoryManager, PinnedMemory};

/// How many buffers a model keeps that no batch uses: one is computed with and one is filled, for each of two inputs.
const MOST_KEPT: usize = 4;

/// A model's buffers.
#[derive(Debug)]
pub struct PinnedPool {
    manager: MemoryManager,
    kept: Kept,
    /// Who fills the buffers.
    pub copiers: Arc<Copiers>,
}

/// The buffers that no batch uses.
type Kept = Arc<Mutex<Vec<PinnedMemory>>>;

impl PinnedPool {
    /// An empty pool, which takes its memory from the server's.
    pub fn new(manager: MemoryManager) -> Self {
        Self { manager, kept: Kept::default(), copiers: Copiers::shared() }
    }

    /// A buffer of so many bytes; nothing where the server has no room for it, which is logged once in the life of the
    /// process.
    pub fn take(&self, len: usize) -> Option<PinnedBuffer> {
        // The server aligns for nothing in particular.
        let needed = len.checked_add(ALIGNMENT)?;
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = take_smallest(&mut lock(), needed);
        let memory = fitting.map_or_else(
            || {
                self.manager.pinned(needed).or_else(|_| {
                    // All of these are smaller.
                    let smaller = std::mem::take(&mut *lock());
                    drop(smaller);
                    self.manager.pinned(needed)
                })
            },
            Ok,
        );
        match memory {
            Ok(memory) => Some(PinnedBuffer { memory: Some(memory), len, kept: Arc::clone(&self.kept) }),
            Err(reason) => {
                static TOLD: AtomicBool = AtomicBool::new(false);
                if !TOLD.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "an input of {len} bytes goes through ordinary memory, which costs a copy on its way to the GPU: {reason}. \
                         The server's option --pinned-memory-pool-byte-size sets the size of its pool (256 MB by default); two \
                         batches of the largest size have to fit for each model"
                    );
                }
                None
            }
        }
    }
}

fn take_smallest(kept: &mut Vec<PinnedMemory>, needed: usize) -> Option<PinnedMemory> {
    let fitting = kept.iter().enumerate().filter(|(_, memory)| memory.len() >= needed);
    let (index, _) = fitting.min_by_key(|(_, memory)| memory.len())?;
    Some(kept.swap_remove(index))
}

/// A buffer, aligned as TensorFlow wants it. Dropping it gives it back to its pool.
#[derive(Debug)]
pub struct PinnedBuffer {
    /// None once it is dropped.
    memory: Option<PinnedMemory>,
    len: usize,
    kept: Kept,
}

impl PinnedBuffer {
    /// Where it begins. The owner of the buffer may write to its bytes.
    pub fn data(&self) -> NonNull<u8> {
        let base = self.memory.as_ref().expect("only `drop` takes it").base();
        // SAFETY: there are `ALIGNMENT` bytes more than `len`.
        unsafe { base.add(base.align_offset(ALIGNMENT)) }
    }
}

// SAFETY: the memory stays where it is until the buffer is dropped, `take` saw to its size, and once the buffer is in a tensor
// nobody writes to it.
unsafe impl ForeignMemory for PinnedBuffer {
    fn ptr(&self) -> *const u8 {
        self.data().as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(self.memory.take());
        let excess = if kept.len() > MOST_KEPT {
            let smallest = kept.iter().enumerate().min_by_key(|(_, memory)| memory.len());
            smallest.map(|(index, _)| index).map(|index| kept.swap_remove(index))
        } else {
            None
        };
        // Freed after the lock, so that nobody waits for that.
        drop(kept);
        drop(excess);
    }
}
