"""Makes a SavedModel with 400 MB of weights: too large to be kept with the others.

    python tests/models/make_large.py FOLDER

makes FOLDER/model.savedmodel, with x INT32 [-1,4] -> y FP32 [-1,16] = the first values of the rows x of a table of
100,000 x 1024, summed up. Each row of the table holds its number.
"""

import pathlib
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_large.py FOLDER")
    import tensorflow as tf

    module = tf.Module()
    numbers = tf.reshape(tf.range(100_000, dtype=tf.float32), [-1, 1])
    module.table = tf.Variable(tf.tile(numbers, [1, 1024]))
    function = tf.function(lambda x: {"y": tf.reduce_sum(tf.gather(module.table, x), axis=1)[:, :16]})
    signature = function.get_concrete_function(tf.TensorSpec([None, 4], tf.int32, name="x"))
    folder = pathlib.Path(sys.argv[1]) / "model.savedmodel"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    print("{}")


if __name__ == "__main__":
    main()
