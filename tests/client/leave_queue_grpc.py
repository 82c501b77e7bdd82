"""Sends requests over gRPC that wait in the model's queue, and cancels some of them there.

    python leave_queue_grpc.py GRPC_URL MODEL LOG BUSY_MS

The model is `slow` with one instance, LOG the file with the server's log, and BUSY_MS how long the first request keeps the
model busy, a number of its own in the log. Prints, as one line of JSON, how the
client saw each of the waiting ones end.
"""

import json
import pathlib
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as grpc


class Call:
    """A request and how it ended."""

    def __init__(self, client, model, milliseconds):
        tensor = grpc.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.array([[milliseconds]], np.float32))
        self.done = threading.Event()
        self.context = client.async_infer(model, [tensor], self.end)

    def end(self, result, error):
        if error is None:
            self.ended = "answered"
        else:
            self.ended = "cancelled" if "cancelled" in str(error).lower() else str(error)
        self.done.set()

    def wait(self):
        if not self.done.wait(60):
            sys.exit("a request has no end after 60 s")
        return self.ended


def wait_for(file, text):
    for _ in range(400):
        if text in file.read_text(errors="replace"):
            return
        time.sleep(0.05)
    sys.exit(f"the server's log does not tell after 20 s: {text}")


def main():
    url, model, log, busy_ms = sys.argv[1:]
    with grpc.InferenceServerClient(url) as client:
        busy = Call(client, model, int(busy_ms))
        wait_for(pathlib.Path(log), f"slow: at work for {busy_ms} ms")
        waiting = [Call(client, model, 1) for _ in range(3)]
        time.sleep(0.2)
        waiting[0].context.cancel()
        waiting[2].context.cancel()
        ends = [call.wait() for call in waiting]
        if busy.wait() != "answered":
            sys.exit(f"the request that keeps the model busy: {busy.ended}")
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
