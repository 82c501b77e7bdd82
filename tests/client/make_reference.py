"""Makes seeded pictures and TensorFlow's own answers to them.

    python make_reference.py SAVED_MODEL_DIR FOLDER ROWS

Writes into FOLDER `input.npz` and `expected.npz` (the signature's tensors by name) and, for readers without numpy,
`input.bin` and `expected.bin` (little-endian FP32, row after row). The model must have one FP32 input of shape
[-1, 299, 299, 3] called `input`.
"""

import pathlib
import subprocess
import sys

import numpy as np


def picture(random):
    """Smooth waves of random colour, direction and length with a little noise: no two rows or pixels are equal."""
    y, x = np.mgrid[0:299, 0:299] / 299
    planes = []
    for _ in range(3):
        frequency = random.uniform(1, 20, size=2)
        wave = np.sin(2 * np.pi * (frequency[0] * x + frequency[1] * y + random.uniform()))
        planes.append(random.uniform(0.3, 1) * wave + random.uniform(-0.5, 0.5))
    pixels = np.stack(planes, axis=-1) + random.normal(scale=0.1, size=(299, 299, 3))
    return np.clip(pixels, -1, 1).astype(np.float32)


def main():
    saved_model, folder, rows = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    random = np.random.default_rng(20220218)
    pictures = np.stack([picture(random) for _ in range(rows)])
    np.savez(folder / "input.npz", input=pictures)
    script = pathlib.Path(__file__).resolve().parent.parent / "models" / "reference.py"
    command = [sys.executable, script, saved_model, folder / "input.npz", folder / "expected.npz"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(folder / "expected.npz") as file:
        (expected,) = (file[name] for name in file.files)
    pictures.tofile(folder / "input.bin")
    expected.astype("<f4").tofile(folder / "expected.bin")
    spread = np.abs(expected[1:] - expected[:-1]).max(axis=1) / np.abs(expected).max()
    # Were rows alike, a swapped row could pass for the right one.
    if spread.min() < 1e-2:
        sys.exit(f"neighbouring pictures get nearly the same answer (relative difference {spread.min():.1e})")
    print("{}")


if __name__ == "__main__":
    main()
