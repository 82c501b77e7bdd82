"""The models of `make_models.py` for sequences."""

import tensorflow as tf

from saving import save_function, save_signatures


def sequence(folder):
    module = tf.Module()
    module.sums = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int32, default_value=0)

    def add(x, start, end, ready, id):
        key = tf.cast(id, tf.int64)
        before = tf.where(start == 1, 0, module.sums.lookup(key))
        total = before + x
        # What is not ready stands for no request.
        module.sums.insert(tf.where(ready, key, -1), total)
        told = tf.strings.join([tf.strings.as_string(start), tf.strings.as_string(tf.cast(end, tf.int32)),
                                tf.strings.as_string(tf.cast(ready, tf.int32))])
        return {"sum": total, "told": told}

    inputs = {"x": "int32", "start": "int32", "end": "float32", "ready": "bool", "id": "uint64"}
    save_signatures(folder, {"serving_default": add}, {name: (kind, [None, 1]) for name, kind in inputs.items()}, module)


def sequence_names(folder):
    tell = lambda x, id: {"told": tf.strings.join([id, tf.strings.as_string(x)], separator=" ")}
    save_function(folder, tell, x=("int32", [None, 1]), id=("string", [None, 1]))


def sequence_ids(kind):
    def save(folder):
        tell = lambda x, id: {"told": tf.strings.join([tf.strings.as_string(id), tf.strings.as_string(x)], separator=" ")}
        save_function(folder, tell, x=("int32", [None, 1]), id=(kind, [None, 1]))

    save.__name__ = "sequence_id_" + kind.upper()
    return save


def slot(folder):
    module = tf.Module()
    module.sum = tf.Variable([0], dtype=tf.int32)

    def add(x, start):
        return {"sum": module.sum.assign(tf.where(start == 1, x, module.sum + x))}

    save_signatures(folder, {"serving_default": add}, {"x": ("int32", [1]), "start": ("int32", [1])}, module)


MODELS = [sequence, sequence_names, slot] + [sequence_ids(kind) for kind in ("int64", "uint32", "int32")]
