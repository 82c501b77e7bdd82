//! A model's statistics, as `GET v2/models/NAME/stats` tells them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::results::StatisticsGrowth;

/// Sums since the model was loaded, over its versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelStatistics {
    sums: StatisticsGrowth,
    executions_by_batch_size: BTreeMap<u64, u64>,
}

impl ModelStatistics {
    /// What is not told is zero.
    pub fn from_json(answer: &Value) -> Self {
        let mut all = Self::default();
        for version in answer["model_stats"].as_array().into_iter().flatten() {
            let requests = &version["inference_stats"];
            let sums = &mut all.sums;
            sums.success_count += number(&requests["success"]["count"]);
            sums.fail_count += number(&requests["fail"]["count"]);
            sums.inference_count += number(&version["inference_count"]);
            sums.execution_count += number(&version["execution_count"]);
            sums.success_ns += number(&requests["success"]["ns"]);
            sums.queue_ns += number(&requests["queue"]["ns"]);
            sums.compute_input_ns += number(&requests["compute_input"]["ns"]);
            sums.compute_infer_ns += number(&requests["compute_infer"]["ns"]);
            sums.compute_output_ns += number(&requests["compute_output"]["ns"]);
            for batch in version["batch_stats"].as_array().into_iter().flatten() {
                let size = number(&batch["batch_size"]);
                *all.executions_by_batch_size.entry(size).or_default() +=
                    number(&batch["compute_infer"]["count"]);
            }
        }
        all
    }

    /// What came since an earlier time: sums, and the batches that ran, by size. A model that was loaded anew
    /// meanwhile begins at zero.
    pub fn growth(&self, earlier: &Self) -> (StatisticsGrowth, BTreeMap<u64, u64>) {
        let (now, then) = (&self.sums, &earlier.sums);
        let sums = StatisticsGrowth {
            success_count: now.success_count.saturating_sub(then.success_count),
            fail_count: now.fail_count.saturating_sub(then.fail_count),
            inference_count: now.inference_count.saturating_sub(then.inference_count),
            execution_count: now.execution_count.saturating_sub(then.execution_count),
            success_ns: now.success_ns.saturating_sub(then.success_ns),
            queue_ns: now.queue_ns.saturating_sub(then.queue_ns),
            compute_input_ns: now.compute_input_ns.saturating_sub(then.compute_input_ns),
            compute_infer_ns: now.compute_infer_ns.saturating_sub(then.compute_infer_ns),
            compute_output_ns: now.compute_output_ns.saturating_sub(then.compute_output_ns),
        };
        let sizes = self.executions_by_batch_size.iter().filter_map(|(size, count)| {
            let before = earlier.executions_by_batch_size.get(size).copied().unwrap_or(0);
            let grown = count.saturating_sub(before);
            (grown > 0).then_some((*size, grown))
        });
        (sums, sizes.collect())
    }
}

/// Some servers write 64-bit integers as strings.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(count: Value, infer_ns: u64, of_four: u64) -> Value {
        json!({ "model_stats": [{
            "name": "m", "version": "1", "inference_count": 12, "execution_count": 5,
            "inference_stats": {
                "success": { "count": count, "ns": 900 }, "fail": { "count": 1, "ns": 3 },
                "compute_infer": { "count": 7, "ns": infer_ns }
            },
            "batch_stats": [
                { "batch_size": 1, "compute_infer": { "count": 2, "ns": 5 } },
                { "batch_size": 4, "compute_infer": { "count": of_four, "ns": 5 } }
            ]
        }] })
    }

    #[test]
    fn growth_is_the_difference() {
        let before = ModelStatistics::from_json(&answer(json!(7), 400, 3));
        let after = ModelStatistics::from_json(&answer(json!("9"), 500, 8));
        let (sums, sizes) = after.growth(&before);
        assert_eq!(sums, StatisticsGrowth { success_count: 2, compute_infer_ns: 100, ..Default::default() });
        assert_eq!(sizes, BTreeMap::from([(4, 5)]));
    }

    #[test]
    fn versions_add_up_and_what_is_missing_is_zero() {
        let mut two = answer(json!(7), 400, 3);
        let again = two["model_stats"][0].clone();
        two["model_stats"].as_array_mut().unwrap().push(again);
        let (sums, sizes) = ModelStatistics::from_json(&two).growth(&ModelStatistics::default());
        assert_eq!((sums.success_count, sums.compute_infer_ns, sums.queue_ns), (14, 800, 0));
        assert_eq!(sizes[&4], 6);
        assert_eq!(ModelStatistics::from_json(&json!({})), ModelStatistics::default());
    }
}
