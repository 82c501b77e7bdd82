"""A fleet of real servers on this machine: scaled over a day, or restarted one after the other, under load.

    python tests/fleet/run.py [--scenario day|rolling] [--short] [--seconds N] [--output FILE]

day      A day's arrivals in ten minutes, through haproxy, to Triton servers whose model sleeps instead of computing (waits.c).
         A real Prometheus scrapes them and evaluates deploy/monitoring/rules.yaml; a loop does what KEDA and the horizontal pod
         autoscaler would do with tensorflow_latency:replicas:desired. Beside it, at the same time and with the same arrivals, a
         second fleet follows the usual rule: the mean time in Triton's queue.
rolling  Inception-v3 on three servers, each restarted in turn while requests come.

Prints a table, writes JSON, and ends with exit code 1 if a request was lost or too many were late. Needs haproxy and
prometheus (Debian: apt-get install --no-install-recommends haproxy prometheus).
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import yaml

import autoscaler
import histogram
import report
import rules
import traffic
from fleet import Fleet
from paths import PROJECT, SCALED_OBJECT, TOOL, WORK
from processes import Balancer, FleetError, Process, Prometheus

# --- the day --------------------------------------------------------------------------------------------------------------

# One instance serves 1000 / (80 + 16 x 20) x 16 = 40 rows a second in full batches, and 10 one by one. The times are long, so
# that a machine that is busy with other things does not matter much.
FIXED_MS, ROW_MS, MAX_BATCH = 80, 20, 16
PEAK = 68  # requests a second: three replicas at 57 to 70 %, by the size of the batches
SERVER_TARGET_MS = 800  # latency_target_ms, what the backend keeps
CLIENT_TARGET_MS = 1000  # what counts here, from when a request was due: with the front end, the balancer and the client
MOST = 3  # replicas
USUAL_QUEUE_MS = 50  # the usual rule's target
LEAST_IN_TIME = 0.99

WAITS = """\
name: "waits"
backend: "tensorflow_latency"
max_batch_size: {batch}
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
model_operations {{ op_library_filename: [ "{library}" ] }}
parameters {{ key: "batching" value {{ string_value: "adaptive" }} }}
parameters {{ key: "latency_target_ms" value {{ string_value: "{target}" }} }}
"""


def main():
    options = parse()
    # A `kill` cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not TOOL.is_file():
        sys.exit(f"{TOOL} is missing: cargo build --release -p triton-experiment")
    stop = threading.Event()
    try:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            result = SCENARIOS[options.scenario](options, pathlib.Path(folder), stop)
    except (FleetError, RuntimeError) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    text = report.TABLES[options.scenario](result)
    print(f"\n{text}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{options.output}")
    faults = report.faults(result, LEAST_IN_TIME)
    for fault in faults:
        print(f"NOT AS IT SHOULD BE: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIOS, default="day")
    parser.add_argument("--short", action="store_true", help="day: one rise and one fall in 110 s, and our rule only")
    parser.add_argument("--seconds", type=float, help="how long the load lasts")
    parser.add_argument("--rules", default=None, help="day: which rules to try, of ours,usual; default: both")
    parser.add_argument("--rate", type=float, default=2, help="rolling: requests a second")
    parser.add_argument("--careless", action="store_true", help="SIGTERM while the balancer still sends: requests have to be lost")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    if options.scenario == "day":
        options.seconds = options.seconds or (110 if options.short else 600)
        options.rules = (options.rules or ("ours" if options.short else "ours,usual")).split(",")
        if unknown := set(options.rules) - {"ours", "usual"}:
            parser.error(f"no such rules: {', '.join(unknown)}")
    when = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    options.output = options.output or WORK / f"{options.scenario}-{when}.json"
    return options


def setting(name, default):
    """A path from the environment that the Makefile sets."""
    value = os.environ.get(name)
    return pathlib.Path(value) if value else default


def day(options, folder, stop):
    shape = traffic.SHORT if options.short else traffic.DAY
    times = traffic.arrivals(shape, options.seconds, PEAK, options.seed)
    trace = folder / "day.trace"
    traffic.write(times, trace)
    model = WORK / "waits"
    subprocess.run([sys.executable, PROJECT / "tests/fleet/make_waiting_model.py", model, str(FIXED_MS), str(ROW_MS)], check=True)
    repository = folder / "models"
    (repository / "waits" / "1").mkdir(parents=True)
    (repository / "waits" / "1" / "model.savedmodel").symlink_to(model / "model.savedmodel")
    (repository / "waits" / "config.pbtxt").write_text(
        WAITS.format(batch=MAX_BATCH, library=model / "libwaits.so", target=SERVER_TARGET_MS))

    # The times of the rules and of the ScaledObject are made shorter as the day is, but not as much: a scrape is a second apart.
    compression = 10 if options.short else 6
    print(f"{len(times)} requests in {options.seconds:.0f} s; times of the rules and of the ScaledObject divided by {compression}",
          flush=True)
    trials = [Trial(name, folder, repository, trace, compression, options.careless, stop) for name in options.rules]
    for trial in trials:
        trial.start()
    try:
        while any(trial.is_alive() for trial in trials):
            time.sleep(0.2)
            if any(trial.error for trial in trials):
                stop.set()
    finally:
        stop.set()
        for trial in trials:
            trial.join()
    for trial in trials:
        if trial.error:
            raise FleetError(f"the fleet that follows the rule '{trial.name}': {trial.error}")
    return {
        "scenario": "day", "seconds": options.seconds, "requests": len(times), "seed": options.seed, "peak_per_s": PEAK,
        "model": {"name": "waits", "sleeps_ms": [FIXED_MS, ROW_MS], "max_batch_size": MAX_BATCH,
                  "latency_target_ms": SERVER_TARGET_MS},
        "client_target_ms": CLIENT_TARGET_MS, "most_replicas": MOST, "rule_times_divided_by": compression,
        "usual_queue_ms": USUAL_QUEUE_MS, "fleets": {trial.name: trial.result for trial in trials},
    }


class Trial(threading.Thread):
    """One fleet under one rule."""

    def __init__(self, name, folder, repository, trace, compression, careless, stop):
        super().__init__(name=name)
        self.folder = folder / name
        self.repository, self.trace = repository, trace
        self.compression, self.careless, self.halt = compression, careless, stop
        self.result, self.error, self.parts = None, None, []

    def run(self):
        try:
            self.folder.mkdir()
            self._run()
        except Exception as error:
            self.error = error
        finally:
            for part in reversed(self.parts):
                try:
                    part()
                except Exception as error:
                    self.error = self.error or error

    def _run(self):
        balancer = Balancer(self.folder, MOST + 3)  # with places for those that leave
        self.parts.append(balancer.stop)
        rule = rules.Rule(self.name, self.folder, self.compression, USUAL_QUEUE_MS)
        prometheus = Prometheus(self.folder, rule.file, rules.JOB, "1s", rule.interval)
        self.parts.append(prometheus.stop)
        fleet = Fleet(balancer, prometheus, self.repository, "waits", setting("TL_BACKEND", None),
                      setting("TL_TRITONSERVER", None), self.careless)
        self.parts.append(fleet.close)
        scaled = yaml.safe_load(SCALED_OBJECT.read_text())
        scaler = autoscaler.Autoscaler.of(scaled, MOST, self.compression)
        fleet.become(1)
        fleet.wait_until_serving(1, self.halt)
        fleet.show_targets()
        self._wait_for(rule, prometheus)
        load = send(self.folder, balancer.address, "waits", self.trace)
        self.parts.append(lambda: load.stop(signal.SIGINT))
        began, timeline = time.monotonic(), []
        before = fleet.seconds()
        while load.child.poll() is None and not self.halt.is_set():
            fleet.check()
            fleet.show_targets()
            now = time.monotonic() - began
            count = len(fleet.wanted())
            value = prometheus.value(rule.query)
            target = scaler.decide(now, rule.replicas(value, count), count)
            fleet.become(target)
            timeline.append({"s": round(now, 1), "value": value, "replicas": target, "serving": len(fleet.serving())})
            self.halt.wait(scaled["spec"]["pollingInterval"] / self.compression)
        if self.halt.is_set():
            return
        used = fleet.seconds() - before
        problems = prometheus.problems()
        fleet.close()
        fleet.check()
        self.result = {
            **judge(self.folder, CLIENT_TARGET_MS), "replica_minutes": round(used / 60, 2),
            "minutes": round((time.monotonic() - began) / 60, 2), **lives(fleet), "rule_errors": problems,
            "query": rule.query, "timeline": timeline,
        }


    def _wait_for(self, rule, prometheus):
        """Until the metric of our rule is there; the usual one has no value without requests."""
        deadline = time.monotonic() + 60
        while rule.name == "ours" and prometheus.value(rule.query) is None and not self.halt.wait(0.2):
            if time.monotonic() > deadline:
                raise FleetError(f"Prometheus has no value for {rule.query} after a minute. Rules that failed: "
                                 f"{prometheus.problems()}")


def send(folder, address, model, trace):
    """The tool, replaying a trace."""
    return Process("load", [TOOL, "sweep", "--url", address, "--model", model, "--batch", "1", "--trace", trace, "--power",
                            "none", "--idle", "0", "--warm-up", "0", "--output", folder / "measured"], folder)


def judge(folder, target_ms):
    """What became of the requests."""
    file = folder / "measured" / "results.json"
    if not file.is_file():
        raise FleetError(f"the load ended without a result:\n{(folder / 'load.log').read_text()[-3000:]}")
    (point,) = json.loads(file.read_text())["points"]
    latency = point["client_latency"]
    answered = histogram.decode(latency["histogram"])
    assert histogram.total(answered) == latency["count"], "the distribution is not the tool's"
    errors = {error["kind"]: error["count"] for error in point["errors"]}
    refused = errors.pop("HTTP 503", 0)
    scheduled = point["pacing"]["scheduled"]
    in_time = histogram.within(answered, target_ms * 1_000_000)
    return {
        "scheduled": scheduled, "answered": latency["count"], "in_time": in_time, "in_time_share": round(in_time / scheduled, 5),
        "refused": refused, "failed": sum(errors.values()), "errors": point["errors"],
        "unsent": point["pacing"]["unsent"],
        "p50_ms": round(latency["p50_ns"] / 1e6, 1), "p99_ms": round(latency["p99_ns"] / 1e6, 1),
        "max_ms": round(latency["max_ns"] / 1e6, 1),
    }


def lives(fleet):
    return {
        "servers_started": len(fleet.replicas),
        "exit_codes": [replica.code for replica in fleet.replicas],
        "not_drained": sum(replica.drained is False for replica in fleet.replicas),
        "ready_after_s": [round(replica.ready_after, 1) for replica in fleet.replicas if replica.ready_after],
    }


# --- the rolling restart --------------------------------------------------------------------------------------------------

def rolling(options, folder, stop):
    model = setting("TL_INCEPTION_DIR", PROJECT / "model_repository" / "inception_v3")
    repository = folder / "models"
    repository.mkdir()
    (repository / "inception_v3").symlink_to(model)
    count = 3
    closing = []
    try:
        balancer = Balancer(folder, count + 1)
        closing.append(balancer.stop)
        fleet = Fleet(balancer, None, repository, "inception_v3", setting("TL_BACKEND", None), setting("TL_TRITONSERVER", None),
                      options.careless)
        closing.append(fleet.close)
        print(f"Starting {count} servers", flush=True)
        for _ in range(count):
            fleet.start()
            fleet.wait_until_serving(len(fleet.replicas), stop)
        trace = folder / "steady.trace"
        # Longer than the restarts take, each of which is a start beside two servers under load.
        slowest = max(replica.ready_after for replica in fleet.replicas)
        seconds = options.seconds or round(20 + count * 1.7 * slowest)
        traffic.write(traffic.steady(seconds, options.rate, options.seed), trace)
        load = send(folder, balancer.address, "inception_v3", trace)
        closing.append(lambda: load.stop(signal.SIGINT))
        began = time.monotonic()
        first, events = list(fleet.replicas), []
        pause = 5
        time.sleep(pause)
        for old in first:
            # As a Deployment with maxSurge 1 and maxUnavailable 0 does: the new one first.
            new = fleet.start()
            fleet.wait_until_serving(count + 1, stop)
            old.leave.set()
            old.join()
            fleet.check()
            events.append({"s": round(time.monotonic() - began, 1), "replaced": old.number, "by": new.number, "code": old.code,
                           "drained": old.drained})
            print(f"  {events[-1]}", flush=True)
        restarts_took = time.monotonic() - began
        while load.child.poll() is None:
            fleet.check()
            time.sleep(0.2)
        load_took = time.monotonic() - began
        fleet.close()
        fleet.check()
        return {"scenario": "rolling", "seconds": seconds, "rate_per_s": options.rate, "servers": count, "restarts": events,
                "restarts_took_s": round(restarts_took, 1), "all_under_load": restarts_took < load_took,
                "fleets": {"rolling": {**judge(folder, float("inf")), **lives(fleet),
                                       "rule_errors": []}}}
    finally:
        for part in reversed(closing):
            part()


SCENARIOS = {"day": day, "rolling": rolling}

if __name__ == "__main__":
    main()
