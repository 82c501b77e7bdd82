//! The committed bindings are those that bindgen generates from the headers.
//!
//! `UPDATE_BINDINGS=1 cargo test -p PACKAGE --features bindgen --test bindings` writes them (`make bindings`). The other
//! bindings crate of this workspace has a link to this file.
#![cfg(feature = "bindgen")]

use std::env;
use std::fs;
use std::path::Path;

const GENERATED: [(&str, &str); 2] = [
    ("src/generated.rs", include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"))),
    ("src/functions.rs", include_str!(concat!(env!("OUT_DIR"), "/functions.rs"))),
];

#[test]
fn the_committed_bindings_are_up_to_date() {
    let package = env!("CARGO_PKG_NAME");
    if package == "triton-backend-sys" && env::var_os("TRITON_INCLUDE_DIR").is_some_and(|dir| !dir.is_empty())
    {
        println!("skipped: TRITON_INCLUDE_DIR is set, so the generated bindings have NVIDIA's types");
        return;
    }
    for (file, generated) in GENERATED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if env::var_os("UPDATE_BINDINGS").is_some() {
            fs::write(&path, generated).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        }
        let committed =
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        if let Some(line) = first_difference(&committed, generated) {
            panic!(
                "{package}: {file} is not what bindgen generates from include/; they differ first at line {line}. \
                 Run `make bindings` and commit the result"
            );
        }
    }
}

/// The number of the first line that is not the same in both texts.
fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

#[test]
fn a_difference_is_found() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
    assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    assert_eq!(first_difference("a\nb", "a\nb\n"), Some(3));
}
