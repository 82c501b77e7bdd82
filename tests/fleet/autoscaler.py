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
class Autoscaler:
    """Bounds and stabilises what the metric asks for; times in seconds.

    A recommendation to run more is followed at once. One to run fewer is followed when it was the highest for
    `down_after` seconds. While the metric cannot be had, the fleet stays as it is; after `failures` times in a row it
    becomes `fallback` replicas.
    """

    least: int
    most: int
    down_after: float
    failures: int = 3
    fallback: int = 2
    _failed: int = 0
    _wanted: list = field(default_factory=list)  # (time, replicas)

    def decide(self, now, wanted, replicas):
        """Replicas to run; `wanted` is what the metric asks for, None if it cannot be had."""
        if wanted is None:
            self._failed += 1
            if self._failed < self.failures:
                return replicas
            wanted = self.fallback
        else:
            self._failed = 0
        wanted = min(max(wanted, self.least), self.most)
        self._wanted = [(time, count) for time, count in self._wanted if time > now - self.down_after]
        self._wanted.append((now, wanted))
        highest = max(count for _, count in self._wanted)
        if wanted >= replicas:
            return wanted
        return min(replicas, highest)
