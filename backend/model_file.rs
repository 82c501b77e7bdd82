//! Where a model's files are, and how it is stored.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Format, ModelConfig};
use crate::triton::{Code, Error, Result};

/// What is in a file that TF_INIT_OPS_FILE names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InitOps {
    init_ops: Vec<String>,
}

/// How the model is stored in the folder of its version, and where. Where config.pbtxt has no platform, whatever is there decides.
pub fn find(config: &ModelConfig, version: &Path) -> (Format, PathBuf) {
    let named =
        |format: Format| (format, version.join(config.file_name.as_deref().unwrap_or(format.file_name())));
    match config.format {
        Some(format) => named(format),
        None => {
            let [saved_model, graph] = [Format::SavedModel, Format::GraphDef].map(named);
            if !saved_model.1.is_dir() && graph.1.is_file() { graph } else { saved_model }
        }
    }
}

/// The operations that TF_INIT_OPS_FILE lists. The file is in the folder of the version or, if not there, in the model's.
///
/// # Errors
/// There is none, or it is not such a list.
pub fn init_ops(config: &ModelConfig, folder: &Path, version: &Path) -> Result<Vec<String>> {
    let Some(name) = &config.init_ops_file else { return Ok(Vec::new()) };
    let told = |code, what: String| {
        Error::new(code, format!("the parameter TF_INIT_OPS_FILE names '{name}', {what}"))
    };
    for place in [version, folder] {
        let text = match fs::read(place.join(name)) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(told(Code::Internal, format!("which cannot be read: {e}"))),
        };
        let read: std::result::Result<InitOps, _> = serde_json::from_slice(&text);
        return read.map(|read| read.init_ops).map_err(|e| {
            let expected = r#"{"init_ops": ["NAME OF AN OPERATION"]}"#;
            told(
                Code::InvalidArg,
                format!("which is not a list of operations: expected {expected}, found: {e}"),
            )
        });
    }
    Err(told(
        Code::NotFound,
        "which is neither in the folder of the model's version nor in the model's".into(),
    ))
}

/// The libraries that `model_operations` names. A relative name is looked for in the folder of the version, in the model's,
/// and in the server's working directory, as Triton's former backend did.
///
/// # Errors
/// One is in none of these.
pub fn op_libraries(config: &ModelConfig, folder: &Path, version: &Path) -> Result<Vec<PathBuf>> {
    let find = |name: &String| {
        let places = [version.join(name), folder.join(name), PathBuf::from(name)];
        // Joined to a folder, an absolute path stays what it is.
        let places = if Path::new(name).is_absolute() { &places[2..] } else { &places };
        places.iter().find(|place| place.is_file()).and_then(|place| place.canonicalize().ok()).ok_or_else(|| {
            let tried: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            Error::new(
                Code::NotFound,
                format!(
                    "model_operations of config.pbtxt names the op library '{name}', which is not there: expected a file, \
                     looked for {}. Put it into the model's folder or write its whole path",
                    tried.join(", ")
                ),
            )
        })
    };
    config.op_libraries.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::BackendOptions;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("tensorflow_latency_{name}_{}", std::process::id()));
            fs::create_dir_all(folder.join("1")).expect("a folder for the test");
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn config(json: serde_json::Value) -> ModelConfig {
        ModelConfig::from_json(&json, &BackendOptions::default()).expect("a good configuration")
    }

    #[test]
    fn the_platform_says_how_a_model_is_stored_or_else_what_is_there() {
        let folder = Folder::new("formats");
        let version = folder.0.join("1");
        let found = |json| {
            let (format, path) = find(&config(json), &version);
            (format, path.strip_prefix(&version).expect("it is inside").to_path_buf())
        };
        let (saved_model, graph) =
            ((Format::SavedModel, "model.savedmodel".into()), (Format::GraphDef, "model.graphdef".into()));
        assert_eq!(found(json!({})), saved_model, "nothing is there: the message names a SavedModel");
        assert_eq!(found(json!({"platform": "tensorflow_graphdef"})), graph);
        fs::write(version.join("model.graphdef"), "x").unwrap();
        assert_eq!(found(json!({})), graph);
        assert_eq!(found(json!({"platform": "tensorflow_savedmodel"})), saved_model);
        fs::create_dir(version.join("model.savedmodel")).unwrap();
        assert_eq!(found(json!({})), saved_model);
        fs::write(version.join("frozen.pb"), "x").unwrap();
        let named = json!({"default_model_filename": "frozen.pb"});
        assert_eq!(found(named), (Format::GraphDef, "frozen.pb".into()));
    }

    #[test]
    fn an_op_library_is_in_the_version_in_the_model_or_anywhere() {
        let folder = Folder::new("op_library");
        let version = folder.0.join("1");
        let find = |name: &str| {
            let named = json!({"model_operations": {"op_library_filename": [name]}});
            op_libraries(&config(named), &folder.0, &version).map(|found| found[0].clone())
        };
        assert!(
            op_libraries(&config(json!({"model_operations": null})), &folder.0, &version).unwrap().is_empty()
        );
        let error = find("ops.so").unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.message.contains("names the op library 'ops.so', which is not there"), "{error}");
        let (of_model, of_version) = (folder.0.join("ops.so"), version.join("ops.so"));
        fs::write(&of_model, "x").unwrap();
        assert_eq!(find("ops.so").unwrap(), of_model.canonicalize().unwrap());
        fs::write(&of_version, "x").unwrap();
        assert_eq!(find("ops.so").unwrap(), of_version.canonicalize().unwrap());
        assert_eq!(find(of_model.to_str().unwrap()).unwrap(), of_model.canonicalize().unwrap());
        for missing in ["", ".", "/", "/nowhere/ops.so", "ops.so/x"] {
            assert!(find(missing).is_err(), "{missing:?}");
        }
    }

    #[test]
    fn init_ops_are_those_of_the_version_or_else_of_the_model() {
        let folder = Folder::new("init_ops");
        let version = folder.0.join("1");
        let with = json!({"parameters": {"TF_INIT_OPS_FILE": {"string_value": "ops.json"}}});
        let read = |json| init_ops(&config(json), &folder.0, &version);
        assert_eq!(read(json!({})).unwrap(), [""; 0]);
        let error = read(with.clone()).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.message.contains("TF_INIT_OPS_FILE names 'ops.json', which is neither in"), "{error}");
        fs::write(folder.0.join("ops.json"), r#"{"init_ops": ["a", "b"]}"#).unwrap();
        assert_eq!(read(with.clone()).unwrap(), ["a", "b"]);
        fs::write(version.join("ops.json"), r#"{"init_ops": []}"#).unwrap();
        assert_eq!(read(with.clone()).unwrap(), [""; 0]);
        for broken in ["", "{}", r#"{"init_ops": "a"}"#, r#"{"init_ops": [1]}"#, r#"{"ops": ["a"]}"#] {
            fs::write(version.join("ops.json"), broken).unwrap();
            let error = read(with.clone()).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg);
            assert!(error.message.contains("is not a list of operations: expected"), "{error}");
        }
    }
}
