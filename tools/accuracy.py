"""Compares a model's answers in BF16 math mode with those in FP32, on real servers.

    python tools/accuracy.py                              Inception-v3, parts of the demo's photographs: 64 rows
    python tools/accuracy.py a.jpg b.png                  Inception-v3, these pictures
    python tools/accuracy.py --model NAME x.npz           any model: the keys of an .npz are names of inputs
    python tools/accuracy.py --model NAME x.npy           a model with one input

Starts two servers one after the other, with the backend option fpmath-mode set to `strict` and to `bf16`, sends both the
same rows with the official client, and compares the answers. The exit code is 1 if something cannot be compared or, with
--least-agreement, if fewer rows than that keep their largest value in the same place.
"""

import argparse
import collections
import contextlib
import pathlib
import sys

from demo import LATENCY_OUTPUTS, DemoError, bundled_files, open_picture, prepare_picture
from tritonserver import PROJECT, ServerError, TritonServer

MODES = ["strict", "bf16"]
TIMES = {*LATENCY_OUTPUTS, "padded_batch_size", "queue_ns", "request_latency_ns"}  # outputs that are not the model's
ARRAYS = [".npy", ".npz"]
# Left, top, right and bottom of the parts of a photograph, as shares of its width and height.
PARTS = [(0, 0, 1, 1), (0, 0, .7, .7), (.3, 0, 1, .7), (0, .3, .7, 1), (.3, .3, 1, 1), (.15, .15, .85, .85),
         (0, 0, .5, 1), (.5, 0, 1, 1)]


class AccuracyError(Exception):
    """Something the user can fix; the text says how."""


# --- inputs -------------------------------------------------------------------------------------------------------

def photographs():
    """Parts of the demo's photographs, each as it is and mirrored."""
    from PIL import ImageOps

    rows = []
    for file in bundled_files().values():
        picture = open_picture(file)
        for part in PARTS:
            box = [round(share * side) for share, side in zip(part, picture.size * 2)]
            rows += [picture.crop(box), ImageOps.mirror(picture.crop(box))]
    return [prepare_picture(row) for row in rows]


def read_inputs(files):
    """(source, {input name, or None for the only input: array}) for each file."""
    import numpy

    if not files:
        return [("the demo's photographs", {None: numpy.stack(photographs())})]
    return [(str(file), read_file(file)) for file in files]


def read_file(file):
    import numpy

    if file.suffix.lower() not in ARRAYS:
        return {None: prepare_picture(open_picture(file))[None]}
    try:
        loaded = numpy.load(file)  # never unpickles: a file may come from anywhere
        if isinstance(loaded, numpy.ndarray):
            return {None: loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise AccuracyError(f"No such file: {file}") from None
    except OSError as error:
        raise AccuracyError(f"{file} cannot be read: {error.strerror or error}") from None
    except Exception:  # of many types, depending on what is broken
        raise AccuracyError(f"{file} is broken, or contains something other than arrays of numbers. Write it with "
                            "numpy.save or numpy.savez.") from None


def fit(model, source, arrays):
    """The arrays by the names of the model's inputs, with types and shapes checked."""
    from tritonclient.utils import triton_to_np_dtype

    inputs = {each["name"]: each for each in model["inputs"]}
    named = "".join(f", {name}=..." for name in inputs)
    if None in arrays and len(inputs) == 1:
        arrays = dict(zip(inputs, arrays.values()))
    if set(arrays) != set(inputs):
        found = "one array without a name" if None in arrays else f"arrays named {', '.join(arrays) or 'nothing'}"
        raise AccuracyError(f"{source}: {model['name']} takes the inputs {', '.join(inputs)}, found {found}. Write "
                            f"them with numpy.savez(FILE{named}).")
    for name, array in arrays.items():
        kind = triton_to_np_dtype(inputs[name]["datatype"])
        shape = [int(size) for size in inputs[name]["shape"]]
        where = f"{source}: the input '{name}' of {model['name']}"
        if array.dtype != kind:
            raise AccuracyError(f"{where} is {inputs[name]['datatype']}, found {array.dtype}. Convert it with "
                                f".astype(numpy.{kind.__name__}).")
        if len(array.shape) != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape)):
            rows = "; the first is the number of rows" if model["rows"] else ""
            raise AccuracyError(f"{where} has the shape {shape} (-1 is any size{rows}), found {list(array.shape)}. "
                                "Bring the array into that shape.")
        if 0 in array.shape:
            raise AccuracyError(f"{where} has the shape {list(array.shape)}, so there is nothing to send.")
    if model["rows"] and len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise AccuracyError(f"{source}: every input needs the same number of rows, found {found}.")
    return arrays


# --- servers ------------------------------------------------------------------------------------------------------

def ask(options, mode, inputs):
    """The answers of a server in this mode: for each output of the model a list of arrays, one for each request."""
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    print(f"Starting a Triton server with {options.model} and fpmath-mode={mode}", flush=True)
    with TritonServer(options.model_repository, [options.model], backend=options.backend,
                      backend_options={"fpmath-mode": mode}) as server:
        try:
            with contextlib.closing(triton.InferenceServerClient(server.http, network_timeout=300)) as client:
                model = client.get_model_metadata(options.model)
                # Without rows (max_batch_size 0) each file is one request.
                model["rows"] = client.get_model_config(options.model)["max_batch_size"]
                requests = [part for source, arrays in inputs
                            for part in split(fit(model, source, arrays), min(options.batch, model["rows"]))]
                names = [output["name"] for output in model["outputs"] if output["name"] not in TIMES]
                if not names:
                    raise AccuracyError(f"{options.model} declares latency outputs only. Declare one of its own in "
                                        "config.pbtxt.")
                return infer_all(client, model, requests, names)
        except InferenceServerException as error:
            server.check_alive()
            raise AccuracyError(f"A request failed: {error}. The end of the server's log:\n"
                                f"{server.log_tail()}") from None


def split(arrays, rows):
    """The arrays in requests of so many rows; 0: in one request."""
    if not rows:
        return [arrays]
    count = len(next(iter(arrays.values())))
    return [{name: array[first:first + rows] for name, array in arrays.items()} for first in range(0, count, rows)]


def infer_all(client, model, requests, names):
    import tritonclient.http as triton

    types = {each["name"]: each["datatype"] for each in model["inputs"]}
    answers = collections.defaultdict(list)
    for arrays in requests:
        tensors = []
        for name, array in arrays.items():
            tensor = triton.InferInput(name, list(array.shape), types[name])
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        result = client.infer(model["name"], tensors, outputs=[triton.InferRequestedOutput(name) for name in names])
        for name in names:
            answers[name].append(result.as_numpy(name))
    return answers


# --- the comparison -----------------------------------------------------------------------------------------------

class Comparison:
    """One output in both modes. A row is its last axis."""

    def __init__(self, name, strict, bf16):
        import numpy

        self.name = name
        if [each.shape for each in strict] != [each.shape for each in bf16]:
            raise AccuracyError(f"The output '{name}' has other shapes in BF16 math mode than in FP32, so its values "
                                "cannot be compared. Its shape depends on values; compare another output.")
        strict, bf16 = (numpy.concatenate([each.reshape(-1, each.shape[-1]) for each in answers]).astype(numpy.float64)
                        for answers in (strict, bf16))
        self.rows, self.classes = strict.shape
        self.equal = numpy.array_equal(strict, bf16, equal_nan=True)
        with numpy.errstate(invalid="ignore", divide="ignore"):
            same = (strict == bf16) | (numpy.isnan(strict) & numpy.isnan(bf16))
            # Not a number in one mode only: the largest difference there is.
            difference = numpy.nan_to_num(numpy.where(same, 0.0, abs(strict - bf16)), nan=numpy.inf,
                                          posinf=numpy.inf)
            largest = numpy.where(numpy.isfinite(strict), abs(strict), 0.0).max(axis=1)
            self.absolute = difference.max()
            self.relative = numpy.where(difference.max(axis=1) == 0, 0.0, difference.max(axis=1) / largest).max()
            if self.classes > 1:
                self.agreeing = int((strict.argmax(axis=1) == bf16.argmax(axis=1)).sum())
                first, second = numpy.sort(strict, axis=1)[:, :-3:-1].T
                margin = numpy.nan_to_num((first - second) / largest, posinf=numpy.inf)
                self.margins = margin.min(), numpy.median(margin)

    def agreement(self):
        return 100 * self.agreeing / self.rows

    def line(self, width):
        top, *margins = ["-"] * 3
        if self.classes > 1:
            top = f"{self.agreement():.2f} %"
            margins = [f"{100 * margin:.3f} %" for margin in self.margins]
        return (f"{self.name:{width}} {self.rows:>6} {top:>10}  {self.absolute:>10.3g} {100 * self.relative:>10.3f} %"
                f" {margins[0]:>12} {margins[1]:>12}")


def show(comparisons, options):
    """Prints the table and a summary; returns whether the agreement is as high as required."""
    width = max(6, *(len(each.name) for each in comparisons))
    print(f"\n{options.model}, BF16 math mode against FP32\n\n"
          f"{'':{width}} {'':>6} {'same':>10}  {'largest difference':>23} {'top-1 margin in FP32':>25}\n"
          f"{'output':{width}} {'rows':>6} {'top-1':>10}  {'absolute':>10} {'of its row':>12} {'smallest':>12} "
          f"{'median':>12}")
    for each in comparisons:
        print(each.line(width))
    print("\nRows: along an output's last axis. Same top-1: rows with the largest value in the same place.\n"
          "Differences and margins in percent are of the largest absolute value of the row in FP32;\n"
          "the margin is from the largest value to the second.\n")
    ranked = [each for each in comparisons if each.classes > 1]
    print(summary(comparisons, ranked))
    if options.least_agreement is None:
        return True
    worst = min(ranked, key=Comparison.agreement)
    enough = worst.agreement() >= options.least_agreement
    print(f"{'Enough' if enough else 'TOO FEW'}: '{worst.name}' has the same top-1 in {worst.agreement():.2f} % of its "
          f"rows, at least {options.least_agreement:g} % were asked for.")
    return enough


def summary(comparisons, ranked):
    if all(each.equal for each in comparisons):
        why = "" if has_bf16() else ": this CPU has no BF16, so FP32 is computed as it is"
        return f"No difference in any value{why}."
    worst = max(comparisons, key=lambda each: each.relative)
    values = f"values differ by up to {100 * worst.relative:.3f} % of the largest of their row ('{worst.name}')."
    if not ranked:
        return f"No output has a top-1; {values}"
    agreeing, rows = (sum(getattr(each, what) for each in ranked) for what in ("agreeing", "rows"))
    return f"The same top-1 in {agreeing} of {rows} rows; {values}"


def has_bf16():
    """Whether this CPU has instructions for BF16, by /proc/cpuinfo."""
    try:
        return bool({"amx_bf16", "avx512_bf16"} & set(pathlib.Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


# --- main ---------------------------------------------------------------------------------------------------------

def accuracy(options):
    folder = options.model_repository / options.model
    if not folder.is_dir():
        raise AccuracyError(f"There is no model {options.model} in {options.model_repository}. Name its folder with "
                            "--model, the folder around it with --model-repository.")
    if not options.files and folder.resolve() != (PROJECT / "model_repository" / "inception_v3"):
        raise AccuracyError(f"Without a file, Inception-v3 gets the demo's photographs. {options.model} needs an .npz "
                            "file with its inputs.")
    inputs = read_inputs(options.files)
    strict, bf16 = (ask(options, mode, inputs) for mode in MODES)
    comparisons = [Comparison(name, strict[name], bf16[name]) for name in strict]
    if options.least_agreement is not None and all(each.classes < 2 for each in comparisons):
        raise AccuracyError("--least-agreement: no output has more than one value in a row, so none has a top-1. Leave "
                            "the option out.")
    return show(comparisons, options)


def percent(text):
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 100, found '{text}'")


def count(text):
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number above 0, found '{text}'")


def main():
    parser = argparse.ArgumentParser(description="Compares a model's answers in BF16 math mode with those in FP32.")
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE",
                        help="pictures for Inception-v3 (default: parts of the demo's photographs), or .npy and .npz "
                             "files for any model")
    parser.add_argument("--model-repository", type=pathlib.Path, default=PROJECT / "model_repository", metavar="FOLDER",
                        help="model repository that contains the model")
    parser.add_argument("--model", default="inception_v3", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--batch", type=count, default=8, metavar="ROWS",
                        help="rows in a request, if the model has a batch dimension; default: %(default)s")
    parser.add_argument("--least-agreement", type=percent, metavar="PERCENT",
                        help="exit with 1 if fewer rows of an output have the same top-1")
    parser.add_argument("--backend", type=pathlib.Path, metavar="FILE", help="the .so; default: the result of `make build`")
    options = parser.parse_args()
    try:
        sys.exit(0 if accuracy(options) else 1)
    except (AccuracyError, DemoError, ServerError) as error:
        sys.exit(f"\n{error}")
    except ImportError as error:
        sys.exit(f"\n{error}. This runs in the environment that `make setup` makes: .venv/bin/python tools/accuracy.py")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
