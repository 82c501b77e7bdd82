"""Servers that come and go behind the load balancer."""

import threading
import time

from processes import TritonServer

DRAIN_PATIENCE = 30  # seconds for the answers of a server that is taken out of the balancer
EXIT_PATIENCE = 20  # seconds, --exit-timeout-secs


class Replica(threading.Thread):
    """One server's life, as a pod has it: it starts, joins the balancer when it is ready, and serves until it is told to
    leave; then it leaves the balancer first, has its last requests answered, and only then gets SIGTERM.
    """

    def __init__(self, fleet, number):
        super().__init__(name=f"replica {number}")
        self.fleet, self.number = fleet, number
        self.server = fleet.make_server()
        self.leave = threading.Event()
        self.serving = False
        self.started, self.ready_after, self.ended = time.monotonic(), None, None
        self.code, self.drained, self.error = None, None, None

    def run(self):
        try:
            with self.server:
                self.ready_after = time.monotonic() - self.started
                self._serve()
        except Exception as error:  # told by the fleet, in the thread that judges the run
            self.error = f"replica {self.number}: {error}"
        finally:
            self.serving = False
            self.code = self.server.process.returncode if self.server.process else None
            self.ended = time.monotonic()

    def _serve(self):
        balancer = self.fleet.balancer
        with self.fleet.lock:
            if self.leave.is_set():
                return
            place = balancer.add(self.server.http)
            self.serving = True
        try:
            while not self.leave.wait(0.2):
                self.server.check_alive()
        finally:
            self.serving = False
            if self.fleet.careless:
                self.server.stop()
            with self.fleet.lock:
                self.drained = balancer.drain(place, DRAIN_PATIENCE)
                balancer.remove(place)


class Fleet:
    """The replicas of one model.

    careless: servers get SIGTERM while the balancer still sends to them, to see that the loss is noticed.
    """

    def __init__(self, balancer, prometheus, repository, model, backend, executable, careless=False):
        self.balancer, self.prometheus = balancer, prometheus
        self.repository, self.model, self.backend, self.executable = repository, model, backend, executable
        self.careless = careless
        self.lock = threading.Lock()
        self.replicas = []

    def make_server(self):
        return TritonServer(self.repository, models=[self.model], backend=self.backend, executable=self.executable,
                            exit_timeout=EXIT_PATIENCE)

    def wanted(self):
        """The replicas that are to run: those that start and those that serve."""
        return [replica for replica in self.replicas if not replica.leave.is_set() and replica.ended is None]

    def serving(self):
        return [replica for replica in self.replicas if replica.serving]

    def become(self, count):
        """Starts or ends as many as it takes, and returns at once. Those that do not serve yet go first, then the newest."""
        running = self.wanted()
        for _ in range(count - len(running)):
            self.start()
        order = sorted(running, key=lambda replica: (replica.serving, -replica.started))
        for replica in order[:max(0, len(running) - count)]:
            replica.leave.set()

    def start(self):
        replica = Replica(self, len(self.replicas) + 1)
        self.replicas.append(replica)
        replica.start()
        return replica

    def wait_until_serving(self, count, stop):
        while len(self.serving()) < count:
            self.check()
            if stop.wait(0.1):
                return

    def show_targets(self):
        """Has those scraped that serve, as the pods of a service are once they are ready."""
        if self.prometheus:
            self.prometheus.show(sorted(replica.server.metrics for replica in self.serving()))

    def check(self):
        for replica in self.replicas:
            if replica.error:
                raise RuntimeError(replica.error)

    def seconds(self):
        """Of all replicas together, from their start to their end."""
        now = time.monotonic()
        return sum((replica.ended or now) - replica.started for replica in self.replicas)

    def close(self):
        """Ends all of them, and waits."""
        for replica in self.replicas:
            replica.leave.set()
        for replica in self.replicas:
            replica.join()
