"""Makes the small SavedModels of the integration tests.

    python tests/models/make_models.py target/test-models

makes FOLDER/NAME/model.savedmodel for each model below; the tests write the config.pbtxt. A folder made by these same
scripts and TensorFlow is left as it is. Everything is deterministic. Signature `serving_default` and a dynamic batch
dimension (-1 in front) unless the description says otherwise.

    add_one          x FP32 [-1,16] -> y = x + 1
    all_types        in_T [-1,3] -> out_T, the row reversed (BOOL: and negated), for the 13 types T in TYPES
    mixed            a FP32 [-1,4], b INT32 [-1,2,3] -> sum FP32 [-1,1], the row sums of a and b added;
                     outer FP32 [-1,4,6], the outer product; guarded FP32 [-1,4] = a, an error where a holds NaN or Inf
    no_batch         x FP32 [-1,-1] -> transposed FP32 [-1,-1], total FP32 [] (a scalar). No batch dimension
    fixed            x FP32 [2,3] -> y FP32 [3,2], transposed. No batch dimension
    failing          x FP32 [-1,4] -> y = x; fails with "planted failure" where x holds NaN or Inf
    text             x STRING [-1,1] -> y STRING [-1,1], upper case
    words            x STRING [-1,-1] -> length INT32 [-1,-1], in bytes; joined STRING [-1,1], a row's words with spaces between
                     them; id INT64 [-1,-1]: "one" is 1, "two" is 2, looked up in a hash table, all others are -1
    remembers_text   x STRING [-1,2] -> before STRING [-1,2]: the x of the run before, which is kept in a variable
    slow             x FP32 [-1,1] -> y = x, after as many milliseconds of work as the largest x says. As it begins, it
                     tells them in TensorFlow's log, which is in the server's
    stateful         x FP32 [-1,1] -> count FP32 [-1,1]: the sum of all x so far, this run's included, in each row
    counts_runs      x FP32 [-1,1] -> runs FP32 [-1,1]: how often it has run, this time included, in each row
    remembers        x FP32 [-1,4] -> before FP32 [-1,4]: the x of the run before; it is kept as it was fed
    keeps_in_queue, keeps_in_stage, keeps_in_table
                     the same with a queue, a staging area and a hash table in place of a variable, x FP32 [-1,16]; the
                     first run answers its own x. TensorFlow 1 format
    two_signatures   x FP32 [-1,4]: serving_default -> y = x + 1; double -> y = 2 x
    unusual_names    x FP32 [-1,4]: second -> y = 3 x; first -> y = 2 x. No serving_default
    frozen_v1        x FP32 [-1,4] -> y FP32 [-1,2] = x W + 1, W = [[1,0],[0,1],[1,1],[2,-1]]; TensorFlow 1 format,
                     no functions, no variables
    any_shape        x FP64 [-1,-1,-1,-1] -> y = 2 x
    any_bytes        x UINT8 [-1,-1,-1,-1] -> y = x + 1
    passthrough      x FP32 [-1,4] -> y = x + 1; same = x, the placeholder itself. TensorFlow 1 format
    identity         x FP32 [-1] -> y = x, out of an operation of its own. No batch dimension. TensorFlow 1 format
    unservable       text STRING [-1,1], number FP32 [], quantised QINT8 [-1,4], open FP32 of any rank, and x FP32 [-1,4]
                     -> y = x + 1, which needs none of the others. TensorFlow 1 format; must be refused
    finds            x FP32 [-1,4] -> found FP32 [-1,4], the rows with a positive sum: as many as there are
    one_input_twice  a and b, both one placeholder FP32 [-1,4] -> y = a + 1. TensorFlow 1 format; must be refused
    with_text        x FP32 [-1,4] -> y = x + 1; label STRING [-1,4]
    scalar           x FP32 [3] -> y = x + 1; total FP32 [] (a scalar). No batch dimension
    scalars          a FP32 [] and x FP32 [3], name STRING [] -> y = a x; total FP32 []; greeting STRING [], "Hello, " and the
                     name. No batch dimension
    no_zeros         x INT32 [-1,1] -> y = 12 / x; fails where x is 0
    weights          x FP32 [-1,16] -> y FP32 [-1,4] = 2 relu(relu(x A + a) B + a[0]) + a[1], with A FP32 [16,2048], a
                     FP32 [2048], B FP32 [2048,4]; the three are variables, `a` is read in each of three nested functions
    folds            x FP32 [-1,4,4,64] -> one output FP32 [-1,C] for each way in which large weights meet what a graph's
                     optimizer may compute at load, the sum over the image: `scaled` and `fused`, a convolution with batch
                     norm in two forms; `deep`, one by channel; `volume`, in three dimensions; `dense`, a matrix product;
                     `residual`, with what it adds to it; `shared`, `twice`, `turned`, `sum`: weights used in more ways
    embedding        x INT32 [-1,3] -> y FP32 [-1,3,8], rows of a variable; wide FP32 [-1,1] = the variable's width
    table            x INT32 [-1,1] -> y FP32 [-1,1], looked up in a hash table, times a variable that is 2
    loop             x FP32 [-1,1] -> y = x + 3 v in a loop that reads the variable v = 0.5
    picks            x FP32 [-1,1] -> y = v x where the sum of x is above 0, else -v x; v = 3 is a variable
    cancels          x FP32 [-1,4] -> y = (x + a) + b, with variables a = 1e8 and b = -1e8: 0 for small x in FP32. As
                     constants, TensorFlow's optimizer adds them first, and y is x
    devices          x FP32 [-1,16] -> y FP32 [-1,4] and z FP32 [-1,2048]: matrix products with variables of 128 kB and
                     more and what is added to them, in turn for the devices CPU:0 and CPU:1; `n` INT64 [-1,2], a shape
    endless          x FP32 [-1,1] -> y = v x doubled until its sum is 100 at least; v = 3 is a variable. Never ends on
                     zeros
    noise            x FP32 [-1,4] -> y = x and random numbers from 0 to 1
    sequence         x INT32 [-1,1], start INT32 [-1,1], end FP32 [-1,1], ready BOOL [-1,1], id UINT64 [-1,1] -> sum INT32 [-1,1]:
                     the sum of the x of a sequence so far, kept in a table by its id; told STRING [-1,1]: start, end and ready
    sequence_names   x INT32 [-1,1], id STRING [-1,1] -> told STRING [-1,1]: the id and x. No variables
    sequence_id_T    x INT32 [-1,1], id of type T [-1,1] -> told STRING [-1,1]: the id and x; for T = INT64, UINT32 and INT32. No
                     variables
    slot             x INT32 [1], start INT32 [1] -> sum INT32 [1]: the x since the last start, kept in a variable. No batch
                     dimension
    assets           x STRING [-1,1] -> id INT64 [-1,1]: the line of x in a file of the SavedModel, which has zero, one and two; else
                     -1
    legacy_init      x INT64 [-1,1] -> y FP32 [-1,1]: 1 is 10, 2 is 20, all else -1, by a table that a legacy_init_op fills.
                     TensorFlow 1 format
    open_rank        x FP32 of any rank -> y = 2 x
    no_shape         x FP32 [], where that stands for a shape that is not known, and y FP32 [-1,3] -> twice FP32 [] = 2 x; both FP32
                     [-1,3] = x + y. TensorFlow 1 format
    separate_T       x FP32 [-1,4] -> cheap = x + 1; log, of x + 3, fails from -3 down; root, of the absolute value, fails from 100
                     on; divided = 12 / (x - 7) in whole numbers, fails where x is 7. All fail from a million on. The 1 is a constant,
                     a variable or in a table, for T = plain, variable and table
    graph            x FP32 [-1,16] -> y = x + 1; parts FP32 [-1,8], the first half of x, and parts:1, the second; both,
                     x and `z`, a placeholder FP32 [-1,16] that y and parts do not need, added. A GraphDef
    graph_variables  x FP32 [-1,4] -> y = x v, with a reference variable v that the operation `init` makes 3. A GraphDef
    graph_open       x FP32 of any rank -> y = 2 x. A GraphDef
    custom_op        x FP32 [-1,4] -> y = x + 1, by an operation of libcustom_op.so, which is beside it (custom_op.c)
    ragged           x INT32 [-1], row FP32 [-1,1], and for a batch_input of each kind: count and count_again INT32 [-1], ends INT32
                     [-1], offsets FP32 [-1] (with zero), widest INT32 [-1], shapes INT32 [-1,-1], flat INT32 [-1] -> for each row
                     all of what was fed, INT32 [-1,-1]: elements (x), counts, counts_again, all_ends, all_offsets (FP32), all_flat;
                     all_widest INT32 [-1,2], its size and the sum of its values; request_sums, the sums of x between the offsets;
                     row_sum INT32 [-1,1], the row's own, by shapes; shape = shapes; next = row + 1
    ragged_shapes    x FP32 [-1], shapes INT32 [-1,2] -> shape = shapes
    ragged_parts     x FP32 [-1] -> product FP32 [-1] = 2 x, where 2 is a variable; pairs FP32 [-1,2], x and -x; short FP32 [-1], x
                     without its last element
    ragged_text      x STRING [-1], row STRING [-1,1], offsets INT32 [-1] -> upper STRING [-1], x in upper case; words STRING
                     [-1,-1] and all_offsets INT32 [-1,-1], all of x and of offsets for each row
    ragged_graph     x INT32 [-1], count FP32 of any rank -> double = 2 x; length INT32 [-1,1] = count. A GraphDef
    optional         x FP32 [-1,4]; with defaults: bias FP32 [-1,4], 2 4 6 8; word STRING [-1,1], "none"; computed FP32 [-1,4], the
                     row's largest x -> y FP32 [-1,8], x and bias; text STRING [-1,1], the word in <>; sum = x + computed; given and
                     given_computed, the placeholders themselves. TensorFlow 1 format
    optional_graph   the same, a GraphDef
    optional_argument
                     x FP32 [-1,4]; with defaults of arguments: bias FP32 [-1,4], 1 2 3 4, and word STRING [-1,1], "no", NUL, "ne" -> y
                     FP32 [-1,8], 2 x and bias, where 2 is a variable; text as above
    optional_whole   x FP32 [3]; with defaults: factor FP32 [], 2, and more FP32 [-1], 7 8 -> y FP32 [-1], factor x and more. No batch
                     dimension. TensorFlow 1 format
    optional_open    x FP32 [-1,-1]; with the default 7 8: more FP32 [-1,-1] -> y FP32 [-1,-1], both. TensorFlow 1 format
    optional_refused x and two FP32 [-1,4], whose default has two rows; c0 to c4 FP32 [-1,4], whose defaults are made of x -> y, all
                     added. TensorFlow 1 format
    sparse           x FP32 sparse [-1,4] -> y FP32 [-1,4]. TensorFlow 1 format; must be refused
"""

import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "BF16": "bfloat16", "FP32": "float32",
    "FP64": "float64",
}
STAMP = "made_from"
# The scripts that say what the models are.
SCRIPTS = ["make_models.py", "saving.py", "graphs.py", "kinds.py", "optional.py", "ragged.py", "sequences.py", "custom_op.c"]


def add_one(folder):
    save_function(folder, lambda x: {"y": x + 1.0}, x=("float32", [None, 16]))


def all_types(folder):
    def reverse(*rows):
        outputs = {}
        for name, row in zip(TYPES, rows):
            row = tf.logical_not(row) if name == "BOOL" else row
            outputs["out_" + name] = tf.reverse(row, axis=[1])
        return outputs

    save_function(folder, reverse, **{"in_" + name: (kind, [None, 3]) for name, kind in TYPES.items()})


def mixed(folder):
    # A plain graph: within a function CheckNumerics would run even if `guarded` is not asked for, since TensorFlow
    # counts it as having side effects. Here it runs only when its output is fetched.
    def build():
        a = tf.compat.v1.placeholder(tf.float32, [None, 4], name="a")
        b = tf.compat.v1.placeholder(tf.int32, [None, 2, 3], name="b")
        flat = tf.reshape(tf.cast(b, tf.float32), [-1, 6])
        total = tf.reduce_sum(a, axis=1, keepdims=True) + tf.reduce_sum(flat, axis=1, keepdims=True)
        outputs = {
            "sum": total,
            "outer": a[:, :, None] * flat[:, None, :],
            "guarded": tf.debugging.check_numerics(a, "guarded refuses"),
        }
        return {"a": a, "b": b}, outputs

    save_graph(folder, build)


def no_batch(folder):
    save_function(folder, lambda x: {"transposed": tf.transpose(x), "total": tf.reduce_sum(x)},
                  x=("float32", [None, None]))


def fixed(folder):
    save_function(folder, lambda x: {"y": tf.transpose(x)}, x=("float32", [2, 3]))


def failing(folder):
    save_function(folder, lambda x: {"y": tf.debugging.check_numerics(x, "planted failure")}, x=("float32", [None, 4]))


def text(folder):
    save_function(folder, lambda x: {"y": tf.strings.upper(x)}, x=("string", [None, 1]))


def slow(folder):
    def work(x):
        # Not to stderr itself: where TensorFlow is opened with its own symbols first, its std::cerr is never made.
        tf.print("slow: at work for", tf.reduce_max(x), "ms", output_stream=tf.compat.v1.logging.info)
        end = tf.timestamp() + tf.cast(tf.reduce_max(x), tf.float64) / 1000.0
        last = tf.while_loop(lambda now: now < end, lambda now: [tf.timestamp()], [tf.timestamp()])[0]
        return {"y": x + 0.0 * tf.cast(last, tf.float32)}  # uses `last`, so that nothing may drop the loop

    save_function(folder, work, x=("float32", [None, 1]))


def stateful(folder):
    module = tf.Module()
    module.count = tf.Variable(0.0)

    def add(x):
        count = module.count.assign_add(tf.reduce_sum(x))
        return {"count": tf.zeros_like(x) + count}

    save_signatures(folder, {"serving_default": add}, {"x": ("float32", [None, 1])}, module)


def counts_runs(folder):
    module = tf.Module()
    module.runs = tf.Variable(0.0)
    save_signatures(folder, {"serving_default": lambda x: {"runs": tf.zeros_like(x) + module.runs.assign_add(1.0)}},
                    {"x": ("float32", [None, 1])}, module)


def remembers(folder):
    module = tf.Module()
    module.fed = tf.Variable(tf.zeros([2, 4]), shape=[None, 4])

    def remember(x):
        before = module.fed.read_value()
        module.fed.assign(x)
        return {"before": before}

    save_signatures(folder, {"serving_default": remember}, {"x": ("float32", [None, 4])}, module)


def remembers_text(folder):
    module = tf.Module()
    module.fed = tf.Variable(tf.constant([["", ""]]), shape=[None, 2])

    def remember(x):
        before = module.fed.read_value()
        module.fed.assign(x)
        return {"before": before}

    save_signatures(folder, {"serving_default": remember}, {"x": ("string", [None, 2])}, module)


def words(folder):
    module = tf.Module()
    entries = tf.lookup.KeyValueTensorInitializer(tf.constant(["one", "two"]), tf.constant([1, 2], tf.int64))
    module.table = tf.lookup.StaticHashTable(entries, -1)

    def look_up(x):
        joined = tf.strings.reduce_join(x, axis=1, keepdims=True, separator=" ")
        return {"length": tf.strings.length(x), "joined": joined, "id": module.table.lookup(x)}

    save_signatures(folder, {"serving_default": look_up}, {"x": ("string", [None, None])}, module)


def keeps(folder, put, count, take):
    """Answers each run with the x of the run before, which was put where it stays in the meantime."""
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 16], name="x")
        with tf.control_dependencies([put(x)]):
            before = tf.cond(count() > 1, take, lambda: tf.identity(x))
        return {"x": x}, {"before": tf.reshape(before, [-1, 16])}

    save_graph(folder, build)


def keeps_in_queue(folder):
    raw = tf.raw_ops
    queue = lambda: raw.FIFOQueueV2(component_types=[tf.float32], capacity=8, shared_name="kept")
    keeps(folder, lambda x: raw.QueueEnqueueV2(handle=queue(), components=[x]),
          lambda: raw.QueueSizeV2(handle=queue()),
          lambda: raw.QueueDequeueV2(handle=queue(), component_types=[tf.float32])[0])


def keeps_in_stage(folder):
    area = {"dtypes": [tf.float32], "shared_name": "kept"}
    keeps(folder, lambda x: tf.raw_ops.Stage(values=[x], shared_name="kept"), lambda: tf.raw_ops.StageSize(**area),
          lambda: tf.raw_ops.Unstage(**area)[0])


def keeps_in_table(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 16], name="x")
        table = tf.raw_ops.MutableHashTableOfTensorsV2(key_dtype=tf.int64, value_dtype=tf.float32, value_shape=[16],
                                                       shared_name="kept")
        find = lambda: tf.raw_ops.LookupTableFindV2(table_handle=table, keys=rows, default_value=tf.zeros([16]))
        rows = tf.range(tf.shape(x, out_type=tf.int64)[0])
        size = tf.raw_ops.LookupTableSizeV2(table_handle=table)
        with tf.control_dependencies([size]):
            before = tf.cond(size > 0, find, lambda: tf.identity(x))
        with tf.control_dependencies([before]):
            put = tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=rows, values=x)
        with tf.control_dependencies([put]):
            return {"x": x}, {"before": tf.reshape(before, [-1, 16])}

    save_graph(folder, build)


def two_signatures(folder):
    functions = {"serving_default": lambda x: {"y": x + 1.0}, "double": lambda x: {"y": 2.0 * x}}
    save_signatures(folder, functions, {"x": ("float32", [None, 4])})


def unusual_names(folder):
    scaled = lambda factor: lambda x: {"y": x * factor}
    save_signatures(folder, {"second": scaled(3.0), "first": scaled(2.0)}, {"x": (tf.float32, [None, 4])})


def frozen_v1(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        weights = tf.constant([[1, 0], [0, 1], [1, 1], [2, -1]], tf.float32)
        return {"x": x}, {"y": tf.matmul(x, weights) + 1.0}

    save_graph(folder, build)


def any_shape(folder):
    save_function(folder, lambda x: {"y": x * 2.0}, x=(tf.float64, [None, None, None, None]))


def any_bytes(folder):
    save_function(folder, lambda x: {"y": x + tf.constant(1, tf.uint8)}, x=(tf.uint8, [None, None, None, None]))


def passthrough(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        return {"x": x}, {"y": x + 1.0, "same": x}

    save_graph(folder, build)


def identity(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        return {"x": x}, {"y": tf.identity(x)}

    save_graph(folder, build)


def unservable(folder):
    def build():
        inputs = {
            "text": tf.compat.v1.placeholder(tf.string, [None, 1], name="text"),
            "number": tf.compat.v1.placeholder(tf.float32, [], name="number"),
            "quantised": tf.compat.v1.placeholder(tf.qint8, [None, 4], name="quantised"),
            "open": tf.compat.v1.placeholder(tf.float32, None, name="open"),
            "x": tf.compat.v1.placeholder(tf.float32, [None, 4], name="x"),
        }
        return inputs, {"y": inputs["x"] + 1.0}

    save_graph(folder, build)


def finds(folder):
    save_function(folder, lambda x: {"found": tf.boolean_mask(x, tf.reduce_sum(x, 1) > 0.0)}, x=(tf.float32, [None, 4]))


def one_input_twice(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        return {"a": x, "b": x}, {"y": x + 1.0}

    save_graph(folder, build)


def with_text(folder):
    save_function(folder, lambda x: {"y": x + 1.0, "label": tf.strings.as_string(x)}, x=(tf.float32, [None, 4]))


def scalar(folder):
    save_function(folder, lambda x: {"y": x + 1.0, "total": tf.reduce_sum(x)}, x=(tf.float32, [3]))


def scalars(folder):
    def scale(a, x, name):
        return {"y": a * x, "total": tf.reduce_sum(a * x), "greeting": tf.strings.join(["Hello, ", name])}

    save_function(folder, scale, a=("float32", []), x=("float32", [3]), name=("string", []))


def no_zeros(folder):
    save_function(folder, lambda x: {"y": 12 // x}, x=("int32", [None, 1]))


def sparse(folder):
    def build():
        x = tf.compat.v1.sparse_placeholder(tf.float32, [None, 4], name="x")
        return {"x": x}, {"y": tf.sparse.to_dense(x)}

    save_graph(folder, build)


def weights(folder):
    module = tf.Module()
    values = lambda *shape: tf.reshape(tf.cast(tf.range(tf.reduce_prod(shape)) % 7, tf.float32) / 8.0 - 0.25, shape)
    module.a = tf.Variable(values(2048))
    module.first = tf.Variable(values(16, 2048))  # large enough to be stored apart
    module.second = tf.Variable(values(2048, 4))

    @tf.function
    def inner(x):
        return tf.nn.relu(tf.matmul(x, module.first) + module.a)

    @tf.function
    def outer(x):
        return tf.nn.relu(tf.matmul(inner(x), module.second) + module.a[0])

    save_signatures(folder, {"serving_default": lambda x: {"y": 2.0 * outer(x) + module.a[1]}},
                    {"x": ("float32", [None, 16])}, module)


def folds(folder):
    module = tf.Module()
    module.variables_ = []

    def variable(*shape):
        # Values that differ in every channel and place, and whose sums stay near 1.
        size = tf.cast(tf.reduce_prod(shape), tf.float32)
        values = tf.math.sin(tf.range(1.0, size + 1.0) * 1.7 + len(module.variables_))
        scale = 1.0 if len(shape) == 1 else 0.05
        module.variables_.append(tf.Variable(scale * tf.reshape(values, shape)))
        return module.variables_[-1]

    weights = {name: variable(3, 3, 64, 64) for name in ("scaled", "fused", "residual", "shared", "twice", "sum")}
    weights |= {"deep": variable(3, 3, 64, 32), "volume": variable(3, 3, 3, 32, 32), "dense": variable(1024, 64),
                "turned": variable(64, 1024)}
    norms = {name: [variable(channels) for _ in range(4)]
             for name, channels in {"scaled": 64, "fused": 64, "residual": 64, "deep": 2048, "volume": 32,
                                    "shared": 64, "twice": 64, "dense": 64}.items()}

    def normed(name, x):
        mean, spread, offset, scale = norms[name]
        return tf.nn.batch_normalization(x, mean, spread * spread + 0.1, offset, scale, 1e-3)

    def answer(x):
        conv = lambda name, x: tf.nn.conv2d(x, weights[name], 1, "SAME")
        flat = tf.reshape(x, [-1, 1024])
        mean, spread, offset, scale = norms["fused"]
        fused = tf.compat.v1.nn.fused_batch_norm(conv("fused", x), scale, offset, mean, spread * spread + 0.1,
                                                 is_training=False)[0]
        twice = conv("twice", x)
        outputs = {
            "scaled": tf.nn.relu(normed("scaled", conv("scaled", x))),
            "fused": tf.nn.relu(fused),
            "deep": normed("deep", tf.nn.depthwise_conv2d(x, weights["deep"], [1, 1, 1, 1], "SAME")),
            "volume": normed("volume", tf.nn.conv3d(tf.reshape(x, [-1, 2, 4, 4, 32]), weights["volume"], [1] * 5, "SAME")),
            "dense": tf.nn.relu(normed("dense", flat @ weights["dense"])),
            "residual": tf.nn.relu(x + normed("residual", conv("residual", x))),
            # Scaled for one user of the weights, and not for the other.
            "shared": normed("shared", conv("shared", x)) + conv("shared", x[:, ::-1]),
            # The result is used with its scaling and without.
            "twice": normed("twice", twice) * twice,
            "turned": tf.matmul(flat, weights["turned"], transpose_b=True) + flat @ tf.transpose(weights["turned"]),
            "sum": conv("sum", x) + tf.reduce_sum(weights["sum"], [0, 1, 2]),
        }
        return {name: tf.reduce_sum(tf.reshape(y, [tf.shape(x)[0], -1, y.shape[-1]]), 1) for name, y in outputs.items()}

    save_signatures(folder, {"serving_default": answer}, {"x": ("float32", [None, 4, 4, 64])}, module)


def cancels(folder):
    module = tf.Module()
    module.a = tf.Variable(tf.fill([4], 1e8))
    module.b = tf.Variable(tf.fill([4], -1e8))
    save_signatures(folder, {"serving_default": lambda x: {"y": (x + module.a) + module.b}},
                    {"x": ("float32", [None, 4])}, module)


def embedding(folder):
    module = tf.Module()
    module.rows = tf.Variable(tf.reshape(tf.range(80.0), [10, 8]))

    def look_up(x):
        width = tf.cast(tf.shape(module.rows)[1], tf.float32)
        return {"y": tf.gather(module.rows, x), "wide": tf.zeros_like(x[:, :1], tf.float32) + width}

    save_signatures(folder, {"serving_default": look_up}, {"x": ("int32", [None, 3])}, module)


def table(folder):
    module = tf.Module()
    entries = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2]), tf.constant([10.0, 20.0]))
    module.table = tf.lookup.StaticHashTable(entries, -1.0)
    module.factor = tf.Variable(2.0)
    save_signatures(folder, {"serving_default": lambda x: {"y": module.table.lookup(x) * module.factor}},
                    {"x": ("int32", [None, 1])}, module)


def loop(folder):
    module = tf.Module()
    module.v = tf.Variable(0.5)

    def add(x):
        turns = tf.constant(0)
        _, y = tf.while_loop(lambda turns, y: turns < 3, lambda turns, y: (turns + 1, y + module.v), (turns, x),
                             shape_invariants=(turns.shape, tf.TensorShape([None, 1])))
        return {"y": y}

    save_signatures(folder, {"serving_default": add}, {"x": ("float32", [None, 1])}, module)


def picks(folder):
    module = tf.Module()
    module.v = tf.Variable(3.0)
    pick = lambda x: {"y": tf.cond(tf.reduce_sum(x) > 0.0, lambda: module.v * x, lambda: -module.v * x)}
    save_signatures(folder, {"serving_default": pick}, {"x": ("float32", [None, 1])}, module)


def endless(folder):
    module = tf.Module()
    module.v = tf.Variable(3.0)

    def double(x):
        return {"y": tf.while_loop(lambda y: tf.reduce_sum(y) < 100.0, lambda y: [2.0 * y], [x * module.v])[0]}

    save_signatures(folder, {"serving_default": double}, {"x": ("float32", [None, 1])}, module)


def devices(folder):
    module = tf.Module()
    values = lambda *shape: tf.reshape(tf.cast(tf.range(tf.reduce_prod(shape)) % 7, tf.float32) / 8.0 - 0.25, shape)
    module.a, module.b, module.c = map(tf.Variable, (values(16, 2048), values(2048, 64), values(64, 4)))
    module.bias = tf.Variable(values(2048))

    def compute(x):
        with tf.device("/device:CPU:0"):
            z = tf.nn.relu(tf.matmul(x, module.a) * 0.5 + module.bias)
        with tf.device("/device:CPU:1"):
            half = tf.nn.relu(tf.matmul(z, module.b) + 1.0)
            rows = tf.shape(half, out_type=tf.int64)
        with tf.device("/device:CPU:0"):
            return {"y": tf.matmul(half, module.c) + tf.reduce_mean(z, 1, True), "z": z, "n": rows[None] + 0 * rows[:1, None]}

    save_signatures(folder, {"serving_default": compute}, {"x": ("float32", [None, 16])}, module)


def noise(folder):
    save_function(folder, lambda x: {"y": x + tf.random.uniform(tf.shape(x))}, x=(tf.float32, [None, 4]))


def custom_op(folder):
    source = pathlib.Path(__file__).with_name("custom_op.c")
    library = folder.parent / "libcustom_op.so"
    framework = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, framework], check=True)
    plus_one = tf.load_op_library(str(library)).latency_test_plus_one
    save_function(folder, lambda x: {"y": plus_one(x=x)}, x=(tf.float32, [None, 4]))


MODELS = [add_one, all_types, mixed, no_batch, fixed, failing, text, slow, stateful, counts_runs, remembers,
          keeps_in_queue, keeps_in_stage, keeps_in_table, two_signatures, unusual_names, frozen_v1, any_shape, any_bytes, passthrough,
          remembers_text, words, identity, unservable, finds, one_input_twice, with_text, scalar, scalars, no_zeros, weights, folds, cancels, embedding,
          table, loop, picks, devices, endless, noise, sparse, custom_op]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_models.py FOLDER")
    folder = pathlib.Path(sys.argv[1])
    scripts = [(pathlib.Path(__file__).parent / name).read_bytes() for name in SCRIPTS]
    source = hashlib.sha256(b"".join(scripts)).hexdigest()
    stamp = f"{source} tensorflow {importlib.metadata.version('tensorflow-cpu')}\n"
    try:
        if (folder / STAMP).read_text() == stamp:
            print(f"Test models are there: {folder}")
            return
    except OSError:
        pass

    print(f"Making the small test models, about 10 seconds: {folder}", flush=True)
    started = time.monotonic()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and moved there in one step, so that an interrupted run leaves nothing half made.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    os.environ["KERAS_HOME"] = str(scratch / "keras")  # TensorFlow imports Keras, which would make ~/.keras
    try:
        global tf, save_function, save_graph, save_signatures
        import tensorflow as tf

        import graphs, kinds, optional, ragged, sequences
        from saving import save_function, save_graph, save_signatures

        tf.get_logger().setLevel("ERROR")  # the TensorFlow 1 builder announces its deprecation
        made = scratch / "models"
        for model in MODELS + graphs.MODELS + kinds.MODELS + optional.MODELS + ragged.MODELS + sequences.MODELS:
            (made / model.__name__).mkdir(parents=True)
            model(made / model.__name__ / "model.savedmodel")
        (made / STAMP).write_text(stamp)
        if folder.exists():
            folder.rename(scratch / "old")
        made.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"  done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
