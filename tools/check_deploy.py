"""Checks deploy/: that what is there is valid, and that the rules say what they should.

    python tools/check_deploy.py [PART...]

Nothing is started and nothing is asked of a network. A part whose tool is missing is left out, and one line says so; `.ci/run`
installs them all.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tests" / "deploy"))
import parts  # noqa: E402

MONITORING = PROJECT / "deploy" / "monitoring"


class Missing(Exception):
    """What a part needs is not installed; its text says what, and how to get it."""


class Failed(Exception):
    """What was checked is wrong. The reason has been printed, or is the text."""


def tool(name, package):
    """The path of a command."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed (Debian and Ubuntu: apt install --no-install-recommends {package})")
    return path


def run(*command, cwd=PROJECT):
    """Runs a command, and prints what it says only if it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout.rstrip(), file=sys.stderr)
        raise Failed(f"{' '.join(Path(part).name for part in command[:3])} ended with {done.returncode}")
    return done.stdout


# --- the parts: each returns what it has checked, in a few words -------------------------------------------------------

def rules():
    """Recording and alerting rules, and their tests."""
    promtool = tool("promtool", "prometheus")
    files = sorted(MONITORING.glob("*rules.yaml"))
    tests = sorted((MONITORING / "tests").glob("*.yaml"))
    if not files or not tests:
        raise Failed(f"no rules or no tests of rules in {MONITORING}")
    run(promtool, "check", "rules", "--lint-fatal", *map(str, files))
    run(promtool, "test", "rules", *map(str, tests), cwd=MONITORING / "tests")
    return f"{len(files)} file of rules, {len(tests)} files of tests"


def dashboard():
    """The Grafana dashboard: its form, its variables, and that Prometheus can read each query."""
    text = (MONITORING / "dashboard.json").read_text()
    board = json.loads(text)
    panels = board["panels"]
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__all"}
    unknown = set(re.findall(r"\$\{?(\w+)", text)) - variables
    if unknown:
        raise Failed(f"dashboard.json uses variables that it does not have: {', '.join(sorted(unknown))}")
    places = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if cells & places or at["x"] + at["w"] > 24:
            raise Failed(f"panel '{panel['title']}' is not in a place of its own")
        places |= cells
    if len({panel["id"] for panel in panels}) < len(panels):
        raise Failed("two panels have the same id")
    queries = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]
    if not queries:
        raise Failed("dashboard.json has no query")
    # As rules, for promtool, which reads JSON as YAML.
    written = [re.sub(r"\$\w+", ".*", query.replace("$__rate_interval", "1m")) for _, query in queries]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(written)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        run(tool("promtool", "prometheus"), "check", "rules", file.name)
    return f"{len(panels)} panels, {len(queries)} queries"


PARTS = {"rules": rules, "dashboard": dashboard, **parts.PARTS}


def main(names):
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    failed = False
    for name in names or PARTS:
        try:
            print(f"{name} ok: {PARTS[name]()}")
        except (Missing, parts.Missing) as missing:
            print(f"{name} NOT CHECKED: {missing}", file=sys.stderr)
        except (Failed, parts.Wrong) as reason:
            print(f"{name} FAILED: {reason}", file=sys.stderr)
            failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
