"""Sends strings over every protocol to the model `text` and compares the answers byte by byte.

    python strings.py HTTP_URL GRPC_URL MODEL

The model answers each string in upper case. Prints, as one line of JSON, the number of strings compared and those that differ.
"""

import json
import sys

import numpy as np

from protocols import protocols

# TensorFlow has strings of up to 22 bytes in one way and longer ones in another.
TEXTS = ["", "a", " ", "x" * 22, "y" * 23, "null \0 inside", "\0", "grüße, 東京 🚀", "line\nbreak \"quoted\" \\", "z" * 1_500_000, ""]
# No protocol but JSON wants UTF-8.
BYTES = [bytes(range(256)), b"\xff\xfe", b"\xc3", b"\0" * 40]


def main():
    http_url, grpc_url, model = sys.argv[1:]
    compared, wrong = 0, []
    texts = [text.encode() for text in TEXTS]
    for protocol, client in protocols(http_url, grpc_url).items():
        strings = texts if protocol == "HTTP JSON" else texts + BYTES
        array = np.array(strings, dtype=object).reshape(-1, 1)
        found = client.start(model, [("x", "BYTES", array)], [("y", "BYTES", list(array.shape))])()["y"]
        if found.shape != array.shape:
            wrong.append(f"{protocol}: shape {found.shape} in place of {array.shape}")
        for string, answer in zip(strings, found.flatten().tolist()):
            compared += 1
            # From JSON the client makes text.
            answer = answer.encode() if isinstance(answer, str) else answer
            if answer != string.upper():
                wrong.append(f"{protocol}: {answer[:60]!r} in place of {string.upper()[:60]!r}")
    print(json.dumps({"compared": compared, "wrong": wrong}))


if __name__ == "__main__":
    main()
