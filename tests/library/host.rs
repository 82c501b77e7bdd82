//! A tiny program that plays a Triton server: it shows the API's functions, opens the backend as a server does, calls
//! its `TRITONBACKEND_Initialize` and `TRITONBACKEND_Finalize` and prints what they return. There is no model: what happens until then is
//! what decides whether a backend fits a server.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use triton_sys::FUNCTIONS;

use super::compiler::{compile, named, work_folder};

/// The functions with something behind them. The others exist and answer null, which is success.
const BEHIND: &str = r#"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *folder;
static char *json;

void *TRITONSERVER_ErrorNew(int code, const char *message) { (void)code; return strdup(message); }
int TRITONSERVER_ErrorCode(void *error) { (void)error; return 0; }
const char *TRITONSERVER_ErrorMessage(void *error) { return error; }
void TRITONSERVER_ErrorDelete(void *error) { free(error); }
bool TRITONSERVER_LogIsEnabled(int level) { (void)level; return true; }
void *TRITONSERVER_LogMessage(int level, const char *file, int line, const char *message)
{
  (void)level; (void)file; (void)line;
  printf("log: %s\n", message);
  return 0;
}
void *TRITONSERVER_MessageSerializeToJson(void *message, const char **base, size_t *size)
{
  (void)message; *base = json; *size = strlen(json);
  return 0;
}
void *TRITONBACKEND_BackendName(void *backend, const char **name) { (void)backend; *name = "stand_in"; return 0; }
void *TRITONBACKEND_BackendArtifacts(void *backend, unsigned *kind, const char **location)
{
  (void)backend; *kind = 0; *location = folder;
  return 0;
}
"#;

/// `ARGV[1]` is the backend, `ARGV[2]` a folder without TensorFlow.
const MAIN: &str = r#"
int main(int count, char **values)
{
  if (count != 3) return 2;
  folder = values[2];
  json = malloc(strlen(folder) + 100);
  sprintf(json, "{\"cmdline\":{\"tensorflow-dir\":\"%s\"}}", folder);
  void *library = dlopen(values[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) { printf("dlopen: %s\n", dlerror()); return 1; }
  void *(*initialize)(void *) = (void *(*)(void *))dlsym(library, "TRITONBACKEND_Initialize");
  if (!initialize) { printf("dlsym: %s\n", dlerror()); return 1; }
  const char *error = initialize(&json);
  printf("Initialize: %s\n", error ? error : "success");
  // A server calls this also when Initialize has failed.
  void *(*finalize)(void *) = (void *(*)(void *))dlsym(library, "TRITONBACKEND_Finalize");
  if (!finalize) { printf("dlsym: %s\n", dlerror()); return 1; }
  error = finalize(&json);
  printf("Finalize: %s\n", error ? error : "success");
  return error ? 1 : 0;
}
"#;

/// What kind of server it plays.
pub struct Host {
    /// The folder that holds it, so that cases do not overwrite one another.
    pub name: &'static str,
    /// The version of the backend API.
    pub backend: (u32, u32),
    /// The version of the server API.
    pub server: (u32, u32),
    /// Whether it has the functions that came after API 1.0.
    pub later: bool,
    /// What it lacks.
    pub without: &'static [&'static str],
}

impl Host {
    /// A server of API 1.0, with exactly its functions.
    pub fn new(name: &'static str) -> Self {
        Self { name, backend: (1, 0), server: (1, 0), later: false, without: &[] }
    }

    /// What the backend under test says when it opens it: log lines, and the result of Initialize.
    pub fn initialize(&self) -> String {
        let folder = work_folder(self.name);
        let program = compile(&folder, "host", &self.source(), &["-rdynamic", "-ldl"]);
        run(&program, &named("TL_BACKEND"), &folder)
    }

    fn source(&self) -> String {
        let mut text = BEHIND.to_owned();
        for (name, (major, minor)) in
            [("TRITONBACKEND_ApiVersion", self.backend), ("TRITONSERVER_ApiVersion", self.server)]
        {
            let body = format!("*major = {major}; *minor = {minor}; return 0;");
            writeln!(text, "void *{name}(unsigned *major, unsigned *minor) {{ {body} }}").unwrap();
        }
        for function in FUNCTIONS.iter().filter(|function| self.later || function.is_required()) {
            if !text.contains(&format!("{}(", function.name)) {
                writeln!(text, "void *{}(void) {{ return 0; }}", function.name).unwrap();
            }
        }
        for name in self.without {
            assert!(text.contains(&format!("{name}(")), "{name} is none of the functions");
            text = text.replace(&format!("{name}("), &format!("missing_{name}("));
        }
        text + MAIN
    }
}

fn run(program: &Path, backend: &Path, folder: &Path) -> String {
    let output = Command::new(program).args([backend, folder]).output().expect("the stand-in runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    text
}
