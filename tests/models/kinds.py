"""The models of `make_models.py` with what few SavedModels have."""

import tensorflow as tf

from saving import save_function, save_graph, save_signatures


def assets(folder):
    """The file of words lies in the SavedModel's folder `assets`."""
    words = folder.parent / "words.txt"
    words.parent.mkdir(parents=True, exist_ok=True)
    words.write_text("zero\none\ntwo\n")
    module = tf.Module()
    module.words = tf.saved_model.Asset(str(words))
    entries = tf.lookup.TextFileInitializer(module.words, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                            tf.lookup.TextFileIndex.LINE_NUMBER)
    module.table = tf.lookup.StaticHashTable(entries, -1)
    save_signatures(folder, {"serving_default": lambda x: {"id": module.table.lookup(x)}}, {"x": ("string", [None, 1])},
                    module)
    words.unlink()


def legacy_init(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.int64, [None, 1], name="x")
        entries = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), tf.constant([10.0, 20.0]))
        y = tf.lookup.StaticHashTable(entries, -1.0).lookup(x)
        tf.compat.v1.add_to_collection("legacy_init_op", tf.compat.v1.tables_initializer(name="fill"))
        return {"x": x}, {"y": y}

    save_graph(folder, build)


def open_rank(folder):
    save_function(folder, lambda x: {"y": 2.0 * x}, x=("float32", None))


def no_shape(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [], name="x")
        y = tf.compat.v1.placeholder(tf.float32, [None, 3], name="y")
        return {"x": x, "y": y}, {"twice": 2.0 * x, "both": tf.add(x, y, name="both")}

    save_graph(folder, build)


def separate(what):
    def save(folder):
        module = tf.Module()
        if what == "variable":
            module.one = tf.Variable(1.0)
        if what == "table":
            entries = tf.lookup.KeyValueTensorInitializer(tf.constant([1]), tf.constant([1.0]))
            module.table = tf.lookup.StaticHashTable(entries, 0.0)

        def one():
            return {"plain": lambda: 1.0, "variable": lambda: module.one, "table": lambda: module.table.lookup(tf.constant(1))}[what]()

        @tf.function
        def parts(x):
            tf.debugging.Assert(tf.reduce_all(x < 1e6), ["x is not below a million"])
            root = tf.sqrt(tf.abs(x)) * one()
            tf.debugging.Assert(tf.reduce_all(root < 10.0), ["root is not below ten"])
            return x + one(), tf.math.log(x + 3.0), root

        def compute(x):
            cheap, log, root = parts(x)
            whole = tf.cast(x, tf.int32) - 7
            return {"cheap": cheap, "log": tf.debugging.check_numerics(log, "log is refused"), "root": root,
                    "divided": tf.cast(12 // whole, tf.float32)}

        save_signatures(folder, {"serving_default": compute}, {"x": ("float32", [None, 4])}, module)

    save.__name__ = "separate_" + what
    return save


MODELS = [assets, legacy_init, open_rank, no_shape] + [separate(what) for what in ("plain", "variable", "table")]
