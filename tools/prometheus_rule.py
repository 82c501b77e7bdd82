"""Writes deploy/monitoring/prometheusrule.yaml, which is deploy/monitoring/rules.yaml as an object of Kubernetes.

    python tools/prometheus_rule.py [--check]

The rules are written once, in Prometheus's own form, which promtool reads. --check writes nothing and ends with exit code 1 if
the two differ.
"""

import pathlib
import sys

MONITORING = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "monitoring"
RULES, OBJECT = MONITORING / "rules.yaml", MONITORING / "prometheusrule.yaml"
HEAD = """\
# Made of rules.yaml: python tools/prometheus_rule.py
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: triton
spec:
"""


def as_object(rules):
    """The rules as a PrometheusRule."""
    lines = (f"  {line}" if line.strip() else "" for line in rules.splitlines())
    return HEAD + "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    text = as_object(RULES.read_text())
    if not sys.argv[1:]:
        OBJECT.write_text(text)
    elif not OBJECT.is_file() or OBJECT.read_text() != text:
        sys.exit(f"{OBJECT} is not what {RULES.name} says. Make it anew: python tools/prometheus_rule.py")


if __name__ == "__main__":
    main()
