//! The memory of NVIDIA's GPUs, copied from and to through the library of their driver.
//!
//! The library is opened when the first tensor in such memory comes: who has no GPU needs none. The loader finds it as it
//! finds any library, and where the server hands over memory of a GPU, it is the one that the server uses.
//!
//! A copy runs in the primary context of its GPU, which the CUDA runtime shares, and with it the server and TensorFlow. The
//! context is current to the thread for the copy alone: the thread is the server's or a worker's, and what was current to it
//! before is current to it afterwards. What is copied is complete when the server hands it over, and complete for the client
//! when a copy returns.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use once_cell::sync::OnceCell;
use triton_sys::TRITONSERVER_MemoryType;

use super::error::{Error, Result};

/// The driver's library, under the name that all its versions have.
const FILE: &str = "libcuda.so.1";

/// What a client can do without the driver.
const ADVICE: &str = "send and receive the data itself, or use system shared memory";

/// `CUresult`.
type Status = c_int;
/// `CUdeviceptr`: an address in the memory of a GPU.
type Address = u64;
/// `CUcontext`.
type RawContext = *mut c_void;
type ErrorName = unsafe extern "C" fn(Status, *mut *const c_char) -> Status;

macro_rules! driver {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The functions of the driver's library, which is never closed, under the names that they have there.
        #[allow(non_snake_case)]
        struct Driver {
            $($name: unsafe extern "C" fn($($argument),*) -> Status,)*
            cuGetErrorName: Option<ErrorName>,
            _library: Library,
        }

        impl Driver {
            /// Looks the functions up.
            fn of(library: Library) -> Result<Self> {
                // SAFETY: these are the signatures of the CUDA driver API, which never change: a function that takes
                // something else gets another name.
                unsafe {
                    Ok(Self {
                        $($name: *library
                            .get(concat!(stringify!($name), "\0").as_bytes())
                            .map_err(|_| lacks(stringify!($name)))?,)*
                        cuGetErrorName: library.get(b"cuGetErrorName\0").ok().map(|name| *name),
                        _library: library,
                    })
                }
            }
        }
    };
}

driver! {
    cuInit(c_uint);
    cuDeviceGet(*mut c_int, c_int);
    cuDevicePrimaryCtxRetain(*mut RawContext, c_int);
    cuCtxPushCurrent_v2(RawContext);
    cuCtxPopCurrent_v2(*mut RawContext);
    cuMemcpyDtoH_v2(*mut c_void, Address, usize);
    cuMemcpyHtoD_v2(Address, *const c_void, usize);
    cuStreamSynchronize(*mut c_void);
}

fn lacks(function: &str) -> Error {
    Error::unsupported(format!(
        "{FILE} has no function {function}: the NVIDIA driver is older than CUDA 7.0. Update it, or {ADVICE}"
    ))
}

/// Calls a function of the driver's and turns what it returns into a result.
macro_rules! call {
    ($driver:expr, $name:ident($($argument:expr),*)) => {
        $driver.check(stringify!($name), ($driver.$name)($($argument),*))
    };
}

impl Driver {
    /// Opens the library and starts the driver.
    fn start(file: &str) -> Result<Self> {
        // SAFETY: runs the library's initialisers. It is the driver of this machine, which the server itself trusts.
        let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) };
        let driver = Self::of(library.map_err(|e| {
            Error::unsupported(format!(
                "{file}, the library of the NVIDIA driver, cannot be opened ({e}). Run the server where it is (containers \
                 need --gpus), or {ADVICE}"
            ))
        })?)?;
        // SAFETY: takes a number, and may be called by any thread, as often as wanted.
        unsafe { call!(driver, cuInit(0)) }?;
        Ok(driver)
    }

    fn check(&self, call: &str, status: Status) -> Result<()> {
        if status == 0 { Ok(()) } else { Err(self.failed(call, status)) }
    }

    #[cold]
    fn failed(&self, call: &str, status: Status) -> Error {
        let mut name = ptr::null();
        if let Some(error_name) = self.cuGetErrorName {
            // SAFETY: the result is written to our variable. For a code that it does not know, that is null.
            unsafe { error_name(status, &mut name) };
        }
        let name = if name.is_null() {
            String::new()
        } else {
            // SAFETY: not null, so a text of the library's, which stays open.
            format!(" ({})", unsafe { CStr::from_ptr(name) }.to_string_lossy())
        };
        Error::internal(format!("{call} returned {status}{name}. Check the GPU with nvidia-smi, or {ADVICE}"))
    }
}

static DRIVER: OnceCell<Driver> = OnceCell::new();
/// The GPUs whose memory was handed over so far.
static GPUS: Mutex<Vec<&'static Gpu>> = Mutex::new(Vec::new());

/// A GPU whose primary context is retained, for the life of the process.
pub(super) struct Gpu {
    /// Its number in this process, for the server as for the driver.
    number: i64,
    context: NonNull<c_void>,
    driver: &'static Driver,
}

// SAFETY: a context may be current to several threads, and the driver's functions may be called by any.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// The GPU in whose memory the server has so many bytes; none where they are the CPU's, pinned or not.
    ///
    /// # Errors
    /// There is no driver, or it cannot use that GPU. The next call tries again.
    pub(super) fn of(
        memory: TRITONSERVER_MemoryType,
        number: i64,
        size: usize,
    ) -> Result<Option<&'static Self>> {
        if memory == TRITONSERVER_MemoryType::TRITONSERVER_MEMORY_GPU {
            Self::holding(number, size)
        } else {
            Ok(None)
        }
    }

    #[cold]
    #[inline(never)]
    fn holding(number: i64, size: usize) -> Result<Option<&'static Self>> {
        // Of nothing there is nothing to copy.
        if size == 0 {
            return Ok(None);
        }
        let gpu = Self::in_use(number);
        gpu.map(Some)
            .map_err(|e| e.context(format!("its memory is that of GPU {number}, which cannot be reached")))
    }

    fn in_use(number: i64) -> Result<&'static Self> {
        let driver = DRIVER.get_or_try_init(|| Driver::start(FILE))?;
        let mut gpus = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&gpu) = gpus.iter().find(|gpu| gpu.number == number) {
            return Ok(gpu);
        }
        let gpu: &Self = Box::leak(Box::new(Self::new(number, driver)?));
        gpus.push(gpu);
        drop(gpus);
        log::info!("tensors in the memory of GPU {number} are copied through {FILE}");
        Ok(gpu)
    }

    fn new(number: i64, driver: &'static Driver) -> Result<Self> {
        let ordinal = c_int::try_from(number)
            .map_err(|_| Error::internal(format!("the server reported {number} as the number of a GPU")))?;
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: the driver has started; the results are written to our variables. The context is never released.
        unsafe {
            call!(driver, cuDeviceGet(&mut device, ordinal))?;
            call!(driver, cuDevicePrimaryCtxRetain(&mut context, device))?;
        }
        let context = NonNull::new(context).ok_or_else(|| {
            Error::internal("cuDevicePrimaryCtxRetain reported success and returned no context")
        })?;
        Ok(Self { number, context, driver })
    }

    /// Copies from its memory; after an error `target` may be initialised in part, or not at all.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// From `from` on there are as many bytes in this GPU's memory as `target` has. They can be read until this returns.
    #[cold]
    pub(super) unsafe fn read(&self, from: *const u8, target: &mut [MaybeUninit<u8>]) -> Result<()> {
        self.in_context(|driver| {
            let (to, from, size) = (target.as_mut_ptr().cast(), from.addr() as Address, target.len());
            // SAFETY: the caller vouches for the GPU's memory, the other is borrowed alone. To memory of the CPU that is not
            // pinned, and any other, this function returns after the copy.
            unsafe { call!(driver, cuMemcpyDtoH_v2(to, from, size)) }
        })
        .map_err(|e| e.context(format!("cannot be copied from the memory of GPU {}", self.number)))
    }

    /// Copies to its memory. The data is there when this returns.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// From `to` on there are as many bytes in this GPU's memory as `data` has. They can be written until this returns.
    #[cold]
    pub(super) unsafe fn write(&self, to: *mut u8, data: &[u8]) -> Result<()> {
        self.in_context(|driver| {
            // SAFETY: the caller vouches for the GPU's memory, the other is borrowed. The copy is one of the default stream's,
            // and where the memory is not pinned it may still be under way when the function returns: the driver has a copy of
            // the data, and its transfer is what the second call waits for.
            unsafe {
                call!(driver, cuMemcpyHtoD_v2(to.addr() as Address, data.as_ptr().cast(), data.len()))?;
                call!(driver, cuStreamSynchronize(ptr::null_mut()))
            }
        })
        .map_err(|e| e.context(format!("cannot be copied to the memory of GPU {}", self.number)))
    }

    /// Makes its context current to this thread while `copy` runs.
    fn in_context(&self, copy: impl FnOnce(&Driver) -> Result<()>) -> Result<()> {
        let driver = self.driver;
        // SAFETY: the context lives as long as the process. With an error it was not made current.
        unsafe { call!(driver, cuCtxPushCurrent_v2(self.context.as_ptr())) }?;
        let copied = copy(driver);
        let mut popped = ptr::null_mut();
        // SAFETY: takes away what was made current above; the result is written to our variable.
        let restored = unsafe { call!(driver, cuCtxPopCurrent_v2(&mut popped)) };
        copied.and(restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::Code;

    #[test]
    fn a_driver_that_is_not_there_is_named_with_what_to_do() {
        let error = Driver::start("libnone_of_that_name.so.1").err().expect("there is none");
        assert_eq!(error.code, Code::Unsupported);
        for part in
            ["libnone_of_that_name.so.1, the library of the NVIDIA driver", "--gpus", "system shared memory"]
        {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn a_library_that_is_no_driver_is_refused() {
        let error = Driver::start("libc.so.6").err().expect("it is something else");
        assert!(error.message.contains("has no function cuInit"), "{error}");
    }
}
