//! The memory manager: page-locked memory, which is memory like any other here.

// The names are the server's.
#![allow(non_snake_case)]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use triton_sys::{
    TRITONBACKEND_Backend, TRITONBACKEND_MemoryManager, TRITONSERVER_Error, TRITONSERVER_MemoryType,
};

use super::loading::Backend;
use crate::call::{Given, call, give_up, write};
use crate::memory::Memory;
use crate::{objects, violations};

/// The bytes that there are for each life, in pieces of any size.
const POOL: usize = 1 << 20;

/// Page-locked memory that the backend has. Dropping frees it.
pub struct Pinned(#[allow(dead_code)] Memory);

const PINNED: TRITONSERVER_MemoryType = TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_CPU_PINNED;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_BackendMemoryManager(
    backend: *mut TRITONBACKEND_Backend,
    manager: *mut *mut TRITONBACKEND_MemoryManager,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_BackendMemoryManager";
    call(NAME, |given| {
        objects::get::<Backend>(backend, NAME).ok_or("no such backend")?;
        // One for the process, which looks like nothing else.
        let handle = if given == Given::Null { ptr::null_mut() } else { objects::as_pointer(MANAGER) };
        // SAFETY: the backend passes its variable.
        unsafe { write(manager, handle, NAME) };
        Ok(())
    })
}

/// The handle of the manager.
const MANAGER: usize = 0xbeef << 48;

fn check(manager: *mut TRITONBACKEND_MemoryManager, kind: TRITONSERVER_MemoryType, device: i64, name: &str) {
    if manager.addr() != MANAGER || kind != PINNED || device != 0 {
        violations::add(format!("{name} was called for another manager, kind {} or device {device}", kind.0));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_MemoryManagerAllocate(
    manager: *mut TRITONBACKEND_MemoryManager,
    buffer: *mut *mut c_void,
    kind: TRITONSERVER_MemoryType,
    device: i64,
    size: u64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_MemoryManagerAllocate";
    check(manager, kind, device, NAME);
    call(NAME, |given| {
        if size as usize > POOL {
            return Err("the pool has no room for it".into());
        }
        let mut place = ptr::null_mut();
        if given != Given::Null {
            // Aligned for nothing in particular, as a server's is.
            let memory = Memory::of(&vec![0xa5; size as usize], false);
            (place, ..) = memory.place();
            objects::add_at(place.addr(), Arc::new(Pinned(memory)));
        }
        // SAFETY: the backend passes its variable.
        unsafe { write(buffer, place.cast(), NAME) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_MemoryManagerFree(
    manager: *mut TRITONBACKEND_MemoryManager,
    buffer: *mut c_void,
    kind: TRITONSERVER_MemoryType,
    device: i64,
) -> *mut TRITONSERVER_Error {
    const NAME: &str = "TRITONBACKEND_MemoryManagerFree";
    check(manager, kind, device, NAME);
    give_up(NAME, |_| {
        if objects::remove::<Pinned>(buffer, NAME).is_none() {
            violations::add(format!("{NAME} was called for memory that is not there"));
        }
    })
}
