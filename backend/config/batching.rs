//! Who makes the batches, and what adaptive batching is to reach.

use std::str::FromStr;

use super::setting::Setting;
use crate::triton::{Error, Result};

/// Who puts requests into batches (`batching`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Batching {
    /// The server (`triton`), as `dynamic_batching` says.
    Triton,
    /// This backend (`adaptive`).
    Adaptive(Adaptive),
}

/// What adaptive batching is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// `latency_target_ms` and `latency_percentile`; without, no request waits for others.
    pub target: Option<Target>,
    /// `max_queue_size`: the rows that may wait; more are refused.
    pub max_queue_size: Option<u32>,
    /// `max_wait_ms`: no request waits for others for longer, in ns.
    pub max_wait_ns: u64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { target: None, max_queue_size: None, max_wait_ns: (DEFAULT_MAX_WAIT_MS * 1e6) as u64 }
    }
}

/// The latency that a share of the requests is to keep, from arrival to the end of the execution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// In ns.
    pub latency_ns: u64,
    /// The share, from 0 to 100.
    pub percentile: f64,
}

/// A latency target in milliseconds is below this: ten minutes are beyond all sense, and far from where sums of
/// nanoseconds overflow.
const LARGEST_TARGET_MS: f64 = 600_000.0;
/// The longest wait for others where none is given: a server that is told to end does not say so to its backends, and
/// gives them 30 s as a rule.
const DEFAULT_MAX_WAIT_MS: f64 = 1_000.0;
/// The percentile where only a target is given.
const DEFAULT_PERCENTILE: f64 = 99.0;

/// The parameters about batching, which mean something together only.
#[derive(Debug, Default)]
pub struct BatchingParameters {
    adaptive: bool,
    target_ms: Option<f64>,
    percentile: Option<f64>,
    max_queue_size: Option<u32>,
    max_wait_ms: Option<f64>,
}

impl BatchingParameters {
    /// `batching`
    pub fn set_batching(&mut self, setting: &Setting<'_>) -> Result<()> {
        self.adaptive = match setting.value {
            "triton" => false,
            "adaptive" => true,
            _ => return Err(setting.wrong("adaptive or triton")),
        };
        Ok(())
    }

    /// `latency_target_ms`
    pub fn set_target(&mut self, setting: &Setting<'_>) -> Result<()> {
        let expected = format!("milliseconds, above 0 and below {LARGEST_TARGET_MS}");
        self.target_ms = Some(setting.number_below(LARGEST_TARGET_MS, &expected)?);
        Ok(())
    }

    /// `latency_percentile`
    pub fn set_percentile(&mut self, setting: &Setting<'_>) -> Result<()> {
        let expected = "a percentile above 0 and below 100, such as 99 or 99.9";
        self.percentile = Some(setting.number_below(100.0, expected)?);
        Ok(())
    }

    /// `max_queue_size`
    pub fn set_max_queue_size(&mut self, setting: &Setting<'_>) -> Result<()> {
        let size = u32::from_str(setting.value).ok().filter(|&size| size > 0);
        self.max_queue_size = Some(size.ok_or_else(|| setting.wrong("a number of rows, 1 or more"))?);
        Ok(())
    }

    /// `max_wait_ms`
    pub fn set_max_wait(&mut self, setting: &Setting<'_>) -> Result<()> {
        let expected = format!("milliseconds, above 0 and below {LARGEST_TARGET_MS}");
        self.max_wait_ms = Some(setting.number_below(LARGEST_TARGET_MS, &expected)?);
        Ok(())
    }

    /// What they say together, beside the name of what makes batches in the server, if config.pbtxt has it.
    ///
    /// # Errors
    /// A parameter lacks the one that it belongs to, or both the server and this backend are to make the batches.
    pub fn read(&self, batcher: Option<&str>) -> Result<Batching> {
        let Self { adaptive, target_ms, percentile, max_queue_size, max_wait_ms } = *self;
        if !adaptive {
            let stray = [
                ("latency_target_ms", target_ms.is_some()),
                ("latency_percentile", percentile.is_some()),
                ("max_queue_size", max_queue_size.is_some()),
                ("max_wait_ms", max_wait_ms.is_some()),
            ];
            return match stray.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(Error::invalid(format!(
                    "the parameter {name} of config.pbtxt has a meaning only with batching: adaptive: add that, or \
                     remove it"
                ))),
                None => Ok(Batching::Triton),
            };
        }
        if let Some(batcher) = batcher {
            return Err(Error::invalid(format!(
                "config.pbtxt has both {batcher}, with which the server makes the batches, and the parameter batching: \
                 adaptive, with which this backend does: remove one of them"
            )));
        }
        if percentile.is_some() && target_ms.is_none() {
            return Err(Error::invalid("the parameter latency_percentile needs a latency_target_ms"));
        }
        if max_wait_ms.is_some() && target_ms.is_none() {
            return Err(Error::invalid(
                "the parameter max_wait_ms needs a latency_target_ms: without, no request waits for others",
            ));
        }
        let percentile = percentile.unwrap_or(DEFAULT_PERCENTILE);
        let target = target_ms.map(|ms| Target { latency_ns: (ms * 1e6) as u64, percentile });
        let max_wait_ns = (max_wait_ms.unwrap_or(DEFAULT_MAX_WAIT_MS) * 1e6) as u64;
        Ok(Batching::Adaptive(Adaptive { target, max_queue_size, max_wait_ns }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Batching> {
        let mut parameters = BatchingParameters::default();
        for (name, value) in settings {
            let setting = Setting { place: "a test", name, value };
            match *name {
                "batching" => parameters.set_batching(&setting)?,
                "latency_target_ms" => parameters.set_target(&setting)?,
                "latency_percentile" => parameters.set_percentile(&setting)?,
                "max_queue_size" => parameters.set_max_queue_size(&setting)?,
                "max_wait_ms" => parameters.set_max_wait(&setting)?,
                other => panic!("no parameter of batching: {other}"),
            }
        }
        parameters.read(None)
    }

    #[test]
    fn reads_a_goal() {
        assert_eq!(read(&[]), Ok(Batching::Triton));
        assert_eq!(read(&[("batching", "triton")]), Ok(Batching::Triton));
        assert_eq!(read(&[("batching", "adaptive")]), Ok(Batching::Adaptive(Adaptive::default())));
        let target = Target { latency_ns: 62_500_000, percentile: 99.0 };
        assert_eq!(
            read(&[("batching", "adaptive"), ("latency_target_ms", "62.5"), ("max_queue_size", "7")]),
            Ok(Batching::Adaptive(Adaptive {
                target: Some(target),
                max_queue_size: Some(7),
                max_wait_ns: 1_000_000_000
            }))
        );
        let Ok(Batching::Adaptive(adaptive)) =
            read(&[("batching", "adaptive"), ("latency_target_ms", "5"), ("max_wait_ms", "2.5")])
        else {
            panic!("both are right")
        };
        assert_eq!(adaptive.max_wait_ns, 2_500_000);
    }

    #[test]
    fn wrong_values_and_stray_parameters_are_told() {
        for (parameters, expected) in [
            (&[("batching", "dynamic")][..], "'batching'"),
            (&[("batching", "adaptive"), ("latency_target_ms", "0")], "above 0 and below 600000, found '0'"),
            (&[("batching", "adaptive"), ("latency_target_ms", "NaN")], "found 'NaN'"),
            (&[("batching", "adaptive"), ("latency_percentile", "99")], "needs a latency_target_ms"),
            (
                &[("batching", "adaptive"), ("latency_target_ms", "5"), ("latency_percentile", "100")],
                "'latency_percentile'",
            ),
            (&[("batching", "adaptive"), ("max_wait_ms", "5")], "max_wait_ms needs a latency_target_ms"),
            (&[("max_wait_ms", "5")], "max_wait_ms of config.pbtxt has a meaning only with"),
            (&[("batching", "adaptive"), ("max_queue_size", "0")], "1 or more, found '0'"),
            (&[("latency_target_ms", "5")], "latency_target_ms of config.pbtxt has a meaning only with"),
            (&[("batching", "triton"), ("max_queue_size", "5")], "max_queue_size of config.pbtxt"),
        ] {
            let error = read(parameters).unwrap_err().message;
            assert!(error.contains(expected), "{error}");
        }
        let adaptive = BatchingParameters { adaptive: true, ..BatchingParameters::default() };
        let error = adaptive.read(Some("dynamic_batching")).unwrap_err().message;
        assert!(error.contains("has both dynamic_batching"), "{error}");
    }
}
