"""The models of `make_models.py` for ragged batches: what has the shape [-1] is the whole batch's, without rows."""

import tensorflow as tf

from saving import save_function, save_graph_def, save_signatures


def for_each_row(values, row):
    """All of `values`, which have one dimension, for each row of `row`: so every response has what the model was fed."""
    return tf.tile(values[None, :], [tf.shape(row)[0], 1])


def ragged(folder):
    def tell(x, row, count, count_again, ends, offsets, widest, shapes, flat):
        lengths = tf.reduce_prod(shapes, axis=1)  # of the rows
        of_rows = tf.repeat(tf.range(tf.shape(lengths)[0]), lengths)
        starts = tf.cast(offsets, tf.int32)
        before = tf.concat([[0], tf.cumsum(x)], 0)  # the sums of the elements before each of them
        fed = {
            "elements": x,
            "counts": count,
            "counts_again": count_again,
            "all_ends": ends,
            "all_offsets": offsets,
            "all_widest": tf.stack([tf.shape(widest)[0], tf.reduce_sum(tf.abs(widest))]),
            "all_flat": flat,
            "request_sums": tf.gather(before, starts[1:]) - tf.gather(before, starts[:-1]),
        }
        outputs = {name: for_each_row(values, row) for name, values in fed.items()}
        row_sum = tf.math.segment_sum(x, of_rows)
        outputs["row_sum"] = tf.pad(row_sum, [[0, tf.shape(row)[0] - tf.shape(row_sum)[0]]])[:, None]
        return outputs | {"shape": tf.identity(shapes), "next": row + 1.0}

    whole = {name: ("int32", [None]) for name in ("x", "count", "count_again", "ends", "widest", "flat")}
    save_function(folder, tell, x=whole["x"], row=("float32", [None, 1]), count=whole["count"],
                  count_again=whole["count_again"], ends=whole["ends"], offsets=("float32", [None]),
                  widest=whole["widest"], shapes=("int32", [None, None]), flat=whole["flat"])


def ragged_shapes(folder):
    save_function(folder, lambda x, shapes: {"shape": tf.identity(shapes)}, x=("float32", [None]),
                  shapes=("int32", [None, 2]))


def ragged_parts(folder):
    module = tf.Module()
    module.factor = tf.Variable(2.0)

    def answer(x):
        product = module.factor * x
        return {"product": product, "pairs": tf.stack([x, -x], axis=1), "short": x[:-1]}

    save_signatures(folder, {"serving_default": answer}, {"x": ("float32", [None])}, module)


def ragged_text(folder):
    def answer(x, row, offsets):
        return {"upper": tf.strings.upper(x), "words": for_each_row(x, row), "all_offsets": for_each_row(offsets, row)}

    save_function(folder, answer, x=("string", [None]), row=("string", [None, 1]), offsets=("int32", [None]))


def ragged_graph(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.int32, [None], name="x")
        count = tf.compat.v1.placeholder(tf.float32, name="count")  # of any rank
        tf.multiply(x, 2, name="double")
        tf.reshape(tf.cast(count, tf.int32), [-1, 1], name="length")

    save_graph_def(folder, build)


MODELS = [ragged, ragged_shapes, ragged_parts, ragged_text, ragged_graph]
