"""Makes the frozen Inception-v3 that `make bench` holds the server against.

    python benches/latency/freeze_inception.py SAVED_MODEL OUTPUT

TensorFlow's own Python puts constants in place of the variables of SAVED_MODEL, without the backend's help and with
none of its code: convert_variables_to_constants_v2 as it is by default. OUTPUT is a SavedModel again, of that graph
alone (95 MB) under the same signature, so that it is loaded as the other one is.
"""

import os
import pathlib
import shutil
import sys
import tempfile


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: freeze_inception.py SAVED_MODEL OUTPUT")
    source, output = map(pathlib.Path, sys.argv[1:])
    print(f"Freezing Inception-v3: {output}", flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the place where it belongs, and moved there when it is whole.
    with tempfile.TemporaryDirectory(dir=output.parent) as temporary:
        made = pathlib.Path(temporary) / "model"
        freeze(source, made)
        shutil.rmtree(output, ignore_errors=True)
        made.rename(output)


def freeze(source, output):
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.get_logger().setLevel("ERROR")  # the TensorFlow 1 builder announces its deprecation
    loaded = tf.saved_model.load(str(source))  # kept: the signature does not keep the variables alive
    frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    (input,), (predictions,) = frozen.inputs, frozen.outputs
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(frozen.graph.as_graph_def(), name="")
        info = lambda tensor: tf.compat.v1.saved_model.build_tensor_info(graph.get_tensor_by_name(tensor.name))
        signature = tf.compat.v1.saved_model.build_signature_def(
            inputs={"input": info(input)},
            outputs={"predictions": info(predictions)},
            method_name="tensorflow/serving/predict",
        )
        builder = tf.compat.v1.saved_model.Builder(str(output))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


if __name__ == "__main__":
    main()
