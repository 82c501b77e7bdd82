"""Makes the SavedModel of Inception-v3 that model_repository/inception_v3/config.pbtxt serves.

    python model_repository/make_inception_v3.py                      seeded random weights
    python model_repository/make_inception_v3.py --weights imagenet   the trained ones; Keras downloads them
    python model_repository/make_inception_v3.py --weights FILE       .weights.h5, .h5 or .keras of InceptionV3

Signature `serving_default`: `input` FP32 [-1, 299, 299, 3], scaled to [-1, 1], gives `predictions` FP32 [-1, 1000],
probabilities. It is a plain Keras export: weights are variables, the graph is functions within functions.

Freshly initialised weights are useless for tests: the network answers nearly 1/1000 for every class of every image,
so a swapped or shifted input would go unnoticed. The random weights are therefore calibrated as training would do it: each batch norm gets the mean and variance that seeded synthetic images produce there,
and the last layer is scaled so that classes differ from image to image. The script checks this at the end.
The same seed gives the same weights, bit by bit, on one machine; another CPU may differ in the last digits, since
TensorFlow's convolutions do.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_OUTPUT = HERE / "inception_v3" / "1" / "model.savedmodel"
RECORD = "how_made.json"
RECIPE = 1  # raise it if the random weights change, so that existing models are made again
SIDE = 299
CLASSES = 1000
CALIBRATION_IMAGES = 24
# Standard deviation of a class before the softmax, over the calibration images. Top classes then get 8 to 60 times
# 1/1000. It scales rounding errors too: at 2, running an image alone or in a batch differs by about 3e-6.
LOGIT_SPREAD = 2.0
# The offset before each ReLU. At 0 the random network is chaotic: photographs unlike the synthetic images saturate,
# and rounding errors grow from layer to layer. At 1 images look more alike than they need to.
BATCH_NORM_BETA = 0.5


def arguments():
    parser = argparse.ArgumentParser(description="Makes the SavedModel of Inception-v3.")
    parser.add_argument("--weights", metavar="random|imagenet|FILE",
                        help="default: random. Without this option an existing model is kept, however it was made")
    parser.add_argument("--seed", type=int, default=1, help="of the random weights (default 1)")
    parser.add_argument("--output", type=pathlib.Path, default=DEFAULT_OUTPUT, metavar="DIR",
                        help="the SavedModel folder to make (default: beside config.pbtxt, version 1)")
    parser.add_argument("--force", action="store_true", help="make the model again even if it exists")
    return parser.parse_args()


def is_up_to_date(options):
    """True when the model that is there is the one asked for."""
    if options.force or not (options.output / "saved_model.pb").is_file():
        return False
    try:
        record = json.loads((options.output / RECORD).read_text())
    except (OSError, ValueError):
        record = {}
    if options.weights is None and record.get("weights") != "random":
        return True  # the user's own model; a default call must not replace it
    return all(record.get(key) == value for key, value in identity(options).items())


def identity(options):
    """What decides the weights; two models with the same identity are the same."""
    weights = options.weights or "random"
    if weights == "random":
        return {"weights": "random", "seed": options.seed, "recipe": RECIPE}
    if weights == "imagenet":
        return {"weights": "imagenet"}
    path = pathlib.Path(weights).resolve()
    return {"weights": path.name, "bytes": path.stat().st_size, "modified": int(path.stat().st_mtime)}


def synthetic_images(count, seed):
    """Seeded colour fields with detail at every scale, as photographs have: FP32 [count, 299, 299, 3] in [-1, 1]."""
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(seed)
    images = numpy.zeros((count, SIDE, SIDE, 3), numpy.float32)
    for image in images:
        for cells in (2, 5, 11, 25, 60, 150):
            strength = cells ** -random.uniform(0.2, 0.9)
            coarse = random.standard_normal((cells, cells, 3)).astype(numpy.float32)
            grey = random.uniform(0.3, 1.0)  # photographs vary less in colour than in brightness
            coarse = grey * coarse.mean(axis=2, keepdims=True) * 3 ** 0.5 + (1 - grey) * coarse
            for channel in range(3):
                field = Image.fromarray(coarse[:, :, channel]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                image[:, :, channel] += strength * numpy.asarray(field)
        image -= image.mean() + random.uniform(-0.4, 0.4)
        image /= image.std() * random.uniform(1.2, 2.5)
    return numpy.clip(images, -1, 1)


def calibrate(model, images):
    """Gives every batch norm the statistics of its own input, in order, and scales the last layer."""
    import keras
    import numpy

    norms = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    values = {id(model.inputs[0]): images}
    done = 0
    for layer in model.layers:  # in the order of the graph, so that each layer's inputs are known
        if isinstance(layer, keras.layers.InputLayer):
            continue
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [values[id(source)] for source in sources]
        if isinstance(layer, keras.layers.BatchNormalization):
            # Sums in float64: the result must not depend on how a reduction is split over threads.
            activations = numpy.asarray(inputs[0], numpy.float64)
            layer.moving_mean.assign(activations.mean(axis=(0, 1, 2)).astype(numpy.float32))
            layer.moving_variance.assign(activations.var(axis=(0, 1, 2)).astype(numpy.float32))
            layer.beta.assign(numpy.full(layer.beta.shape, BATCH_NORM_BETA, numpy.float32))
            done += 1
            if done % 20 == 0 or done == norms:
                print(f"  batch norm {done} of {norms} calibrated", flush=True)
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = last_layer(numpy.asarray(inputs[0], numpy.float64), numpy.asarray(layer.kernel))
            layer.kernel.assign(kernel.astype(numpy.float32))
            layer.bias.assign(bias.astype(numpy.float32))
        values[id(layer.output)] = layer(inputs if isinstance(layer.input, list) else inputs[0], training=False)


def last_layer(features, random_kernel):
    """Kernel and bias of the classifier, from the features of the calibration images [count, 2048].

    The random kernel is projected onto the directions in which those images differ. In the other directions there
    is little but rounding error, which a random kernel would pick up about ten times more strongly.
    """
    import numpy

    centre = features.mean(axis=0)
    spread = features - centre
    kernel = spread.T @ numpy.linalg.pinv(spread @ spread.T, rcond=1e-6, hermitian=True) @ (spread @ random_kernel)
    kernel *= LOGIT_SPREAD / (spread @ kernel).std(axis=0)
    return kernel, -(centre @ kernel)  # the bias: no class may win for every image


def build(options):
    """The Keras model with the weights asked for."""
    import keras

    weights = options.weights or "random"
    if weights == "random":
        keras.utils.set_random_seed(options.seed)
        model = keras.applications.InceptionV3(weights=None, classes=CLASSES, classifier_activation="softmax")
        calibrate(model, synthetic_images(CALIBRATION_IMAGES, options.seed))
        return model
    if weights == "imagenet":
        try:
            return keras.applications.InceptionV3(weights="imagenet")
        except Exception as error:  # Keras raises several kinds, the plain Exception among them
            sys.exit(f"The trained weights could not be downloaded: {error}\n"
                     "Keras fetches them from the internet. On a machine without it, copy the weights file of Keras' "
                     "InceptionV3 there and give it: --weights FILE")
    if weights.endswith(".keras"):
        model = load_or_explain(weights, keras.saving.load_model)
    else:
        model = keras.applications.InceptionV3(weights=None, classes=CLASSES, classifier_activation="softmax")
        load_or_explain(weights, model.load_weights)
    if model.input_shape[1:] not in ((SIDE, SIDE, 3), (None, None, 3)) or model.output_shape[1:] != (CLASSES,):
        sys.exit(f"{weights} holds a model from {model.input_shape} to {model.output_shape}; expected an Inception-v3 "
                 f"from (None, {SIDE}, {SIDE}, 3) to (None, {CLASSES}).")
    return model


def load_or_explain(path, load):
    try:
        return load(path)
    except Exception as error:
        sys.exit(f"{path} could not be read as weights of Keras' InceptionV3: {error}\n"
                 "Expected a .weights.h5 or .h5 of the network with its top layer, or a .keras file of the model.")


def export(model, folder):
    """Writes a normal Keras 3 SavedModel; names its input and output, which Keras would number."""
    import keras
    import tensorflow

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        name="serve",  # the only endpoint also becomes serving_default
        fn=lambda input: {"predictions": model(input, training=False)},
        input_signature=[tensorflow.TensorSpec([None, SIDE, SIDE, 3], tensorflow.float32, name="input")],
    )
    archive.write_out(str(folder), verbose=False)


def self_check(folder, seed):
    """Loads what was written and fails unless outputs depend on the image. Prints the numbers."""
    import numpy
    import tensorflow

    loaded = tensorflow.saved_model.load(str(folder))  # kept: the signature does not keep the variables alive
    serve = loaded.signatures["serving_default"]
    images = synthetic_images(4, seed + 1000)  # none of those it was calibrated with
    shifted = numpy.roll(images[:1], 1, axis=2)

    def predict(batch):
        return serve(input=tensorflow.constant(batch))["predictions"].numpy()

    def difference(answer, other):
        return float(abs(answer - other).max() / answer.max())

    answers = predict(images)
    top = answers.argmax(axis=1)
    highest = answers.max(axis=1)
    swapped = min(difference(answers[i], answers[j]) for i in range(4) for j in range(4) if i != j)
    moved = difference(answers[0], predict(shifted)[0])
    alone = max(difference(answers[i], predict(images[i:i + 1])[0]) for i in range(4))
    print(f"  check: top classes {top.tolist()}, their probabilities {[round(float(p), 3) for p in highest]}")
    print(f"  check: change of an answer, relative to its largest value: by another image {swapped:.2g}, by a shift of "
          f"one column {moved:.2g},\n         by another batch size {alone:.1g}")
    wrong = []
    if len(set(top.tolist())) < 3:
        wrong.append("different images get the same class")
    if highest.min() < 0.003 or highest.max() > 0.99:
        wrong.append("the top probability is near 1/1000 or near 1")
    if min(swapped, moved) < 1e-2:
        wrong.append("a swapped or shifted image hardly changes the answer")
    if alone > 6e-6:
        wrong.append("the answer depends on the batch size")
    if wrong:
        sys.exit(f"The random weights of seed {seed} are not fit for tests: {'; '.join(wrong)}. Choose another --seed.")


def main():
    options = arguments()
    if options.weights not in (None, "random", "imagenet") and not pathlib.Path(options.weights).is_file():
        sys.exit(f"--weights: no such file: {options.weights} (expected random, imagenet, or a .weights.h5, .h5 or "
                 ".keras file)")
    if is_up_to_date(options):
        print(f"Inception-v3 is there: {os.path.relpath(options.output)}")
        return
    started = time.monotonic()
    print(f"Making Inception-v3 ({options.weights or 'random'} weights), about half a minute, 190 MB", flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    # Written to a scratch folder and renamed: a server never sees an incomplete model.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=".making-", dir=options.output.parent))
    try:
        if options.weights != "imagenet":  # that download belongs in the user's own cache
            os.environ["KERAS_HOME"] = str(scratch / "keras")  # otherwise Keras creates ~/.keras and follows its settings
        import keras
        import tensorflow

        keras.config.set_image_data_format("channels_last")
        tensorflow.config.experimental.enable_op_determinism()
        model = build(options)
        print("  writing the SavedModel", flush=True)
        folder = scratch / "model"
        export(model, folder)
        if (options.weights or "random") == "random":
            self_check(folder, options.seed)
        made = {"tensorflow": tensorflow.__version__, "keras": keras.__version__}
        (folder / RECORD).write_text(json.dumps(identity(options) | made, indent=2) + "\n")
        if options.output.exists():
            options.output.rename(scratch / "old")
        folder.rename(options.output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"  done in {time.monotonic() - started:.0f} s: {os.path.relpath(options.output)}")


if __name__ == "__main__":
    main()
