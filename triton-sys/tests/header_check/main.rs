//! This crate's headers against NVIDIA's.
//!
//! A C++ file includes both sides, and the compiler rejects it where they disagree (see `check.rs`). NVIDIA's headers are
//! those in `TRITON_INCLUDE_DIR`; without it the comparison is skipped with a message. Planted disagreements show that the
//! check works, against NVIDIA's headers or a copy of our own.

mod check;
#[path = "../compiler/mod.rs"]
mod compiler;
mod text;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use check::Check;
use compiler::{Source, work_dir};
use text::HeaderText;

fn own_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

fn nvidia_dir() -> Option<PathBuf> {
    let dir = env::var_os("TRITON_INCLUDE_DIR").filter(|dir| !dir.is_empty())?;
    Some(PathBuf::from(dir))
}

/// Compiles a C++ text over our headers and NVIDIA's. The error is what the compiler prints.
fn compile(dir: &Path, text: &str, nvidia: &Path, ours: &Path) -> Result<(), String> {
    Source { text, standard: "c++11", include: &[nvidia, ours], system: &[] }.check(dir)
}

#[test]
fn our_headers_compile_alone() {
    let dir = work_dir("alone");
    for header in fs::read_dir(own_dir()).expect("cannot read include/") {
        let name = header.expect("cannot read include/").file_name().into_string().expect("not a plain name");
        for standard in ["c++11", "c++20"] {
            let source = format!("#include \"{name}\"\n#include \"{name}\"\n");
            let source = Source { text: &source, standard, include: &[&own_dir()], system: &[] };
            if let Err(output) = source.check(&dir) {
                panic!("{name} does not compile as {standard}:\n{output}");
            }
        }
    }
}

#[test]
fn our_headers_agree_with_nvidias() {
    let Some(nvidia) = nvidia_dir() else {
        println!(
            "skipped: TRITON_INCLUDE_DIR is not set. Set it to the include folder of \
             triton-inference-server/core to compare this crate's headers with NVIDIA's"
        );
        return;
    };
    let check = Check::new(&HeaderText::read(&own_dir()), &HeaderText::read(&nvidia));
    for note in &check.notes {
        println!("note: {note}");
    }
    assert!(check.faults.is_empty(), "{}", check.faults.join("\n"));
    let output = compile(&work_dir("nvidia"), &check.source, &nvidia, &own_dir());
    assert!(
        output.is_ok(),
        "this crate's headers and those in {} disagree:\n{}",
        nvidia.display(),
        output.unwrap_err()
    );
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
        file: "triton_request.h",
        from: "TRITONBACKEND_RequestInputCount(\n    TRITONBACKEND_Request* request, uint32_t* count)",
        to: "TRITONBACKEND_RequestInputCount(\n    TRITONBACKEND_Request* request, uint64_t* count)",
        named: "TRITONBACKEND_RequestInputCount",
    },
    Plant {
        what: "an enumeration in place of an integer",
        file: "triton_request.h",
        from: "const char* name,\n    const TRITONSERVER_DataType datatype, const int64_t* shape, const uint32_t dims_count);\n\n/// Makes the new",
        to: "const char* name,\n    const uint32_t datatype, const int64_t* shape, const uint32_t dims_count);\n\n/// Makes the new",
        named: "TRITONBACKEND_StateNew",
    },
    Plant {
        what: "a missing const behind a pointer",
        file: "triton_request.h",
        from: "TRITONBACKEND_RequestId(TRITONBACKEND_Request* request, const char** id)",
        to: "TRITONBACKEND_RequestId(TRITONBACKEND_Request* request, char** id)",
        named: "TRITONBACKEND_RequestId",
    },
    Plant {
        what: "the number of parameters",
        file: "triton_server.h",
        from: "TRITONSERVER_LogMessage(\n    TRITONSERVER_LogLevel level, const char* filename, const int line, const char* msg)",
        to: "TRITONSERVER_LogMessage(\n    TRITONSERVER_LogLevel level, const char* filename, const char* msg)",
        named: "TRITONSERVER_LogMessage",
    },
    Plant {
        what: "a return type",
        file: "triton_server.h",
        from: "void TRITONSERVER_ErrorDelete(",
        to: "TRITONSERVER_Error* TRITONSERVER_ErrorDelete(",
        named: "TRITONSERVER_ErrorDelete",
    },
    Plant {
        what: "an entry point's parameter",
        file: "triton_entry_points.h",
        from: "TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,",
        to: "TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* requests,",
        named: "TRITONBACKEND_ModelInstanceExecute",
    },
    Plant {
        what: "an enumeration's value",
        file: "triton_types.h",
        from: "TRITONSERVER_TYPE_FP64 = 12,",
        to: "TRITONSERVER_TYPE_FP64 = 13,",
        named: "TRITONSERVER_TYPE_FP64",
    },
    Plant {
        what: "two values swapped",
        file: "triton_types.h",
        from: "TRITONSERVER_MEMORY_CPU_PINNED = 1,",
        to: "TRITONSERVER_MEMORY_CPU_PINNED = 2,",
        named: "TRITONSERVER_MEMORY_CPU_PINNED",
    },
    Plant {
        what: "an enumeration's size",
        file: "triton_types.h",
        from: "typedef enum TRITONSERVER_loglevel_enum {",
        to: "typedef enum TRITONSERVER_loglevel_enum : unsigned char {",
        named: "TRITONSERVER_LogLevel",
    },
    Plant {
        what: "the major version",
        file: "triton_types.h",
        from: "#define TRITONBACKEND_API_VERSION_MAJOR 1\n",
        to: "#define TRITONBACKEND_API_VERSION_MAJOR 2\n",
        named: "TRITONBACKEND_API_VERSION_MAJOR",
    },
    Plant {
        what: "the minor version of the backend API",
        file: "triton_types.h",
        from: "#define TRITONBACKEND_API_VERSION_MINOR 19\n",
        to: "#define TRITONBACKEND_API_VERSION_MINOR 2\n",
        named: "TRITONBACKEND_API_VERSION_MINOR",
    },
    Plant {
        what: "the minor version of the server API",
        file: "triton_types.h",
        from: "#define TRITONSERVER_API_VERSION_MINOR 34\n",
        to: "#define TRITONSERVER_API_VERSION_MINOR 3\n",
        named: "TRITONSERVER_API_VERSION_MINOR",
    },
];

#[test]
fn a_planted_disagreement_does_not_compile() {
    let dir = work_dir("plants");
    let theirs = nvidia_dir().unwrap_or_else(|| {
        println!("TRITON_INCLUDE_DIR is not set; a copy of this crate's headers stands in for NVIDIA's");
        check::stand_in_for_nvidia(&own_dir(), &dir.join("stand_in"))
    });
    let check = Check::new(&HeaderText::read(&own_dir()), &HeaderText::read(&theirs));
    let control = compile(&dir, &check.source, &theirs, &own_dir());
    assert!(control.is_ok(), "the check must pass before anything is planted:\n{}", control.unwrap_err());

    for (number, plant) in PLANTS.iter().enumerate() {
        let planted = dir.join(format!("planted_{number}"));
        fs::create_dir_all(&planted).expect("cannot create a folder for the plant");
        for header in fs::read_dir(own_dir()).expect("cannot read include/") {
            let header = header.expect("cannot read include/");
            let mut text = fs::read_to_string(header.path()).expect("cannot read a header");
            if header.file_name() == plant.file {
                assert_eq!(
                    text.matches(plant.from).count(),
                    1,
                    "{}: expected {:?} once",
                    plant.file,
                    plant.from
                );
                text = text.replace(plant.from, plant.to);
            }
            fs::write(planted.join(header.file_name()), text).expect("cannot write a header");
        }
        // The source of the check without the plant: only the headers differ.
        match compile(&dir, &check.source, &theirs, &planted) {
            Ok(()) => panic!("{} was changed in {}, and the check passed", plant.what, plant.file),
            Err(output) => {
                let named = output.lines().any(|line| line.contains("error") && line.contains(plant.named));
                assert!(
                    named,
                    "{}: the compiler's errors do not name {}:\n{output}",
                    plant.what, plant.named
                );
            }
        }
    }
    println!("{} planted disagreements, none compiled", PLANTS.len());
}

/// What a compiler cannot see: a function or value on one side only.
#[test]
fn a_name_in_one_header_only_is_a_fault() {
    let ours = HeaderText::read(&own_dir());
    let mut more = ours.clone();
    more.functions.insert("TRITONBACKEND_FromTheFuture".to_owned());
    more.enums
        .get_mut("TRITONSERVER_DataType")
        .expect("no such enumeration")
        .push("TRITONSERVER_TYPE_FP8".to_owned());

    let theirs_more = Check::new(&ours, &more).faults.join("\n");
    assert!(theirs_more.contains("TRITONBACKEND_FromTheFuture"), "{theirs_more}");
    assert!(theirs_more.contains("TRITONSERVER_TYPE_FP8"), "{theirs_more}");

    let ours_more = Check::new(&more, &ours);
    assert!(ours_more.faults.join("\n").contains("TRITONSERVER_TYPE_FP8"), "{:?}", ours_more.faults);

    let mut less = ours.clone();
    less.functions.remove("TRITONBACKEND_RequestId");
    let faults = Check::new(&ours, &less).faults.join("\n");
    assert!(faults.contains("TRITONBACKEND_RequestId"), "{faults}");
}
