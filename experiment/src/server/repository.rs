//! A model repository made of links, in which a configuration can be changed without touching the models' files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const CONFIG: &str = "config.pbtxt";

/// The longest tick of a kernel, rounded up (100 Hz).
const STEP_OF_FILE_TIMES: Duration = Duration::from_millis(11);

/// A folder with a folder for each model, whose entries are links to the real ones.
#[derive(Debug)]
pub struct LinkedRepository {
    folder: PathBuf,
    original: PathBuf,
}

impl LinkedRepository {
    /// Creates `folder`, with the folders of all models in `original`, because the requested models may be ensembles of
    /// others.
    pub fn new(folder: PathBuf, original: &Path, models: &[String]) -> Result<Self> {
        let original = original
            .canonicalize()
            .with_context(|| format!("cannot read the model repository '{}'", original.display()))?;
        let known = subfolders(&original)?;
        for model in models {
            ensure!(
                known.contains(model),
                "the model repository '{}' has no folder '{model}'; it has: {}",
                original.display(),
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
        }
        for model in &known {
            link_entries(&original.join(model), &folder.join(model))?;
        }
        Ok(Self { folder, original })
    }

    /// The folder to serve from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the model another `config.pbtxt`.
    pub fn rewrite_config(&self, model: &str, text: &str) -> Result<()> {
        let target = self.folder.join(model).join(CONFIG);
        let new = target.with_extension("new");
        // The server detects a change by the time of the file, whose resolution is a kernel tick.
        thread::sleep(STEP_OF_FILE_TIMES);
        // Renaming replaces the link; writing would follow it to the user's file.
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &target))
            .with_context(|| format!("cannot write '{}'", target.display()))
    }

    /// Restores the model's original `config.pbtxt`, or its absence. The file is a copy, because a server may reload only
    /// files that are newer.
    pub fn restore_config(&self, model: &str) -> Result<()> {
        match fs::read_to_string(self.original.join(model).join(CONFIG)) {
            Ok(text) => self.rewrite_config(model, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = self.folder.join(model).join(CONFIG);
                fs::remove_file(&made).with_context(|| format!("cannot remove '{}'", made.display()))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read the {CONFIG} of model '{model}'")),
        }
    }
}

fn subfolders(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read the model repository '{}'", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        // Not the type of the entry itself: a model's folder may be a link.
        if entry.path().is_dir()
            && let Some(name) = entry.file_name().to_str()
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn link_entries(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot link the model folder '{}'", from.display());
    fs::create_dir_all(to).with_context(cannot)?;
    for entry in fs::read_dir(from).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        symlink(entry.path(), to.join(entry.file_name())).with_context(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(model_has_config: bool) -> (tempfile::TempDir, LinkedRepository) {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::create_dir_all(original.join("m/1")).unwrap();
        fs::create_dir_all(original.join("part")).unwrap();
        fs::write(original.join("m/1/model.x"), "weights").unwrap();
        if model_has_config {
            fs::write(original.join("m/config.pbtxt"), "own").unwrap();
        }
        let linked =
            LinkedRepository::new(folder.path().join("linked"), &original, &["m".to_owned()]).unwrap();
        (folder, linked)
    }

    #[test]
    fn rewriting_leaves_the_models_own_files_alone() {
        let (folder, linked) = repository(true);
        let config = linked.folder().join("m/config.pbtxt");
        assert_eq!(fs::read_to_string(&config).unwrap(), "own");
        assert_eq!(fs::read_to_string(linked.folder().join("m/1/model.x")).unwrap(), "weights");
        assert!(linked.folder().join("part").is_dir(), "an ensemble's parts are there as well");

        linked.rewrite_config("m", "other").unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "other");
        assert_eq!(fs::read_to_string(folder.path().join("original/m/config.pbtxt")).unwrap(), "own");

        linked.restore_config("m").unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "own");
    }

    #[test]
    fn a_model_without_a_configuration_has_none_again() {
        let (_folder, linked) = repository(false);
        linked.rewrite_config("m", "other").unwrap();
        linked.restore_config("m").unwrap();
        assert!(!linked.folder().join("m/config.pbtxt").exists());
    }

    #[test]
    fn a_model_that_is_not_there_is_named_with_those_that_are() {
        let (folder, _linked) = repository(true);
        let original = folder.path().join("original");
        let again = LinkedRepository::new(folder.path().join("again"), &original, &["n".to_owned()]);
        let error = again.unwrap_err().to_string();
        assert!(error.contains("no folder 'n'; it has: m, part"), "{error}");
    }
}
