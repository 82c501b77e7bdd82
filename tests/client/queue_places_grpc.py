"""Fills the queue of a model over gRPC, cancels all who wait there, and looks how soon their places are free.

    python queue_places_grpc.py GRPC_URL MODEL LOG BUSY_MS

The model is `slow` with one instance and `max_queue_size: 3`, LOG the file with the server's log, and BUSY_MS how long
the model is kept busy, a number that no other request to the server has. Prints, as one line of JSON: how a request
ended that found the queue full (`full`), after how many seconds the server counted the cancelled ones as failed
(`noticed_s`), whether the model was still at work then (`busy`), and how the one ended that came next (`next`).
"""

import json
import pathlib
import sys
import time

import tritonclient.grpc as grpc

from leave_queue_grpc import Call, wait_for


def failures(client, model):
    return client.get_inference_statistics(model).model_stats[0].inference_stats.fail.count


def main():
    url, model, log, busy_ms = sys.argv[1:]
    with grpc.InferenceServerClient(url) as client:
        busy = Call(client, model, float(busy_ms))
        wait_for(pathlib.Path(log), f"slow: at work for {busy_ms} ms")
        waiting = [Call(client, model, 1) for _ in range(3)]
        time.sleep(0.2)
        full = Call(client, model, 1).wait()
        before = failures(client, model)
        for call in waiting:
            call.context.cancel()
        start = time.monotonic()
        while failures(client, model) < before + len(waiting) and time.monotonic() < start + 20:
            time.sleep(0.005)
        noticed_s = time.monotonic() - start
        is_busy = not busy.done.is_set()
        following = Call(client, model, 1).wait()
        if [call.wait() for call in waiting] != ["cancelled"] * 3 or busy.wait() != "answered":
            sys.exit(f"those who were cancelled: {[call.ended for call in waiting]}, the first: {busy.ended}")
    print(json.dumps({"full": full, "noticed_s": noticed_s, "busy": is_busy, "next": following}))


if __name__ == "__main__":
    main()
