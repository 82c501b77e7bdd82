"""The official client behind one small interface for each way a tensor can travel.

Each class sends a request without waiting; the returned function waits and gives the outputs as arrays by name.
`inputs` is a list of (name, datatype, array), `outputs` a list of (name, datatype, shape).
"""

import itertools
import os
import queue

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import serialize_byte_tensor, shared_memory, triton_to_np_dtype

# The protocol has no JSON form for these two; the client refuses to send them so.
BINARY_ONLY = ("FP16", "BF16")
# The size of an output of strings in shared memory is known only when it is there.
MOST_BYTES = 1 << 23


def numpy_type(datatype):
    return ml_dtypes.bfloat16 if datatype == "BF16" else triton_to_np_dtype(datatype)


def as_bytes(datatype, array):
    return serialize_byte_tensor(array).item() if datatype == "BYTES" else array.tobytes()


def from_bytes(datatype, shape, raw):
    if datatype != "BYTES":
        return np.frombuffer(raw, dtype=numpy_type(datatype)).reshape(shape)
    # Nothing says where the last string ends but their number.
    strings, offset = [], 0
    for _ in range(int(np.prod(shape))):
        size = int.from_bytes(raw[offset:offset + 4], "little")
        strings.append(raw[offset + 4:offset + 4 + size])
        offset += 4 + size
    return np.array(strings, dtype=object).reshape(shape)


class Http:
    """HTTP with tensors as JSON or as binary data."""

    def __init__(self, url, binary):
        self.client = http.InferenceServerClient(url, concurrency=16, network_timeout=180, connection_timeout=30)
        self.binary = binary

    def start(self, model, inputs, outputs):
        tensors = []
        for name, datatype, array in inputs:
            tensor = http.InferInput(name, list(array.shape), datatype)
            tensor.set_data_from_numpy(array, binary_data=self.binary or datatype in BINARY_ONLY)
            tensors.append(tensor)
        asked = [
            http.InferRequestedOutput(name, binary_data=self.binary or datatype in BINARY_ONLY)
            for name, datatype, _ in outputs
        ]
        pending = self.client.async_infer(model, tensors, outputs=asked)

        def finish():
            result = pending.get_result()
            return {name: result.as_numpy(name) for name, _, _ in outputs}

        return finish


class Grpc:
    """gRPC with tensors in the message."""

    def __init__(self, url):
        self.client = grpc.InferenceServerClient(url)

    def start(self, model, inputs, outputs):
        tensors = []
        for name, datatype, array in inputs:
            tensor = grpc.InferInput(name, list(array.shape), datatype)
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        asked = [grpc.InferRequestedOutput(name) for name, _, _ in outputs]
        arrived = queue.SimpleQueue()
        self.client.async_infer(model, tensors, lambda result, error: arrived.put(error or result), outputs=asked)

        def finish():
            result = arrived.get(timeout=180)
            if isinstance(result, Exception):
                raise result
            return {name: result.as_numpy(name) for name, _, _ in outputs}

        return finish


class SharedMemory:
    """HTTP with inputs and outputs in system shared memory, two regions for each request."""

    numbers = itertools.count()

    def __init__(self, url):
        self.client = http.InferenceServerClient(url, concurrency=16, network_timeout=180, connection_timeout=30)

    def region(self, size):
        name = f"tensorflow_latency_{os.getpid()}_{next(self.numbers)}"
        handle = shared_memory.create_shared_memory_region(name, name, size)
        self.client.register_system_shared_memory(name, name, size)
        return name, handle

    def start(self, model, inputs, outputs):
        sizes = [MOST_BYTES if datatype == "BYTES" else int(np.prod(shape)) * np.dtype(numpy_type(datatype)).itemsize
                 for _, datatype, shape in outputs]
        # As bytes: not every type here is one that numpy's buffers know.
        data = [as_bytes(datatype, array) for _, datatype, array in inputs]
        input_name, input_region = self.region(sum(len(raw) for raw in data))
        output_name, output_region = self.region(sum(sizes))
        tensors, asked, offset = [], [], 0
        for (name, datatype, array), raw in zip(inputs, data):
            shared_memory.set_shared_memory_region(input_region, [np.frombuffer(raw, dtype=np.uint8)], offset)
            tensor = http.InferInput(name, list(array.shape), datatype)
            tensor.set_shared_memory(input_name, len(raw), offset)
            tensors.append(tensor)
            offset += len(raw)
        offsets = list(itertools.accumulate(sizes, initial=0))
        for (name, _, _), size, offset in zip(outputs, sizes, offsets):
            output = http.InferRequestedOutput(name)
            output.set_shared_memory(output_name, size, offset)
            asked.append(output)
        pending = self.client.async_infer(model, tensors, outputs=asked)

        def finish():
            result = pending.get_result()
            arrays = {}
            for (name, datatype, shape), size, offset in zip(outputs, sizes, offsets):
                told = result.get_output(name)
                if list(told["shape"]) != list(shape) or told["datatype"] != datatype:
                    raise ValueError(f"output {name} should be {datatype} {shape}, the answer says {told}")
                raw = shared_memory.get_contents_as_numpy(output_region, np.uint8, [size], offset)
                arrays[name] = from_bytes(datatype, shape, raw.tobytes())
                del raw
            for name, handle in ((input_name, input_region), (output_name, output_region)):
                self.client.unregister_system_shared_memory(name)
                shared_memory.destroy_shared_memory_region(handle)
            return arrays

        return finish


def protocols(http_url, grpc_url):
    """All of them, by the names that the tests use."""
    return {
        "HTTP JSON": Http(http_url, binary=False),
        "HTTP binary": Http(http_url, binary=True),
        "gRPC": Grpc(grpc_url),
        "shared memory": SharedMemory(http_url),
    }
