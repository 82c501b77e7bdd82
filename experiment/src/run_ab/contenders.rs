//! The two contenders of `ab`, from settings that they share and what is given for each alone.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;

use crate::plan::{Configuration, Load, Plan, ReconfigureBy};
use crate::settings::Settings;

/// The settings of one contender: any flag of `sweep` without its dashes, and a configuration.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Given {
    #[command(flatten)]
    settings: Settings,
    #[arg(long, value_name = "JSON")]
    configuration: Option<String>,
    #[arg(long)]
    reconfigure: Option<ReconfigureBy>,
}

/// The plan of a contender: the settings of both, with those given for it alone as KEY=VALUE.
///
/// # Errors
/// The first invalid setting; with the contender's name.
pub fn plan(name: &str, given: &[String], shared: &Settings) -> Result<Plan> {
    settings(name, given, shared)
        .and_then(|settings| {
            let plan = settings.into_plan()?;
            check(&plan)?;
            Ok(plan)
        })
        .with_context(|| format!("contender {name}"))
}

fn settings(name: &str, given: &[String], shared: &Settings) -> Result<Settings> {
    let mut arguments = Vec::new();
    for text in given {
        let (key, value) =
            text.split_once('=')
                .filter(|(key, _)| !key.is_empty() && !key.starts_with('-'))
                .with_context(|| format!("expected KEY=VALUE, such as model=other, found '{text}'"))?;
        arguments.push(format!("--{key}={value}"));
    }
    let given = Given::try_parse_from(arguments).map_err(|error| {
        // The first line says what is wrong; the rest is usage of a command that nobody has typed.
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        anyhow::anyhow!("{}", line.trim_start_matches("error: ").replace("'--", "'"))
    })?;
    let mut settings = given.settings.or(shared)?;
    if let Some(json) = given.configuration {
        let patch: Value = serde_json::from_str(&json)
            .with_context(|| format!("configuration: expected a JSON object, found '{json}'"))?;
        settings.configuration = vec![Configuration { name: name.to_owned(), patch, remove: Vec::new() }];
    }
    settings.reconfigure = given.reconfigure.or(settings.reconfigure);
    if settings.concurrency.is_empty() && settings.rate.is_empty() && settings.max_throughput.is_none() {
        settings.concurrency = vec![1];
    }
    Ok(settings)
}

fn check(plan: &Plan) -> Result<()> {
    ensure!(plan.batches.len() == 1, "expected one batch size, found {:?}", plan.batches);
    match plan.loads.as_slice() {
        [Load::Concurrency { .. } | Load::Rate { .. }] => Ok(()),
        [load] => bail!("'{load}' cannot be cut into blocks: give one --concurrency or one --rate"),
        loads => bail!("expected one load, found {}", loads.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Settings {
        Settings { model: Some("m".into()), url: Some("localhost:8000".into()), ..Settings::default() }
    }

    fn of(given: &[&str]) -> Result<Plan> {
        plan("B", &given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &shared())
    }

    #[test]
    fn a_contender_has_the_shared_settings_and_its_own() {
        let plain = of(&[]).unwrap();
        assert_eq!((plain.model.as_str(), plain.loads[0].to_string().as_str()), ("m", "concurrency 1"));
        let own =
            of(&["model=other", "batch=4", "rate=20", "configuration={\"dynamic_batching\":{}}"]).unwrap();
        assert_eq!((own.model.as_str(), own.batches[0]), ("other", 4));
        assert_eq!(own.configurations[0].name, "B");
        assert_eq!(of(&["url=elsewhere:8000"]).unwrap().url.as_deref(), Some("elsewhere:8000"));
    }

    #[test]
    fn what_is_wrong_is_said_of_whom() {
        for (given, part) in [
            ("model", "expected KEY=VALUE"),
            ("--model=x", "expected KEY=VALUE"),
            ("modle=x", "unexpected argument 'modle' found"),
            ("batch=x", "invalid value 'x' for 'batch"),
            ("batch=1,2", "expected one batch size"),
            ("concurrency=1,2", "expected one load, found 2"),
            ("configuration={", "expected a JSON object"),
            ("configuration=[1]", "expected a JSON object"),
            ("rate=0", "--rate"),
        ] {
            let error = format!("{:#}", of(&[given]).unwrap_err());
            assert!(error.starts_with("contender B: ") && error.contains(part), "{given}: {error}");
        }
    }
}
