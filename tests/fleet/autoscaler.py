"""What the horizontal pod autoscaler and KEDA make of a metric, as a pure function of it and of the time.

KEDA hands the value of a Prometheus trigger to a horizontal pod autoscaler as an external metric. With metricType
AverageValue and the threshold 1 the autoscaler wants as many replicas as the value says, rounded up. A metric of pods (the
usual rule with Triton's queue time) makes it multiply the replicas that there are by metric over target.
"""

import math
from dataclasses import dataclass, field

TOLERANCE = 0.1  # of the autoscaler: a ratio this close to 1 changes nothing


def by_value(value, replicas, target=1.0):
    """An external metric of the type AverageValue: value / target replicas."""
    if replicas and abs(value / (target * replicas) - 1) <= TOLERANCE:
        return replicas
    return math.ceil(value / target - 1e-9)


def by_average(average, replicas, target):
    """A metric of pods: the replicas that there are, times their mean over the target."""
    ratio = average / target
    return replicas if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * replicas - 1e-9)


@dataclass
class Behaviour:
    """One direction: the recommendations of how many seconds count, and how far it may go within a period."""

    window: float
    policies: list  # (Pods or Percent, value, seconds); the one that allows most counts

    @staticmethod
    def of(rules, factor):
        """From a manifest, with its times divided."""
        policies = [(policy["type"], policy["value"], policy["periodSeconds"] / factor) for policy in rules["policies"]]
        return Behaviour(rules["stabilizationWindowSeconds"] / factor, policies)

    def reach(self, now, replicas, changes, up):
        """The most, or the fewest, replicas that may be wanted now; `changes` are (time, replicas more)."""
        found = []
        for kind, value, period in self.policies:
            lately = sum(change for time, change in changes if time > now - period and (change > 0) == up)
            before = replicas - lately
            step = value if kind == "Pods" else math.ceil(before * value / 100)
            found.append(before + step if up else before - step)
        return max(found) if up else min(found)


@dataclass
class Autoscaler:
    """Bounds and stabilises what the metric asks for; times in seconds.

    While the metric cannot be had, the fleet stays as it is; from `failures` times in a row on, `fallback` replicas are wanted,
    or what runs if that is more (currentReplicasIfHigher).
    """

    least: int
    most: int
    up: Behaviour
    down: Behaviour
    failures: int
    fallback: int
    _failed: int = 0
    _wanted: list = field(default_factory=list)  # (time, replicas)
    _changes: list = field(default_factory=list)  # (time, replicas more)

    @staticmethod
    def of(scaled_object, most, factor):
        """As a ScaledObject says, with its times divided, and with another upper bound."""
        spec = scaled_object["spec"]
        behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        return Autoscaler(spec["minReplicaCount"], most, Behaviour.of(behaviour["scaleUp"], factor),
                          Behaviour.of(behaviour["scaleDown"], factor), spec["fallback"]["failureThreshold"],
                          spec["fallback"]["replicas"])

    def decide(self, now, wanted, replicas):
        """Replicas to run; `wanted` is what the metric asks for, None if it cannot be had."""
        if wanted is None:
            self._failed += 1
            if self._failed < self.failures:
                return replicas
            wanted = max(self.fallback, replicas)
        else:
            self._failed = 0
        self._wanted.append((now, min(max(wanted, self.least), self.most)))
        # More only if all that were asked for lately were more, fewer only if all were fewer.
        lowest = min(count for time, count in self._wanted if time == now or time > now - self.up.window)
        highest = max(count for time, count in self._wanted if time == now or time > now - self.down.window)
        if lowest > replicas:
            target = max(replicas, min(lowest, self.up.reach(now, replicas, self._changes, up=True)))
        elif highest < replicas:
            target = min(replicas, max(highest, self.down.reach(now, replicas, self._changes, up=False)))
        else:
            target = replicas
        if target != replicas:
            self._changes.append((now, target - replicas))
        return target
