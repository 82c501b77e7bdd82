//! A tiny program that plays a Triton server: it shows the API's functions, opens the backend as a server does, calls
//! its entry points and prints what they return. Mostly there is no model: what `TRITONBACKEND_Initialize` says decides
//! whether a backend fits a server. With a model there is one instance, which gets no request.

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
static const char *model_folder;
static void *states[3]; // of the backend, of the model, of the instance
static int code_of_last;

void *TRITONSERVER_ErrorNew(int code, const char *message) { code_of_last = code; return strdup(message); }
int TRITONSERVER_ErrorCode(void *error) { (void)error; return code_of_last; }
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
  *base = message; *size = strlen(*base);
  return 0;
}
void *TRITONBACKEND_BackendConfig(void *backend, const char **message) { (void)backend; *message = json; return 0; }
void *TRITONBACKEND_BackendName(void *backend, const char **name) { (void)backend; *name = "stand_in"; return 0; }
void *TRITONBACKEND_BackendArtifacts(void *backend, unsigned *kind, const char **location)
{
  (void)backend; *kind = 0; *location = folder;
  return 0;
}
void *TRITONBACKEND_BackendSetState(void *of, void *state) { (void)of; states[0] = state; return 0; }
void *TRITONBACKEND_BackendState(void *of, void **state) { (void)of; *state = states[0]; return 0; }
void *TRITONBACKEND_ModelSetState(void *of, void *state) { (void)of; states[1] = state; return 0; }
void *TRITONBACKEND_ModelState(void *of, void **state) { (void)of; *state = states[1]; return 0; }
void *TRITONBACKEND_ModelInstanceSetState(void *of, void *state) { (void)of; states[2] = state; return 0; }
void *TRITONBACKEND_ModelInstanceState(void *of, void **state) { (void)of; *state = states[2]; return 0; }
void *TRITONBACKEND_ModelBackend(void *model, void **backend) { *backend = model; return 0; }
void *TRITONBACKEND_ModelInstanceModel(void *instance, void **model) { *model = instance; return 0; }
void *TRITONBACKEND_ModelName(void *model, const char **name) { (void)model; *name = "add_one"; return 0; }
void *TRITONBACKEND_ModelVersion(void *model, unsigned long long *version) { (void)model; *version = 1; return 0; }
void *TRITONBACKEND_ModelRepository(void *model, unsigned *kind, const char **location)
{
  (void)model; *kind = 0; *location = model_folder;
  return 0;
}
void *TRITONBACKEND_ModelConfig(void *model, unsigned version, void **message)
{
  (void)model; (void)version;
  *message = "{\"name\":\"add_one\",\"max_batch_size\":8,"
    "\"input\":[{\"name\":\"x\",\"data_type\":\"TYPE_FP32\",\"dims\":[\"16\"]}],"
    "\"output\":[{\"name\":\"y\",\"data_type\":\"TYPE_FP32\",\"dims\":[\"16\"]}],"
    "\"parameters\":{\"batching\":{\"string_value\":\"adaptive\"}}}";
  return 0;
}
void *TRITONBACKEND_ModelAutoCompleteConfig(void *model, bool *allowed) { (void)model; *allowed = false; return 0; }
"#;

/// `ARGV[1]` is the backend, `ARGV[2]` the folder for TensorFlow, `ARGV[3]`, if it is there, a model's.
const MAIN: &str = r#"
static void *library;

static bool call(const char *name)
{
  char symbol[100];
  sprintf(symbol, "TRITONBACKEND_%s", name);
  void *(*entry)(void *) = (void *(*)(void *))dlsym(library, symbol);
  if (!entry) { printf("dlsym: %s\n", dlerror()); exit(1); }
  const char *error = entry(&json);
  if (error) printf("%s: %s, code %d\n", name, error, code_of_last);
  else printf("%s: success\n", name);
  return !error;
}

int main(int count, char **values)
{
  if (count != 3 && count != 4) return 2;
  folder = values[2];
  json = malloc(strlen(folder) + 100);
  sprintf(json, "{\"cmdline\":{\"tensorflow-dir\":\"%s\"}}", folder);
  library = dlopen(values[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) { printf("dlopen: %s\n", dlerror()); return 1; }
  bool is_good = call("Initialize");
  if (count == 4) {
    model_folder = values[3];
    is_good = is_good && call("ModelInitialize");
    if (!is_good) return 1;
    call("ModelInstanceReady");
    if (!call("ModelInstanceInitialize")) return 1;
    call("ModelInstanceReady");
    if (!call("ModelInstanceFinalize") || !call("ModelFinalize")) return 1;
  }
  // A server calls this also when Initialize has failed.
  return call("Finalize") ? 0 : 1;
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
        run(&program, &[&named("TL_BACKEND"), &folder])
    }

    /// What the backend under test says of a model with adaptive batching, from Initialize to Finalize, when it is asked
    /// before and after it has made an instance whether that is ready.
    pub fn serve_one_instance(&self) -> String {
        let folder = work_folder(self.name);
        let program = compile(&folder, "host", &self.source(), &["-rdynamic", "-ldl"]);
        let model = named("TL_TEST_MODELS").join("add_one");
        std::os::unix::fs::symlink(model, folder.join("1")).expect("the target folder can be written");
        run(&program, &[&named("TL_BACKEND"), &named("TL_TENSORFLOW_DIR"), &folder])
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

fn run(program: &Path, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the stand-in runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    text
}
