"""TensorFlow's own answer, without any server: what the tests compare responses with.

    python tests/models/reference.py SAVED_MODEL_DIR IN.npz OUT.npz [IN2.npz OUT2.npz ...] [--signature serving_default]

loads the SavedModel once, runs the signature on the arrays of each IN.npz (keys are the signature's input names, shapes
with the batch dimension if it has one) and writes all outputs to OUT.npz under the signature's output names.
numpy has no bfloat16: BF16 arrays are stored as uint16, holding the bits, in both directions. STRING arrays are numpy
arrays of bytes. Exit code 1 and TensorFlow's message on stderr if the run fails.
"""

import argparse
import os
import sys
import tempfile

import numpy


def main():
    parser = argparse.ArgumentParser(description="Runs a SavedModel directly and saves its outputs.")
    parser.add_argument("saved_model")
    parser.add_argument("files", nargs="+", metavar="IN.npz OUT.npz")
    parser.add_argument("--signature", default="serving_default")
    options = parser.parse_args()
    if len(options.files) % 2:
        parser.error("input and output files come in pairs")

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    model = tf.saved_model.load(options.saved_model)  # kept: a signature does not keep the model's variables alive
    if options.signature not in model.signatures:
        sys.exit(f"{options.saved_model} has no signature {options.signature}; it has {', '.join(model.signatures)}")
    signature = model.signatures[options.signature]
    specs = signature.structured_input_signature[1]

    def run(arrays):
        wrong = sorted(set(specs) ^ set(arrays))
        if wrong:
            sys.exit(f"{options.saved_model} takes the inputs {', '.join(specs)}; given were {', '.join(arrays)}")
        tensors = {}
        for name, array in arrays.items():
            if specs[name].dtype == tf.bfloat16:
                array = array.view(tf.bfloat16.as_numpy_dtype)
            elif specs[name].dtype == tf.string:
                array = array.astype(object)
            tensors[name] = tf.constant(array, dtype=specs[name].dtype)
        outputs = {name: tensor.numpy() for name, tensor in signature(**tensors).items()}
        for name, tensor in signature.structured_outputs.items():
            if tensor.dtype == tf.bfloat16:
                outputs[name] = outputs[name].view(numpy.uint16)
            elif tensor.dtype == tf.string:
                outputs[name] = outputs[name].astype(bytes)
        return outputs

    for source, target in zip(options.files[::2], options.files[1::2]):
        with numpy.load(source) as arrays:
            outputs = run(dict(arrays))
        numpy.savez(target, **outputs)


if __name__ == "__main__":
    try:
        # TensorFlow imports Keras, which would make ~/.keras.
        with tempfile.TemporaryDirectory() as os.environ["KERAS_HOME"]:
            main()
    except Exception as error:  # TensorFlow's errors carry a traceback that says nothing about the model
        sys.exit(f"{type(error).__name__}: {error}")
