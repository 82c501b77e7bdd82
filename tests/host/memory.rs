//! Memory that the backend reads or fills, as long to the byte as it is said to be, so that AddressSanitizer sees the end.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::slice;

use triton_sys::TRITONSERVER_MemoryType;

use crate::cuda;

/// As TensorFlow wants it of memory that it is lent.
const ALIGNMENT: usize = 64;
/// What memory holds that nobody has written: as a number it is no result of a model and no time.
const UNSET: u8 = 0xa5;
/// What memory holds that has been given back.
const GONE: u8 = 0xdd;

/// Bytes on the heap; at an address that TensorFlow takes without a copy, or beside one.
pub struct Memory {
    block: NonNull<u8>,
    layout: Layout,
    offset: usize,
    len: usize,
    /// The GPU whose memory it is, and its address there.
    gpu: Option<(i64, usize)>,
}

// SAFETY: the memory is on the heap, and who reads it while others write is judged by the caller of `bytes`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Memory that is not set.
    pub fn unset(len: usize) -> Self {
        Self::new(len, 0)
    }

    /// Memory with this content, aligned or not.
    pub fn of(content: &[u8], aligned: bool) -> Self {
        let memory = Self::new(content.len(), if aligned { 0 } else { 4 });
        // SAFETY: the block is as long, and nobody else has it yet.
        unsafe { memory.pointer().copy_from_nonoverlapping(content.as_ptr(), content.len()) }
        memory
    }

    fn new(len: usize, offset: usize) -> Self {
        let layout = Layout::from_size_align((offset + len).max(1), ALIGNMENT).expect("little memory");
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: the block is as long as its layout.
        unsafe { block.as_ptr().write_bytes(UNSET, layout.size()) };
        Self { block, layout, offset, len, gpu: None }
    }

    /// Makes it the memory of a GPU, if one is given.
    pub fn on(mut self, gpu: Option<i64>) -> Self {
        self.gpu = gpu.map(|gpu| (gpu, cuda::allocate(self.pointer(), self.len, gpu)));
        self
    }

    /// Where the backend finds it: the address, the kind of memory, and which.
    pub fn place(&self) -> (*mut u8, TRITONSERVER_MemoryType, i64) {
        match self.gpu {
            Some((gpu, address)) => {
                let address = std::ptr::without_provenance_mut(address);
                (address, TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU, gpu)
            }
            None => (self.pointer(), TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU, 0),
        }
    }

    /// Where it begins.
    fn pointer(&self) -> *mut u8 {
        // SAFETY: the block has `offset + len` bytes.
        unsafe { self.block.as_ptr().add(self.offset) }
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it holds.
    ///
    /// # Safety
    /// Nobody writes to it meanwhile.
    pub unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: all bytes are initialised by `new`; the caller promises the rest.
        unsafe { slice::from_raw_parts(self.pointer(), self.len) }
    }

    /// Whether a piece of `size` bytes was left as it was.
    pub fn is_unset(piece: &[u8]) -> bool {
        piece.iter().all(|&byte| byte == UNSET)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some((_, address)) = self.gpu {
            cuda::free(address);
        }
        // SAFETY: the block is ours and is freed once; who still reads it sees that it is gone.
        unsafe {
            self.block.as_ptr().write_bytes(GONE, self.layout.size());
            dealloc(self.block.as_ptr(), self.layout);
        }
    }
}
