//! Input tensors that are kept from one batch for the next of the same shape.
//!
//! A new tensor costs more than its memory: TensorFlow takes it from the system, the kernel clears it page by page,
//! and the `tensorflow` crate fills it with zeros, all before the requests' bytes are written over them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::datatype::DataType;
use crate::session::Tensor;

/// The bytes of the tensors that a model keeps, but for one tensor, which may be larger.
const MOST_BYTES: usize = 64 << 20;
/// How many tensors a model keeps: looking through them has to cost nothing beside a new one.
const MOST_TENSORS: usize = 32;

/// The tensors that no batch uses.
pub struct Spare {
    /// Oldest first; nothing where the model may keep its inputs, in a variable for example.
    tensors: Option<Mutex<Vec<Tensor>>>,
}

impl Spare {
    /// No tensors yet, and never any unless `reuse`.
    pub fn new(reuse: bool) -> Self {
        Self { tensors: reuse.then(Mutex::default) }
    }

    /// A tensor with any values in it.
    pub fn take(&self, datatype: DataType, dims: &[u64]) -> Tensor {
        let kept = self.tensors.as_ref().and_then(|tensors| {
            let mut tensors = tensors.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |tensor: &Tensor| tensor.datatype() == datatype && tensor.dims() == dims;
            tensors.iter().rposition(fits).map(|index| tensors.remove(index))
        });
        kept.unwrap_or_else(|| Tensor::new(datatype, dims))
    }

    /// Keeps the tensors of a batch that is over, and lets the oldest go where these are too many.
    pub fn give_back(&self, batch: impl IntoIterator<Item = Tensor>) {
        let Some(tensors) = &self.tensors else { return };
        let mut tensors = tensors.lock().unwrap_or_else(PoisonError::into_inner);
        tensors.extend(batch);
        let mut bytes = 0;
        let fitting = tensors.iter().rev().take(MOST_TENSORS).take_while(|tensor| {
            bytes += tensor.byte_size();
            bytes <= MOST_BYTES
        });
        let kept = fitting.count().max(1);
        let gone = tensors.len().saturating_sub(kept);
        let gone: Vec<Tensor> = tensors.drain(..gone).collect();
        // The memory is given back when nobody waits for the lock.
        drop(tensors);
        drop(gone);
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").field("reuse", &self.tensors.is_some()).finish_non_exhaustive()
    }
}
