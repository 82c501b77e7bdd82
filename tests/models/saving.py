"""How the small models of `make_models.py` are saved."""

import tensorflow as tf


def save_function(folder, function, **inputs):
    """Saves `function` as serving_default, TensorFlow 2 style; inputs maps a name to (type, shape)."""
    save_signatures(folder, {"serving_default": function}, inputs)


def save_signatures(folder, functions, inputs, module=None):
    module = module or tf.Module()
    # Positional, since the arguments of a signature are named by their specs.
    specs = [tf.TensorSpec(shape, kind, name=name) for name, (kind, shape) in inputs.items()]
    signatures = {name: tf.function(function).get_concrete_function(*specs) for name, function in functions.items()}
    tf.saved_model.save(module, str(folder), signatures=signatures)


def save_graph(folder, build):
    """Saves what `build` puts into a graph, TensorFlow 1 style: its nodes stay at the top level."""
    graph = tf.Graph()
    with graph.as_default():
        inputs, outputs = build()
        info = tf.compat.v1.saved_model.build_tensor_info
        signature = tf.compat.v1.saved_model.build_signature_def(
            inputs={name: info(tensor) for name, tensor in inputs.items()},
            outputs={name: info(tensor) for name, tensor in outputs.items()},
            method_name="tensorflow/serving/predict",
        )
        with tf.compat.v1.Session(graph=graph) as session:
            builder = tf.compat.v1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
            builder.save()


def save_graph_def(folder, build):
    """Saves what `build` puts into a graph beside where a SavedModel would be, as model.graphdef."""
    graph = tf.Graph()
    with graph.as_default():
        build()
    (folder.parent / "model.graphdef").write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))
