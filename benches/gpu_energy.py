"""Whether the energy in the responses is that of the card, in under four minutes:

    python3 benches/gpu_energy.py --tritonserver FILE --tensorflow-dir FOLDER --saved-model FOLDER --library FILE
        [--output FOLDER] [--cpu]

The model is that of gpu.py. Two clients send requests of 1, 8, 32 and 64 images by chance for a minute; then each of these
sizes is sent alone for ten seconds. Printed, and written to gpu_energy.json:

    books   what the responses of the minute told, and what was idle, against what NVML's counter counted; within 2 %
    sizes   joules above idle for an image of each size, as the responses of the minute told them, against the counter's of the
            ten seconds; within 5 %
    thread  what the thread that reads the meter took of a core

It ends with 1 where a limit is passed. --cpu tries the script on processors, with a made NVML that draws 12 W, and 40 W more
while a request is with the server: shorter, with fewer images.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import gpu

VALUES = ["energy_uj", *gpu.PARTS]
BOOKS, SIZES = 0.02, 0.05
TICK = 0.1


class MadeCard:
    """A made NVML of a known power, for machines without a GPU."""

    def __init__(self, folder):
        source = pathlib.Path(__file__).parent.parent / "tests/integration/support/nvml.c"
        self.library, self.file, self.busy, self.ended = folder / "libmade-ml.so", folder / "gpu", 0, False
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, source], check=True)
        self.lock = threading.Lock()
        self.counted = 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        os.environ["MADE_NVML"] = str(self.file)

    def _run(self):
        joules, last, told = 0.0, time.monotonic(), 0.0
        while not self.ended:
            now, power = time.monotonic(), 52 if self.busy else 12
            joules, last = joules + power * (now - last), now
            if now - told >= TICK:
                told, next_file = now, self.file.with_suffix(".next")
                next_file.write_text(f"{joules * 1e3:.0f} {power * 1000} 3000\n")
                next_file.replace(self.file)
                self.counted = joules
            time.sleep(0.001)

    def joules(self):
        return self.counted

    def works(self, by):
        with self.lock:
            self.busy += by


class RealCard(gpu.Card):
    library = "libnvidia-ml.so.1"

    def works(self, by):
        pass


def at_tick(card):
    """The moment of a tick of the counter, as well as it can be seen, and what it counts from there on."""
    first = card.joules()
    while (joules := card.joules()) == first:
        time.sleep(0.001)
    return time.monotonic(), joules


class Load:
    """Clients that send requests of the sizes that `choose` returns until `stop`."""

    def __init__(self, server, regions, card, choose):
        self.told, self.spans, self.stopped = {}, [], False
        self.lock = threading.Lock()
        arguments = [(server, region, card, choose) for region in regions]
        self.threads = [threading.Thread(target=self._work, args=one) for one in arguments]
        for thread in self.threads:
            thread.start()

    def _work(self, server, region, card, choose):
        client = gpu.Client(server)
        while not self.stopped:
            rows = choose()
            card.works(1)
            begun = time.monotonic()
            answer = json.loads(client.post("/v2/models/model/infer", region.body(rows, VALUES)))
            card.works(-1)
            told = next(output["data"][0] for output in answer["outputs"] if output["name"] == "energy_uj")
            with self.lock:
                of_size = self.told.setdefault(rows, [0, 0])
                of_size[0] += told
                of_size[1] += rows
                self.spans.append((begun, time.monotonic(), rows))

    def images(self, start, end):
        """Those of a time; of a request that lies across an edge, its part."""
        return sum(rows * max(0.0, min(end, to) - max(start, begun)) / (to - begun) for begun, to, rows in self.spans)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()
        return self


def books(server):
    """The joules of the metrics by kind, and the idle power in watts."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    found = {}
    for line in text.splitlines():
        if line.startswith("tensorflow_latency_energy_joules_total{"):
            found[line.partition('kind="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
        elif line.startswith("tensorflow_latency_energy_pending_joules{"):
            found["pending"] = float(line.rpartition(" ")[2])
        elif line.startswith("tensorflow_latency_idle_power_watts{"):
            found["idle W"] = float(line.rpartition(" ")[2])
    return found


def thread_seconds(server):
    """The CPU time of the thread that reads the meter, in seconds."""
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "energy":
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise RuntimeError("the server has no thread that reads a meter")


def minute(server, regions, card, sizes, seconds):
    generator = random.Random(1)
    time.sleep(3)
    begun, thread, before = time.monotonic(), thread_seconds(server), books(server)
    _, counted = at_tick(card)
    load = Load(server, regions, card, lambda: generator.choice(sizes))
    time.sleep(seconds)
    load.stop()
    # Until the last executions' ticks are booked, and the metrics of each second are up to date.
    time.sleep(1.5)
    _, ended = at_tick(card)
    time.sleep(1.2)
    after = books(server)
    told = sum(uj for uj, _ in load.told.values()) / 1e6
    moved = {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in after}
    counted = ended - counted
    # The metrics' stretch is longer than the counter's by what idle draws in the difference.
    outside = moved["idle"] + moved["attributed"] + moved["unattributed"] - counted
    result = {
        "counted J": counted, "told J": told, "idle J": moved["idle"] - outside, "unattributed J": moved["unattributed"],
        "pending J": moved["pending"], "images": sum(rows for *_, rows in load.spans), "idle W": after["idle W"],
        "thread %": (thread_seconds(server) - thread) / (time.monotonic() - begun) * 100,
        "J/image": {rows: uj / 1e6 / images for rows, (uj, images) in sorted(load.told.items())},
    }
    result["told and idle to counted"] = (told + result["idle J"]) / counted
    print(f"  books: counted {counted:.1f} J, told {told:.1f} J, idle {result['idle J']:.1f} J: "
          f"{result['told and idle to counted']:.4f} of it; unattributed {moved['unattributed']:.1f} J, pending {moved['pending']:.2f} J",
          flush=True)
    print(f"  thread: {result['thread %']:.2f} % of a core", flush=True)
    return result


def alone(server, regions, card, rows, seconds, idle_watts):
    load = Load(server, regions, card, lambda: rows)
    time.sleep(0.5)
    start, before = at_tick(card)
    time.sleep(seconds)
    end, after = at_tick(card)
    return (after - before - idle_watts * (end - start)) / load.stop().images(start, end)


def measure(options, card, regions, folder):
    sizes, seconds, each = ([1, 2], 15, 6) if options.cpu else ([1, 8, 32, 64], 60, 10)
    backend = {"energy-nvml-library": card.library, "energy-scope": "gpu"}
    server = gpu.Server(options, options.library, folder, {}, backend, metrics=True)
    try:
        server.wait()
        for region in regions:
            body = {"key": f"/{region.name}", "offset": 0, "byte_size": region.size}
            gpu.Client(server).post(f"/v2/systemsharedmemory/region/{region.name}/register", json.dumps(body).encode())
        # The power of the card with the model loaded is learnt before anything runs, and each size once.
        server.load("model", 'output [ { name: "energy_uj" data_type: TYPE_INT64 dims: [ 1 ] } ]')
        for rows in sizes:
            gpu.Client(server).post("/v2/models/model/infer", regions[0].body(rows, VALUES))
        found = minute(server, regions, card, sizes, seconds)
        found["J/image alone"] = {}
        missed = [] if abs(found["told and idle to counted"] - 1) <= BOOKS else ["books"]
        for rows in sizes:
            plain, told = alone(server, regions, card, rows, each, found["idle W"]), found["J/image"][rows]
            found["J/image alone"][rows] = plain
            print(f"  size {rows:2}: {told:.4f} J for an image as told, {plain:.4f} J by the counter alone: {told / plain:.4f}",
                  flush=True)
            if abs(told / plain - 1) > SIZES:
                missed.append(f"size {rows}")
        found["missed"] = missed
        return found
    finally:
        server.stop()
        if options.output:
            pathlib.Path(options.output, "gpu_energy.log").write_bytes(server.log.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ["--tritonserver", "--tensorflow-dir", "--saved-model", "--library"]:
        parser.add_argument(option, required=True)
    parser.add_argument("--output", help="a folder for the results as JSON and the server's log")
    parser.add_argument("--cpu", action="store_true", help="try the script without a GPU")
    options = parser.parse_args()
    regions = []
    if options.output:
        pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        card = MadeCard(folder) if options.cpu else RealCard(True)
        try:
            regions = [gpu.Region(number) for number in range(2)]
            found = measure(options, card, regions, folder)
        finally:
            card.ended = True
            for region in regions:
                region.path.unlink(missing_ok=True)
    if options.output:
        pathlib.Path(options.output, "gpu_energy.json").write_text(json.dumps(found, indent=1))
    print("missed: " + ", ".join(found["missed"]) if found["missed"] else "nothing was missed")
    sys.exit(1 if found["missed"] else 0)


if __name__ == "__main__":
    main()
