//! Looks up the API in the running process.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Deref;
use std::os::raw::{c_char, c_void};
use std::ptr::NonNull;

use libloading::os::unix::{Library, RTLD_LAZY};

use crate::bindings::{Symbols, TRITONSERVER_Error, TRITONSERVER_Error_Code};
use crate::version::{API_VERSION, ApiKind, FUNCTIONS, Function, SERVER_API_VERSION, Version};

/// The library that has the API if the server's executable does not export it.
const SERVER_LIBRARY: &str = "libtritonserver.so";

/// The functions of the running server.
///
/// It dereferences to [`Symbols`], which has each function as a field (a `Result`: the function, or the dynamic linker's
/// error) and as a method, which panics if the function is missing.
///
/// It is `Send` and `Sync`: keep one in a `static` and call it from any thread. The functions' own documentation says
/// when each may be called.
pub struct Api {
    symbols: Symbols,
    version: Version,
    server_api_version: Version,
    /// Parallel to [`FUNCTIONS`].
    present: Vec<bool>,
}

impl Api {
    /// Looks up all [`FUNCTIONS`] in the running process: first in the global scope of the dynamic linker, then in a
    /// `libtritonserver.so` that is already loaded. Loads no library. Takes less than a millisecond; do it once.
    ///
    /// # Errors
    ///
    /// If the process is not a Triton server, if its API has another major version than [`API_VERSION`] or
    /// [`SERVER_API_VERSION`], or if a function of API 1.0 is missing. A missing later function is no error.
    ///
    /// # Safety
    ///
    /// What the process exports under the names of the API must be Triton's, and must stay loaded as long as the result is
    /// used. Both hold in a backend that a Triton server has opened.
    pub unsafe fn from_process() -> Result<Api, LoadError> {
        let library = find_server()?;
        let present: Vec<bool> =
            FUNCTIONS.iter().map(|function| has_symbol(&library, function.name)).collect();
        // SAFETY: by the caller's promise these names are Triton's; the declarations are Triton's too. No symbol is
        // required here, so a missing one is no error.
        let symbols = unsafe { Symbols::from_library(library) }
            .map_err(|e| LoadError::NotInServer { tried: e.to_string() })?;

        // First the versions: in a server of another major version much may be missing, and the version then explains it.
        // SAFETY: the function is Triton's, by the caller's promise.
        let version = unsafe { ask_version(&symbols, &symbols.TRITONBACKEND_ApiVersion, ApiKind::Backend) }?;
        // SAFETY: as above.
        let server_api_version =
            unsafe { ask_version(&symbols, &symbols.TRITONSERVER_ApiVersion, ApiKind::Server) }?;

        let missing: Vec<&'static str> = FUNCTIONS
            .iter()
            .zip(&present)
            .filter(|(function, present)| function.is_required() && !**present)
            .map(|(function, _)| function.name)
            .collect();
        if !missing.is_empty() {
            return Err(LoadError::Missing { names: missing, version: Some(version) });
        }
        Ok(Api { symbols, version, server_api_version, present })
    }

    /// The version of the server's backend API.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The version of the server's server API.
    pub fn server_api_version(&self) -> Version {
        self.server_api_version
    }

    /// Whether the server has the function of this name; false for a name that is not in [`FUNCTIONS`].
    ///
    /// If the name is known at compile time, prefer the field, which the compiler checks:
    /// `api.TRITONBACKEND_RequestIsCancelled.is_ok()`.
    pub fn has(&self, name: &str) -> bool {
        FUNCTIONS.binary_search_by_key(&name, |function| function.name).is_ok_and(|at| self.present[at])
    }

    /// The functions that these bindings know and the server lacks, sorted by name.
    pub fn missing(&self) -> impl Iterator<Item = &'static Function> {
        FUNCTIONS.iter().zip(&self.present).filter(|(_, present)| !**present).map(|(function, _)| function)
    }
}

impl Deref for Api {
    type Target = Symbols;

    fn deref(&self) -> &Symbols {
        &self.symbols
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("version", &self.version)
            .field("server_api_version", &self.server_api_version)
            .field("missing", &self.missing().map(|function| function.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

// Backends keep one Api in a static.
const _: fn() = || {
    fn usable_from_every_thread<T: Send + Sync + 'static>() {}
    usable_from_every_thread::<Api>();
    usable_from_every_thread::<LoadError>();
};

/// A process with this function is taken for a Triton server.
const FIRST: &str = "TRITONBACKEND_ApiVersion";

fn find_server() -> Result<Library, LoadError> {
    let process = Library::this();
    if has_symbol(&process, FIRST) {
        return Ok(process);
    }
    // A program that embeds the server may have opened its library with RTLD_LOCAL.
    // SAFETY: with RTLD_NOLOAD the library is loaded already, so this runs none of its code.
    let loaded = unsafe { Library::open(Some(SERVER_LIBRARY), libc::RTLD_NOLOAD | RTLD_LAZY) };
    match loaded {
        Ok(library) if has_symbol(&library, FIRST) => Ok(library),
        Ok(_) => {
            Err(LoadError::NotInServer { tried: format!("{SERVER_LIBRARY} is loaded, but has no {FIRST}") })
        }
        Err(_) => Err(LoadError::NotInServer { tried: format!("no {SERVER_LIBRARY} is loaded") }),
    }
}

fn has_symbol(library: &Library, name: &str) -> bool {
    // SAFETY: the symbol is not used, so its type does not matter.
    unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_ok_and(|symbol| !symbol.into_raw().is_null())
}

type ApiVersionFn = unsafe extern "C" fn(major: *mut u32, minor: *mut u32) -> *mut TRITONSERVER_Error;

/// The version of one of the server's APIs. Fails for another major version.
///
/// # Safety
///
/// The functions in `symbols` must be Triton's.
unsafe fn ask_version(
    symbols: &Symbols,
    function: &Result<ApiVersionFn, libloading::Error>,
    api: ApiKind,
) -> Result<Version, LoadError> {
    let (name, expected) = match api {
        ApiKind::Backend => ("TRITONBACKEND_ApiVersion", API_VERSION),
        ApiKind::Server => ("TRITONSERVER_ApiVersion", SERVER_API_VERSION),
    };
    let Ok(function) = function else {
        return Err(LoadError::Missing { names: vec![name], version: None });
    };
    let mut found = Version { major: 0, minor: 0 };
    // SAFETY: both pointers are valid; the rest is the caller's promise.
    let error = unsafe { function(&mut found.major, &mut found.minor) };
    if !error.is_null() {
        // SAFETY: this function owns the error.
        let (code, message) = unsafe { take_error(symbols, error) };
        return Err(LoadError::Version { api, code, message });
    }
    if found.major != expected.major {
        return Err(LoadError::WrongMajor { api, found, expected });
    }
    Ok(found)
}

/// Reads an error and deletes it. Checks for each function, because this runs before the required ones are checked.
///
/// # Safety
///
/// `error` must be an error of the server that the caller owns. It is deleted.
unsafe fn take_error(symbols: &Symbols, error: *mut TRITONSERVER_Error) -> (TRITONSERVER_Error_Code, String) {
    let code = match &symbols.TRITONSERVER_ErrorCode {
        // SAFETY: the error is alive.
        Ok(code_of) => unsafe { code_of(error) },
        Err(_) => TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNKNOWN,
    };
    let message = match &symbols.TRITONSERVER_ErrorMessage {
        Ok(message_of) => {
            // SAFETY: the error is alive.
            let text = unsafe { message_of(error) };
            if text.is_null() {
                String::new()
            } else {
                // SAFETY: a C string that lives as long as the error.
                unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
            }
        }
        Err(e) => format!("no message: {e}"),
    };
    if let Ok(delete) = &symbols.TRITONSERVER_ErrorDelete {
        // SAFETY: the caller owns the error, and nothing refers to it any more.
        unsafe { delete(error) };
    }
    (code, message)
}

/// Why the API cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The process is not a Triton server.
    NotInServer {
        /// What was tried last.
        tried: String,
    },
    /// Required functions are missing.
    Missing {
        /// Their names, sorted.
        names: Vec<&'static str>,
        /// The version of the server's backend API, if known.
        version: Option<Version>,
    },
    /// The server has another major version.
    WrongMajor {
        /// Which of the two APIs.
        api: ApiKind,
        /// The server's version.
        found: Version,
        /// The version of these bindings.
        expected: Version,
    },
    /// The server returned an error instead of its version.
    Version {
        /// Which of the two APIs.
        api: ApiKind,
        /// The error's code.
        code: TRITONSERVER_Error_Code,
        /// The error's message.
        message: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NotInServer { tried } => write!(
                f,
                "this process is not a Triton server: it does not export {FIRST}, and {tried}. A Triton backend works \
                 only inside tritonserver, which opens it for a model whose configuration names it"
            ),
            LoadError::Missing { names, version } => {
                f.write_str("the Triton server ")?;
                if let Some(version) = version {
                    write!(f, "reports backend API {version}, but ")?;
                }
                write!(
                    f,
                    "lacks {} function{} that every version since 1.0 has: {}. Its libtritonserver.so is incomplete; use \
                     an unmodified Triton 2.7.0 or newer",
                    names.len(),
                    if names.len() == 1 { "" } else { "s" },
                    names.join(", ")
                )
            }
            LoadError::WrongMajor { api, found, expected } => write!(
                f,
                "the Triton server speaks {api} {found}; this backend was built for {api} {expected}, and the major \
                 versions must be equal. Use a server with {api} {}.x, or a backend built for {found}",
                expected.major
            ),
            LoadError::Version { api, code, message } => write!(
                f,
                "the Triton server returned an error instead of the version of its {api}: {message} (error code {}). See \
                 its log",
                code.0
            ),
        }
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    /// Converts this error to an error object of the server, for an entry point to return: without an [`Api`] there is no
    /// other way. `None` if the process has no function to create one; write the error to stderr then.
    ///
    /// # Safety
    ///
    /// What the process exports as `TRITONSERVER_ErrorNew` must be Triton's. The caller owns the error object.
    pub unsafe fn to_server(&self) -> Option<NonNull<TRITONSERVER_Error>> {
        type ErrorNewFn =
            unsafe extern "C" fn(TRITONSERVER_Error_Code, *const c_char) -> *mut TRITONSERVER_Error;

        let message = CString::new(self.to_string().replace('\0', " ")).ok()?;
        let library = find_server().ok()?;
        // SAFETY: by the caller's promise the function is Triton's; the signature is the same in every release.
        let error_new = unsafe { library.get::<ErrorNewFn>(b"TRITONSERVER_ErrorNew\0") }.ok()?;
        // SAFETY: the server copies the message before the call returns.
        NonNull::new(unsafe {
            error_new(TRITONSERVER_Error_Code::TRITONSERVER_ERROR_UNSUPPORTED, message.as_ptr())
        })
    }
}
