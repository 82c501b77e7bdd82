"""Sends ten requests over HTTP with JSON tensors and ten over gRPC to an `add_one` model and prints, as one line of
JSON, the response parameters of each together with the client's own CLOCK_MONOTONIC stamps.

    python parameters.py HTTP_URL GRPC_URL MODEL
"""

import json
import sys
import time

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http


def grpc_parameters(result):
    """The response parameters as plain values: each is a protobuf message with one of several fields set."""
    parameters = result.get_response().parameters
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}


def http_parameters(result):
    return result.get_response().get("parameters", {})


def http_inputs(values):
    tensor = http.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=False)
    return {"inputs": [tensor], "outputs": [http.InferRequestedOutput("y", binary_data=False)]}


def grpc_inputs(values):
    tensor = grpc.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return {"inputs": [tensor]}


def main():
    http_url, grpc_url, model = sys.argv[1:]
    answers = []
    with http.InferenceServerClient(http_url) as http_client, grpc.InferenceServerClient(grpc_url) as grpc_client:
        for client, inputs, parameters in (
            (http_client, http_inputs, http_parameters),
            (grpc_client, grpc_inputs, grpc_parameters),
        ):
            for number in range(10):
                rows = 1 + number % 3
                values = np.full((rows, 16), number, dtype=np.float32)
                arguments = inputs(values)
                sent = time.monotonic_ns()
                result = client.infer(model, **arguments)
                received = time.monotonic_ns()
                if not np.array_equal(result.as_numpy("y"), values + 1):
                    sys.exit(f"request {number}: wrong answer {result.as_numpy('y')}")
                answers.append(
                    {"rows": rows, "sent": sent, "received": received, "parameters": parameters(result)}
                )
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
