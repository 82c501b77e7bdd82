"""Sends requests over gRPC that are given up while the server works on them, by a deadline and by cancelling.

    python leave_grpc.py GRPC_URL MODEL

The model is `slow`. Prints, as one line of JSON, how the client saw each call end.
"""

import json
import sys
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


def request(model, milliseconds):
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.array([[milliseconds]], np.float32).tobytes())
    return message


def main():
    url, model = sys.argv[1:]
    ends = []
    with grpc.insecure_channel(url) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for leave in ("deadline", "cancel", "deadline", "cancel"):
            call = service.ModelInfer.future(request(model, 400), timeout=0.1 if leave == "deadline" else 60)
            if leave == "cancel":
                time.sleep(0.1)
                call.cancel()
            try:
                call.result()
                ends.append("answered")
            except grpc.FutureCancelledError:
                ends.append("cancelled")
            except grpc.RpcError as error:
                ends.append(error.code().name)
            answer = service.ModelInfer(request(model, 1), timeout=60)
            if np.frombuffer(answer.raw_output_contents[0], np.float32)[0] != 1:
                sys.exit(f"a wrong answer after a {leave}: {answer}")
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
