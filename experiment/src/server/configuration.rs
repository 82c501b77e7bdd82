//! Applies configurations of one model, one after the other.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::control::Control;
use super::pbtxt::to_pbtxt;
use super::started::StartedServer;
use crate::plan::ReconfigureBy;

/// A change to a model's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name in results and messages.
    pub name: String,
    /// A merge patch (RFC 7396) for the configuration that the server reports, in Triton's JSON: null removes a key,
    /// lists are replaced as a whole.
    pub patch: Value,
}

/// Changes the configuration of one model. Each change is applied to the original configuration.
#[derive(Debug)]
pub struct Reconfigurer<'a> {
    control: &'a Control,
    server: Option<&'a StartedServer>,
    model: String,
    way: ReconfigureBy,
    original: Value,
    /// How a change was last tried, which has to be undone.
    tried: Option<ReconfigureBy>,
}

impl<'a> Reconfigurer<'a> {
    /// For a loaded model. `server` is given if the tool started it. `original` is the configuration that changes are
    /// applied to and [`restore`] brings back; by default the current one.
    ///
    /// [`restore`]: Reconfigurer::restore
    ///
    /// # Errors
    ///
    /// The model's configuration cannot be read, or `way` is to rewrite and the tool did not start the server.
    pub fn new(
        control: &'a Control,
        server: Option<&'a StartedServer>,
        model: &str,
        way: ReconfigureBy,
        original: Option<&Value>,
    ) -> Result<Self> {
        if way == ReconfigureBy::Rewrite && server.is_none() {
            bail!(
                "--reconfigure rewrite needs a server that this tool starts, and {} is not one; give --tritonserver, or use the \
                 repository API for model '{model}'",
                control.url()
            );
        }
        let in_force = control.model_config(model, None)?;
        let original = original.unwrap_or(&in_force).clone();
        let tried = (original != in_force).then_some(ReconfigureBy::Api);
        Ok(Self { control, server, model: model.to_owned(), way, original, tried })
    }

    /// The configuration that changes are applied to.
    pub fn original(&self) -> &Value {
        &self.original
    }

    /// Loads the model with this change to the original configuration, and returns what the server then reports.
    ///
    /// # Errors
    ///
    /// The server rejects it, or does not report it afterwards. The original configuration is then restored, unless the
    /// message says otherwise.
    pub fn apply(&mut self, change: &Change) -> Result<Value> {
        let outcome = self.try_apply(change);
        let Err(error) = outcome else { return outcome };
        let error = error.context(format!("configuration '{}' of model '{}'", change.name, self.model));
        Err(match self.restore() {
            Ok(()) => error,
            Err(second) => {
                anyhow!("{error:#}; then the original configuration could not be restored: {second:#}")
            }
        })
    }

    fn try_apply(&mut self, change: &Change) -> Result<Value> {
        let wanted = patched(&self.original, &change.patch);
        match (self.way, self.server) {
            (ReconfigureBy::Api, _) => self.apply_by(ReconfigureBy::Api, &wanted, &change.patch),
            (ReconfigureBy::Rewrite, _) => self.apply_by(ReconfigureBy::Rewrite, &wanted, &change.patch),
            (ReconfigureBy::Auto, None) => self.apply_by(ReconfigureBy::Api, &wanted, &change.patch).map_err(|error| {
                anyhow!(
                    "{error:#} (tried through the repository API, which needs --model-control-mode=explicit and a \
                     Triton that knows the parameter 'config'; rewriting config.pbtxt needs a server that this \
                     tool starts)"
                )
            }),
            (ReconfigureBy::Auto, Some(_)) => {
                let by_api = self.apply_by(ReconfigureBy::Api, &wanted, &change.patch);
                let Err(first) = by_api else { return by_api };
                let by_rewriting = self.apply_by(ReconfigureBy::Rewrite, &wanted, &change.patch);
                if by_rewriting.is_ok() {
                    // This server will not accept the API for the next change either.
                    self.way = ReconfigureBy::Rewrite;
                }
                by_rewriting.map_err(|second| {
                    anyhow!("through the repository API: {first:#}; by rewriting config.pbtxt: {second:#}")
                })
            }
        }
    }

    fn apply_by(&mut self, way: ReconfigureBy, wanted: &Value, patch: &Value) -> Result<Value> {
        self.tried = Some(way);
        match (way, self.server) {
            (ReconfigureBy::Rewrite, Some(server)) => {
                server.rewrite_config(&self.model, &to_pbtxt(wanted)?)?;
                self.load(None)?;
            }
            _ => self.load(Some(wanted))?,
        }
        let reported = self.control.model_config(&self.model, None)?;
        let differences = differences(patch, &reported);
        if !differences.is_empty() {
            bail!("the server loaded the model, but with another configuration: {}", differences.join("; "));
        }
        Ok(reported)
    }

    /// Restores the original configuration, unless it is active.
    ///
    /// # Errors
    ///
    /// The server rejects it, or reports another one afterwards.
    pub fn restore(&mut self) -> Result<()> {
        match (self.tried, self.server) {
            (None, _) => return Ok(()),
            (Some(ReconfigureBy::Rewrite), Some(server)) => {
                server.restore_config(&self.model)?;
                self.load(None)?;
            }
            // A load without a configuration is not enough: the server keeps the last one that it was given until the
            // file in its repository changes.
            _ => self.load(Some(&self.original))?,
        }
        let reported = self.control.model_config(&self.model, None)?;
        if reported != self.original {
            bail!(
                "model '{}' at {} was reloaded, but not with its original configuration; unload and load it, or restart \
                 the server",
                self.model,
                self.control.url()
            );
        }
        self.tried = None;
        Ok(())
    }

    fn load(&self, config: Option<&Value>) -> Result<()> {
        match self.server {
            Some(server) => server.load(&self.model, config),
            None => self.control.load(&self.model, config),
        }
    }
}

/// The configuration with the patch.
fn patched(original: &Value, patch: &Value) -> Value {
    let mut wanted = original.clone();
    json_patch::merge(&mut wanted, patch);
    // Where no preferred batch size is configured, the server reports the maximum. Kept as if configured, it would
    // conflict with another maximum.
    let preferred = |config: &Value| config["dynamic_batching"].get("preferred_batch_size").cloned();
    let filled_in = Value::Array(vec![original["max_batch_size"].clone()]);
    if wanted["max_batch_size"] != original["max_batch_size"]
        && preferred(original) == Some(filled_in)
        && preferred(patch).is_none()
        && let Some(batching) = wanted["dynamic_batching"].as_object_mut()
    {
        batching.remove("preferred_batch_size");
    }
    wanted
}

/// Where the reported configuration differs from what the patch asks for. A value that the patch removes or empties may
/// be the server's default; messages have no default and must be gone.
fn differences(patch: &Value, reported: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(patch, reported, "", &mut found);
    found
}

fn compare(asked: &Value, reported: &Value, path: &str, found: &mut Vec<String>) {
    let agrees = match (asked, reported) {
        (Value::Null, Value::Object(fields)) => fields.is_empty(),
        (Value::Null, _) => true,
        (Value::Array(asked), _) if asked.is_empty() => true,
        (Value::Object(asked), Value::Object(fields)) => {
            for (name, value) in asked {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(value, fields.get(name).unwrap_or(&Value::Null), &path, found);
            }
            return;
        }
        (Value::Array(asked), Value::Array(items)) if asked.len() == items.len() => {
            for (index, (asked, item)) in asked.iter().zip(items).enumerate() {
                compare(asked, item, &format!("{path}[{index}]"), found);
            }
            return;
        }
        // The server decides.
        (Value::String(asked), Value::String(_)) if asked == "KIND_AUTO" => true,
        // Defaults may be left out.
        (asked, Value::Null) => is_default(asked) || only_removes(asked),
        (asked, reported) => asked == reported || number(asked).is_some_and(|n| number(reported) == Some(n)),
    };
    if !agrees {
        let reported = if reported.is_null() { "nothing".to_owned() } else { reported.to_string() };
        found.push(format!("{path} should be {asked} and is {reported}"));
    }
}

fn is_default(value: &Value) -> bool {
    *value == Value::Bool(false) || value.as_str() == Some("") || number(value) == Some(0.0)
}

fn only_removes(patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => !fields.is_empty() && fields.values().all(only_removes),
        other => other.is_null(),
    }
}

/// Numbers may be strings, and integers fractions.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::control::tests::stub;
    use super::*;

    fn original() -> Value {
        json!({
            "name": "m", "max_batch_size": 8,
            "dynamic_batching": { "preferred_batch_size": [8], "max_queue_delay_microseconds": 100 },
            "instance_group": [{ "name": "m_0", "kind": "KIND_CPU", "count": 1, "gpus": [] }],
        })
    }

    #[test]
    fn a_patch_merges_removes_and_replaces() {
        let patch = json!({ "dynamic_batching": { "max_queue_delay_microseconds": 5 }, "instance_group": [{ "count": 2 }] });
        let wanted = patched(&original(), &patch);
        assert_eq!(
            wanted["dynamic_batching"],
            json!({ "preferred_batch_size": [8], "max_queue_delay_microseconds": 5 })
        );
        assert_eq!(wanted["instance_group"], json!([{ "count": 2 }]));
        let wanted = patched(&original(), &json!({ "dynamic_batching": null }));
        assert!(wanted.get("dynamic_batching").is_none());
    }

    #[test]
    fn a_preferred_batch_size_that_the_server_filled_in_does_not_bind() {
        let smaller = patched(&original(), &json!({ "max_batch_size": 4 }));
        assert_eq!(smaller["dynamic_batching"], json!({ "max_queue_delay_microseconds": 100 }));

        let patch = json!({ "max_batch_size": 16, "dynamic_batching": { "preferred_batch_size": [8] } });
        assert_eq!(patched(&original(), &patch)["dynamic_batching"]["preferred_batch_size"], json!([8]));

        let mut configured = original();
        configured["dynamic_batching"]["preferred_batch_size"] = json!([2, 4]);
        let wanted = patched(&configured, &json!({ "max_batch_size": 4 }));
        assert_eq!(wanted["dynamic_batching"]["preferred_batch_size"], json!([2, 4]));

        let without = patched(&original(), &json!({ "max_batch_size": 4, "dynamic_batching": null }));
        assert!(without["dynamic_batching"].is_null());
    }

    #[test]
    fn an_active_configuration_has_no_differences() {
        for patch in [
            json!({}),
            json!({ "max_batch_size": 8.0 }),
            json!({ "dynamic_batching": {} }),
            json!({ "dynamic_batching": { "max_queue_delay_microseconds": "100", "preserve_ordering": false } }),
            json!({ "dynamic_batching": { "preferred_batch_size": [] } }),
            json!({ "dynamic_batching": { "preferred_batch_size": null } }),
            json!({ "instance_group": [{ "kind": "KIND_AUTO", "count": 1 }] }),
            json!({ "sequence_batching": null, "parameters": { "a": null } }),
        ] {
            assert_eq!(differences(&patch, &original()), Vec::<String>::new(), "{patch}");
        }
    }

    #[test]
    fn differences_are_named() {
        for (patch, difference) in [
            (json!({ "max_batch_size": 4 }), "max_batch_size should be 4 and is 8"),
            (
                json!({ "dynamic_batching": { "max_queue_delay_microseconds": 5000 } }),
                "dynamic_batching.max_queue_delay_microseconds should be 5000 and is 100",
            ),
            (json!({ "instance_group": [{ "count": 2 }] }), "instance_group[0].count should be 2 and is 1"),
            (json!({ "sequence_batching": {} }), "sequence_batching should be {} and is nothing"),
            (
                json!({ "sequence_batching": { "iterative_sequence": false } }),
                "sequence_batching should be {\"iterative_sequence\":false} and is nothing",
            ),
            (json!({ "nonsense": 1 }), "nonsense should be 1 and is nothing"),
        ] {
            assert_eq!(differences(&patch, &original()), [difference]);
        }
        let removed = differences(&json!({ "dynamic_batching": null }), &original());
        assert!(removed[0].starts_with("dynamic_batching should be null and is {"), "{removed:?}");
        let two = json!({ "instance_group": [{}, {}] });
        assert_eq!(differences(&two, &original()).len(), 1, "lists of different lengths differ");
    }

    #[test]
    fn a_server_that_ignores_a_configuration_is_detected() {
        // Like servers that do not know the parameter: every load succeeds and changes nothing.
        let control = stub(|request| {
            let answer = if request.starts_with("GET") { original().to_string() } else { String::new() };
            (200, answer)
        });
        for way in [ReconfigureBy::Api, ReconfigureBy::Auto] {
            let mut reconfigurer = Reconfigurer::new(&control, None, "m", way, None).unwrap();
            let change = Change { name: "small".to_owned(), patch: json!({ "max_batch_size": 4 }) };
            let error = format!("{:#}", reconfigurer.apply(&change).unwrap_err());
            assert!(error.starts_with("configuration 'small' of model 'm'"), "{error}");
            assert!(
                error.contains("with another configuration: max_batch_size should be 4 and is 8"),
                "{error}"
            );
            assert_eq!(
                error.contains("a server that this tool starts"),
                way == ReconfigureBy::Auto,
                "{error}"
            );
        }
    }
}
