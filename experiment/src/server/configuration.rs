//! Changes of a model's configuration while a server runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control::Control;
use super::pbtxt::to_pbtxt;
use super::process::ServerProcess;

/// A change of a model's configuration.
#[derive(Clone, Debug)]
pub struct Change {
    /// For messages.
    pub name: String,
    /// RFC 7396, applied to what the server reports of the repository's own configuration.
    pub patch: Value,
}

/// How a configuration is brought into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The first of the others that works
    #[default]
    Auto,
    /// Over the server's repository API
    Api,
    /// By rewriting the model folder of a server that the tool started
    Rewrite,
}

/// Changes the configuration of one model.
pub struct Reconfigurer<'a> {
    /// The server.
    pub control: &'a Control,
    /// Its process, when the tool started it.
    pub own: Option<&'a ServerProcess>,
    /// The model.
    pub model: &'a str,
    /// What the server reported of the repository's own configuration.
    pub original: &'a Value,
    /// How.
    pub way: Way,
}

impl Reconfigurer<'_> {
    /// Brings the changed configuration into force; what the server then reports.
    ///
    /// # Errors
    /// The server does not take it, or takes it and reports another.
    pub fn apply(&self, change: &Change) -> Result<Value> {
        let mut wanted = self.original.clone();
        json_patch::merge(&mut wanted, &change.patch);
        let refused = || format!("the configuration '{}' is not in force", change.name);
        match (self.way, self.own) {
            (Way::Api, _) => self.by_api(&wanted, &change.patch).with_context(refused),
            (Way::Auto, None) => self.by_api(&wanted, &change.patch).with_context(refused).context(
                "a server that takes no configurations over its repository API (it needs \
                 --model-control-mode=explicit) can be measured when the tool starts it: --tritonserver",
            ),
            (Way::Rewrite, Some(own)) => self.by_rewriting(own, &wanted, &change.patch).with_context(refused),
            (Way::Rewrite, None) => {
                bail!("--reconfigure rewrite needs a server that the tool starts: --tritonserver")
            }
            (Way::Auto, Some(own)) => match self.by_api(&wanted, &change.patch) {
                Ok(value) => Ok(value),
                Err(_) => self.by_rewriting(own, &wanted, &change.patch).with_context(refused),
            },
        }
    }

    /// Brings the original configuration back; `repository` is that of the tool's own server.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn restore(&self, repository: Option<&Path>) -> Result<()> {
        if let (Some(own), Some(repository)) = (self.own, repository) {
            own.restore_config(self.model, repository)?;
        }
        self.control.load(self.model, None)?;
        // Servers keep a configuration that came over the API until another one does (seen on 2.51).
        if self.control.model_config(self.model, None)? != *self.original {
            self.control.load(self.model, Some(self.original))?;
        }
        Ok(())
    }

    fn by_api(&self, wanted: &Value, patch: &Value) -> Result<Value> {
        self.control.load(self.model, Some(wanted))?;
        self.in_force(patch)
    }

    fn by_rewriting(&self, own: &ServerProcess, wanted: &Value, patch: &Value) -> Result<Value> {
        own.rewrite_config(self.model, &to_pbtxt(wanted)?)?;
        self.control.load(self.model, None)?;
        self.in_force(patch)
    }

    fn in_force(&self, patch: &Value) -> Result<Value> {
        let reported = self.control.model_config(self.model, None)?;
        if let Some((key, expected, found)) = difference(patch, &reported, "") {
            bail!("the server took it, but reports {key} as {found} in place of {expected}");
        }
        Ok(reported)
    }
}

/// The first key of the patch that the configuration does not have as it should. The server may add defaults.
fn difference(patch: &Value, found: &Value, path: &str) -> Option<(String, Value, Value)> {
    let differs = || Some((path.trim_start_matches('.').to_owned(), patch.clone(), found.clone()));
    match patch {
        Value::Null => {
            if is_empty(found) {
                None
            } else {
                differs()
            }
        }
        Value::Object(keys) => {
            if !found.is_object() && !keys.is_empty() {
                return differs();
            }
            keys.iter().find_map(|(key, value)| difference(value, &found[key], &format!("{path}.{key}")))
        }
        Value::Array(items) => {
            let same = found.as_array().map_or(items.is_empty(), |found| {
                found.len() == items.len()
                    && items.iter().zip(found).all(|(a, b)| difference(a, b, "").is_none())
            });
            if same { None } else { differs() }
        }
        // 64-bit integers may come as strings, and what is the default may be left out.
        _ if plain(patch) == plain(found) || (is_default(patch) && found.is_null()) => None,
        _ => differs(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_default(value: &Value) -> bool {
    matches!(plain(value).as_str(), "0" | "false" | "")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        other => is_default(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_that_the_server_adds_are_no_difference() {
        let patch = json!({ "dynamic_batching": { "preferred_batch_size": [4], "max_queue_delay_microseconds": 100 } });
        let reported = json!({ "name": "m", "dynamic_batching": {
            "preferred_batch_size": [4], "max_queue_delay_microseconds": "100", "preserve_ordering": false } });
        assert_eq!(difference(&patch, &reported, ""), None);
    }

    #[test]
    fn what_is_not_in_force_is_named() {
        let reported = json!({ "dynamic_batching": { "preferred_batch_size": [4, 8] } });
        for (patch, key) in [
            (
                json!({ "dynamic_batching": { "preferred_batch_size": [4] } }),
                "dynamic_batching.preferred_batch_size",
            ),
            (json!({ "dynamic_batching": null }), "dynamic_batching"),
            (json!({ "max_batch_size": 3 }), "max_batch_size"),
        ] {
            assert_eq!(difference(&patch, &reported, "").map(|(key, ..)| key).as_deref(), Some(key));
        }
        assert_eq!(difference(&json!({ "instance_group": null }), &reported, ""), None);
        assert_eq!(difference(&json!({ "max_batch_size": 0 }), &reported, ""), None);
    }
}
