//! A model repository in a folder of its own.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::config::ModelConfig;
use super::environment::environment;

/// Where a model's SavedModel or GraphDef comes from.
#[derive(Clone, Copy)]
pub enum SavedModel<'a> {
    /// One of the small models of `tests/models/make_models.py`.
    Small(&'a str),
    /// The model of `model_repository/inception_v3`.
    Inception,
    /// A folder, linked as it stands.
    Folder(&'a Path),
    /// One of the small models that is a GraphDef.
    Graph(&'a str),
    /// A GraphDef, linked as it stands.
    GraphFile(&'a Path),
}

impl SavedModel<'_> {
    /// The SavedModel's folder, or the GraphDef's file.
    pub fn folder(self) -> PathBuf {
        match self {
            SavedModel::Graph(name) => environment().test_models.join(name).join("model.graphdef"),
            SavedModel::GraphFile(file) => file.to_path_buf(),
            SavedModel::Small(name) => environment().test_models.join(name).join("model.savedmodel"),
            SavedModel::Inception => environment().inception_dir.join("1/model.savedmodel"),
            SavedModel::Folder(folder) => folder.to_path_buf(),
        }
    }
}

/// Writes the model's folder (`config.pbtxt` and version 1 with a link to the SavedModel) into `repository`,
/// replacing one of the same name; returns the model's folder.
pub fn write_model(repository: &Path, config: &ModelConfig, saved_model: SavedModel) -> PathBuf {
    let source = saved_model.folder();
    assert!(
        source.exists(),
        "there is no SavedModel '{}'; `make test` makes the test models",
        source.display()
    );
    let folder = repository.join(config.name());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the test's own folder can be removed");
    }
    let version = folder.join("1");
    std::fs::create_dir_all(&version).expect("the repository can be written");
    let name = match saved_model {
        SavedModel::Graph(_) | SavedModel::GraphFile(_) => "model.graphdef",
        _ => "model.savedmodel",
    };
    symlink(source, version.join(name)).expect("the repository can be written");
    std::fs::write(folder.join("config.pbtxt"), config.text()).expect("the repository can be written");
    folder
}

/// The folder where this run of the tests keeps its files, inside cargo's target folder.
pub fn scratch_folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("integration");
    std::fs::create_dir_all(&folder).expect("cargo's target folder can be written");
    folder
}
