"""Sends requests over gRPC and cancels many of them at random times, until standard input is closed.

    python cancel_grpc.py GRPC_URL MODEL SEED

The model is `slow`. Prints, as one line of JSON, how many calls were answered, refused as expected and given up, and what
was wrong or lost. The same seed makes the same requests.
"""

import json
import random
import sys
import threading
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

EXPECTED = {grpc.StatusCode.UNAVAILABLE: ("retry later", "was not run")}


def request(model, milliseconds):
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.array([[milliseconds]], np.float32).tobytes())
    return message


def main():
    url, model, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    ends = {"answered": 0, "refused": 0, "given_up": 0, "wrong": [], "lost": []}
    closed = threading.Event()

    def wait_for_end():
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    with grpc.insecure_channel(url) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while not closed.is_set():
            milliseconds = 1 + chance.randrange(20) + chance.randrange(1024) / 65536
            leave = chance.choice(("cancel", "cancel", "deadline", "stay"))
            call = service.ModelInfer.future(request(model, milliseconds),
                                             timeout=chance.uniform(0.001, 0.03) if leave == "deadline" else 120)
            if leave == "cancel":
                time.sleep(chance.uniform(0, 0.03))
                call.cancel()
            try:
                found = np.frombuffer(call.result().raw_output_contents[0], np.float32)
                if found.tolist() == [milliseconds]:
                    ends["answered"] += 1
                else:
                    ends["wrong"].append(f"x = {milliseconds}: {found.tolist()}")
            except grpc.FutureCancelledError:
                ends["given_up"] += 1
            except grpc.RpcError as error:
                told = EXPECTED.get(error.code(), ())
                if leave == "deadline" and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    ends["given_up"] += 1
                elif any(part in error.details() for part in told):
                    ends["refused"] += 1
                else:
                    ends["lost"].append(f"x = {milliseconds} ({leave}): {error.code().name}: {error.details()}")
            time.sleep(0.01)
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
