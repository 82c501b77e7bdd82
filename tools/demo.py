"""The demo: a real server classifies pictures, and each response says how long it took inside the server and, where
there is a meter, how much energy.

    python tools/demo.py             the pictures installed by the set-up
    python tools/demo.py cat.jpg     this picture

Starts a server with model_repository/inception_v3, sends the pictures with the official client over HTTP and gRPC at
several batch sizes and concurrencies, and prints the answers. At the end it compares the times in the responses with
the server's statistics: the sums must be equal to the nanosecond, otherwise the exit code is 1.

Energy comes in response parameters (the backend's option latency-parameters), which leave it out where there is no
meter; the model's configuration stays as it is. For a try without one, --backend-option energy-powercap-dir=FOLDER
names a made powercap tree.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import sys
import threading
import time

from tritonserver import PROJECT, ServerError, TritonServer, package_folder

MODEL = "inception_v3"
SIDE = 299
PARTS = ["compute_input_ns", "compute_infer_ns", "compute_output_ns"]
LATENCY_OUTPUTS = ["compute_latency_ns", *PARTS, "executed_batch_size", "request_end_ns"]
BUNDLED = {"cat": "chelsea.png", "coffee": "coffee.png", "astronaut": "astronaut.png", "rocket": "rocket.jpg"}
# Protocol, images per request, requests at a time, requests.
RUNS = [("HTTP", 1, 1, 4), ("gRPC", 1, 1, 4), ("HTTP", 4, 1, 1), ("gRPC", 8, 1, 1), ("HTTP", 16, 1, 1),
        ("HTTP", 1, 4, 4), ("gRPC", 2, 4, 4)]
STATISTICS_TIMEOUT = 10  # seconds
IDLE_SECONDS = 4  # the backend takes the median of up to 3.1 s for the idle power


class DemoError(Exception):
    """Something the user can fix; the text says how."""


@dataclasses.dataclass
class Answer:
    """One request's response."""
    protocol: str
    batch: int
    concurrency: int
    names: list       # of the pictures in the request
    predictions: object  # FP32 [batch, 1000]
    client_ns: int    # measured by the client, around the whole call
    times: dict       # latency output -> value
    energy_uj: int | None  # of the request above idle, microjoules; None without a meter
    measured_percent: int | None  # how much of that was measured, and not estimated from earlier executions

    def top(self, row=0):
        best = int(self.predictions[row].argmax())
        return best, float(self.predictions[row][best])


# --- pictures -----------------------------------------------------------------------------------------------------

def load_picture(path):
    """The picture as Inception-v3 wants it."""
    return prepare_picture(open_picture(path))


def open_picture(path):
    """The picture as it is, RGB."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError:
        raise DemoError(f"No such picture: {path}") from None
    except UnidentifiedImageError:
        raise DemoError(f"{path} is not a picture that Pillow can read; expected JPEG, PNG, WebP, GIF, BMP or the "
                        "like.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DemoError(f"The picture {path} cannot be read: {error}") from None


def prepare_picture(picture):
    """FP32 [299, 299, 3], scaled to -1..1."""
    import numpy
    from PIL import Image

    resized = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return numpy.asarray(resized, numpy.float32) / 127.5 - 1.0


def bundled_files():
    package = package_folder("skimage")
    if package is None:
        raise DemoError("The pictures of the demo are missing (package scikit-image). Run `make setup`, or name a "
                        "picture.")
    return {name: package / "data" / file for name, file in BUNDLED.items()}


# --- requests -----------------------------------------------------------------------------------------------------

def send_run(server, run, pictures):
    """Sends the requests of one run, `concurrency` at a time, and returns their answers in the order of sending."""
    protocol, batch, concurrency, requests = run
    names = list(pictures)
    work = [[names[(first * batch + i) % len(names)] for i in range(batch)] for first in range(requests)]
    gate = threading.Barrier(concurrency)

    def worker(index):
        # One client for each thread: the clients are not made for sharing.
        with contextlib.closing(connect(server, protocol)) as client:
            gate.wait(timeout=30)
            return [(i, infer(client, run, work[i], pictures)) for i in range(index, requests, concurrency)]

    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        answers = [answer for done in pool.map(worker, range(concurrency)) for answer in done]
    return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]


def connect(server, protocol):
    if protocol == "HTTP":
        import tritonclient.http as library
        client = library.InferenceServerClient(server.http, network_timeout=300)
    else:
        import tritonclient.grpc as library
        client = library.InferenceServerClient(server.grpc)
    client.is_server_ready()  # opens the connection, which is no part of a request's latency
    return client


def infer(client, run, names, pictures):
    """Sends one request and reads all its outputs."""
    import numpy

    protocol, batch, concurrency, _ = run
    if protocol == "HTTP":
        import tritonclient.http as library
    else:
        import tritonclient.grpc as library
    images = numpy.stack([pictures[name] for name in names])
    image = library.InferInput("input", list(images.shape), "FP32")
    image.set_data_from_numpy(images)
    started = time.monotonic_ns()
    result = client.infer(MODEL, [image])
    elapsed = time.monotonic_ns() - started
    # [n,1], the same value for each image of the request.
    times = {name: int(result.as_numpy(name)[0, 0]) for name in LATENCY_OUTPUTS}
    found = parameters(result, protocol)
    return Answer(protocol, batch, concurrency, names, result.as_numpy("predictions"), elapsed, times,
                  found.get("energy_uj"), found.get("energy_measured_percent"))


def parameters(result, protocol):
    """The response's integer parameters by name."""
    if protocol == "HTTP":
        found = result.get_response().get("parameters", {})
        return {name: value for name, value in found.items() if isinstance(value, int)}
    return {name: value.int64_param for name, value in result.get_response().parameters.items()}


def statistics(server, expected):
    """The model's statistics, once they hold `expected` requests: they are updated after a response has left."""
    deadline = time.monotonic() + STATISTICS_TIMEOUT
    while True:
        found = server.get_json(f"/v2/models/{MODEL}/stats")["model_stats"][0]["inference_stats"]
        if found["success"]["count"] == expected:
            return found
        if time.monotonic() > deadline:
            raise DemoError(f"The server's statistics count {found['success']['count']} requests after "
                            f"{STATISTICS_TIMEOUT} s; {expected} were answered.")
        time.sleep(0.01)


# --- output -------------------------------------------------------------------------------------------------------

def header(has_energy):
    lines = [f"{'':4} {'':>5} {'':>7}  {'':22} {'ran in':>6} {'client':>8}  {'in the response, ms':>28}",
             f"{'':4} {'batch':>5} {'clients':>7}  {'picture: class (prob.)':22} {'batch':>6} {'ms':>8}  "
             f"{'compute':>9} = {'input':>6} + {'infer':>8} + {'output':>6}"]
    if has_energy:
        lines[0] += f"{'':10}  {'J per':>8}"
        lines[1] += f"  {'picture':>8}"
    return "\n".join(lines)


def row(answer):
    best, probability = answer.top()
    name = answer.names[0][:9] if answer.batch == 1 else f"{answer.names[0][:7]}.."
    what = f"{name}: {best} ({probability:.3f})"
    compute, *parts = (answer.times[name] / 1e6 for name in ["compute_latency_ns", *PARTS])
    return (f"{answer.protocol:4} {answer.batch:>5} {answer.concurrency:>7}  {what:22} "
            f"{answer.times['executed_batch_size']:>6} {answer.client_ns / 1e6:>8.1f}  "
            f"{compute:>9.3f} = {parts[0]:>6.3f} + {parts[1]:>8.3f} + {parts[2]:>6.3f}"
            + ("" if answer.energy_uj is None else f"  {answer.energy_uj / 1e6 / answer.batch:>8.4f}"))


def describe_energy(answers):
    """What the responses told of their energy, which all of them do or none."""
    told = [answer for answer in answers if answer.energy_uj is not None]
    joules = sum(answer.energy_uj for answer in told) / 1e6
    pictures = sum(answer.batch for answer in told)
    text = (f"Energy above idle: {joules:.3f} J in {len(told)} of {len(answers)} responses, {joules / pictures:.4f} J "
            "for each picture.")
    if joules > 0 and all(answer.measured_percent is not None for answer in told):
        measured = sum(answer.energy_uj * answer.measured_percent for answer in told) / 1e6 / joules
        text += (f"\n{measured:.0f} % of it was measured when the responses left, the rest estimated from earlier "
                 "executions.")
    return text


def why_no_energy(server):
    """The backend's own reason, which it logs when it loads the model; None if it has a meter."""
    said = "the response parameters have no energy: "
    for line in server.log.read_text(errors="replace").splitlines():
        if said in line:
            return line.split(said, 1)[1].strip().removesuffix('"')
    return None


def print_top_five(name, answer):
    print(f"\nTop five classes of {name}:")
    order = answer.predictions[0].argsort()[::-1][:5]
    for place, index in enumerate(order, 1):
        print(f"  {place}. class {index:3}  probability {answer.predictions[0][index]:.4f}")


def check(answers, found):
    """Prints the comparisons, returns whether all hold."""
    parts_add_up = sum(sum(a.times[part] for part in PARTS) == a.times["compute_latency_ns"] for a in answers)
    below_client = sum(a.times["compute_latency_ns"] < a.client_ns for a in answers)
    print(f"\nThe parts add up to the compute latency in {parts_add_up} of {len(answers)} responses; it is below the "
          f"client's\nown measurement in {below_client} of {len(answers)}.")
    print(f"\n{'nanoseconds':20} {'sum over the responses':>24} {'growth of the statistics':>26}")
    equal = True
    for part in PARTS:
        ours, servers = sum(a.times[part] for a in answers), found[part.removesuffix("_ns")]["ns"]
        equal &= ours == servers
        print(f"{part:20} {ours:>24,} {servers:>26,}   {'equal' if ours == servers else 'DIFFERENT'}")

    classes = collections.defaultdict(set)
    for answer in answers:
        for index, name in enumerate(answer.names):
            classes[name].add(answer.top(index)[0])
    stable = all(len(found) == 1 for found in classes.values())
    if stable:
        print("\nEach picture got the same class every time, alone and in every batch.")
    else:
        print(f"\nDIFFERENT classes for the same picture: {dict(classes)}")
    return equal and stable and parts_add_up == below_client == len(answers)


def describe_weights(repository):
    """How the model was made, and whether its classes mean anything."""
    try:
        record = json.loads((repository / MODEL / "1" / "model.savedmodel" / "how_made.json").read_text())
    except (OSError, ValueError):
        return "Weights: unknown; this model was not made by make_inception_v3.py."
    if record.get("weights") == "random":
        return (f"Weights: random (seed {record.get('seed')}), so the classes have no meaning. Trained weights:\n"
                f"  .venv/bin/python model_repository/make_inception_v3.py --weights imagenet")
    return f"Weights: {record.get('weights')}; classes are numbered 0 to 999 in the order of ImageNet."


# --- main ---------------------------------------------------------------------------------------------------------

def demo(options):
    from tritonclient.utils import InferenceServerException

    if options.picture:
        pictures = {options.picture.stem: load_picture(options.picture)}
    else:
        pictures = {name: load_picture(file) for name, file in bundled_files().items()}
    if not (options.repository / MODEL / "1" / "model.savedmodel" / "saved_model.pb").is_file():
        raise DemoError(f"The model {options.repository / MODEL} has no files yet. Run `make model`.")

    print("Starting a Triton server with Inception-v3 (a few seconds)", flush=True)
    backend_options = {"latency-parameters": "true", **dict(options.backend_option)}
    with TritonServer(options.repository, [MODEL], backend=options.backend,
                      backend_options=backend_options) as server:
        try:
            return show(server, options, pictures)
        except InferenceServerException as error:
            server.check_alive()
            raise DemoError(f"A request failed: {error}. The end of the server's log:\n{server.log_tail()}") from None


def show(server, options, pictures):
    """Sends everything, prints everything, returns whether all comparisons hold."""
    version = server.get_json("/v2")["version"]
    print(f"Triton {version} is ready: HTTP {server.http}, gRPC {server.grpc}")
    print(describe_weights(options.repository))
    missing = why_no_energy(server)
    if missing is None:
        print(f"Waiting {IDLE_SECONDS} s, in which the backend learns what the idle machine draws.", flush=True)
        time.sleep(IDLE_SECONDS)
    answers = send_run(server, ("HTTP", 1, 1, 1), pictures)
    print(f"The first request, for which TensorFlow still optimises its graph: client "
          f"{answers[0].client_ns / 1e6:.1f} ms,\ncompute latency in its response "
          f"{answers[0].times['compute_latency_ns'] / 1e6:.1f} ms.")
    has_energy = answers[0].energy_uj is not None
    if not has_energy:
        print(f"No energy in the responses: {missing or 'this server has no response parameters'}")
    print(f"\n{header(has_energy)}")
    for run in RUNS:
        for answer in send_run(server, run, pictures):
            answers.append(answer)
            print(row(answer), flush=True)
    print("\nEach row is one response. \"ran in batch\": images in the execution that contained the request; Triton\n"
          "merges requests that wait at the same time. \"name..\": a batch of several pictures; the first is shown.")
    if has_energy:
        print(describe_energy(answers))
    if options.picture:
        print_top_five(options.picture.name, answers[0])
    return check(answers, statistics(server, len(answers)))


def backend_option(text):
    name, found, value = text.partition("=")
    if not (name and found):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value


def main():
    parser = argparse.ArgumentParser(description="Sends pictures to a real Triton server and prints the latency "
                                                 "and the energy that each response carries.")
    parser.add_argument("picture", nargs="?", type=pathlib.Path, help="a picture file; default: the pictures installed by the set-up")
    parser.add_argument("--repository", type=pathlib.Path, default=PROJECT / "model_repository",
                        help="model repository that contains inception_v3")
    parser.add_argument("--backend", type=pathlib.Path, help="the .so; default: the result of `make build`")
    parser.add_argument("--backend-option", type=backend_option, action="append", default=[], metavar="NAME=VALUE",
                        help="an option of the backend; may be repeated")
    options = parser.parse_args()
    try:
        sys.exit(0 if demo(options) else 1)
    except (DemoError, ServerError) as error:
        sys.exit(f"\n{error}")
    except ImportError as error:
        sys.exit(f"\n{error}. Run the demo in the environment of `make setup`: .venv/bin/python tools/demo.py")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
