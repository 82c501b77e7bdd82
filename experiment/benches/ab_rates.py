"""How often `triton-experiment ab` errs, and how often it finds a difference, on a real server.

    python experiment/benches/ab_rates.py [--same 200] [--different 50] [--minutes 5] [--block 1] [--keep FOLDER]

The model `slow` takes as many milliseconds as its input says: 20 ms, and for the planted difference 2 % more. `--same`
comparisons of it with itself, `--different` ones with the planted difference; each has a seed of its own, so its own order.
Prints a line for each and the counts at the end. Exits with 1 if more than 5 % of the first are called different, or fewer than
90 % of the others are found. With --keep, the folders stay: `cargo bench --bench ab_noise -- FOLDER/same-*` replays their noise.
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))
from tritonserver import TritonServer  # noqa: E402

TOOL = PROJECT / "target/release/triton-experiment"
MODELS = pathlib.Path(os.environ.get("TL_TEST_MODELS", PROJECT / "target/test-models"))
MS, PLANTED = 20.0, 0.02


def compare(url, inputs, folder, seed, options):
    """The comparison's own document."""
    subprocess.run(
        [TOOL, "ab", "--quiet", "--url", url, "--model", "slow", "--input-file", f"x={inputs[0]}",
         "--b", f"input-file=x={inputs[1]}", "--difference", f"{PLANTED * 100}%", "--minutes", str(options.minutes),
         "--block", str(options.block), "--warm-up", "0.5", "--power", "none", "--seed", str(seed), "--output", folder],
        check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "ab.json").read_text())


def main():
    parser = argparse.ArgumentParser(description="Error rate and power of `ab` on a real server.")
    parser.add_argument("--same", type=int, default=200)
    parser.add_argument("--different", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--block", type=float, default=1)
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER")
    options = parser.parse_args()
    counts = {"same": {}, "different": {}}
    with tempfile.TemporaryDirectory() as temporary:
        place = pathlib.Path(temporary)
        model = place / "models/slow"
        (model / "1").mkdir(parents=True)
        (model / "1/model.savedmodel").symlink_to(MODELS / "slow/model.savedmodel")
        (model / "config.pbtxt").write_text('backend: "tensorflow_latency"\nmax_batch_size: 4\n')
        inputs = {}
        for name, factor in (("base", 1), ("longer", 1 + PLANTED)):
            inputs[name] = place / f"{name}.bin"
            inputs[name].write_bytes(struct.pack("<f", MS * factor))
        keep = options.keep or place / "results"
        with TritonServer(place / "models", ["slow"], backend=os.environ.get("TL_BACKEND")) as server:
            for kind, number in (("same", options.same), ("different", options.different)):
                other = inputs["longer" if kind == "different" else "base"]
                for seed in range(1, number + 1):
                    found = compare(server.http, (inputs["base"], other), keep / f"{kind}-{seed:03}", seed, options)
                    ratio = found["ratio"] or {}
                    counts[kind][found["outcome"]] = counts[kind].get(found["outcome"], 0) + 1
                    print(f"{kind} {seed}: {found['outcome']}, {len(found['rounds'])} rounds, "
                          f"{found['rounds'][-1]['seconds'] if found['rounds'] else 0:.0f} s, "
                          f"{ratio.get('value')} [{ratio.get('low')}, {ratio.get('high')}]", flush=True)
    print(json.dumps(counts))
    wrong = counts["same"].get("better", 0) + counts["same"].get("worse", 0)
    found = counts["different"].get("worse", 0)
    print(f"called different from itself: {wrong} of {options.same}; planted {PLANTED:.0%} found: {found} of "
          f"{options.different}")
    sys.exit(0 if wrong <= 0.05 * options.same and found >= 0.9 * options.different else 1)


if __name__ == "__main__":
    main()
