//! Lists that are short for nearly every request, and then take no memory from the heap.

use smallvec::SmallVec;

/// As many requests, tensors or pieces of one as an execution without batching has.
pub type Few<T> = SmallVec<[T; 2]>;

/// A shape, of a picture's rank or less.
pub type Dims<T> = SmallVec<[T; 4]>;
