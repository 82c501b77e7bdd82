//! A model repository of links, in which a configuration can be changed without touching the models' own files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const CONFIG: &str = "config.pbtxt";

/// No kernel ticks more slowly.
const STEP_OF_FILE_TIMES: Duration = Duration::from_millis(11);

/// A folder with a folder for each model, whose entries are links to the real ones.
#[derive(Debug)]
pub struct LinkedRepository {
    folder: PathBuf,
    original: PathBuf,
}

impl LinkedRepository {
    /// Makes `folder`, and in it the folders of all models in `original`: besides the models asked for, the
    /// parts of an ensemble are needed, too.
    pub fn new(folder: PathBuf, original: &Path, models: &[String]) -> Result<Self> {
        let original = original
            .canonicalize()
            .with_context(|| format!("the model repository '{}' cannot be read", original.display()))?;
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
        // The server tells a change by the time of the file, and the kernel counts that in steps.
        thread::sleep(STEP_OF_FILE_TIMES);
        // Renaming replaces the link itself; writing would go through it, into the user's file.
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &target))
            .with_context(|| format!("'{}' cannot be written", target.display()))
    }

    /// Gives the model its own `config.pbtxt` again, or none if it had none. A copy, because a server may reload
    /// only what has become newer.
    pub fn restore_config(&self, model: &str) -> Result<()> {
        match fs::read_to_string(self.original.join(model).join(CONFIG)) {
            Ok(text) => self.rewrite_config(model, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = self.folder.join(model).join(CONFIG);
                fs::remove_file(&made).with_context(|| format!("'{}' cannot be removed", made.display()))
            }
            Err(error) => {
                Err(error).with_context(|| format!("the {CONFIG} of model '{model}' cannot be read"))
            }
        }
    }
}

fn subfolders(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("the model repository '{}' cannot be read", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        // Not the entry's own type: a model's folder may be a link already.
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
    let cannot = || format!("the model folder '{}' cannot be linked", from.display());
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
