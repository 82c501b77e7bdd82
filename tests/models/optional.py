"""The models of `make_models.py` with inputs that a request may leave out."""

import tensorflow as tf

from saving import save_graph, save_graph_def, save_signatures

ROW = [[1.0, 2.0, 3.0, 4.0]]


def placeholder(name, shape, default=None, kind=tf.float32):
    if default is None:
        return tf.compat.v1.placeholder(kind, shape, name=name)
    return tf.compat.v1.placeholder_with_default(default, shape, name=name)


def build():
    x = placeholder("x", [None, 4])
    bias = placeholder("bias", [None, 4], tf.constant(ROW) * 2.0)
    word = placeholder("word", [None, 1], tf.constant([["none"]]))
    computed = placeholder("computed", [None, 4], tf.zeros_like(x) + tf.reduce_max(x, axis=1, keepdims=True))
    inputs = {"x": x, "bias": bias, "word": word, "computed": computed}
    return inputs, {"y": tf.concat([x, bias], 1, name="y"), "text": tf.strings.join(["<", word, ">"], name="text"),
                    "sum": tf.add(x, computed, name="sum"), "given": bias, "given_computed": computed}


def optional(folder):
    save_graph(folder, build)


def optional_graph(folder):
    save_graph_def(folder, build)


def optional_argument(folder):
    module = tf.Module()
    module.two = tf.Variable(2.0)
    specs = [tf.TensorSpec([None, 4], tf.float32, name="x"), tf.TensorSpec([None, 4], tf.float32, name="bias"),
             tf.TensorSpec([None, 1], tf.string, name="word")]

    @tf.function(input_signature=specs)
    def compute(x, bias=tf.constant(ROW), word=tf.constant([[b"no\0ne"]])):
        return {"y": tf.concat([x * module.two, bias], 1), "text": tf.strings.join(["<", word, ">"])}

    tf.saved_model.save(module, str(folder), signatures=compute)


def optional_whole(folder):
    def build_whole():
        x, factor = placeholder("x", [3]), placeholder("factor", [], tf.constant(2.0))
        more = placeholder("more", [None], tf.constant([7.0, 8.0]))
        return {"x": x, "factor": factor, "more": more}, {"y": tf.concat([x * factor, more], 0)}

    save_graph(folder, build_whole)


def optional_open(folder):
    def build_open():
        x, more = placeholder("x", [None, None]), placeholder("more", [None, None], tf.constant([[7.0, 8.0]]))
        return {"x": x, "more": more}, {"y": tf.concat([x, more], 1)}

    save_graph(folder, build_open)


def optional_refused(folder):
    def build_refused():
        x, two = placeholder("x", [None, 4]), placeholder("two", [None, 4], tf.constant(ROW * 2))
        computed = [placeholder(f"c{index}", [None, 4], x + float(index)) for index in range(5)]
        inputs = {"x": x, "two": two, **{f"c{index}": tensor for index, tensor in enumerate(computed)}}
        return inputs, {"y": tf.add_n([x, *computed]) + tf.reduce_sum(two, axis=0, keepdims=True)}

    save_graph(folder, build_refused)


MODELS = [optional, optional_graph, optional_argument, optional_whole, optional_open, optional_refused]
