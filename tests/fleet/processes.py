"""Processes beside the servers: a load balancer, Prometheus, and the tool that sends the load.

Each listens on 127.0.0.1 on a free port, works in a folder that it is given, is stopped by the one that started it, by its
process id, and ends with it.
"""

import csv
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from paths import PROJECT

sys.path.insert(0, str(PROJECT / "tools"))
from tritonserver import TritonServer, die_with_parent, free_ports  # noqa: E402, F401

START_ATTEMPTS = 5
READY_TIMEOUT = 30  # seconds


class FleetError(Exception):
    """What the harness needs is missing or has ended. The text says what, and what to do."""


def need(command, package):
    """The path of a command of the system."""
    path = shutil.which(command) or shutil.which(command, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FleetError(f"{command} was not found. On Debian and Ubuntu: apt-get install --no-install-recommends {package}")
    return path


def fetch(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return response.read().decode()


class Process:
    """A child that is stopped with SIGTERM, or killed where that does not help."""

    def __init__(self, name, command, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent)

    def check(self):
        if self.child.poll() is not None:
            raise FleetError(f"{self.name} ended with {self.child.returncode}:\n{self.tail()}")

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, how=signal.SIGTERM, patience=10):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def start(name, folder, make_command, is_ready):
    """A process that answers. Another may take the free port before it does; then it is started anew."""
    for attempt in range(START_ATTEMPTS):
        process = Process(name, make_command(), folder)
        deadline = time.monotonic() + READY_TIMEOUT
        while process.child.poll() is None:
            try:
                is_ready()
                return process
            except OSError:
                if time.monotonic() > deadline:
                    process.stop()
                    raise FleetError(f"{name} did not answer within {READY_TIMEOUT} s:\n{process.tail()}") from None
                time.sleep(0.05)
        if "in use" not in process.tail() or attempt == START_ATTEMPTS - 1:
            process.check()
    raise AssertionError("a loop that ends with a return or an error")


class Balancer:
    """haproxy with a fixed number of places for servers, which are filled and emptied while it runs.

    It repeats nothing that failed, so that what is lost shows. What it says itself has another status than what servers say:
    530 in place of 503, with which they refuse. A connection to a server ends with its answer: an idle one would hold up the
    server's end.
    """

    NAME = "fleet"
    NO_SERVER = ("HTTP/1.1 530 No server\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n"
                 "The balancer has no server for this request: lost")
    CONFIGURATION = """\
global
    stats socket {socket} mode 600 level admin
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    retries 0
    option http-server-close
    errorfile 503 {no_server}
frontend front
    bind 127.0.0.1:{port}
    default_backend fleet
backend fleet
    balance leastconn
    option httpchk GET /v2/health/ready
{servers}
"""

    def __init__(self, folder, places):
        haproxy = need("haproxy", "haproxy")
        self.socket = folder / "haproxy.sock"
        self.free = list(range(places))

        def command():
            (self.port,) = free_ports(1)
            servers = "\n".join(f"    server s{place} 127.0.0.1:9 check inter 500ms fall 3 rise 1 disabled"
                                for place in range(places))
            file, no_server = folder / "haproxy.cfg", folder / "no_server.http"
            no_server.write_bytes(self.NO_SERVER.encode())
            file.write_text(self.CONFIGURATION.format(socket=self.socket, port=self.port, servers=servers, no_server=no_server))
            return [haproxy, "-db", "-f", file]

        self.process = start("haproxy", folder, command, lambda: self.ask("show info"))
        self.address = f"127.0.0.1:{self.port}"

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(10)
            channel.connect(str(self.socket))
            channel.sendall(command.encode() + b"\n")
            answer = b""
            while part := channel.recv(65536):
                answer += part
        return answer.decode()

    def tell(self, command):
        answer = self.ask(command).strip()
        # An address that changes is told as such.
        if answer and "changed from" not in answer and "no need to change" not in answer:
            raise FleetError(f"haproxy answers to '{command}': {answer}")

    def rows(self):
        """haproxy's statistics, by the name of the server, FRONTEND and BACKEND."""
        table = csv.DictReader(self.ask("show stat").lstrip("# ").splitlines())
        return {row["svname"]: row for row in table}

    def add(self, address):
        """Sends requests to this server, too; the place that it got."""
        place = self.free.pop(0)
        server = f"{self.NAME}/s{place}"
        host, port = address.rsplit(":", 1)
        self.tell(f"set server {server} addr {host} port {port}")
        self.tell(f"set server {server} state ready")
        return place

    def drain(self, place, patience):
        """Sends it no more, and waits for its answers. False if some are still outstanding after `patience` seconds."""
        self.tell(f"set server {self.NAME}/s{place} state drain")
        deadline = time.monotonic() + patience
        while outstanding := int(self.rows()[f"s{place}"]["scur"]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return not outstanding

    def remove(self, place):
        self.tell(f"set server {self.NAME}/s{place} state maint")
        self.free.append(place)

    def stop(self):
        self.process.stop()


class Prometheus:
    """A Prometheus with rules, whose targets change while it runs."""

    def __init__(self, folder, rules, job, scrape, evaluate):
        prometheus = need("prometheus", "prometheus")
        self.targets = folder / "targets.json"
        self.show([])
        configuration = {
            "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": evaluate},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": job, "file_sd_configs": [{"files": [str(self.targets)],
                                                                      "refresh_interval": "1s"}]}],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(configuration, indent=1))

        def command():
            (self.port,) = free_ports(1)
            return [prometheus, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]

        self.process = start("prometheus", folder, command, lambda: fetch(f"http://127.0.0.1:{self.port}/-/ready"))

    def show(self, addresses, namespace="fleet"):
        """Has these scraped, and nothing else."""
        new = self.targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": [address], "labels": {"namespace": namespace}} for address in addresses]))
        new.replace(self.targets)

    def value(self, query):
        """The value of a query; None if there is none. More than one is an error, as it is for KEDA."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            found = json.loads(fetch(url))["data"]["result"]
        except urllib.error.HTTPError as error:
            raise FleetError(f"Prometheus refuses the query {query}: {error.read().decode()}") from None
        if len(found) > 1:
            raise FleetError(f"the query {query} has {len(found)} results: {found}")
        value = float(found[0]["value"][1]) if found else float("nan")
        return None if value != value else value

    def problems(self):
        """Rules that could not be evaluated."""
        groups = json.loads(fetch(f"http://127.0.0.1:{self.port}/api/v1/rules"))["data"]["groups"]
        return [f"{rule['name']}: {rule['lastError']}" for group in groups for rule in group["rules"] if rule.get("lastError")]

    def stop(self):
        self.process.stop()
