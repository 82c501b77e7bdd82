//! This crate's headers against TensorFlow's.
//!
//! TensorFlow's headers are those of its Python package: the folder `include` of `TL_TENSORFLOW_DIR`, or the folder that
//! `TENSORFLOW_INCLUDE_DIR` names. Without them these tests fail. A C++ file includes both sides, and the compiler rejects
//! it where they disagree (see `check.rs`). Planted disagreements show that it does.

mod check;
#[path = "../compiler/mod.rs"]
mod compiler;
mod text;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use check::{Check, THEIRS};
use compiler::{Source, work_dir};
use tensorflow_c_sys::{Api, NEWEST_CHECKED, Version};
use text::HeaderText;

fn own_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// The folder that holds `tensorflow/c/c_api.h`.
fn tensorflow_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("TENSORFLOW_INCLUDE_DIR").or_else(|| Some(set("TL_TENSORFLOW_DIR")?.join("include")));
    let dir = dir.expect(
        "set TL_TENSORFLOW_DIR to the folder `tensorflow` of TensorFlow's Python package, or TENSORFLOW_INCLUDE_DIR to the \
         `include` folder in it",
    );
    let header = dir.join("tensorflow/c/c_api.h");
    assert!(
        header.is_file(),
        "there is no file {}; expected the `include` folder of TensorFlow's Python package",
        header.display()
    );
    dir
}

/// The version of the headers: from version.h, or since 2.20, which no longer says, from the library beside them.
fn version(include: &Path) -> Version {
    let path = include.join("tensorflow/core/public/version.h");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    if let (Some(major), Some(minor)) = (number("TF_MAJOR_VERSION"), number("TF_MINOR_VERSION")) {
        return Version { major, minor };
    }
    let library = include.join("../libtensorflow_cc.so.2");
    // SAFETY: a TensorFlow package's library, in a process of a test.
    unsafe { Api::open(&library, 0) }.unwrap_or_else(|e| panic!("{}: {e}", include.display())).version()
}

/// TensorFlow's headers as text.
fn theirs(dir: &Path, include: &Path) -> HeaderText {
    let source = Source { text: THEIRS, standard: "c++17", include: &[], system: &[include] };
    HeaderText::theirs(&source.preprocess(dir))
}

fn compile(source: &str, dir: &Path, ours: &Path, theirs: &Path) -> Result<(), String> {
    Source { text: source, standard: "c++17", include: &[ours], system: &[theirs] }.check(dir)
}

#[test]
fn our_headers_compile_alone() {
    let dir = work_dir("alone");
    for header in fs::read_dir(own_dir()).expect("cannot read include/") {
        let name = header.expect("cannot read include/").file_name().into_string().expect("not a plain name");
        for standard in ["c11", "c++11", "c++20"] {
            let text = format!("#include \"{name}\"\n#include \"{name}\"\n");
            let source = Source { text: &text, standard, include: &[&own_dir()], system: &[] };
            if let Err(output) = source.check(&dir) {
                panic!("{name} does not compile as {standard}:\n{output}");
            }
        }
    }
}

#[test]
fn our_headers_agree_with_tensorflows() {
    let include = tensorflow_dir();
    let version = version(&include);
    println!("headers of TensorFlow {version}: {}", include.display());
    assert!(
        version <= NEWEST_CHECKED,
        "TensorFlow {version} is newer than NEWEST_CHECKED; raise it in src/version.rs once this test passes otherwise"
    );
    let dir = work_dir("tensorflow");
    let check = Check::new(&HeaderText::ours(&own_dir()), &theirs(&dir, &include), version);
    assert!(check.faults.is_empty(), "{}", check.faults.join("\n"));
    if let Err(output) = compile(&check.source, &dir, &own_dir(), &include) {
        panic!("our headers and those in {} disagree:\n{output}", include.display());
    }
}

/// A change to our headers that must not pass.
struct Plant {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// What the compiler must name, so that it rejects the plant for the right reason.
    named: &'static str,
}

const PLANTS: &[Plant] = &[
    Plant {
        what: "a parameter's type",
        file: "tensorflow_core.h",
        from: "TF_Dim(const TF_Tensor* tensor, int dim_index)",
        to: "TF_Dim(const TF_Tensor* tensor, int64_t dim_index)",
        named: "TF_Dim",
    },
    Plant {
        what: "an integer in place of an enumeration",
        file: "tensorflow_core.h",
        from: "TF_DataTypeSize(TF_DataType data_type)",
        to: "TF_DataTypeSize(unsigned int data_type)",
        named: "TF_DataTypeSize",
    },
    Plant {
        what: "a missing const behind a pointer",
        file: "tensorflow_core.h",
        from: "TF_Message(const TF_Status* status)",
        to: "TF_Message(TF_Status* status)",
        named: "TF_Message",
    },
    Plant {
        what: "the number of parameters",
        file: "tensorflow_session.h",
        from: "int noutputs, const TF_Operation* const* target_opers, int ntargets, TF_Buffer* run_metadata,",
        to: "int noutputs, const TF_Operation* const* target_opers, TF_Buffer* run_metadata,",
        named: "TF_SessionRun",
    },
    Plant {
        what: "a return type",
        file: "tensorflow_graph.h",
        from: "int TF_GraphGetTensorNumDims(",
        to: "int64_t TF_GraphGetTensorNumDims(",
        named: "TF_GraphGetTensorNumDims",
    },
    Plant {
        what: "a deallocator's parameter",
        file: "tensorflow_core.h",
        from: "void (*deallocator)(void* data, size_t len, void* arg), void* deallocator_arg);",
        to: "void (*deallocator)(void* data, void* arg), void* deallocator_arg);",
        named: "TF_NewTensor",
    },
    Plant {
        what: "a structure passed by value",
        file: "tensorflow_graph.h",
        from: "TF_OperationInput(TF_Input oper_in)",
        to: "TF_OperationInput(TF_Output oper_in)",
        named: "TF_OperationInput",
    },
    Plant {
        what: "an experimental function's parameter",
        file: "tensorflow_session.h",
        from: "TF_SetXlaMinClusterSize(int size)",
        to: "TF_SetXlaMinClusterSize(long size)",
        named: "TF_SetXlaMinClusterSize",
    },
    Plant {
        what: "an enumeration's value",
        file: "tensorflow_types.h",
        from: "TF_HALF = 19,",
        to: "TF_HALF = 18,",
        named: "TF_HALF",
    },
    Plant {
        what: "a code's value",
        file: "tensorflow_types.h",
        from: "TF_UNAVAILABLE = 14,",
        to: "TF_UNAVAILABLE = 15,",
        named: "UNAVAILABLE",
    },
    Plant {
        what: "an enumeration's size",
        file: "tensorflow_types.h",
        from: "typedef enum TF_AttrType {",
        to: "typedef enum TF_AttrType : unsigned char {",
        named: "TF_AttrType",
    },
    Plant {
        what: "two fields swapped",
        file: "tensorflow_types.h",
        from: "  const void* data;\n  size_t length;\n",
        to: "  size_t length;\n  const void* data;\n",
        named: "TF_Buffer",
    },
    Plant {
        what: "a field's size",
        file: "tensorflow_types.h",
        from: "  uint32_t count;\n",
        to: "  uint64_t count;\n",
        named: "TF_TString_Offset",
    },
    Plant {
        what: "the size of a short string",
        file: "tensorflow_types.h",
        from: "  char str[23];\n",
        to: "  char str[31];\n",
        named: "TF_TString",
    },
];

#[test]
fn a_planted_disagreement_does_not_compile() {
    let include = tensorflow_dir();
    let dir = work_dir("plants");
    let check = Check::new(&HeaderText::ours(&own_dir()), &theirs(&dir, &include), version(&include));
    if let Err(output) = compile(&check.source, &dir, &own_dir(), &include) {
        panic!("the check must pass before anything is planted:\n{output}");
    }
    for (number, plant) in PLANTS.iter().enumerate() {
        let planted = dir.join(format!("planted_{number}"));
        fs::create_dir_all(&planted).expect("cannot create a folder for the plant");
        for header in fs::read_dir(own_dir()).expect("cannot read include/") {
            let header = header.expect("cannot read include/");
            let mut text = fs::read_to_string(header.path()).expect("cannot read a header");
            if header.file_name() == plant.file {
                assert_eq!(text.matches(plant.from).count(), 1, "{}: {:?}", plant.file, plant.from);
                text = text.replace(plant.from, plant.to);
            }
            fs::write(planted.join(header.file_name()), text).expect("cannot write a header");
        }
        // The source of the check without the plant: only the headers differ.
        let Err(output) = compile(&check.source, &dir, &planted, &include) else {
            panic!("{} was changed in {}, and the check passed", plant.what, plant.file);
        };
        assert!(
            output.lines().any(|line| line.contains("error") && line.contains(plant.named)),
            "{}: the compiler's errors do not name {}:\n{output}",
            plant.what,
            plant.named
        );
    }
}

/// What a compiler cannot see: a name on one side only, and a wrong release.
#[test]
fn a_planted_name_or_release_is_a_fault() {
    let include = tensorflow_dir();
    let version = version(&include);
    let ours = HeaderText::ours(&own_dir());
    let theirs = theirs(&work_dir("names"), &include);
    let faults = |ours: &HeaderText, theirs: &HeaderText, version: Version| {
        Check::new(ours, theirs, version).faults.join("\n")
    };
    assert_eq!(faults(&ours, &theirs, version), "");

    let mut changed = theirs.clone();
    changed.stable.remove("TF_SessionRun");
    changed
        .enums
        .get_mut("TF_DataType")
        .expect("the enumeration")
        .push(text::Enumerator { name: "TF_FLOAT1".to_owned(), since: None });
    changed.structs.get_mut("TF_Buffer").expect("the structure").push("capacity".to_owned());
    let found = faults(&ours, &changed, version);
    for name in ["TF_SessionRun", "TF_FLOAT1", "capacity"] {
        assert!(found.contains(name), "{name} is not in: {found}");
    }

    let mut changed = theirs.clone();
    changed.stable.remove("TF_SetStatus");
    changed.experimental.insert("TF_SetStatus".to_owned());
    changed.enums.get_mut("TF_AttrType").expect("the enumeration").retain(|e| e.name != "TF_ATTR_FUNC");
    changed.structs.get_mut("TF_Output").expect("the structure").retain(|field| field != "index");
    let found = faults(&ours, &changed, version);
    for name in ["TF_SetStatus", "TF_ATTR_FUNC", "index"] {
        assert!(found.contains(name), "{name} is not in: {found}");
    }

    // Each function and each enumerator since `version` or earlier would be too early for 2.3.
    let found = faults(&ours, &theirs, Version { major: 2, minor: 3 });
    assert!(
        found.contains("TF_SessionRun is marked as since 2.4, but the headers of TensorFlow 2.3 have it"),
        "{found}"
    );
}
