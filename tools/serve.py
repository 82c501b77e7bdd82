"""Serves Inception-v3, with its latency in each response, until Ctrl-C.

    python tools/serve.py [--http-port 8000] [--grpc-port 8001] [--metrics-port 8002]

Prints the addresses and a curl command to copy.
"""

import argparse
import json
import pathlib
import random
import shlex
import sys
import time

from tritonserver import PROJECT, ServerError, TritonServer, is_free

MODEL = "inception_v3"
SIDE = 299
USUAL_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
LATENCY_OUTPUTS = ["compute_latency_ns", "compute_input_ns", "compute_infer_ns", "compute_output_ns",
                   "executed_batch_size", "request_end_ns"]


def choose_port(name, asked, address):
    """The requested port; else the usual one; else 0 (any free one) if the usual one is taken."""
    if asked is None:
        return USUAL_PORTS[name] if is_free(USUAL_PORTS[name], address) else 0
    if asked and not is_free(asked, address):
        raise ServerError(f"--{name}-port {asked}: the port is in use. Choose another one, or 0 for any free one.")
    return asked


def write_request(path):
    """A request in Triton's JSON: one image of seeded noise; asks for the latency outputs only."""
    noise = random.Random(1)
    request = {
        "id": "try-me",
        "inputs": [{
            "name": "input", "datatype": "FP32", "shape": [1, SIDE, SIDE, 3],
            "data": [round(noise.uniform(-1, 1), 2) for _ in range(SIDE * SIDE * 3)],
        }],
        "outputs": [{"name": name} for name in LATENCY_OUTPUTS],
    }
    path.write_text(json.dumps(request))


def serve(options):
    ports = [choose_port(name, getattr(options, f"{name}_port"), options.address) for name in USUAL_PORTS]
    if not (options.repository / MODEL / "1" / "model.savedmodel" / "saved_model.pb").is_file():
        raise ServerError(f"The model {options.repository / MODEL} has no files yet. Run `make model`.")
    print("Starting a Triton server with Inception-v3 (a few seconds)", flush=True)
    with TritonServer(options.repository, [MODEL], ports=ports, address=options.address) as server:
        request = server.folder / "request.json"
        write_request(request)
        print(f"\nTriton {server.get_json('/v2')['version']} is ready\n"
              f"  HTTP     http://{server.http}/v2/models/{MODEL}\n"
              f"  gRPC     {server.grpc}\n"
              f"  metrics  http://{server.metrics}/metrics\n"
              f"  log      {server.log}\n"
              "\nIn another terminal, ask how long one image takes inside the server:\n\n"
              f"  curl -s http://{server.http}/v2/models/{MODEL}/infer -d @{shlex.quote(str(request))}\n"
              "\nCtrl-C stops it.", flush=True)
        while True:
            server.check_alive()
            time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description="Runs a Triton server with Inception-v3 until Ctrl-C.")
    for name, usual in USUAL_PORTS.items():
        parser.add_argument(f"--{name}-port", type=int, metavar="PORT",
                            help=f"default: {usual}, or a free one if that is taken; 0: a free one")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on; default: this machine only")
    parser.add_argument("--repository", type=pathlib.Path, default=PROJECT / "model_repository",
                        help="model repository that contains inception_v3")
    options = parser.parse_args()
    try:
        serve(options)
    except ServerError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        print("\nStopped.")


if __name__ == "__main__":
    main()
