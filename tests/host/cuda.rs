//! The CUDA driver, and the memory of two GPUs.
//!
//! That memory is this program's own, under addresses at which no instruction finds anything: a backend that does not go
//! through the driver ends its process. The backend opens the driver as a library, `libcuda.c`, which calls the functions here.
//! Each thread has a context of its own that is current before the backend comes, and has to be again when it calls the server.

// The names are the driver's.
#![allow(non_snake_case)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::call::write;
use crate::faults::{Kind, due};
use crate::violations;

// `CUresult`.
const SUCCESS: c_int = 0;
const INVALID_VALUE: c_int = 1;
const INVALID_DEVICE: c_int = 101;
const INVALID_CONTEXT: c_int = 201;
const UNKNOWN: c_int = 999;

/// An address on a GPU is that of this program's memory and this bit, which none of a program's addresses has.
const ON_GPU: usize = 1 << 54;
/// An address on a GPU where nothing is.
pub const NOWHERE: usize = 64;

const GPUS: usize = 2;
/// The driver has its own numbers for the GPUs that a process may use.
const FIRST_DEVICE: usize = 10;
/// The context of the first GPU; those of the others follow.
const FIRST_CONTEXT: usize = 0xc0de << 48;
/// What is current to a thread before the backend comes.
const OF_THE_SERVER: usize = 0x5e4e << 48;

static STARTED: AtomicBool = AtomicBool::new(false);
static RETAINED: [AtomicBool; GPUS] = [const { AtomicBool::new(false) }; GPUS];

/// What the GPUs hold: address, length, and which.
static ALLOCATED: Mutex<BTreeMap<usize, (usize, i64)>> = Mutex::new(BTreeMap::new());

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = RefCell::new(vec![OF_THE_SERVER]);
    /// Copies to a GPU that are under way, until their stream is waited for.
    static UNDER_WAY: RefCell<Vec<(usize, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

fn allocated() -> MutexGuard<'static, BTreeMap<usize, (usize, i64)>> {
    ALLOCATED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this memory is a GPU's; returns its address there.
pub fn allocate(memory: *const u8, len: usize, gpu: i64) -> usize {
    let address = memory.expose_provenance() | ON_GPU;
    allocated().insert(address, (len, gpu));
    address
}

/// It is no more.
pub fn free(address: usize) {
    allocated().remove(&address);
}

/// Notes a violation if this thread, which calls `function`, has not the context any more, or not yet, that it had before the
/// backend came.
pub fn nothing_is_current(function: &str) {
    CURRENT.with_borrow(|current| {
        if *current != [OF_THE_SERVER] {
            violations::add(format!("{function} was called with the contexts {current:#x?} in the thread"));
        }
    });
}

/// Whether a function is the driver's.
pub fn has(function: &str) -> bool {
    function.starts_with("cu")
}

/// Whether it is called once for the life of the process, or for each GPU.
pub fn is_asked_once(function: &str) -> bool {
    ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain"].contains(&function)
}

/// A folder with the driver's library, made in `place`.
pub fn folder(place: &Path) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = place.join("cuda");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        // Another process may be about to use it.
        let new = folder.join(format!("new-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("libcuda.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&new).arg(&source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc compiles {}", source.display());
        fs::rename(&new, folder.join("libcuda.so.1")).expect("the target folder can be written");
        folder
    })
}

/// A folder, made in `place`, whose library of that name is none.
pub fn folder_without(place: &Path) -> PathBuf {
    let folder = place.join("no-cuda");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join("libcuda.so.1");
    fs::write(file, "no library, but found before any other\n").expect("the target folder can be written");
    folder
}

/// Does what a function does, with the fault that is due.
fn call(function: &str, effect: impl FnOnce() -> c_int) -> c_int {
    let kind = due(function);
    let status = if kind == Some(Kind::Error) { UNKNOWN } else { effect() };
    if kind.is_none() {
        return status;
    }
    // What is on its way does not arrive: there may soon be something else.
    UNDER_WAY.take();
    UNKNOWN
}

/// Notes a violation and returns an error.
fn refuse(status: c_int, violation: String) -> c_int {
    violations::add(violation);
    status
}

/// The memory that a GPU has at an address; nothing, and an error, where there is none or the GPU's context is not current.
fn memory(address: u64, size: usize, function: &str) -> Result<*mut u8, c_int> {
    let address = address as usize;
    if address == NOWHERE {
        return Err(INVALID_VALUE);
    }
    let found = allocated().range(..=address).next_back().map(|(&begin, &(len, gpu))| (begin, len, gpu));
    let Some((_, _, gpu)) = found.filter(|(begin, len, _)| address - begin + size <= *len) else {
        return Err(refuse(INVALID_VALUE, format!("{function} was called for {size} bytes at {address:#x}")));
    };
    let current = CURRENT.with_borrow(|current| current.last().copied());
    if current != Some(FIRST_CONTEXT + gpu as usize) {
        let violation = format!("{function} was called for GPU {gpu} in the context {current:#x?}");
        return Err(refuse(INVALID_CONTEXT, violation));
    }
    Ok(ptr::with_exposed_provenance_mut(address & !ON_GPU))
}

macro_rules! exported {
    ($($name:ident,)*) => {
        /// Keeps the functions in the program, which itself calls none of them.
        #[used]
        static KEPT: Kept = Kept(&[$($name as *const c_void,)*]);
    };
}

struct Kept(#[allow(dead_code)] &'static [*const c_void]);

// SAFETY: nobody reads it.
unsafe impl Sync for Kept {}

exported! {
    host_cuCtxPopCurrent_v2,
    host_cuCtxPushCurrent_v2,
    host_cuDeviceGet,
    host_cuDevicePrimaryCtxRetain,
    host_cuGetErrorName,
    host_cuInit,
    host_cuMemcpyDtoH_v2,
    host_cuMemcpyHtoD_v2,
    host_cuStreamSynchronize,
}

#[unsafe(no_mangle)]
extern "C" fn host_cuInit(flags: c_uint) -> c_int {
    call("cuInit", || {
        if flags != 0 {
            return refuse(INVALID_VALUE, format!("cuInit was called with the flags {flags}"));
        }
        STARTED.store(true, Ordering::Relaxed);
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    call("cuDeviceGet", || {
        if !STARTED.load(Ordering::Relaxed) {
            return refuse(UNKNOWN, "cuDeviceGet was called before cuInit".into());
        }
        if !(0..GPUS as c_int).contains(&ordinal) {
            return INVALID_DEVICE;
        }
        // SAFETY: the backend passes its variable.
        unsafe { write(device, FIRST_DEVICE as c_int + ordinal, "cuDeviceGet") };
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) -> c_int {
    const NAME: &str = "cuDevicePrimaryCtxRetain";
    let Some(gpu) = (device as usize).checked_sub(FIRST_DEVICE).filter(|&gpu| gpu < GPUS) else {
        return refuse(INVALID_DEVICE, format!("{NAME} was called for the device {device}"));
    };
    let kind = due(NAME);
    if kind == Some(Kind::Error) {
        return UNKNOWN;
    }
    let found = if kind == Some(Kind::Null) {
        ptr::null_mut()
    } else {
        ptr::without_provenance_mut(FIRST_CONTEXT + gpu)
    };
    // SAFETY: the backend passes its variable.
    unsafe { write(context, found, NAME) };
    if kind == Some(Kind::Late) {
        return UNKNOWN;
    }
    if kind.is_none() && RETAINED[gpu].swap(true, Ordering::Relaxed) {
        violations::add(format!("{NAME} was called twice for GPU {gpu}"));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn host_cuCtxPushCurrent_v2(context: *mut c_void) -> c_int {
    call("cuCtxPushCurrent_v2", || {
        let gpu = context.addr().wrapping_sub(FIRST_CONTEXT);
        if gpu >= GPUS || !RETAINED[gpu].load(Ordering::Relaxed) {
            return refuse(INVALID_CONTEXT, format!("cuCtxPushCurrent was called for {context:?}"));
        }
        CURRENT.with_borrow_mut(|current| current.push(context.addr()));
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuCtxPopCurrent_v2(context: *mut *mut c_void) -> c_int {
    call("cuCtxPopCurrent_v2", || {
        let popped = CURRENT.with_borrow_mut(|current| current.pop_if(|top| *top != OF_THE_SERVER));
        let Some(popped) = popped else {
            return refuse(
                INVALID_CONTEXT,
                "cuCtxPopCurrent was called for a context of the server's".into(),
            );
        };
        // SAFETY: the backend passes its variable.
        unsafe { write(context, ptr::without_provenance_mut(popped), "cuCtxPopCurrent_v2") };
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) -> c_int {
    call("cuMemcpyDtoH_v2", || match memory(from, size, "cuMemcpyDtoH_v2") {
        Ok(from) => {
            // SAFETY: a request's memory has these bytes until its release; the backend passes room for them.
            unsafe { from.copy_to_nonoverlapping(to.cast(), size) };
            SUCCESS
        }
        Err(status) => status,
    })
}

/// As the driver does for memory that is not pinned: the data is taken, and gets to the GPU later.
#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) -> c_int {
    call("cuMemcpyHtoD_v2", || match memory(to, size, "cuMemcpyHtoD_v2") {
        Ok(_) => {
            // SAFETY: the backend passes so many bytes.
            let data = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) };
            UNDER_WAY.with_borrow_mut(|copies| copies.push((to as usize, data.to_vec())));
            SUCCESS
        }
        Err(status) => status,
    })
}

#[unsafe(no_mangle)]
extern "C" fn host_cuStreamSynchronize(stream: *mut c_void) -> c_int {
    call("cuStreamSynchronize", || {
        if !stream.is_null() {
            return refuse(INVALID_VALUE, "cuStreamSynchronize was called for another stream".into());
        }
        for (to, data) in UNDER_WAY.take() {
            let allocated = allocated();
            if allocated.get(&to).is_some_and(|(len, _)| data.len() <= *len) {
                let to: *mut u8 = ptr::with_exposed_provenance_mut(to & !ON_GPU);
                // SAFETY: the memory has so many bytes, and is not freed while the list of it is locked.
                unsafe { to.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
            }
        }
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn host_cuGetErrorName(error: c_int, name: *mut *const c_char) -> c_int {
    let known = match error {
        INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE".as_ptr(),
        INVALID_DEVICE => c"CUDA_ERROR_INVALID_DEVICE".as_ptr(),
        UNKNOWN => c"CUDA_ERROR_UNKNOWN".as_ptr(),
        _ => ptr::null(),
    };
    let kind = due("cuGetErrorName");
    if kind == Some(Kind::Error) {
        return UNKNOWN;
    }
    let name_or_none = if kind.is_none() { known } else { ptr::null() };
    // SAFETY: the backend passes its variable; the names live as long as the program.
    unsafe { write(name, name_or_none, "cuGetErrorName") };
    if name_or_none.is_null() { INVALID_VALUE } else { SUCCESS }
}
