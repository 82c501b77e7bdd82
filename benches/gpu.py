"""What the backend does with a model on a GPU, and an earlier library beside it, in under four minutes:

    python3 benches/gpu.py --tritonserver FILE --tensorflow-dir FOLDER --saved-model FOLDER [--library before=FILE]
        --library now=FILE [--output FOLDER] [--steps one,closed,mixed,memory] [--cpu]

The model is FP32 [n, 299, 299, 3] -> `predictions` FP32 [n, 1000], such as this project's Inception-v3. It is served with
`max_batch_size: 64`, as it is and, with the last --library, compiled by XLA. Requests come through system shared memory; the
latencies are the responses' own. For each library:

    one     one request at a time: medians of the latency's parts by batch size
    closed  two clients in a closed loop with batches of 64: images/s, joules per image (NVML's counter), watts
    mixed   with dynamic batching, the first 500 requests of sizes 1 to 64: the slowest, to the median of its size
    memory  what the card holds with four copies of the model, each asked with batches of 64 and of 1

Only Python's standard library is needed. --cpu tries the script without a GPU, on less of everything.
"""

import argparse
import array
import ctypes
import http.client
import json
import mmap
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

PARTS = ["compute_latency_ns", "compute_input_ns", "compute_infer_ns", "compute_output_ns"]
IMAGE_BYTES, ANSWER_BYTES, MOST = 299 * 299 * 3 * 4, 4000, 64
XLA = "optimization { graph { level: 1 } }"
STEPS = ["one", "closed", "mixed", "memory"]


class Card:
    """The first GPU, through NVML; without one, zeros."""

    def __init__(self, there):
        self.nvml, self.handle = None, ctypes.c_void_p()
        if there:
            self.nvml = ctypes.CDLL("libnvidia-ml.so.1")
            self._call("nvmlInit_v2")
            self._call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self.handle))

    def _call(self, name, *arguments):
        status = getattr(self.nvml, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} returned {status}")

    def joules(self):
        value = ctypes.c_ulonglong()
        if self.nvml:
            self._call("nvmlDeviceGetTotalEnergyConsumption", self.handle, ctypes.byref(value))
        return value.value / 1e3

    def used_mib(self):
        value = (ctypes.c_ulonglong * 3)()  # total, free, used
        if self.nvml:
            self._call("nvmlDeviceGetMemoryInfo", self.handle, ctypes.byref(value))
        return value[2] / 2**20


class Region:
    """Shared memory with images, and room for the answers behind them."""

    def __init__(self, number):
        self.name, self.size = f"gpu_bench_{os.getpid()}_{number}", MOST * (IMAGE_BYTES + ANSWER_BYTES)
        self.path = pathlib.Path("/dev/shm") / self.name
        generator = random.Random(number)
        image = array.array("f", (generator.uniform(-1, 1) for _ in range(IMAGE_BYTES // 4))).tobytes()
        with open(self.path, "w+b") as file:
            file.truncate(self.size)
            with mmap.mmap(file.fileno(), self.size) as memory:
                for row in range(MOST):
                    memory.write(image[row * 4:] + image[:row * 4])

    def body(self, rows, outputs):
        def place(offset, size):
            return {"shared_memory_region": self.name, "shared_memory_offset": offset, "shared_memory_byte_size": size}

        given = {"name": "input", "datatype": "FP32", "shape": [rows, 299, 299, 3],
                 "parameters": place(0, rows * IMAGE_BYTES)}
        answer = {"name": "predictions", "parameters": place(MOST * IMAGE_BYTES, rows * ANSWER_BYTES)}
        return json.dumps({"inputs": [given], "outputs": [answer, *({"name": name} for name in outputs)]}).encode()


class Server:
    def __init__(self, options, library, folder, variables, backend_options=(), metrics=False):
        self.models = folder / "models"
        backend = folder / "backends" / "tensorflow_latency"
        backend.mkdir(parents=True)
        self.models.mkdir()
        shutil.copy(library, backend / "libtriton_tensorflow_latency.so")
        with socket.socket() as free, socket.socket() as also_free:
            free.bind(("127.0.0.1", 0))
            also_free.bind(("127.0.0.1", 0))
            self.port, self.metrics_port = free.getsockname()[1], also_free.getsockname()[1]
        given = {"tensorflow-dir": options.tensorflow_dir, **dict(backend_options)}
        self.log = folder / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [options.tritonserver, f"--model-repository={self.models}", f"--backend-directory={backend.parent}",
                 *(f"--backend-config=tensorflow_latency,{name}={value}" for name, value in given.items()),
                 "--model-control-mode=explicit", "--http-address=127.0.0.1", f"--http-port={self.port}",
                 "--allow-grpc=false", "--metrics-address=127.0.0.1", f"--metrics-port={self.metrics_port}",
                 f"--allow-metrics={str(metrics).lower()}", "--exit-timeout-secs=5"],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **variables})
        self.options = options

    def wait(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if Client(self).call("GET", "/v2/health/live")[0] == 200:
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the server does not start:\n{self.log.read_text(errors='replace')[-1500:]}")

    def load(self, name, more=""):
        folder = self.models / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.savedmodel").symlink_to(pathlib.Path(self.options.saved_model).resolve())
        kind = "KIND_CPU" if self.options.cpu else "KIND_GPU gpus: [ 0 ]"
        times = "".join(f', {{ name: "{part}" data_type: TYPE_INT64 dims: [ 1 ] }}' for part in PARTS)
        (folder / "config.pbtxt").write_text(f"""\
backend: "tensorflow_latency"
max_batch_size: {MOST}
input [ {{ name: "input" data_type: TYPE_FP32 dims: [ 299, 299, 3 ] }} ]
output [ {{ name: "predictions" data_type: TYPE_FP32 dims: [ 1000 ] }}{times} ]
instance_group [ {{ count: 1 kind: {kind} }} ]
{more}
""")
        begun = time.monotonic()
        Client(self).post(f"/v2/repository/models/{name}/load", b"{}")
        return time.monotonic() - begun

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def call(self, method, path, body=None):
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def post(self, path, body):
        status, answer = self.call("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: HTTP {status} {answer[:600].decode(errors='replace')}")
        return answer

    def parts(self, model, body):
        """The latency and its parts, in ms."""
        answer = json.loads(self.post(f"/v2/models/{model}/infer", body))
        values = {output["name"]: output["data"][0] for output in answer["outputs"] if "data" in output}
        return [values[part] / 1e6 for part in PARTS]


def one(server, regions, card, options, model):
    client, results = Client(server), {}
    for rows in [1] if options.cpu else [1, 8, 32, 64]:
        body = regions[0].body(rows, PARTS)
        for _ in range(1 if options.cpu else 6):
            client.parts(model, body)
        measured = [client.parts(model, body) for _ in range(3 if options.cpu else 30)]
        results[rows] = [round(statistics.median(values), 3) for values in zip(*measured)]
        latency, given, infer, output = results[rows]
        print(f"  batch {rows:2}: {latency:8.3f} ms = input {given:.3f} + infer {infer:.3f} + output {output:.3f}", flush=True)
    return results


def closed(server, regions, card, options, model):
    rows, seconds = (1, 1.0) if options.cpu else (MOST, 4.0)
    done, begin = [0] * len(regions), time.monotonic() + 1

    def work(number):
        client, body = Client(server), regions[number].body(rows, [])
        while time.monotonic() < begin + seconds:
            client.post(f"/v2/models/{model}/infer", body)
            done[number] += begin <= time.monotonic() < begin + seconds

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(regions))]
    for thread in threads:
        thread.start()
    stamps = []
    for moment in (begin, begin + seconds):
        time.sleep(max(0.0, moment - time.monotonic()))
        stamps.append((time.monotonic(), card.joules()))
    for thread in threads:
        thread.join()
    (start, before), (end, after) = stamps
    images, joules = sum(done) * rows, after - before
    results = {"images/s": images / (end - start), "J/image": joules / max(images, 1), "W": joules / (end - start)}
    print("  two clients: " + ", ".join(f"{value:.4g} {name}" for name, value in results.items()), flush=True)
    return results


def mixed(server, regions, card, options, model):
    client, generator, times = Client(server), random.Random(1), {}
    for number in range(8 if options.cpu else 500):
        rows = generator.randint(1, 4 if options.cpu else MOST)
        times.setdefault(rows, []).append((client.parts(model, regions[0].body(rows, PARTS))[0], number))
    ratio, (latency, number), rows = max(
        (slowest[0] / statistics.median(time for time, _ in all_times), slowest, rows)
        for rows, all_times in times.items() for slowest in [max(all_times)])
    print(f"  mixed sizes: the slowest took {ratio:.2f} times the median of its size ({latency:.1f} ms, {rows} rows, "
          f"request {number})", flush=True)
    return {"ratio": ratio, "ms": latency, "rows": rows}


def memory(server, regions, card, options, model):
    before, client = card.used_mib(), Client(server)
    for copy in range(1 if options.cpu else 4):
        server.load(f"{model}_{copy}")
        for rows in [1] if options.cpu else [MOST, 1]:
            client.parts(f"{model}_{copy}", regions[0].body(rows, PARTS))
    print(f"  memory: {card.used_mib():.0f} MiB of the card, {before:.0f} before", flush=True)
    return {"MiB": card.used_mib(), "before": before}


def measure(name, library, xla, earlier, options, card, regions, steps):
    results = {}
    # What is about first requests or memory has a server of its own.
    groups = [[step for step in steps if step in ("one", "closed")], *([step] for step in steps if step in STEPS[2:])]
    for group in groups:
        if not group or (xla and group == ["memory"]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            # An earlier library lets TensorFlow take all of the card's memory.
            variables = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if earlier else {}
            server = Server(options, library, pathlib.Path(folder), variables)
            try:
                server.wait()
                for region in regions:
                    body = {"key": f"/{region.name}", "offset": 0, "byte_size": region.size}
                    path = f"/v2/systemsharedmemory/region/{region.name}/register"
                    Client(server).post(path, json.dumps(body).encode())
                if group != ["memory"]:
                    more = (XLA if xla else "") + ("\ndynamic_batching { }" if group == ["mixed"] else "")
                    print(f"{name}{', XLA' if xla else ''}: loaded in {server.load('model', more):.1f} s", flush=True)
                for step in group:
                    results[step] = globals()[step](server, regions, card, options, "model")
            finally:
                server.stop()
                if options.output:
                    log = f"{name}{'-xla' if xla else ''}-{group[0]}.log"
                    shutil.copy(server.log, pathlib.Path(options.output) / log)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ["--tritonserver", "--tensorflow-dir", "--saved-model"]:
        parser.add_argument(option, required=True)
    parser.add_argument("--library", required=True, action="append", metavar="NAME=FILE")
    parser.add_argument("--output", help="a folder for the results as JSON and the servers' logs")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--cpu", action="store_true", help="try the script without a GPU")
    options = parser.parse_args()
    libraries = [library.partition("=")[::2] for library in options.library]
    steps = options.steps.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"no step {', '.join(unknown)}; there are: {', '.join(STEPS)}")
    if options.output:
        pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
    card, regions, results = Card(not options.cpu), [], {}
    try:
        regions = [Region(number) for number in range(2)]
        for index, (name, library) in enumerate(libraries):
            earlier = index + 1 < len(libraries)
            results[name] = measure(name, library, False, earlier, options, card, regions, steps)
        name, library = libraries[-1]
        results[f"{name}, XLA"] = measure(name, library, True, False, options, card, regions, steps)
    finally:
        for region in regions:
            region.path.unlink(missing_ok=True)
        if options.output:
            (pathlib.Path(options.output) / "gpu.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
