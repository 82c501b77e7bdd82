//! The executable of the server under test.

use std::sync::OnceLock;

use triton_server_process::Executable;

use super::environment::environment;
use super::notes::left_out;

/// The server under test, and the options that it has.
pub fn executable() -> &'static Executable {
    static EXECUTABLE: OnceLock<Executable> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        let executable =
            Executable::ask(&environment().tritonserver).unwrap_or_else(|error| panic!("{error:#}"));
        for option in ["--http-address", "--grpc-address"] {
            if !executable.has_option(option) {
                left_out(option, "this server has no such option; it listens on every address");
            }
        }
        executable
    })
}

/// Whether the server asks the backend to complete a configuration; where not, it is noted that `what` is not tested.
///
/// Servers that have to be told by `--strict-model-config=false` are not: Triton 2.7.0 then also replaces the backend
/// of every model that has a SavedModel.
pub fn completes_configurations(what: &str) -> bool {
    let completes = executable().has_option("--disable-auto-complete-config");
    if !completes {
        left_out(
            what,
            "this server completes configurations only if told to, and may then replace the backend",
        );
    }
    completes
}
