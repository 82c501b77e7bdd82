//! `Api::open`: with a real TensorFlow (`TL_TENSORFLOW_DIR`, the folder `tensorflow` of its Python package), with small C
//! libraries that stand in for one, and with what is no TensorFlow.

mod compiler;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use compiler::{shared_library, work_dir};
use tensorflow_c_sys::*;

/// A library with TensorFlow's names, without some.
struct StandIn {
    name: &'static str,
    version: &'static str,
    only_required: bool,
    without: &'static [&'static str],
}

impl StandIn {
    fn build(&self) -> PathBuf {
        let mut code = format!("const char *TF_Version(void) {{ return \"{}\"; }}\n", self.version);
        for function in FUNCTIONS {
            let wanted = !self.only_required || function.is_required();
            if wanted && function.name != "TF_Version" && !self.without.contains(&function.name) {
                let _ = writeln!(code, "void *{}(void) {{ return 0; }}", function.name);
            }
        }
        shared_library(self.name, "libtensorflow_cc.so.2", &code)
    }
}

fn open(path: &Path) -> Result<Api, LoadError> {
    // SAFETY: a stand-in, whose initializers do nothing and whose functions are called where they have the right type, or
    // a file that is no library.
    unsafe { Api::open(path, 0) }
}

fn assert_says(error: &LoadError, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(text.matches(&error.path().display().to_string()).count(), 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Opens the real library once: this test has all that needs it.
#[test]
fn a_real_library() {
    let dir = env::var("TL_TENSORFLOW_DIR")
        .expect("set TL_TENSORFLOW_DIR to the folder `tensorflow` of TensorFlow's Python package");
    let path = Path::new(&dir).join("libtensorflow_cc.so.2");
    // SAFETY: TensorFlow's library may be loaded into this process.
    let api = unsafe { Api::open(&path, 0) }.unwrap_or_else(|e| panic!("{e}"));
    println!("{api:?}");

    assert!(api.version() >= OLDEST);
    assert!(api.version_text().starts_with(&format!("{}.", api.version())));
    assert!(api.path().is_absolute());
    // The Python package's build has the experimental functions too.
    for function in FUNCTIONS {
        assert_eq!(api.has(function.name), api.version() >= function.since, "{}", function.name);
    }
    assert!(!api.has("TF_NoSuchFunction"));

    statuses(&api);
    tensors(&api);
    strings(&api);
    graphs(&api);
}

fn statuses(api: &Api) {
    // SAFETY: the status is used until it is deleted; the messages are C strings that it copies.
    unsafe {
        let status = api.TF_NewStatus();
        assert_eq!(api.TF_GetCode(status), TF_Code::TF_OK);
        api.TF_SetStatus(status, TF_Code::TF_UNAVAILABLE, c"later".as_ptr());
        assert_eq!(api.TF_GetCode(status), TF_Code::TF_UNAVAILABLE);
        assert_eq!(std::ffi::CStr::from_ptr(api.TF_Message(status)), c"later");
        api.TF_DeleteStatus(status);
    }
}

/// A tensor over memory of this test: read in place, given back once.
fn tensors(api: &Api) {
    #[repr(align(64))]
    struct Aligned(#[expect(dead_code, reason = "read through a pointer")] [f32; 16]);
    static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn give_back(_: *mut std::ffi::c_void, len: usize, _: *mut std::ffi::c_void) {
        GIVEN_BACK.fetch_add(len, Ordering::SeqCst);
    }

    let mut memory = Aligned([1.5; 16]);
    let data = ptr::from_mut(&mut memory).cast();
    // SAFETY: `memory` outlives the tensor, which is deleted below; the shape has as many elements as the memory.
    unsafe {
        let shape = [4i64, 4];
        let float = TF_DataType::TF_FLOAT;
        let tensor = api.TF_NewTensor(float, shape.as_ptr(), 2, data, 64, Some(give_back), ptr::null_mut());
        assert!(!tensor.is_null());
        assert_eq!(api.TF_TensorData(tensor), data);
        assert!(api.TF_TensorIsAligned(tensor));
        assert_eq!(api.TF_TensorType(tensor), float);
        assert_eq!((api.TF_NumDims(tensor), api.TF_Dim(tensor, 1)), (2, 4));
        assert_eq!((api.TF_TensorByteSize(tensor), api.TF_TensorElementCount(tensor)), (64, 16));
        assert!(api.TF_TensorMaybeMove(tensor).is_null(), "the memory is not TensorFlow's");
        assert_eq!(GIVEN_BACK.load(Ordering::SeqCst), 0);
        api.TF_DeleteTensor(tensor);
        assert_eq!(GIVEN_BACK.load(Ordering::SeqCst), 64);

        // As the header says: too little memory is no tensor, and the memory is given back.
        let tensor = api.TF_NewTensor(float, shape.as_ptr(), 2, data, 60, Some(give_back), ptr::null_mut());
        assert!(tensor.is_null());
        assert_eq!(GIVEN_BACK.load(Ordering::SeqCst), 124);

        // Memory that is not aligned is copied, and given back at once.
        let unaligned = data.byte_add(4);
        let tensor =
            api.TF_NewTensor(float, [15i64].as_ptr(), 1, unaligned, 60, Some(give_back), ptr::null_mut());
        assert_ne!(api.TF_TensorData(tensor), unaligned);
        assert_eq!(GIVEN_BACK.load(Ordering::SeqCst), 184);
        api.TF_DeleteTensor(tensor);
        assert_eq!(GIVEN_BACK.load(Ordering::SeqCst), 184);
    }
    // SAFETY: the tensor is used until it is deleted.
    unsafe {
        let tensor = api.TF_AllocateTensor(TF_DataType::TF_FLOAT, [2i64].as_ptr(), 1, 8);
        assert_eq!(api.TF_TensorMaybeMove(tensor), tensor);
        api.TF_DeleteTensor(tensor);
    }
    for (data_type, expected) in [
        (TF_DataType::TF_FLOAT, 4),
        (TF_DataType::TF_STRING, 0),
        (TF_DataType::TF_RESOURCE, 0),
        (TF_DataType(4711), 0),
    ] {
        // SAFETY: the function takes any number.
        assert_eq!(unsafe { api.TF_DataTypeSize(data_type) }, expected, "{data_type:?}");
    }
}

/// The layout of strings is the one that the library's own functions use.
fn strings(api: &Api) {
    let Ok(copy) = &api.TF_StringCopy else {
        return;
    };
    let text = "more than 22 bytes of text";
    // SAFETY: all bytes zero is an empty string; the strings are freed at the end; a view's text is static.
    unsafe {
        let mut string: TF_TString = std::mem::zeroed();
        copy(&mut string, text.as_ptr().cast(), 5);
        assert_eq!(api.TF_StringGetType(&string), TF_TString_Type::TF_TSTR_SMALL);
        assert_eq!(string.u.smll.size, 5 << 2);
        assert_eq!(string.u.smll.str_.map(|c| c as u8)[..5], *b"more ");

        copy(&mut string, text.as_ptr().cast(), text.len());
        assert_eq!(string.u.large.size, text.len() << 2 | TF_TString_Type::TF_TSTR_LARGE.0 as usize);
        assert_eq!(string.u.large.cap, api.TF_StringGetCapacity(&string));
        assert_eq!(string.u.large.ptr.cast_const(), api.TF_StringGetDataPointer(&string));
        api.TF_StringDealloc(&mut string);
        assert_eq!(string.u.raw.raw, [0; 24]);

        api.TF_StringAssignView(&mut string, text.as_ptr().cast(), text.len());
        assert_eq!(string.u.view.size, text.len() << 2 | TF_TString_Type::TF_TSTR_VIEW.0 as usize);
        assert_eq!(string.u.view.ptr.cast(), text.as_ptr());

        // A view made by hand.
        string.u.view =
            TF_TString_View { size: 4 << 2 | 3, ptr: text.as_ptr().cast(), owner_ref: ptr::null_mut() };
        assert_eq!(api.TF_StringGetSize(&string), 4);
        assert_eq!(api.TF_StringGetDataPointer(&string).cast(), text.as_ptr());
        api.TF_StringDealloc(&mut string);
    }
}

/// A structure by value, in and out, through a graph that is imported.
fn graphs(api: &Api) {
    // GraphDef { node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } } }
    let graph_def = b"\x0a\x1d\x0a\x01x\x12\x0bPlaceholder\x2a\x0b\x0a\x05dtype\x12\x02\x30\x01";
    // SAFETY: each object is used until it is deleted; a GraphDef is read while its buffer lives.
    unsafe {
        let status = api.TF_NewStatus();
        let graph = api.TF_NewGraph();
        let buffer = api.TF_NewBufferFromString(graph_def.as_ptr().cast(), graph_def.len());
        assert_eq!(api.TF_GetBuffer(buffer).length, graph_def.len());
        let options = api.TF_NewImportGraphDefOptions();
        api.TF_GraphImportGraphDef(graph, buffer, options, status);
        assert_eq!(std::ffi::CStr::from_ptr(api.TF_Message(status)), c"");
        let oper = api.TF_GraphOperationByName(graph, c"x".as_ptr());
        assert_eq!(std::ffi::CStr::from_ptr(api.TF_OperationOpType(oper)), c"Placeholder");
        api.TF_OperationGetAttrMetadata(oper, c"none".as_ptr(), status);
        assert_ne!(api.TF_GetCode(status), TF_Code::TF_OK);
        // As the header says: this function leaves an earlier error in the status.
        api.TF_SetStatus(status, TF_Code::TF_OK, c"".as_ptr());
        let metadata = api.TF_OperationGetAttrMetadata(oper, c"dtype".as_ptr(), status);
        assert_eq!(api.TF_GetCode(status), TF_Code::TF_OK);
        assert_eq!((metadata.is_list, metadata.type_), (0, TF_AttrType::TF_ATTR_TYPE));
        let output = TF_Output { oper, index: 0 };
        assert_eq!(api.TF_OperationOutputType(output), TF_DataType::TF_FLOAT);
        assert_eq!(api.TF_GraphGetTensorNumDims(graph, output, status), -1);
        assert_eq!(api.TF_GetCode(status), TF_Code::TF_OK);
        api.TF_DeleteImportGraphDefOptions(options);
        api.TF_DeleteBuffer(buffer);
        api.TF_DeleteGraph(graph);
        api.TF_DeleteStatus(status);
    }
}

#[test]
fn the_oldest_tensorflow() {
    let library = StandIn { name: "oldest", version: "2.4.4", only_required: true, without: &[] }.build();
    let api = open(&library).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(api.version(), OLDEST);
    assert_eq!(api.version_text(), "2.4.4");
    assert_eq!(api.path(), library);
    assert!(api.has("TF_SessionRun") && !api.has("TF_SetShape"));
    assert!(api.TF_SetShape.is_err());
    let missing: Vec<&str> = api.missing().map(|function| function.name).collect();
    assert!(missing.contains(&"TF_StringInit") && !missing.contains(&"TF_SessionRun"), "{missing:?}");

    let call = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the function is missing, so nothing is called.
        unsafe { api.TF_SetShape(ptr::null_mut(), ptr::null(), 0) }
    }));
    let panic = call.expect_err("a missing function cannot be called");
    let text = panic.downcast_ref::<String>().expect("not a text");
    assert!(text.contains("this TensorFlow lacks a function") && text.contains("TF_SetShape"), "{text}");
}

#[test]
fn a_tensorflow_newer_than_these_bindings() {
    let library =
        StandIn { name: "newer", version: "2.99.0-rc1", only_required: false, without: &[] }.build();
    let api = open(&library).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((api.version().minor, api.missing().count()), (99, 0));
}

#[test]
fn an_unsuitable_version() {
    for (name, version) in [("older", "2.3.1"), ("major", "3.0.0"), ("unreadable", "unknown")] {
        // In another release required functions may be missing; the version explains that.
        let library = StandIn { name, version, only_required: true, without: &["TF_SessionRun"] }.build();
        let error = open(&library).expect_err("the version is unsuitable");
        assert_eq!(error, LoadError::WrongVersion { path: library, found: version.to_owned() });
        assert_says(
            &error,
            &[name, &format!("is TensorFlow {version:?}"), "expected TensorFlow 2.4 or a later 2.x"],
        );
    }
}

#[test]
fn a_required_function_is_missing() {
    let without = &["TF_SessionRun", "TF_NewTensor"];
    let library = StandIn { name: "incomplete", version: "2.20.0", only_required: true, without }.build();
    let error = open(&library).expect_err("functions are missing");
    assert_says(
        &error,
        &[
            &library.display().to_string(),
            "TensorFlow 2.20.0",
            "lacks 2 functions of",
            "TF_NewTensor, TF_SessionRun",
        ],
    );
    assert_eq!(error.path(), library);
}

#[test]
fn a_library_that_is_not_tensorflow() {
    let library =
        shared_library("other", "libtensorflow_cc.so.2", "int something_else(void) { return 0; }\n");
    let error = open(&library).expect_err("not a TensorFlow");
    assert_says(&error, &[&library.display().to_string(), "is not a TensorFlow library", "TF_Version"]);
}

#[test]
fn a_file_that_is_no_library() {
    let file = work_dir("no_library").join("libtensorflow_cc.so.2");
    fs::write(&file, "text").expect("cannot write the file");
    assert_says(
        &open(&file).expect_err("not a library"),
        &["cannot open", &file.display().to_string(), "file too short"],
    );

    fs::write(&file, "text".repeat(100)).expect("cannot write the file");
    assert_says(&open(&file).expect_err("not a library"), &["invalid ELF header"]);

    let dir = file.parent().expect("a folder");
    assert_says(&open(dir).expect_err("a folder"), &["cannot open", &dir.display().to_string()]);
}

#[test]
fn a_path_without_a_file() {
    let path = Path::new("/no/such/folder/libtensorflow_cc.so.2");
    let error = open(path).expect_err("no file");
    assert_says(&error, &["/no/such/folder/libtensorflow_cc.so.2", "No such file", "2.4 or newer"]);

    // A bare name is a path too. The dynamic linker would search its own folders, where this library is.
    let error = open(Path::new("libc.so.6")).expect_err("no file in the working directory");
    assert_says(&error, &["/libc.so.6", "No such file"]);
}
