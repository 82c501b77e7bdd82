//! Who makes the batches, and what adaptive batching is to reach.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Setting, text};
use crate::batching::Target;
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Adaptive {
    /// `latency_target_ms` and `latency_percentile`; without, no request waits for others.
    pub target: Option<Target>,
    /// `max_queue_size`: the images that may wait; more are refused.
    pub max_queue_size: Option<u32>,
}

impl Batching {
    /// What a model's configuration, whose parameters are `parameters`, says about batching.
    ///
    /// # Errors
    /// A value that is not one of its parameter's, a parameter without the one it belongs to, or two who are
    /// to make the batches.
    pub(super) fn from_json(config: &Value, parameters: &Map<String, Value>) -> Result<Self> {
        let batching = batching(parameters)?;
        if batching != Self::Triton && config.get("dynamic_batching").is_some_and(|value| !value.is_null()) {
            return Err(Error::invalid(
                "config.pbtxt has both dynamic_batching, where the server makes the batches, and the parameter \
                 batching: adaptive, where this backend does: remove one of them",
            ));
        }
        Ok(batching)
    }
}

fn batching(parameters: &Map<String, Value>) -> Result<Batching> {
    let setting = |name: &'static str| {
        let value = parameters.get(name)?.get("string_value").map_or("", text);
        Some(Setting { place: "the parameters of config.pbtxt", name, value })
    };
    let (target, percentile, queue) =
        (setting("latency_target_ms"), setting("latency_percentile"), setting("max_queue_size"));
    match setting("batching") {
        None => {}
        Some(batching) if batching.value == "triton" => {}
        Some(batching) if batching.value == "adaptive" => {
            // Ten minutes are beyond all sense, and far from where sums of nanoseconds overflow.
            let ms = |target: Setting<'_>| {
                target.number_below(600_000.0, "milliseconds, above 0 and below 600000")
            };
            let latency_ms = target.map(ms).transpose()?;
            let percent = |percentile: Setting<'_>| {
                let expected = "a percentile above 0 and below 100, such as 99 or 99.9";
                if latency_ms.is_none() {
                    return Err(Error::invalid("the parameter latency_percentile needs a latency_target_ms"));
                }
                percentile.number_below(100.0, expected)
            };
            let percentile = percentile.map(percent).transpose()?.unwrap_or(99.0);
            let images = |queue: Setting<'_>| {
                let size = u32::from_str(queue.value).ok().filter(|&size| size > 0);
                size.ok_or_else(|| queue.wrong("a number of images, 1 or more"))
            };
            return Ok(Batching::Adaptive(Adaptive {
                target: latency_ms.map(|ms| Target { latency_ns: (ms * 1e6) as u64, percentile }),
                max_queue_size: queue.map(images).transpose()?,
            }));
        }
        Some(batching) => return Err(batching.wrong("adaptive or triton")),
    }
    match target.or(percentile).or(queue) {
        Some(stray) => Err(Error::invalid(format!(
            "the parameter {} of config.pbtxt means something only with batching: adaptive: add that, or remove \
             it",
            stray.name
        ))),
        None => Ok(Batching::Triton),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Batching> {
        let map = parameters.iter().map(|(name, value)| ((*name).into(), json!({ "string_value": value })));
        Batching::from_json(&json!({}), &map.collect())
    }

    #[test]
    fn reads_a_goal() {
        assert_eq!(read(&[]), Ok(Batching::Triton));
        assert_eq!(read(&[("batching", "triton")]), Ok(Batching::Triton));
        assert_eq!(read(&[("batching", "adaptive")]), Ok(Batching::Adaptive(Adaptive::default())));
        let target = Target { latency_ns: 62_500_000, percentile: 99.0 };
        assert_eq!(
            read(&[("batching", "adaptive"), ("latency_target_ms", "62.5"), ("max_queue_size", "7")]),
            Ok(Batching::Adaptive(Adaptive { target: Some(target), max_queue_size: Some(7) }))
        );
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
            (&[("batching", "adaptive"), ("max_queue_size", "0")], "1 or more, found '0'"),
            (&[("latency_target_ms", "5")], "latency_target_ms of config.pbtxt means something only with"),
            (&[("batching", "triton"), ("max_queue_size", "5")], "max_queue_size of config.pbtxt"),
        ] {
            let error = read(parameters).unwrap_err().message;
            assert!(error.contains(expected), "{error}");
        }
        let both = json!({ "dynamic_batching": {} });
        let adaptive = json!({ "batching": { "string_value": "adaptive" } });
        let error = Batching::from_json(&both, adaptive.as_object().unwrap()).unwrap_err().message;
        assert!(error.contains("has both dynamic_batching"), "{error}");
    }
}
