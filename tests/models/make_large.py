"""Makes a SavedModel with 400 MB of weights: too large to be kept with the others.

    python tests/models/make_large.py FOLDER

makes FOLDER/model.savedmodel, with x INT32 [-1,4] -> y FP32 [-1,16] = the first values of the rows x of a table of
100,000 x 1024, summed up. Each row of the table holds its number. The signature "picky" fails, after it has
looked the rows up, unless all of them are 0, 3, 10, 100 or 50,000; "no_zeros" fails where one is 0, too.
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

    def sums(x):
        return {"y": tf.reduce_sum(tf.gather(module.table, x), axis=1)[:, :16]}

    def only(*rows):
        def picky(x):
            y = sums(x)["y"]
            known = tf.reduce_all(tf.reduce_any([x == row for row in rows], axis=0))
            # Depends on y, so that it is looked up after the rows; index 1 is out of range.
            index = tf.where(known, 0, 1) + tf.cast(0.0 * y[0, 0], tf.int32)
            return {"y": y + tf.gather(tf.zeros([1]), index)}

        return picky

    spec = tf.TensorSpec([None, 4], tf.int32, name="x")
    signatures = {
        "serving_default": tf.function(sums).get_concrete_function(spec),
        "picky": tf.function(only(0, 3, 10, 100, 50_000)).get_concrete_function(spec),
        "no_zeros": tf.function(only(3, 10, 100, 50_000)).get_concrete_function(spec),
    }
    folder = pathlib.Path(sys.argv[1]) / "model.savedmodel"
    tf.saved_model.save(module, str(folder), signatures=signatures)
    print("{}")


if __name__ == "__main__":
    main()
