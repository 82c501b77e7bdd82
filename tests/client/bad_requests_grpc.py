"""Sends requests over gRPC that are wrong in one way each, and a good one after each.

    python bad_requests_grpc.py GRPC_URL MODEL

The model is `mixed`: inputs `a` FP32 [-1, 4] and `b` INT32 [-1, 2, 3], at most 8 rows. Prints, as one line of JSON,
for each case its name, the status code, the message, what the message must tell, and whether the good request was
answered right.
"""

import json
import sys

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


def tensor(name, datatype, shape, array):
    return service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape), array.tobytes()


def a(*shape):
    return tensor("a", "FP32", shape, np.ones(np.abs(shape), np.float32))


def b(*shape):
    return tensor("b", "INT32", shape, np.full(np.abs(shape), 2, np.int32))


def request(model, tensors, outputs=()):
    message = service_pb2.ModelInferRequest(model_name=model)
    for head, data in tensors:
        message.inputs.append(head)
        message.raw_input_contents.append(data)
    for name in outputs:
        message.outputs.add(name=name)
    return message


def cases(model):
    """Name, request, and what the message must tell."""
    good = [a(1, 4), b(1, 2, 3)]
    (head, data), other = good
    integers = tensor("a", "INT32", [1, 4], np.ones(4, np.int32))
    third = tensor("c", "FP32", [1, 1], np.zeros(1, np.float32))
    yield "wrong size", request(model, [a(1, 5), other]), ["'a'", "[-1,4]", "[1,5]"]
    yield "wrong rank", request(model, [a(4), b(4, 2, 3)]), ["'a'", "[-1,4]", "[4]"]
    yield "negative size", request(model, [a(1, -4), other]), ["'a'", "[-1,4]", "[1,-4]"]
    yield "wrong type", request(model, [integers, other]), ["'a'", "INT32", "FP32"]
    yield "missing input", request(model, [a(1, 4)]), ["expected 2 inputs", "'b'"]
    yield "one input more", request(model, [*good, third]), ["expected 2 inputs", "got 3", "'c'"]
    yield "unknown input", request(model, [a(1, 4), third]), ["'c'"]
    yield "unknown output", request(model, good, ["product"]), ["'product'"]
    yield "batch over the limit", request(model, [a(9, 4), b(9, 2, 3)]), ["<= 8"]
    yield "different batch sizes", request(model, [a(2, 4), other]), ["'a'", "batch size"]
    yield "too few bytes", request(model, [(head, data[:12]), other]), ["'a'", "16", "12"]
    yield "too many bytes", request(model, [(head, data + b"more"), other]), ["'a'", "16", "20"]
    short = request(model, good)
    del short.raw_input_contents[1]
    yield "bytes for one input only", short, ["'b'"]


def main():
    url, model = sys.argv[1:]
    answers = []
    with grpc.insecure_channel(url) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for name, bad, tells in cases(model):
            try:
                service.ModelInfer(bad, timeout=60)
                code, message = "OK", ""
            except grpc.RpcError as error:
                code, message = error.code().name, error.details()
            answer = service.ModelInfer(request(model, [a(1, 4), b(1, 2, 3)], ["sum"]), timeout=60)
            right = np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [16.0]
            answers.append(
                {"case": name, "code": code, "message": message, "tells": tells, "then": "right" if right else "wrong"}
            )
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
