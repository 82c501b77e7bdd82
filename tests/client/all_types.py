"""Sends every numeric type over every protocol to the model `all_types` and compares the answers bit by bit.

    python all_types.py HTTP_URL GRPC_URL MODEL

The model reverses each row of three elements and negates those of BOOL. Prints, as one line of JSON, the number of tensors compared and the
ones that differ.
"""

import json
import sys

import ml_dtypes
import numpy as np

from protocols import protocols

ROWS = 2


def values():
    """Two rows for each type; integers and floats at the ends of their range, no two elements of a row equal."""
    arrays = {"BOOL": np.array([[True, False, False], [False, True, True]])}
    for bits in (8, 16, 32, 64):
        for datatype, numpy_type in ((f"UINT{bits}", f"uint{bits}"), (f"INT{bits}", f"int{bits}")):
            ends = np.iinfo(numpy_type)
            arrays[datatype] = np.array([[ends.min, 1, ends.max], [2, ends.max - 1, 3]], dtype=numpy_type)
    for datatype, numpy_type in (
        ("FP16", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("FP32", np.float32),
        ("FP64", np.float64),
    ):
        ends = ml_dtypes.finfo(numpy_type)
        smallest = ends.tiny  # the smallest normal number: denormal ones may be flushed to zero on the way
        arrays[datatype] = np.array([[ends.min, smallest, -0.5], [1 / 3, 0.0, ends.max]], dtype=numpy_type)
    return arrays


def main():
    http_url, grpc_url, model = sys.argv[1:]
    arrays = values()
    inputs = [(f"in_{datatype}", datatype, array) for datatype, array in arrays.items()]
    outputs = [(f"out_{datatype}", datatype, [ROWS, 3]) for datatype in arrays]
    compared, wrong = 0, []
    for protocol, client in protocols(http_url, grpc_url).items():
        found = client.start(model, inputs, outputs)()
        for datatype, array in arrays.items():
            answer, expected = found[f"out_{datatype}"], array[:, ::-1]
            if datatype == "BOOL":
                expected = ~expected
            compared += 1
            if answer.dtype != expected.dtype or answer.tobytes() != expected.tobytes():
                wrong.append(f"{protocol} {datatype}: {answer.tolist()} in place of {expected.tolist()}")
    print(json.dumps({"compared": compared, "wrong": wrong}))


if __name__ == "__main__":
    main()
