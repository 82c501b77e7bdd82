//! The table of functions.

use tensorflow_c_sys::{FUNCTIONS, Function, NEWEST_CHECKED, OLDEST, Version};

fn function(name: &str) -> &'static Function {
    FUNCTIONS
        .iter()
        .find(|function| function.name == name)
        .unwrap_or_else(|| panic!("{name} is not in FUNCTIONS"))
}

/// A second list of what is not required, so that a mark changed by mistake is found.
#[test]
fn later_and_experimental_functions_are_optional() {
    let optional: Vec<&str> =
        FUNCTIONS.iter().filter(|function| !function.is_required()).map(|function| function.name).collect();
    let expected = [
        "TF_DeletePluggableDeviceLibraryHandle",
        "TF_EnableXLACompilation",
        "TF_GraphRemoveFunction",
        "TF_ImportGraphDefOptionsSetValidateColocationConstraints",
        "TF_LoadPluggableDeviceLibrary",
        "TF_OpIsStateful",
        "TF_OperationGetAttrName",
        "TF_OperationGetAttrNameLength",
        "TF_OperationGetNumAttrs",
        "TF_SetShape",
        "TF_SetTfXlaCpuGlobalJit",
        "TF_SetXlaAutoJitMode",
        "TF_SetXlaEnableLazyCompilation",
        "TF_SetXlaMinClusterSize",
        "TF_StringAssignView",
        "TF_StringCopy",
        "TF_StringDealloc",
        "TF_StringGetCapacity",
        "TF_StringGetDataPointer",
        "TF_StringGetSize",
        "TF_StringGetType",
        "TF_StringInit",
        "TF_TensorDefaultAlignment",
        "TF_TensorFromProto",
    ];
    assert_eq!(optional, expected);
    assert!(function("TF_SessionRun").is_required());
}

#[test]
fn later_functions_carry_their_release() {
    assert_eq!(function("TF_StringInit").since, Version { major: 2, minor: 5 });
    assert_eq!(function("TF_SetShape").since, Version { major: 2, minor: 11 });
    assert_eq!(function("TF_TensorDefaultAlignment").since, Version { major: 2, minor: 17 });
    let experimental = function("TF_SetXlaEnableLazyCompilation");
    assert!(experimental.experimental && experimental.since == OLDEST);
}

#[test]
fn names_are_sorted_and_unique() {
    assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name), "Api::has uses a binary search");
    for Function { name, since, .. } in FUNCTIONS {
        assert!(name.starts_with("TF_"), "{name}");
        assert!((OLDEST..=NEWEST_CHECKED).contains(since), "{name} is marked as since {since}");
    }
}

#[test]
fn versions_are_read_and_compare_by_number() {
    let version = |major, minor| Version { major, minor };
    assert_eq!(Version::parse("2.20.0"), Some(version(2, 20)));
    assert_eq!(Version::parse("2.21.0-dev20250101"), Some(version(2, 21)));
    assert_eq!(Version::parse("2.4"), Some(version(2, 4)));
    for text in ["", "unknown", "2", "2.x.1", "v2.4.0"] {
        assert_eq!(Version::parse(text), None, "{text:?}");
    }
    assert!(version(2, 9) < version(2, 10));
    assert_eq!(version(2, 10).to_string(), "2.10");
}
