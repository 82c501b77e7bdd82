//! Memory of the server's: page-locked memory, which GPUs read without a copy in between.

use std::ptr::{self, NonNull};

use triton_sys::{TRITONBACKEND_MemoryManager, TRITONSERVER_MemoryType};

use super::api::api;
use super::error::{Result, check, not_null};
use super::model::ModelHandle;

const PINNED: TRITONSERVER_MemoryType = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU_PINNED;

/// The server's memory manager. It lives as long as the backend, and all memory is given back before that ends: models go
/// first.
#[derive(Clone, Copy, Debug)]
pub struct MemoryManager(NonNull<TRITONBACKEND_MemoryManager>);

// SAFETY: the server's memory manager locks for itself; any thread may call it.
unsafe impl Send for MemoryManager {}
// SAFETY: as above.
unsafe impl Sync for MemoryManager {}

impl ModelHandle<'_> {
    /// The server's memory manager.
    pub fn memory_manager(&self) -> Result<MemoryManager> {
        let (mut backend, mut manager) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the handle is valid (see `new`) and knows its backend; the manager belongs to the server and outlives the
        // backend.
        unsafe {
            check(api().TRITONBACKEND_ModelBackend(self.raw(), &mut backend))?;
            not_null(backend, "backend of the model")?;
            check(api().TRITONBACKEND_BackendMemoryManager(backend, &mut manager))?;
        }
        not_null(manager, "memory manager")?;
        Ok(MemoryManager(NonNull::new(manager).expect("checked above")))
    }
}

impl MemoryManager {
    /// So many bytes of page-locked memory, out of the server's pool.
    ///
    /// # Errors
    /// The pool has no room for it, or the server has none.
    pub fn pinned(self, len: usize) -> Result<PinnedMemory> {
        let mut base = ptr::null_mut();
        // SAFETY: the manager lives as long as the backend; the memory is ours until it is freed.
        check(unsafe {
            api().TRITONBACKEND_MemoryManagerAllocate(self.0.as_ptr(), &mut base, PINNED, 0, len as u64)
        })?;
        not_null(base, "page-locked memory")?;
        let base = NonNull::new(base.cast()).expect("checked above");
        Ok(PinnedMemory { base, len, manager: self })
    }
}

/// Page-locked memory; dropping gives it back to the server's pool.
#[derive(Debug)]
pub struct PinnedMemory {
    base: NonNull<u8>,
    len: usize,
    manager: MemoryManager,
}

// SAFETY: it is plain memory that nobody else has, and any thread may free it.
unsafe impl Send for PinnedMemory {}
// SAFETY: a shared reference gives only its place and size.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    /// Where it begins; on no boundary in particular. Its bytes may be written to by whoever owns `self`.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // SAFETY: the memory is ours, from `pinned` with these arguments, and freed once.
        let freed = check(unsafe {
            api().TRITONBACKEND_MemoryManagerFree(
                self.manager.0.as_ptr(),
                self.base.as_ptr().cast(),
                PINNED,
                0,
            )
        });
        if let Err(error) = freed {
            log::error!("page-locked memory cannot be given back to the server: {error}");
        }
    }
}
