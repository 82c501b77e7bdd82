//! Input tensors that are kept from one batch for the next of the same shape.
//!
//! A new tensor costs more than its memory: TensorFlow takes it from the system, and the kernel clears it page by page
//! when the requests' bytes are written to it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::memory::SharedSource;
use super::pinned::PinnedPool;
use super::tensor::{Blank, Tensor};
use crate::few::Few;
use crate::triton::memory::MemoryManager;
use crate::triton::{DataType, Result};

/// The bytes of the tensors that a model keeps, except for one tensor, which may be larger.
const MOST_BYTES: usize = 64 << 20;
/// How many tensors a model keeps: searching them must cost nothing beside a new one.
const MOST_TENSORS: usize = 32;

/// The tensors that no batch uses.
#[derive(Default)]
pub struct TensorPool {
    /// Oldest first.
    kept: Mutex<Few<Blank>>,
    /// Where page-locked memory comes from, for a model on a GPU.
    pinned: Option<PinnedPool>,
}

impl TensorPool {
    /// A pool of tensors in page-locked memory, as far as there is any.
    pub fn pinned(manager: MemoryManager) -> Self {
        Self { pinned: Some(PinnedPool::new(manager)), ..Self::default() }
    }

    /// A tensor to fill.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn take(&self, datatype: DataType, dims: &[i64]) -> Result<Blank> {
        let pinned = self.pinned.as_ref().and_then(|pinned| Blank::pinned(pinned, datatype, dims));
        if let Some(blank) = pinned {
            return Ok(blank);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |blank: &Blank| blank.datatype() == datatype && blank.dims() == dims;
        match kept.iter().rposition(fits) {
            Some(index) => Ok(kept.remove(index)),
            None => {
                drop(kept);
                Blank::new(datatype, dims)
            }
        }
    }

    /// Copies `sources` behind what is in `blank`, one behind the other; where it is in page-locked memory, by several threads.
    /// Returns false where it is not, or one of the sources is not to be had: then nothing is copied.
    pub fn fill<S: SharedSource>(&self, blank: &mut Blank, sources: impl Iterator<Item = Option<S>>) -> bool {
        let Some(pinned) = self.pinned.as_ref().filter(|_| blank.is_pinned()) else { return false };
        let Some(sources): Option<Few<S>> = sources.collect() else { return false };
        blank.append_all(&sources, &pinned.copiers);
        true
    }

    /// Keeps the tensors of a batch that is over, and drops the oldest where these are too many. A tensor whose memory
    /// is still used (the graph has stored it in a variable, or an output of the batch lives in it) is not kept, and
    /// neither is one that borrows its memory: page-locked memory goes back where it came from.
    pub fn give_back(&self, batch: impl IntoIterator<Item = Box<Tensor>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(batch.into_iter().filter_map(Tensor::reclaim));
        let mut bytes = 0;
        let fitting = kept.iter().rev().take(MOST_TENSORS).take_while(|blank| {
            bytes += blank.byte_size();
            bytes <= MOST_BYTES
        });
        let stays = fitting.count().max(1);
        let excess = kept.len().saturating_sub(stays);
        let excess: Few<Blank> = kept.drain(..excess).collect();
        // The memory is freed after the lock, so that nobody waits for that.
        drop(kept);
        drop(excess);
    }
}

impl fmt::Debug for TensorPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorPool").finish_non_exhaustive()
    }
}
