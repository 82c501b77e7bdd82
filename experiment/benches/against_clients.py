"""Compares the tool with the official clients, on one server, alternating within one run.

    python experiment/benches/against_clients.py [--rounds 3] [--seconds 6] [--perf-analyzer FILE] [--one-op]

1. A one-op model: requests/s of `triton-experiment` and of the official `perf_analyzer` at concurrency 1 and 4, over
   HTTP bodies and over shared memory, if --perf-analyzer (or PERF_ANALYZER) names one. The wheel tritonclient 2.40.0
   holds one; it needs the libraries libb64.so.0d and libcudart.so.12.
2. Inception-v3 at batch 1, 2, 4, 8, 16: inferences/s of `triton-experiment` and of a plain loop of the official
   Python client, both with one request in flight over system shared memory.

Prints the medians over the rounds, and their ratio. Exits with 1 when a throughput of part 2 is off by more than 3 %, or
one of part 1 is below perf_analyzer's.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import tritonclient.http as triton
from tritonclient.utils import shared_memory

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))
from tritonserver import TritonServer  # noqa: E402

TOOL = PROJECT / "target/release/triton-experiment"
INCEPTION, ONE_OP = "inception_v3", "add_one"
BATCHES = [1, 2, 4, 8, 16]
TOLERANCE = 0.03
MODELS = PROJECT / "target/test-models"
# The tool asks for these as well, so that both do the same work.
OUTPUTS = ["predictions", "compute_latency_ns", "compute_input_ns", "compute_infer_ns", "compute_output_ns",
           "executed_batch_size"]


def python_loop(url, batch, seconds):
    """Inferences per second of a plain loop: send, wait, send again."""
    client = triton.InferenceServerClient(url)
    images = numpy.random.default_rng(1).random((batch, 299, 299, 3), numpy.float32)
    sizes = {"input": images.nbytes, "predictions": batch * 1000 * 4}
    regions = {}
    try:
        for name, size in sizes.items():
            key = f"/loop_{os.getpid()}_{name}"
            regions[name] = shared_memory.create_shared_memory_region(f"loop_{name}", key, size)
            client.register_system_shared_memory(f"loop_{name}", key, size)
        shared_memory.set_shared_memory_region(regions["input"], [images])
        request = triton.InferInput("input", list(images.shape), "FP32")
        request.set_shared_memory("loop_input", sizes["input"])
        outputs = [triton.InferRequestedOutput(name, binary_data=True) for name in OUTPUTS]
        outputs[0].set_shared_memory("loop_predictions", sizes["predictions"])
        for _ in range(2):
            client.infer(INCEPTION, [request], outputs=outputs)
        start, requests = time.monotonic(), 0
        while time.monotonic() < start + seconds or requests < 5:
            client.infer(INCEPTION, [request], outputs=outputs)
            requests += 1
        return requests * batch / (time.monotonic() - start)
    finally:
        client.unregister_system_shared_memory()
        for region in regions.values():
            shared_memory.destroy_shared_memory_region(region)


def tool(url, model, batch, concurrency, shared, seconds):
    """Inferences per second, and the client's CPU seconds for each request."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [TOOL, "sweep", "--quiet", "--url", url, "--model", model, "--batch", str(batch), "--output", folder,
             "--concurrency", str(concurrency), "--shared-memory", "system" if shared else "none", "--idle", "0",
             "--window", str(seconds / 3), "--window-requests", "2", "--max-time", str(seconds * 1.5),
             "--warm-up", "1", "--power", "cpu-time"],
            check=True, stdout=subprocess.DEVNULL)
        point = json.loads((pathlib.Path(folder) / "results.json").read_text())["points"][0]
        return point["inferences_per_s"], point["consumption"]["client_cpu_s"] / point["requests"]


def perf_analyzer(program, url, concurrency, shared, seconds):
    """Inferences per second, by its own account."""
    out = subprocess.run(
        [program, "-m", ONE_OP, "-u", url, "-i", "http", "-b", "1", "--concurrency-range", str(concurrency),
         "--shared-memory", "system" if shared else "none", "--output-shared-memory-size", "4096",
         "--measurement-interval", str(int(seconds * 1000 / 3)), "--max-trials", "5",
         # It fails when its last windows differ by more, which they do on a busy machine.
         "--stability-percentage", "50"],
        check=True, text=True, stdout=subprocess.PIPE).stdout
    return float(re.search(r"Throughput: ([0-9.]+) infer/sec", out).group(1))


def inception(url, options):
    print("\nInception-v3, inferences/s, one request in flight, system shared memory\n"
          f"{'batch':>6} {'python loop':>12} {'this tool':>10} {'ratio':>7}   rounds")
    fine = True
    for batch in BATCHES:
        rounds = []
        for index in range(options.rounds):
            measure = [lambda: python_loop(url, batch, options.seconds),
                       lambda: tool(url, INCEPTION, batch, 1, True, options.seconds)[0]]
            pair = [None, None]
            for which in (0, 1) if index % 2 == 0 else (1, 0):
                pair[which] = measure[which]()
            rounds.append(pair)
        loop, ours = (statistics.median(values) for values in zip(*rounds))
        each = " ".join(f"{ours / loop:.3f}" for loop, ours in rounds)
        ratio = statistics.median(ours / loop for loop, ours in rounds)
        fine &= abs(ratio - 1) <= TOLERANCE
        print(f"{batch:>6} {loop:>12.2f} {ours:>10.2f} {ratio:>7.3f}   {each}", flush=True)
    return fine


def one_op(url, options):
    print("\nOne-op model, requests/s\n"
          f"{'in flight':>10} {'tensors in':>14} {'perf_analyzer':>14} {'this tool':>10} {'ratio':>7}"
          "   client CPU us/request")
    fine = True
    for concurrency in (1, 4):
        for shared in (False, True):
            theirs, ours, cpu = [], [], []
            for _ in range(options.rounds):
                if options.perf_analyzer:
                    theirs.append(perf_analyzer(options.perf_analyzer, url, concurrency, shared, options.seconds))
                rate, seconds = tool(url, ONE_OP, 1, concurrency, shared, options.seconds)
                ours.append(rate)
                cpu.append(seconds * 1e6)
            other = statistics.median(theirs) if theirs else float("nan")
            ratio = statistics.median(ours) / other
            fine &= not theirs or ratio >= 1
            print(f"{concurrency:>10} {'shared memory' if shared else 'HTTP bodies':>14} {other:>14.0f} "
                  f"{statistics.median(ours):>10.0f} {ratio:>7.2f}   {statistics.median(cpu):.1f}", flush=True)
    return fine


def main():
    parser = argparse.ArgumentParser(description="The tool against the official clients.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--perf-analyzer", default=os.environ.get("PERF_ANALYZER"), metavar="FILE")
    parser.add_argument("--one-op", action="store_true", help="leave Inception-v3 out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = pathlib.Path(folder)
        one = repository / ONE_OP
        (one / "1").mkdir(parents=True)
        (one / "1/model.savedmodel").symlink_to(MODELS / ONE_OP / "model.savedmodel")
        (one / "config.pbtxt").write_text('backend: "tensorflow_latency"\nmax_batch_size: 8\n')
        (repository / INCEPTION).symlink_to(PROJECT / "model_repository" / INCEPTION)
        with TritonServer(repository, [INCEPTION, ONE_OP]) as server:
            fine = one_op(server.http, options)
            if not options.one_op:
                fine &= inception(server.http, options)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
