"""Finds, starts and stops a Triton server with this project's backend, for all tools.

    with TritonServer(repository, models=["inception_v3"]) as server:
        server.http     # "127.0.0.1:PORT"; also .grpc and .metrics
        server.get_json("/v2/models/inception_v3/stats")

The server listens on 127.0.0.1 only, on free ports unless told otherwise, works in a temporary folder of its own, and
is stopped on every way out: the end of the `with` block, an exception, Ctrl-C, SIGTERM, and (by the kernel) the death
of this process. Imports nothing but the standard library, so that it starts at once.
"""

import ctypes
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PROJECT = pathlib.Path(__file__).resolve().parent.parent
BACKEND_NAME = "tensorflow_latency"
BACKEND_FILE = f"libtriton_{BACKEND_NAME}.so"
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 30
PR_SET_PDEATHSIG = 1  # of prctl(2)
LIBC = ctypes.CDLL(None)


class ServerError(Exception):
    """The server was not found, did not become ready, or died. The text says why and what to do."""


def find_executable():
    """The tritonserver to run: $TRITONSERVER, the wheel's, one on the PATH, the containers' place; in this order."""
    asked = os.environ.get("TRITONSERVER")
    if asked:
        if not os.access(asked, os.X_OK):
            raise ServerError(f"TRITONSERVER={asked} is not an executable file. Correct it, or unset it to use the "
                              "server installed by `make setup`.")
        return pathlib.Path(asked)
    package = package_folder("pytriton")
    found = [package / "tritonserver/bin/tritonserver"] if package else []
    found += [shutil.which("tritonserver"), "/opt/tritonserver/bin/tritonserver"]
    for path in map(pathlib.Path, filter(None, found)):
        if os.access(path, os.X_OK):
            return path
    raise ServerError("No tritonserver was found: `make setup` installs one (package nvidia-pytriton), and "
                      "TRITONSERVER=/path/to/tritonserver names another.")


def find_tensorflow():
    """The folder of the installed TensorFlow wheel, which holds the libraries; None if it is not installed."""
    return package_folder("tensorflow")


def find_backend():
    """The library built by `make build`."""
    path = PROJECT / "target" / "release" / BACKEND_FILE
    if not path.is_file():
        raise ServerError(f"The backend is not built: {path} is missing. Run `make build`.")
    return path


def package_folder(name):
    """The folder of a Python package, without importing it."""
    spec = importlib.util.find_spec(name)
    return pathlib.Path(spec.origin).parent if spec and spec.origin else None


def free_ports(count):
    """Ports that are free now. If another process takes one before the server does, the start is repeated."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_free(port, address="127.0.0.1"):
    with socket.socket() as probe:
        # As the server does: lingering connections of an earlier run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class TritonServer:
    """A running server, as a context manager.

    repository       folder of the models
    models           names to load; None loads all there are
    model_control    Triton's --model-control-mode; default: explicit when models are named, else none
    backend          the .so; default: the result of `make build`. It is linked into a backend folder of its own
    executable       default: find_executable(); 2.32 or newer, for the options used here
    tensorflow_dir   default: the installed wheel; "" leaves the search to the backend
    ports            (http, grpc, metrics); 0 picks a free one
    address          what to listen on
    backend_options  further options of the backend, name -> value (--backend-config)
    arguments        further arguments of the executable
    environment      changes to the environment, name -> value
    ready_timeout    seconds to wait for readiness
    exit_timeout     seconds for requests in flight when the server is stopped
    """

    def __init__(self, repository, models=None, *, model_control=None, backend=None, executable=None,
                 tensorflow_dir=None, ports=(0, 0, 0), address="127.0.0.1", backend_options=None, arguments=(),
                 environment=None, ready_timeout=120, exit_timeout=10):
        self.repository = pathlib.Path(repository)
        self.models = models
        self.model_control = model_control or ("none" if models is None else "explicit")
        self.backend = pathlib.Path(backend) if backend else find_backend()
        self.executable = pathlib.Path(executable) if executable else find_executable()
        self.tensorflow_dir = find_tensorflow() if tensorflow_dir is None else tensorflow_dir
        self.asked_ports = ports
        self.address = address
        self.backend_options = dict(backend_options or {})
        self.arguments = list(arguments)
        self.environment = {**os.environ, **(environment or {})}
        self.ready_timeout = ready_timeout
        self.exit_timeout = exit_timeout
        self.process = None
        self.folder = None
        self._temporary = None
        self._previous_handler = None

    def __enter__(self):
        self._catch_sigterm()
        try:
            self._temporary = tempfile.TemporaryDirectory(prefix="triton-")
            self.folder = pathlib.Path(self._temporary.name)
            home = self.folder / "backends" / BACKEND_NAME
            home.mkdir(parents=True)
            (home / BACKEND_FILE).symlink_to(self.backend.resolve())
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            if self._temporary:
                self._temporary.cleanup()
                self._temporary = None
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
                self._previous_handler = None

    @property
    def log(self):
        """The server's output; removed with the temporary folder."""
        return self.folder / "server.log"

    def log_tail(self, lines=LOG_TAIL_LINES):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def stop(self):
        """SIGTERM, which lets requests in flight finish, then SIGKILL. Does nothing if the server has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.exit_timeout + 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def check_alive(self):
        """Raises ServerError with the end of the log if the server has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ServerError(f"The server ended ({how}). The end of its log:\n{self.log_tail()}")

    def get_json(self, path):
        """The answer to GET on the HTTP port. Raises urllib.error.HTTPError for 4xx and 5xx."""
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=30) as response:
            return json.load(response)

    def command(self):
        """The server's command line."""
        options = {**self.backend_options}
        if self.tensorflow_dir:
            options.setdefault("tensorflow-dir", self.tensorflow_dir)
        http, grpc, metrics = (endpoint.rsplit(":", 1)[1] for endpoint in (self.http, self.grpc, self.metrics))
        command = [
            str(self.executable), f"--model-repository={self.repository.resolve()}",
            f"--backend-directory={self.folder / 'backends'}", f"--model-control-mode={self.model_control}",
            f"--http-address={self.address}", f"--http-port={http}", f"--grpc-address={self.address}",
            f"--grpc-port={grpc}", f"--metrics-port={metrics}", f"--exit-timeout-secs={self.exit_timeout}",
            f"--metrics-address={self.address}",
        ]
        command += [f"--load-model={name}" for name in self.models or [] if self.model_control == "explicit"]
        command += [f"--backend-config={BACKEND_NAME},{name}={value}" for name, value in options.items()]
        return command + self.arguments

    def _start(self):
        for attempt in range(PORT_ATTEMPTS):
            free = iter(free_ports(3))
            ports = [port or next(free) for port in self.asked_ports]
            self.http, self.grpc, self.metrics = (f"{self.address}:{port}" for port in ports)
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    self.command(), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal reaches this process, which then stops the server
                    preexec_fn=die_with_parent,
                )
            try:
                return self._wait_until_ready()
            except ServerError:
                # Another process took the port. Only free ports are worth another try.
                taken = "in use" in self.log_tail() and 0 in self.asked_ports
                if not taken or attempt == PORT_ATTEMPTS - 1:
                    raise
                self.stop()

    def _wait_until_ready(self):
        deadline = time.monotonic() + self.ready_timeout
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=5):
                    self.check_alive()  # not another process's server on our port
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise ServerError(f"The server was not ready after {self.ready_timeout} s. The end of its log:\n"
                          f"{self.log_tail()}")

    def _catch_sigterm(self):
        """Turns SIGTERM into SystemExit, so that `with` blocks clean up."""
        try:
            self._previous_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        except ValueError:  # not the main thread, which alone can handle signals
            self._previous_handler = None


def die_with_parent():
    """In the server's process, before it starts: the kernel stops it when this process dies."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
