//! Reads a condition.
//!
//! ```text
//! METRIC > NUMBER [UNIT] [at SCOPE [and SCOPE]]
//! [METRIC] slower|faster|worse|better than FOLDER [by NUMBER %]
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::types::{Condition, Quantity, Scope, Test};
use crate::results::Metric;

/// Names that a condition may use, in lower case.
const NAMES: [(&str, Quantity); 19] = [
    ("throughput", Quantity::Metric(Metric::InferencesPerS)),
    ("inferences_per_s", Quantity::Metric(Metric::InferencesPerS)),
    ("mean", Quantity::Metric(Metric::LatencyMeanNs)),
    ("latency", Quantity::Metric(Metric::LatencyMeanNs)),
    ("p50", Quantity::Metric(Metric::LatencyP50Ns)),
    ("median", Quantity::Metric(Metric::LatencyP50Ns)),
    ("p90", Quantity::Metric(Metric::LatencyP90Ns)),
    ("p95", Quantity::Metric(Metric::LatencyP95Ns)),
    ("p99", Quantity::Metric(Metric::LatencyP99Ns)),
    ("p99.9", Quantity::Metric(Metric::LatencyP999Ns)),
    ("power", Quantity::Metric(Metric::AveragePowerW)),
    ("energy", Quantity::Metric(Metric::JPerInference)),
    ("energy_per_inference", Quantity::Metric(Metric::JPerInference)),
    ("j_per_inference", Quantity::Metric(Metric::JPerInference)),
    ("inferences_per_j", Quantity::Metric(Metric::InferencesPerJ)),
    ("efficiency", Quantity::Metric(Metric::InferencesPerJ)),
    ("cpu", Quantity::Metric(Metric::CpuSPerInference)),
    ("cpu_per_inference", Quantity::Metric(Metric::CpuSPerInference)),
    ("errors", Quantity::Errors),
];

/// Longer ones first.
const OPERATORS: [(&str, bool, bool); 4] =
    [(">=", true, true), ("<=", false, true), (">", true, false), ("<", false, false)];

/// See the module.
pub fn condition(text: &str) -> Result<Condition> {
    let trimmed = text.trim();
    let made = |test, scope| Condition { text: trimmed.to_owned(), test, scope };
    if let Some(test) = baseline(trimmed)? {
        return Ok(made(test, Vec::new()));
    }
    let found = OPERATORS.iter().filter_map(|operator| Some((trimmed.find(operator.0)?, operator)));
    // The first in the text; of two that begin there, the longer one.
    let (at, (sign, above, inclusive)) = found.min_by_key(|(at, operator)| (*at, 2 - operator.0.len())).context(
        "expected METRIC > LIMIT, METRIC < LIMIT or 'slower than FOLDER by 2 %', and found no >, < or 'than'",
    )?;
    let of = quantity(&trimmed[..at])?;
    let (limit, scope) = match split_word(&trimmed[at + sign.len()..], "at") {
        Some((limit, scope)) => (limit, scopes(scope)?),
        None => (&trimmed[at + sign.len()..], Vec::new()),
    };
    let (of, limit) = limit_of(of, limit)?;
    Ok(made(Test::Limit { of, above: *above, inclusive: *inclusive, limit }, scope))
}

/// None if the text has no comparative before a "than".
fn baseline(text: &str) -> Result<Option<Test>> {
    let Some((before, after)) = split_word(text, "than") else { return Ok(None) };
    let words: Vec<&str> = before.split_whitespace().collect();
    let Some((comparative, metric)) = words.split_last() else {
        bail!("expected 'slower than FOLDER', found '{text}'");
    };
    let better = match comparative.to_lowercase().as_str() {
        "slower" | "worse" => false,
        "faster" | "better" => true,
        word => bail!("expected slower, faster, worse or better before 'than', found '{word}'"),
    };
    let metric = match metric {
        [] => None,
        words => match quantity(&words.join(" "))? {
            Quantity::Metric(metric) => Some(metric),
            _ => bail!("errors cannot be compared with a baseline: use a limit, such as 'errors > 0'"),
        },
    };
    // The last one, because a folder may be called so.
    let (folder, by) = match after.rsplit_once(" by ") {
        Some((folder, by)) => (folder, percent(by)?),
        None => (after, 0.0),
    };
    let folder = folder.trim();
    ensure!(!folder.is_empty(), "expected a folder with results after 'than'");
    Ok(Some(Test::Baseline { metric, better, folder: PathBuf::from(folder), by }))
}

/// The text before and after a word.
fn split_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let wanted = format!(" {word} ");
    let at = text.find(&wanted)?;
    Some((&text[..at], &text[at + wanted.len()..]))
}

fn quantity(text: &str) -> Result<Quantity> {
    let name = text.trim().to_lowercase().replace([' ', '-'], "_");
    let name = name.strip_prefix("latency_").map_or(name.as_str(), |rest| rest);
    let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, quantity)| *quantity);
    found.with_context(|| {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("unknown metric '{}'; there are {}", text.trim(), names.join(", "))
    })
}

/// The limit in the unit of the metric.
fn limit_of(of: Quantity, text: &str) -> Result<(Quantity, f64)> {
    let (number, unit) = number(text)?;
    let units: &[(&str, f64)] = match of {
        Quantity::Metric(metric) if metric.is_latency() => {
            &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]
        }
        Quantity::Metric(Metric::CpuSPerInference) => {
            &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)]
        }
        Quantity::Metric(Metric::AveragePowerW) => &[("", 1.0), ("W", 1.0), ("kW", 1e3), ("mW", 1e-3)],
        Quantity::Metric(Metric::JPerInference) => {
            &[("", 1.0), ("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("µJ", 1e-6), ("kJ", 1e3)]
        }
        Quantity::Metric(Metric::InferencesPerS) => &[("", 1.0), ("/s", 1.0), ("inferences/s", 1.0)],
        Quantity::Metric(_) => &[("", 1.0), ("/J", 1.0), ("1/J", 1.0), ("inferences/J", 1.0)],
        Quantity::Errors | Quantity::ErrorShare => &[("", 1.0), ("%", 0.01)],
    };
    let found = units.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor);
    let factor = found.with_context(|| {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        match unit {
            "" => format!("the limit {number} has no unit: expected one of {}", names.join(", ")),
            unit => format!("unknown unit '{unit}': expected one of {}", names.join(", ")),
        }
    })?;
    let of = if unit == "%" { Quantity::ErrorShare } else { of };
    Ok((of, number * factor))
}

/// "50 ms" is 50 and "ms".
fn number(text: &str) -> Result<(f64, &str)> {
    let text = text.trim();
    let is_part = |(at, c): (usize, char)| {
        c.is_ascii_digit()
            || c == '.'
            || (at == 0 && "+-".contains(c))
            // An exponent, such as in 1e-3.
            || ("eE".contains(c) && text[at + 1..].starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)))
            || ("+-".contains(c) && text[..at].ends_with(['e', 'E']))
    };
    let end = text.char_indices().find(|part| !is_part(*part)).map_or(text.len(), |(at, _)| at);
    let (digits, unit) = text.split_at(end);
    let number: f64 = digits.parse().ok().with_context(|| format!("expected a number, found '{text}'"))?;
    ensure!(number.is_finite() && number >= 0.0, "expected a number of 0 or more, found {digits}");
    Ok((number, unit.trim()))
}

fn percent(text: &str) -> Result<f64> {
    let (number, unit) = number(text)?;
    ensure!(unit == "%", "expected a percentage after 'by', such as 2 %, found '{}'", text.trim());
    Ok(number / 100.0)
}

/// A percentage of the command line: "2%", "2 %", "2".
pub fn percentage(text: &str) -> Result<f64> {
    let (number, unit) = number(text)?;
    ensure!(unit == "%" || unit.is_empty(), "expected a percentage, such as 2%, found '{text}'");
    Ok(number / 100.0)
}

fn scopes(text: &str) -> Result<Vec<Scope>> {
    let parts = text.split(" and ").flat_map(|part| part.split(','));
    parts.map(|part| scope(part.trim())).collect()
}

fn scope(text: &str) -> Result<Scope> {
    let wrong = || {
        format!(
            "expected 'batch N', 'concurrency N', 'rate R' or 'configuration NAME' after 'at', found '{text}'"
        )
    };
    let (kind, value) = text.split_once(' ').with_context(wrong)?;
    let value = value.trim();
    Ok(match kind {
        "batch" => Scope::Batch(value.parse().with_context(wrong)?),
        "concurrency" => Scope::Concurrency(value.parse().with_context(wrong)?),
        "rate" => Scope::Rate((value.parse::<f64>().with_context(wrong)? * 1e3).round() as u64),
        "configuration" => Scope::Configuration(value.to_owned()),
        _ => bail!(wrong()),
    })
}
