"""The parts of tools/check_deploy.py that look at manifests. Each returns what it has checked, in a few words; `Wrong` says what
is wrong, `Missing` what has to be installed.
"""

import functools
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import manifests
import planted
import policy

PROJECT = manifests.PROJECT
RULES = manifests.DEPLOY / "monitoring" / "rules.yaml"


class Missing(Exception):
    pass


class Wrong(Exception):
    pass


def needs_schemas():
    if importlib.util.find_spec("kubernetes_validate") is None:
        raise Missing("kubernetes-validate is not installed (pip install -r requirements-deploy.txt)")


def needs_kubectl():
    needs_schemas()
    if shutil.which("kubectl") is None:
        raise Missing("kubectl is not installed, so kustomize's results were not looked at")


def judge(faults):
    if faults:
        raise Wrong("\n  ".join(["", *faults]))


def files():
    """Each file by itself: its schema, and no key twice."""
    needs_schemas()
    renders = read(manifests.raw_files)
    judge([fault for each in renders for fault in manifests.schema_faults(each)])
    return f"{sum(len(each.objects) for each in renders)} objects in {len(renders)} files"


def read(how):
    try:
        return how()
    except ValueError as error:
        raise Wrong(str(error)) from None


@functools.cache
def renders():
    return {each.name: each for each in read(lambda: [manifests.render(folder) for folder in manifests.kustomizations()])}


def kustomizations():
    """What kustomize makes of them: schemas, and what we ask beyond."""
    needs_kubectl()
    known = facts()
    faults = [fault for each in renders().values() for fault in manifests.schema_faults(each) + policy.faults(each, known)]
    judge(faults)
    options = len(known.server_options) or "no tritonserver to ask for its"
    return f"{len(renders())} kustomizations, {len(policy.CHECKS)} policies, {options} options of the server"


def faults():
    """That the checks find what is wrong."""
    needs_kubectl()
    judge(list(planted.unnoticed(renders(), facts(options=False))))
    return f"{len(planted.POLICY) + len(planted.SCHEMA)} planted faults were found"


def prometheus_rule():
    """The PrometheusRule has the same rules as rules.yaml."""
    done = subprocess.run([sys.executable, PROJECT / "tools" / "prometheus_rule.py", "--check"], capture_output=True, text=True)
    if done.returncode:
        raise Wrong(done.stderr.strip())
    return "as rules.yaml"


def fleet():
    """What decides and judges in tests/fleet."""
    file = PROJECT / "tests" / "fleet" / "self_test.py"
    done = subprocess.run([sys.executable, file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Wrong(done.stdout)
    return re.search(r"Ran (\d+ tests)", done.stdout)[1]


@functools.cache
def facts(options=True):
    text = RULES.read_text()
    last_stage = (PROJECT / "docker" / "Dockerfile").read_text().rsplit("\nFROM ")[-1]
    user = re.search(r"^USER (\d+)(?::\d+)?$", last_stage, re.MULTILINE)
    known = server_options() if options else {"--model-repository", "--model-store", "--exit-timeout-secs", "--allow-http",
                                              "--allow-grpc", "--http-port", "--grpc-port", "--metrics-port"}
    return policy.Facts(set(re.findall(r"^\s*- record: (\S+)$", text, re.MULTILINE)), known, int(user[1]) if user else 0)


def server_options():
    """What an installed tritonserver lists; nothing where there is none."""
    named = os.environ.get("TL_TRITONSERVER") or PROJECT / ".venv/site-packages/pytriton/tritonserver/bin/tritonserver"
    if not pathlib.Path(named).is_file():
        return set()
    # Its exit code says nothing.
    told = subprocess.run([named, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
    found = set(re.findall(r"^\s+(--[\w-]+)", told, re.MULTILINE))
    if "--model-repository" not in found:
        raise Wrong(f"{named} --help lists no options: {told[:500]}")
    return found


PARTS = {"prometheus-rule": prometheus_rule, "manifests": files, "kustomizations": kustomizations, "planted-faults": faults,
         "fleet": fleet}
