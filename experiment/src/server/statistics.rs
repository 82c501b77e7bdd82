//! A server's statistics of a model.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::metadata::integer;
use crate::results::StatisticsGrowth;

/// Counts since the model was loaded, summed over its versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelStatistics {
    sums: StatisticsGrowth,
    executions: BTreeMap<u64, u64>,
}

impl ModelStatistics {
    /// Parses the response to `GET v2/models/NAME/stats`. Missing values count as zero.
    pub(super) fn parse(raw: &Value) -> Result<Self> {
        let versions = raw["model_stats"].as_array().context("they have no list 'model_stats'")?;
        let mut all = Self::default();
        for version in versions {
            all.add(version);
        }
        Ok(all)
    }

    fn add(&mut self, version: &Value) {
        let times = &version["inference_stats"];
        let sums = &mut self.sums;
        for (sum, value) in [
            (&mut sums.inference_count, &version["inference_count"]),
            (&mut sums.execution_count, &version["execution_count"]),
            (&mut sums.success_count, &times["success"]["count"]),
            (&mut sums.success_ns, &times["success"]["ns"]),
            (&mut sums.fail_count, &times["fail"]["count"]),
            (&mut sums.cache_hit_count, &times["cache_hit"]["count"]),
            (&mut sums.queue_ns, &times["queue"]["ns"]),
            (&mut sums.compute_input_ns, &times["compute_input"]["ns"]),
            (&mut sums.compute_infer_ns, &times["compute_infer"]["ns"]),
            (&mut sums.compute_output_ns, &times["compute_output"]["ns"]),
        ] {
            *sum += count(value);
        }
        for batch in version["batch_stats"].as_array().into_iter().flatten() {
            *self.executions.entry(count(&batch["batch_size"])).or_default() +=
                count(&batch["compute_infer"]["count"]);
        }
    }

    /// The growth since `earlier`, and the batches that ran since then, by size. Never negative, also if the model was
    /// reloaded in between.
    pub fn growth(&self, earlier: &Self) -> (StatisticsGrowth, BTreeMap<u64, u64>) {
        let (now, then) = (&self.sums, &earlier.sums);
        let growth = StatisticsGrowth {
            success_count: now.success_count.saturating_sub(then.success_count),
            fail_count: now.fail_count.saturating_sub(then.fail_count),
            cache_hit_count: now.cache_hit_count.saturating_sub(then.cache_hit_count),
            inference_count: now.inference_count.saturating_sub(then.inference_count),
            execution_count: now.execution_count.saturating_sub(then.execution_count),
            success_ns: now.success_ns.saturating_sub(then.success_ns),
            queue_ns: now.queue_ns.saturating_sub(then.queue_ns),
            compute_input_ns: now.compute_input_ns.saturating_sub(then.compute_input_ns),
            compute_infer_ns: now.compute_infer_ns.saturating_sub(then.compute_infer_ns),
            compute_output_ns: now.compute_output_ns.saturating_sub(then.compute_output_ns),
        };
        let before = |size| earlier.executions.get(size).copied().unwrap_or(0);
        let executions = self.executions.iter().map(|(size, now)| (*size, now.saturating_sub(before(size))));
        (growth, executions.filter(|(_, grown)| *grown > 0).collect())
    }
}

fn count(value: &Value) -> u64 {
    integer(value).and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(times: u64, batches: Value) -> Value {
        let stat = |ns: u64| json!({ "count": 3 * times, "ns": ns * times });
        json!({
            "name": "m", "version": "1", "inference_count": 6 * times, "execution_count": 2 * times,
            "inference_stats": {
                "success": stat(10), "fail": { "count": times, "ns": 1 }, "queue": stat(20),
                "compute_input": stat(30), "compute_infer": stat(40), "compute_output": stat(50),
            },
            "batch_stats": batches,
        })
    }

    fn batch(size: u64, count: u64) -> Value {
        json!({ "batch_size": size, "compute_infer": { "count": count, "ns": 7 } })
    }

    fn of(versions: Vec<Value>) -> ModelStatistics {
        ModelStatistics::parse(&json!({ "model_stats": versions })).unwrap()
    }

    #[test]
    fn growth_is_the_difference_over_all_versions() {
        let earlier = of(vec![version(1, json!([batch(1, 2), batch(4, 1)]))]);
        let later = of(vec![
            version(3, json!([batch(1, 2), batch(4, 5)])),
            version(1, json!([batch(4, 1), batch(8, 9)])),
        ]);
        let (growth, executions) = later.growth(&earlier);
        let expected = StatisticsGrowth {
            success_count: 9,
            fail_count: 3,
            inference_count: 18,
            execution_count: 6,
            success_ns: 30,
            queue_ns: 60,
            compute_input_ns: 90,
            compute_infer_ns: 120,
            compute_output_ns: 150,
            cache_hit_count: 0,
        };
        assert_eq!(growth, expected);
        assert_eq!(executions, BTreeMap::from([(4, 5), (8, 9)]));
    }

    #[test]
    fn integers_may_be_strings() {
        let numbers = of(vec![version(2, json!([batch(4, 3)]))]);
        let mut strings = version(2, json!([batch(4, 3)]));
        strings["inference_count"] = json!("12");
        strings["inference_stats"]["queue"]["ns"] = json!("40");
        strings["batch_stats"][0] = json!({ "batch_size": "4", "compute_infer": { "count": "3" } });
        assert_eq!(of(vec![strings]), numbers);
    }

    #[test]
    fn what_is_missing_is_zero() {
        let bare = of(vec![json!({ "name": "m", "execution_count": 5 })]);
        let (growth, executions) = bare.growth(&ModelStatistics::default());
        assert_eq!(growth, StatisticsGrowth { execution_count: 5, ..StatisticsGrowth::default() });
        assert!(executions.is_empty());
    }

    #[test]
    fn a_model_that_was_loaded_anew_grows_by_nothing() {
        let before = of(vec![version(3, json!([batch(1, 9)]))]);
        let after = of(vec![version(1, json!([batch(1, 1)]))]);
        let (growth, executions) = after.growth(&before);
        assert_eq!(growth, StatisticsGrowth::default());
        assert!(executions.is_empty());
    }

    #[test]
    fn something_else_is_no_statistics() {
        let error = ModelStatistics::parse(&json!({ "error": "x" })).unwrap_err();
        assert!(error.to_string().contains("model_stats"));
    }
}
