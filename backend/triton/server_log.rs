//! `log` records go to the server's own log, with its levels and its format.

use log::{Level, LevelFilter, Log, Metadata, Record};
use triton_sys::TRITONSERVER_LogLevel;

use super::api::api;
use super::error::{c_string, check};

struct ServerLog;

/// Sends this library's log records to the server. Calling it again changes nothing.
pub(super) fn install() {
    static LOG: ServerLog = ServerLog;
    // An error means that it is installed already, which is what was wanted.
    let _ = log::set_logger(&LOG);
    log::set_max_level(LevelFilter::Debug);
}

/// What other crates have to say is detail, unless something is wrong.
fn level(metadata: &Metadata<'_>) -> TRITONSERVER_LogLevel {
    match metadata.level() {
        Level::Info if !metadata.target().starts_with(env!("CARGO_CRATE_NAME")) => {
            TRITONSERVER_LogLevel::TRITONSERVER_LOG_VERBOSE
        }
        Level::Error => TRITONSERVER_LogLevel::TRITONSERVER_LOG_ERROR,
        Level::Warn => TRITONSERVER_LogLevel::TRITONSERVER_LOG_WARN,
        Level::Info => TRITONSERVER_LogLevel::TRITONSERVER_LOG_INFO,
        Level::Debug | Level::Trace => TRITONSERVER_LogLevel::TRITONSERVER_LOG_VERBOSE,
    }
}

impl Log for ServerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // SAFETY: takes a plain value; any thread may call it.
        unsafe { api().TRITONSERVER_LogIsEnabled(level(metadata)) }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let file = c_string(record.file().unwrap_or("unknown"));
        let text = c_string(&record.args().to_string());
        let line = record.line().unwrap_or(0) as i32;
        // SAFETY: both strings outlive the call, which copies them; any thread may call it.
        let written = unsafe {
            api().TRITONSERVER_LogMessage(level(record.metadata()), file.as_ptr(), line, text.as_ptr())
        };
        // A log that cannot be written has nowhere to complain to.
        let _ = check(written);
    }

    fn flush(&self) {}
}
