//! Due times of the requests of an open loop.

mod processes;
mod uniform;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use processes::{Bursts, bursty, gamma, ramp};
use uniform::gap_ns;
pub(crate) use uniform::unit;

/// Endless independent arrivals, on average `rate_per_s` per second: exponential gaps. The same seed gives the same
/// times.
///
/// # Panics
///
/// Unless the rate is above zero and finite.
pub fn poisson(rate_per_s: f64, seed: u64) -> impl Iterator<Item = Duration> + Send {
    let gap_ns = gap_ns(rate_per_s);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut due_ns = 0_u64;
    std::iter::repeat_with(move || {
        // Above 0, at most 1: its logarithm is finite.
        let uniform = 1.0 - unit(&mut random);
        due_ns += (-uniform.ln() * gap_ns).round() as u64;
        Duration::from_nanos(due_ns)
    })
}

/// Endless arrivals with equal gaps, the first one gap after the start.
///
/// # Panics
///
/// Unless the rate is above zero and finite.
pub fn constant(rate_per_s: f64) -> impl Iterator<Item = Duration> + Send {
    let gap_ns = gap_ns(rate_per_s);
    // Computed from its index, so that rounding errors do not accumulate.
    (1_u64..).map(move |number| Duration::from_nanos((number as f64 * gap_ns).round() as u64))
}

/// The arrival times of a text file: one per line, in seconds since the start of the trace, in ascending order. Empty lines
/// and lines that begin with `#` are skipped.
///
/// # Errors
///
/// The file cannot be read, has no times, or has an invalid line; with the number and text of the line.
pub fn read_trace(path: &Path) -> Result<Vec<Duration>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the trace {}", path.display()))?;
    let mut times = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let found = || format!("{}, line {}: {line:?}", path.display(), number + 1);
        let seconds: f64 =
            line.parse().ok().with_context(|| format!("{} is not a number of seconds", found()))?;
        let Ok(time) = Duration::try_from_secs_f64(seconds) else {
            bail!("{} is not a valid time: expected 0 or more seconds since the start of the trace", found());
        };
        if let Some(last) = times.last() {
            ensure!(
                time >= *last,
                "{} is before the {} s above it: sort the file",
                found(),
                last.as_secs_f64()
            );
        }
        times.push(time);
    }
    ensure!(
        !times.is_empty(),
        "{} has no arrival times: expected one per line, in seconds since the start of the trace",
        path.display()
    );
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_is_the_same_for_a_seed() {
        let first: Vec<u128> = poisson(1000.0, 7).take(3).map(|due| due.as_nanos()).collect();
        assert_eq!(first, [171_733, 355_643, 1_573_972]);
        let other: Vec<u128> = poisson(1000.0, 8).take(3).map(|due| due.as_nanos()).collect();
        assert_ne!(first, other);
    }

    #[test]
    fn poisson_has_exponential_gaps() {
        let times: Vec<f64> = poisson(200.0, 1).take(100_000).map(|due| due.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 200.0 - 1.0).abs() < 0.02, "mean gap {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "variance {variance}, mean {mean}");
    }

    #[test]
    fn constant_does_not_drift() {
        let due: Vec<Duration> = constant(3.0).take(3_000_000).collect();
        assert_eq!(due[0], Duration::from_nanos(333_333_333));
        assert_eq!(due[2], Duration::from_secs(1));
        assert_eq!(due[2_999_999], Duration::from_secs(1_000_000));
    }

    fn trace(text: &str) -> Result<Vec<Duration>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read_trace(file.path())
    }

    #[test]
    fn trace_skips_comments_and_takes_bursts() {
        let times = trace("# seconds\n0\n\n 0.25 \r\n0.25\n1e1\n").unwrap();
        assert_eq!(times, [0, 250, 250, 10_000].map(Duration::from_millis));
    }

    #[test]
    fn trace_tells_what_is_wrong_and_where() {
        for (text, expected) in [
            ("0\nsoon\n", "line 2: \"soon\" is not a number"),
            ("-1\n", "line 1: \"-1\" is not a valid time"),
            ("NaN\n", "line 1: \"NaN\" is not a valid time"),
            ("inf\n", "line 1: \"inf\" is not a valid time"),
            ("#\n2\n1.5\n", "line 3: \"1.5\" is before the 2 s above it"),
            ("# nothing\n", "has no arrival times"),
        ] {
            let message = format!("{:#}", trace(text).unwrap_err());
            assert!(message.contains(expected), "{text:?}: {message}");
        }
        let missing = format!("{:#}", read_trace(Path::new("no such file")).unwrap_err());
        assert!(missing.contains("no such file"), "{missing}");
    }
}
