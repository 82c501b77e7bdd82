"""Sends requests over gRPC and cancels many of them, until standard input is closed.

    python cancel_grpc.py GRPC_URL MODEL SEED

The model is `slow`, with batches of 2. Four requests at a time: two at work, two that wait. Each takes a quarter of a second
or more and is cancelled in the first tenth, by the client or by its deadline, or not at all. Prints, as one line of JSON, how
many were answered and given up, and what was wrong or lost. The same seed makes the same requests.
"""

import json
import random
import sys
import threading
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

AT_ONCE = 4


def request(model, milliseconds):
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.array([[milliseconds]], np.float32).tobytes())
    return message


class Call:
    """A request, and when it is to be cancelled, if at all."""

    def __init__(self, service, model, chance):
        self.milliseconds = 250 + chance.randrange(100) + chance.randrange(1024) / 4096  # exact in FP32
        self.leave = chance.choice(("cancel", "deadline", "stay", "stay"))
        self.after = chance.uniform(0.02, 0.1)
        timeout = self.after if self.leave == "deadline" else 120
        self.future = service.ModelInfer.future(request(model, self.milliseconds), timeout=timeout)

    def end(self, ends):
        try:
            found = np.frombuffer(self.future.result().raw_output_contents[0], np.float32)
            if found.tolist() == [self.milliseconds]:
                ends["answered"] += 1
            else:
                ends["wrong"].append(f"x = {self.milliseconds}: {found.tolist()}")
        except grpc.FutureCancelledError:
            ends["given_up"] += 1
        except grpc.RpcError as error:
            if self.leave == "deadline" and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                ends["given_up"] += 1
            else:
                ends["lost"].append(f"x = {self.milliseconds} ({self.leave}): {error.code().name}: {error.details()}")


def main():
    url, model, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    ends = {"answered": 0, "given_up": 0, "wrong": [], "lost": []}
    closed = threading.Event()

    def wait_for_end():
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    with grpc.insecure_channel(url) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while not closed.is_set():
            calls = [Call(service, model, chance) for _ in range(AT_ONCE)]
            sent = time.monotonic()
            for call in sorted(calls, key=lambda call: call.after):
                if call.leave == "cancel":
                    time.sleep(max(0, sent + call.after - time.monotonic()))
                    call.future.cancel()
            for call in calls:
                call.end(ends)
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
