"""Starts the real server with the command lines of the manifests, outside Kubernetes, and uses it as a cluster would.

    python tests/deploy/serve_manifest.py

From deploy/kubernetes/base: the Deployment's arguments. From deploy/kserve/runtime: the runtime's, with which KServe starts the
server after it has put the model repository into /mnt/models; and once with what KServe adds where an InferenceService has no
storageUri. Replaced is what belongs to a container: the folder of the models, the ports, and the addresses, which are 127.0.0.1
here. Each is asked what its probes ask and for one inference, its metrics are read, and SIGTERM ends it with exit code 0 within
the time that the manifest gives it. Needs $TL_BACKEND and $TL_TEST_MODELS, or what `make build test-models` makes.
"""

import os
import pathlib
import sys
import tempfile
import time
import urllib.error
import urllib.request

import manifests
import policy

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT / "tools"), str(PROJECT / "tests" / "dist")]
from serve_installed import ask, write_model  # noqa: E402
from tritonserver import BACKEND_NAME, ServerError, TritonServer  # noqa: E402

PORTS = ("--http-port", "--grpc-port", "--metrics-port")


class ManifestServer(TritonServer):
    """A server with the arguments of a container."""

    def __init__(self, container, repository, added=()):
        self.container, self.added = container, added
        super().__init__(repository, backend=os.environ.get("TL_BACKEND"), executable=os.environ.get("TL_TRITONSERVER"),
                         tensorflow_dir=os.environ.get("TL_TENSORFLOW_DIR"))

    def command(self):
        ports = dict(zip(PORTS, (address.rsplit(":", 1)[1] for address in (self.http, self.grpc, self.metrics))))
        folders = ("--model-repository", "--model-store")
        command, given = [str(self.executable)], set()
        for argument in [*self.container["args"][1:], *self.added]:
            name, _, value = argument.partition("=")
            given.add(name)
            value = ports.get(name, self.repository if name in folders else value)
            command.append(f"{name}={value}")
        assert given >= {*PORTS}, f"the manifest does not say where the server listens: {given}"
        command += [f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")]
        command.append(f"--backend-directory={self.folder / 'backends'}")
        if self.tensorflow_dir:
            command.append(f"--backend-config={BACKEND_NAME},tensorflow-dir={self.tensorflow_dir}")
        return command


def check(name, container, repository, grace, added=()):
    server = ManifestServer(container, repository, added)
    with server:
        if added:
            post(server, "/v2/repository/models/add_one/load")
        outputs = ask(server)
        assert outputs["y"] == [value + 1 for value in range(16)], outputs
        for probe, what in policy.probes(container).items():
            assert read(f"http://{server.http}{what['httpGet']['path']}")[0] == 200, f"{name}: {probe} fails"
        status, text = read(f"http://{server.metrics}/metrics")
        assert status == 200 and "nv_inference_request_success{" in text, f"{name}: no metrics"
        started = time.monotonic()
        server.process.terminate()
        code = server.process.wait(grace)
    assert code == 0, f"{name}: the server ended with {code} after SIGTERM"
    line = " ".join([*container["args"][1:], *added])
    print(f"{name} serves with {line}; it ended {time.monotonic() - started:.1f} s after SIGTERM")


def read(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.status, response.read().decode()


def post(server, path):
    urllib.request.urlopen(urllib.request.Request(f"http://{server.http}{path}", b"{}", method="POST"), timeout=60).close()


def main():
    with tempfile.TemporaryDirectory(prefix="manifest-") as folder:
        repository = pathlib.Path(folder) / "models"
        write_model(repository, BACKEND_NAME)
        tried = 0
        for render in manifests.raw_files():
            for name, _, spec, each in policy.pods(render):
                (container,) = spec["containers"]
                grace = spec.get("terminationGracePeriodSeconds", policy.KSERVE_DEFAULT_GRACE)
                left = grace - policy.sleep_before_stop(container)
                check(name, container, repository, left)
                if policy.is_runtime(each):
                    check(f"{name} without storageUri", container, repository, left, ["--model-control-mode=explicit"])
                tried += 1
        assert tried == 2, f"{tried} command lines were found; there are the Deployment's and the runtime's"


if __name__ == "__main__":
    try:
        main()
    except (ServerError, urllib.error.URLError, AssertionError) as error:
        sys.exit(str(error))
