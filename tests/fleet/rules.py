"""What the two fleets are scaled by."""

import re

import autoscaler
from paths import RULES

JOB = "triton-fleet"
NAMESPACE = "fleet"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
DESIRED = "tensorflow_latency:replicas:desired"
# Over all pods, as the examples for Triton have it: the growth of the time in the queue over that of the requests.
USUAL = ('avg(rate(nv_inference_queue_duration_us{{job="{job}"}}[30s]) / '
         '(rate(nv_inference_request_success{{job="{job}"}}[30s]) > 0)) / 1000')


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * UNITS[unit]


def shorter(text, factor):
    """Rules or a query with all windows, intervals and waits divided."""
    def divided(match):
        return f"{match[1]}{seconds(match[2]) / factor * 1000:.0f}ms"

    text = re.sub(r"(\[)(\d+(?:ms|s|m|h))(?=\])", divided, text)
    return re.sub(r"^(\s*(?:- )?(?:interval|for|keep_firing_for): )(\d+(?:ms|s|m|h))$", divided, text, flags=re.MULTILINE)


class Rule:
    """The query of a rule, and what replicas its value means."""

    def __init__(self, name, folder, factor, usual_queue_ms):
        self.name, self.usual_queue_ms = name, usual_queue_ms
        text = RULES.read_text()
        self.file = folder / "rules.yaml"
        self.file.write_text(shorter(text, factor))
        intervals = re.findall(r"interval: (\S+)", text)
        self.interval = f"{min(map(seconds, intervals), default=15) / factor * 1000:.0f}ms"
        usual = shorter(USUAL.format(job=JOB), factor)
        self.query = f'{DESIRED}{{namespace="{NAMESPACE}",job="{JOB}"}}' if name == "ours" else usual

    def replicas(self, value, running):
        """None if the metric cannot be had."""
        if self.name == "ours":
            return None if value is None else autoscaler.by_value(value, running)
        # No value: no requests, so no time in the queue.
        return autoscaler.by_average(value or 0.0, running, self.usual_queue_ms)
