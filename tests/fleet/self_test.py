"""Tests of what decides and judges in the fleet, without a process: python tests/fleet/self_test.py"""

import copy
import unittest

import autoscaler
import histogram
import report
import rules
import traffic

# Made with the Python package hdrhistogram: 1 twice, 2047, 2048, 5000 three times, 1,000,000 ten times, 123,456,789 five times,
# 999,999,999, 59,000,000,000; three significant digits.
SAMPLE = "HISTFAAAADZ4nJNpmSzMwMAgygABzFCaEch0M9ixgMH+A1SA5ac8E9NBYbbfVSIf87jWGjBdjmUCAPT5C14="


class Histogram(unittest.TestCase):
    def test_is_read(self):
        self.assertEqual(histogram.decode(SAMPLE), [(1, 2), (2047, 1), (2049, 1), (5003, 3), (1000447, 10), (123469823, 5),
                                                    (1000341503, 1), (59022245887, 1)])

    def test_values_up_to_a_limit_are_counted(self):
        found = histogram.decode(SAMPLE)
        self.assertEqual((histogram.within(found, 5003), histogram.within(found, float("inf"))), (7, 24))
        self.assertEqual(histogram.total(found), 24)

    def test_anything_else_is_refused(self):
        with self.assertRaises(ValueError):
            histogram.decode("AAAAAAAAAAA=")


class Metrics(unittest.TestCase):
    def test_a_value_is_the_number_of_replicas_however_many_there_are(self):
        for running in (1, 2, 5):
            self.assertEqual(autoscaler.by_value(3.0, running), 3)
        self.assertEqual(autoscaler.by_value(2.3, 1), 3)

    def test_a_tenth_changes_nothing(self):
        self.assertEqual(autoscaler.by_value(12.0, 11), 11)
        self.assertEqual(autoscaler.by_value(10.0, 11), 11)
        self.assertEqual(autoscaler.by_value(13.0, 11), 13)
        self.assertEqual(autoscaler.by_average(54.0, 4, 50), 4)

    def test_an_average_multiplies_what_runs(self):
        self.assertEqual(autoscaler.by_average(200.0, 2, 50), 8)
        self.assertEqual(autoscaler.by_average(0.0, 3, 50), 0)


SCALED_OBJECT = {"spec": {
    "minReplicaCount": 1, "fallback": {"failureThreshold": 3, "replicas": 2},
    "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60},
                                                                  {"type": "Pods", "value": 2, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 20}]},
    }}},
}}


class Scaling(unittest.TestCase):
    def scaler(self, factor=2):
        return autoscaler.Autoscaler.of(SCALED_OBJECT, 10, factor)

    def test_up_at_once_within_the_bounds_and_steps(self):
        self.assertEqual(self.scaler().decide(0, 3, 1), 3)
        self.assertEqual(self.scaler().decide(0, 9, 1), 3)
        self.assertEqual(self.scaler().decide(0, 9, 4), 8)
        self.assertEqual(self.scaler().decide(0, 99, 8), 10)
        self.assertEqual(self.scaler().decide(0, 0, 1), 1)

    def test_a_step_counts_for_its_period(self):
        scaler = self.scaler()
        self.assertEqual(scaler.decide(0, 9, 1), 3)
        self.assertEqual(scaler.decide(10, 9, 3), 3)
        self.assertEqual(scaler.decide(31, 9, 3), 6)

    def test_down_only_to_the_highest_that_was_asked_for_lately_and_by_steps(self):
        scaler = self.scaler()
        self.assertEqual(scaler.decide(0, 4, 4), 4)
        self.assertEqual(scaler.decide(10, 2, 4), 4)
        self.assertEqual(scaler.decide(29, 1, 4), 4)
        self.assertEqual(scaler.decide(31, 1, 4), 3)
        self.assertEqual(scaler.decide(35, 1, 3), 3)
        self.assertEqual(scaler.decide(42, 1, 3), 2)
        self.assertEqual(scaler.decide(60, 1, 2), 1)
        self.assertEqual(scaler.decide(90, 0, 1), 1)

    def test_a_metric_that_is_missing_changes_nothing_at_first(self):
        scaler = self.scaler()
        self.assertEqual([scaler.decide(now, None, 1) for now in range(3)], [1, 1, 2])
        self.assertEqual([scaler.decide(now, None, 4) for now in range(3, 99)], [4] * 96)

    def test_one_value_ends_the_failures(self):
        scaler = self.scaler()
        for wanted in (None, None, 1, None, None):
            self.assertEqual(scaler.decide(0, wanted, 1), 1)


class Rules(unittest.TestCase):
    def test_times_are_divided(self):
        text = "  - interval: 15s\n    for: 2m\n    expr: rate(a_total[1m]) > avg_over_time(b[90s]) + c{d=\"[1m\"}\n"
        self.assertEqual(rules.shorter(text, 6), "  - interval: 2500ms\n    for: 20000ms\n    expr: rate(a_total[10000ms]) > "
                                                 "avg_over_time(b[15000ms]) + c{d=\"[1m\"}\n")


class Traffic(unittest.TestCase):
    def test_the_shape_goes_round(self):
        self.assertAlmostEqual(traffic.rate_at([0, 1], 0.25), 0)
        self.assertAlmostEqual(traffic.rate_at([0, 1], 0.75), 1)
        self.assertAlmostEqual(traffic.rate_at([0, 1], 0.0), 0.5)
        self.assertAlmostEqual(traffic.rate_at([0, 1], 1.0), 0.5)

    def test_arrivals_follow_it_and_repeat(self):
        times = traffic.arrivals([0.1, 1.0], 1000, 20, seed=3)
        self.assertEqual(times, traffic.arrivals([0.1, 1.0], 1000, 20, seed=3))
        self.assertEqual(times, sorted(times))
        self.assertAlmostEqual(len(times) / (1000 * 20 * 0.55), 1, delta=0.05)
        self.assertTrue(all(0 < time < 1000 for time in times))


def good():
    fleet = {"scheduled": 1000, "answered": 996, "in_time": 995, "in_time_share": 0.995, "refused": 4, "failed": 0, "errors": [],
             "unsent": 0, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "replica_minutes": 10.0, "minutes": 10.0,
             "servers_started": 3, "exit_codes": [0, 0, 0], "not_drained": 0, "rule_errors": [],
             "timeline": [{"serving": count} for count in (1, 2, 3, 2, 1)]}
    return {"scenario": "day", "client_target_ms": 1000, "usual_queue_ms": 50,
            "fleets": {"ours": fleet, "usual": {**fleet, "replica_minutes": 20.0}}}


class Verdict(unittest.TestCase):
    def test_a_good_day_has_no_faults(self):
        self.assertEqual(report.faults(good(), 0.99), [])

    def test_each_fault_is_named(self):
        planted = [
            ({"failed": 1, "answered": 995}, "1 requests were lost"),
            ({"unsent": 3, "answered": 993}, "3 requests were lost"), ({"answered": 900}, "does not add up"),
            ({"exit_codes": [0, 1, 0]}, "1 servers did not end"), ({"not_drained": 1}, "time to drain"),
            ({"in_time_share": 0.98}, "98.00%"), ({"rule_errors": ["r: e"]}, "could not evaluate r: e"),
            ({"timeline": [{"serving": 2}] * 5}, "did not grow"), ({"replica_minutes": 20.0}, "no fewer replica-minutes"),
        ]
        for change, part in planted:
            result = copy.deepcopy(good())
            result["fleets"]["ours"].update(change)
            self.assertTrue(any(part in fault for fault in report.faults(result, 0.99)), f"{change} is not found: {part}")

    def test_the_table_has_both_fleets(self):
        text = report.day(good())
        for part in ("99.50%", "replica-minutes", "10.0", "20.0", "12321"):
            self.assertIn(part, text)


if __name__ == "__main__":
    unittest.main()
