"""Makes the SavedModel `waits`, a stand-in for a model whose work is done elsewhere: it sleeps and computes nothing.

    python tests/fleet/make_waiting_model.py FOLDER FIXED_MS ROW_MS

FOLDER/model.savedmodel takes x, FP32 [-1,1], and gives y = x after FIXED_MS + ROW_MS x rows milliseconds.
FOLDER/libwaits.so has its operation (waits.c). Nothing is made if both are there, made of the same sources.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

SOURCE = pathlib.Path(__file__).with_name("waits.c")


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: make_waiting_model.py FOLDER FIXED_MS ROW_MS")
    folder, (fixed_ms, row_ms) = pathlib.Path(sys.argv[1]), map(float, sys.argv[2:])
    sources = SOURCE.read_bytes() + pathlib.Path(__file__).read_bytes()
    stamp = (f"{hashlib.sha256(sources).hexdigest()} tensorflow {importlib.metadata.version('tensorflow-cpu')} "
             f"{fixed_ms} {row_ms}\n")
    made = folder / "made_from"
    if made.is_file() and made.read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder, fixed_ms, row_ms)
    made.write_text(stamp)


def make(folder, fixed_ms, row_ms):
    import tensorflow as tf

    library = folder / "libwaits.so"
    framework = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, framework], check=True)
    wait = tf.load_op_library(str(library)).fleet_wait

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def serve(x):
        return {"y": wait(x=x, fixed_ms=fixed_ms, row_ms=row_ms)}

    tf.saved_model.save(tf.Module(), str(folder / "model.savedmodel"), signatures={"serving_default": serve})


if __name__ == "__main__":
    main()
