//! Planted faults, each of which has to be seen, and sound code, in which nothing is.

use std::path::PathBuf;

use crate::circles::{Imports, circles, imports_of_tests};
use crate::imports;
use crate::rooms::against_floors;
use crate::tree::Sources;

fn read(files: &[(&str, &str)]) -> Imports {
    let planted = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
    let roots = [("planted".to_owned(), PathBuf::from("backend/lib.rs"))];
    imports::read(&Sources::Planted(planted.collect()), &roots)
}

/// What each file of the crate `lib.rs`, `a.rs` and `b.rs` holds.
fn three(lib: &str, a: &str, b: &str) -> Imports {
    read(&[("backend/lib.rs", lib), ("backend/a.rs", a), ("backend/b.rs", b)])
}

/// Files `a.rs` and `b.rs` of a crate, of which `a` imports `B` from `b`.
fn two(b: &str) -> Imports {
    three("mod a; mod b;", "use crate::b::B; pub struct A; pub mod inner { pub struct C; }", b)
}

fn assert_circle(name: &str, imports: &Imports, parts: &[&str]) {
    let found = circles(imports);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    for part in parts {
        assert!(found[0].contains(part), "{name}: '{part}' missing in: {}", found[0]);
    }
}

#[test]
fn a_circle_is_seen_however_it_is_tied() {
    let to_a = |names: &str| format!("backend/b.rs -> backend/a.rs: {names}");
    for (name, b, names) in [
        ("use", "use crate::a::A; pub struct B;", "A"),
        ("a group", "use crate::{a::{A as _, inner::C}}; pub struct B;", "A, C"),
        ("a rename", "use super::a as x; pub struct B(x::A);", "A, a"),
        ("a glob", "use crate::a::*; pub struct B;", "*"),
        ("a re-export", "pub use super::a::A as Renamed; pub struct B;", "A"),
        ("the module itself", "use crate::a; pub struct B;", "a"),
        ("a type", "pub struct B { a: Vec<crate::a::A> }", "A"),
        ("an expression", "pub struct B; fn f() { let _ = super::a::A; }", "A"),
        ("an associated function", "pub struct B; fn f() { super::a::A::new() }", "A"),
        ("a pattern", "pub struct B; fn f(x: u8) { match x { crate::a::A => {} } }", "A"),
        ("a bound", "pub struct B; fn f<T: super::a::A>(_: T) {}", "A"),
        ("a trait that is implemented", "pub struct B; impl crate::a::A for B {}", "A"),
        ("a macro's argument", "pub struct B; fn f() { println!(\"{}\", crate::a::A); }", "A"),
        ("a use in a macro", "pub struct B; m! { use crate::a::{A, inner::C}; }", "A, C"),
        ("a macro's definition", "pub struct B; macro_rules! m { () => { $crate::a::A } }", "A"),
        ("use in a function", "pub struct B; fn f() { use super::a::A; }", "A"),
        ("a module named in a function", "pub struct B; fn f() { use super::a; a::A::new(); }", "A, a"),
        ("an inner module", "pub struct B; mod inner { use super::super::a::A; }", "A"),
        ("an inner module's tests", "pub struct B; #[cfg(test)] mod t { use crate::a::A; }", "A"),
        ("an attribute's text", "pub struct B { #[serde(with = \"crate::a::inner\")] x: u8 }", "a"),
        ("an attribute's path", "#[derive(crate::a::A)] pub struct B;", "A"),
    ] {
        let names = if name == "an attribute's text" { "" } else { names };
        assert_circle(name, &two(b), &["2 files", "backend/a.rs -> backend/b.rs: B", &to_a(names)]);
    }
}

#[test]
fn a_circle_is_seen_behind_what_hands_a_name_on() {
    // `mod.rs` hands on what its child has, and the child asks it for another name.
    let folder = [
        ("backend/lib.rs", "mod room;"),
        ("backend/room/mod.rs", "mod child; pub use child::Child; pub struct Parent;"),
        ("backend/room/child.rs", "use super::Parent; pub struct Child;"),
    ];
    assert_circle(
        "child and parent",
        &read(&folder),
        &["room/mod.rs -> backend/room/child.rs: Child", "room/child.rs -> backend/room/mod.rs: Parent"],
    );
    // Handed on by a private `use`, and found through a glob.
    for (name, parent) in [
        ("private", "mod child; mod other; use child::Child; use other::Other;"),
        ("glob", "mod child; mod other; use child::Child; pub use other::*;"),
    ] {
        let files = [
            ("backend/lib.rs", "mod room;"),
            ("backend/room/mod.rs", parent),
            ("backend/room/child.rs", "pub struct Child(super::Other);"),
            ("backend/room/other.rs", "pub struct Other;"),
        ];
        assert_circle(name, &read(&files), &["2 files", "child.rs -> backend/room/mod.rs: Other"]);
    }
    // The crate's root, and a crate's own name.
    let root = three("mod a; mod b; use a::A; pub struct Root;", "pub struct A; use crate::Root;", "");
    assert_circle("the root", &root, &["backend/a.rs -> backend/lib.rs: Root"]);
}

#[test]
fn a_longer_circle_is_told_file_by_file() {
    let files = [
        ("backend/lib.rs", "mod a; mod b; #[path = \"elsewhere/c.rs\"] mod c; mod d;"),
        ("backend/a.rs", "use crate::b::B; pub struct A;"),
        ("backend/b.rs", "pub struct B; fn f() { crate::c::f() }"),
        ("backend/elsewhere/c.rs", "pub fn f() { vec![super::a::A]; } use crate::d::D;"),
        ("backend/d.rs", "pub struct D;"),
    ];
    let parts = [
        "3 files import each other in a circle",
        "backend/a.rs -> backend/b.rs: B",
        "backend/b.rs -> backend/elsewhere/c.rs: f",
        "backend/elsewhere/c.rs -> backend/a.rs: A",
    ];
    assert_circle("three files", &read(&files), &parts);
}

#[test]
fn a_macro_that_is_used_by_its_bare_name_is_an_import() {
    let macros = "#[macro_use] mod a; mod b;";
    let imports = three(macros, "macro_rules! m { () => {} } use crate::b::B;", "pub struct B; m!();");
    assert_circle("macro_use", &imports, &["backend/b.rs -> backend/a.rs: m!"]);
}

#[test]
fn sound_code_has_no_circle() {
    let sound = [
        ("backend/lib.rs", "mod room; mod low; use room::Child; use low::Low; #[cfg(test)] mod checks;"),
        ("backend/room/mod.rs", "mod child; mod sibling; pub use child::Child; use sibling::Sibling;"),
        (
            "backend/room/child.rs",
            "use super::sibling::{self, Sibling}; use crate::low::Low;
             /// See [`crate::room::Child`].
             pub(in crate::room) struct Child; pub(super) struct Other;
             impl Child { fn f() { sibling::f(); let text = \"crate::room::Child\"; self::Child; Self::g() } }
             #[cfg(test)] mod tests { use super::*; use super::super::sibling; }",
        ),
        ("backend/room/sibling.rs", "pub struct Sibling; pub fn f() { std::mem::drop(::planted::x) }"),
        ("backend/low.rs", "pub struct Low; #[cfg(test)] mod tests;"),
        ("backend/low/tests.rs", "use super::*; use crate::room::Child; use crate::checks::Check;"),
        ("backend/checks.rs", "use crate::room::Child; use crate::low::Low; pub struct Check;"),
    ];
    let imports = read(&sound);
    assert_eq!(circles(&imports), Vec::<String>::new());
    assert_eq!(imports_of_tests(&imports), Vec::<String>::new());
}

#[test]
fn an_import_of_a_test_file_is_seen() {
    let imports = three("mod a; #[cfg(test)] mod b;", "use crate::b::B;", "pub struct B;");
    assert_eq!(imports_of_tests(&imports), ["backend/a.rs imports the test file backend/b.rs: B"]);
    let in_tests = three(
        "mod a; #[cfg(all(test, unix))] mod b;",
        "#[cfg(test)] mod tests { use crate::b::B; } #[test] fn t() { crate::b::f() }",
        "pub struct B;",
    );
    assert_eq!(imports_of_tests(&in_tests), Vec::<String>::new());
}

#[test]
fn an_import_that_does_not_go_down_is_seen() {
    let floors: [&[&str]; 4] = [&["lib"], &["high"], &["low", "beside"], &["ground"]];
    let files = |high: &'static str, low: &'static str, ground: &'static str| {
        read(&[
            ("backend/lib.rs", "mod high; mod low; mod beside; mod ground;"),
            ("backend/high/mod.rs", "mod part; pub use part::Part;"),
            ("backend/high/part.rs", high),
            ("backend/low.rs", low),
            ("backend/beside.rs", "pub struct Beside;"),
            ("backend/ground.rs", ground),
        ])
    };
    let against = |imports: &Imports| against_floors(imports, &floors);
    let sound = files("pub struct Part(crate::low::Low);", "pub struct Low; use crate::ground::G;", "");
    assert_eq!(against(&sound), Vec::<String>::new());
    for (name, imports, told) in [
        (
            "up by use",
            files("pub struct Part;", "use crate::high::Part;", ""),
            "backend/low.rs -> backend/high/mod.rs, above it: Part",
        ),
        (
            "up by a path",
            files("pub struct Part;", "", "fn f() -> super::low::Low {}"),
            "backend/ground.rs -> backend/low.rs, above it: Low",
        ),
        (
            "up to the root",
            files("pub struct Part;", "", "use crate::STAMP;"),
            "backend/ground.rs -> backend/lib.rs, above it: STAMP",
        ),
        (
            "up in a macro",
            files("pub struct Part;", "", "m!(crate::high::Part::new());"),
            "backend/ground.rs -> backend/high/mod.rs, above it: Part",
        ),
        (
            "beside",
            files("pub struct Part;", "use super::beside::Beside;", ""),
            "backend/low.rs -> backend/beside.rs, beside it: Beside",
        ),
    ] {
        assert_eq!(against(&imports), [told], "{name}");
    }
    let homeless = three("mod a; mod b;", "", "");
    assert_eq!(against(&homeless), ["backend/a.rs is on no floor", "backend/b.rs is on no floor"]);
}

#[test]
fn unsafe_code_is_seen_and_the_word_is_not() {
    assert!(crate::has_unsafe_code("fn f() { if true { unsafe { g() } } }"));
    assert!(crate::has_unsafe_code("#[unsafe(no_mangle)] fn f() {}"));
    assert!(!crate::has_unsafe_code("#![deny(unsafe_code)] // unsafe\nfn f() { \"unsafe\"; }"));
}
