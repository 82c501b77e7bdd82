"""Sends pictures over every protocol of the official client and compares the answers with TensorFlow's own.

    python inception_answers.py HTTP_URL GRPC_URL MODEL FOLDER ROWS[,ROWS...] alone|together

FOLDER is what make_reference.py wrote. For each protocol there is one request for each number of rows, sent one
after the other (alone) or all at once (together). Prints, as one line of JSON, for each answer the protocol, the
rows, the batch in which it ran, and the relative error: the largest absolute difference over the largest absolute
expected value.
"""

import json
import pathlib
import sys

import numpy as np

from protocols import protocols


def relative_error(found, expected):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    difference = np.abs(found.astype(np.float64) - expected).max()
    return float(difference / np.abs(expected).max()) if np.isfinite(difference) else float("inf")


def main():
    http_url, grpc_url, model, folder, rows, manner = sys.argv[1:]
    folder = pathlib.Path(folder)
    pictures = np.load(folder / "input.npz")["input"]
    expected = np.load(folder / "expected.npz")["predictions"]
    answers = []
    for protocol, client in protocols(http_url, grpc_url).items():
        pending = []
        first = 0
        for count in map(int, rows.split(",")):
            chosen = [(first + i) % len(pictures) for i in range(count)]
            # Each request gets other rows, so that a request with its neighbour's rows is found out.
            first += count
            finish = client.start(
                model,
                [("input", "FP32", pictures[chosen])],
                [("predictions", "FP32", [count, 1000]), ("executed_batch_size", "INT64", [count, 1])],
            )
            if manner == "alone":
                result = finish()
                finish = lambda result=result: result
            pending.append((chosen, finish))
        for chosen, finish in pending:
            arrays = finish()
            answers.append(
                {
                    "protocol": protocol,
                    "rows": len(chosen),
                    "executed_batch_size": int(arrays["executed_batch_size"][0, 0]),
                    "error": relative_error(arrays["predictions"], expected[chosen]),
                }
            )
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
