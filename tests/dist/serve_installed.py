"""Serves a model with an installed backend and sends one request.

    python tests/dist/serve_installed.py BACKENDS NAME
    python tests/dist/serve_installed.py --image IMAGE --expect TEXT [--volume V] -- ENGINE run ARGUMENTS...

First form: BACKENDS/NAME/libtriton_NAME.so is the result of `cmake --install`. TensorFlow is named by the backend option
tensorflow-dir only, so the test also shows that the option reaches the backend under this name.
Second form: an image made with docker/Dockerfile. The server gets no option: it finds backend and TensorFlow itself, and
the log contains TEXT about where TensorFlow was found. It runs as Kubernetes is to run it: on a read-only root file system with
nothing but /tmp to write to, without capabilities, as the image's user or the one that the arguments name, which is not root.
The image's health check has to tell whether it is ready.
Needs $TL_TEST_MODELS, or target/test-models.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT / "tools"))
from tritonserver import BACKEND_NAME, ServerError, TritonServer, find_tensorflow  # noqa: E402

CONFIG = """\
name: "add_one"
backend: "%s"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 16 ] },
         { name: "compute_latency_ns" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""


class InstalledServer(TritonServer):
    """A server that gets the installed folder as it is, not a backend folder of its own."""

    def __init__(self, backends, name, repository):
        self.backends, self.name = backends.resolve(), name
        environment = {"TENSORFLOW_DIR": "", "LD_LIBRARY_PATH": ""}
        tensorflow = os.environ.get("TL_TENSORFLOW_DIR") or find_tensorflow()
        super().__init__(repository, backend=backends / name / f"libtriton_{name}.so", environment=environment,
                         executable=os.environ.get("TL_TRITONSERVER"), tensorflow_dir=tensorflow)

    def command(self):
        named = [argument.replace(f"--backend-config={BACKEND_NAME},", f"--backend-config={self.name},")
                 for argument in super().command() if not argument.startswith("--backend-directory=")]
        return [*named, f"--backend-directory={self.backends}"]


class ImageServer(TritonServer):
    """The server of an image, with the backend and the TensorFlow that are in it."""

    EXECUTABLE = "/opt/tritonserver/bin/tritonserver"
    OWN = ("--backend-directory=", "--metrics-")  # the image's own place; not every server has all options for metrics

    def __init__(self, engine, image, volumes, repository):
        models = repository / "add_one" / "1" / "model.savedmodel"
        self.engine, self.image = engine, image
        self.container = f"tensorflow_latency_test_{os.getpid()}"
        self.volumes = [f"{repository}:{repository}:ro", f"{models.resolve()}:{models.resolve()}:ro", *volumes]
        super().__init__(repository, backend=repository, executable=self.EXECUTABLE, tensorflow_dir="")

    def command(self):
        arguments = [argument for argument in super().command()[1:] if not argument.startswith(self.OWN)]
        # podman would make more than /tmp writable by itself.
        podman = ["--read-only-tmpfs=false"] if "podman" in self.engine[0] else []
        locked = ["--read-only", *podman, "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        return [*self.engine, "--rm", f"--name={self.container}", "--network=host", *locked,
                *(f"--volume={volume}" for volume in self.volumes), f"--entrypoint={self.EXECUTABLE}", self.image, *arguments,
                "--allow-metrics=false"]

    def inside(self, *command, variables=()):
        """A command in the running container."""
        engine = self.engine[:self.engine.index("run")]
        return subprocess.run([*engine, "exec", *(f"--env={variable}" for variable in variables), self.container, *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def check_locked(self):
        """It is not root, and can write nowhere but in /tmp; returns the user."""
        user = self.inside("id", "-u").stdout.strip()
        assert user.isdigit() and user != "0", f"the server's user is '{user}'"
        for folder in ("/", "/opt/tritonserver/backends/tensorflow_latency", "/var/tmp"):
            tried = self.inside("sh", "-c", f": >{folder}/written")
            assert tried.returncode != 0, f"the user {user} can write to {folder}"
        tried = self.inside("sh", "-c", ": >/tmp/written")
        assert tried.returncode == 0, f"the user {user} cannot write to /tmp: {tried.stdout}"
        return user

    def check_health(self):
        """The image's health check succeeds where the server is, and fails where none is."""
        healthcheck = ["bash", "/opt/tritonserver/healthcheck.sh"]
        port = self.http.rsplit(":", 1)[1]
        for what in ([], ["live"]):
            asked = self.inside(*healthcheck, *what, variables=[f"HTTP_PORT={port}"])
            assert asked.returncode == 0, f"the health check {what} fails: {asked.stdout}"
        for wrong, variable in (([], "HTTP_PORT=9"), (["unknown"], f"HTTP_PORT={port}")):
            asked = self.inside(*healthcheck, *wrong, variables=[variable])
            assert asked.returncode != 0, f"the health check succeeds with {variable} {wrong}"


def ask(server):
    """The outputs of one request, name -> values."""
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 16], "data": list(range(16))}]}
    url = f"http://{server.http}/v2/models/add_one/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(request).encode()), timeout=30) as response:
        return {output["name"]: output["data"] for output in json.load(response)["outputs"]}


def write_model(repository, backend):
    models = pathlib.Path(os.environ.get("TL_TEST_MODELS") or PROJECT / "target" / "test-models")
    version = repository / "add_one" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG % backend)
    (version / "model.savedmodel").symlink_to((models / "add_one" / "model.savedmodel").resolve())


def check(server, name, tensorflow_from, place):
    user = None
    with server:
        outputs = ask(server)
        if isinstance(server, ImageServer):
            user = server.check_locked()
            server.check_health()
        log = server.log.read_text(errors="replace")
        triton = server.get_json("/v2")["version"]
    assert outputs["y"] == [value + 1 for value in range(16)], outputs
    assert outputs["compute_latency_ns"][0] > 0, outputs
    for text in (f"backend '{name}': {BACKEND_NAME} ", f"(from {tensorflow_from})"):
        assert text in log, f"expected {text!r} in:\n{log}"
    print(f"Triton {triton} serves with the backend '{name}' of {place}; TensorFlow from {tensorflow_from}; the answer "
          f"took {outputs['compute_latency_ns'][0]} ns in the server")
    if user:
        print(f"It ran as user {user} on a read-only file system; the health check told that it was ready")


def main():
    parser = argparse.ArgumentParser(description="Serves a model where the backend was installed, and asks it once.")
    parser.add_argument("--image")
    parser.add_argument("--expect", help="text that the log must contain about where TensorFlow was found")
    parser.add_argument("--volume", action="append", default=[])
    parser.add_argument("what", nargs="+", help="BACKENDS NAME, or with --image the command that runs a container")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="installed-") as folder:
        repository = pathlib.Path(folder)
        repository.chmod(0o755)
        if options.image:
            write_model(repository, BACKEND_NAME)
            server = ImageServer(options.what, options.image, options.volume, repository)
            check(server, BACKEND_NAME, options.expect, f"the image {options.image}")
        else:
            backends, name = pathlib.Path(options.what[0]), options.what[1]
            found = sorted(str(file.relative_to(backends)) for file in (backends / name).iterdir())
            assert found == [f"{name}/libtriton_{name}.so"], found
            write_model(repository, name)
            check(InstalledServer(backends, name, repository), name, "the backend option tensorflow-dir", backends)


if __name__ == "__main__":
    try:
        main()
    except (ServerError, urllib.error.URLError, AssertionError) as error:
        sys.exit(str(error))
