"""Fetches the libraries of the oldest and the newest TensorFlow that this Python can install.

    tensorflow_versions.py FOLDER [VERSION...]

puts them into FOLDER/VERSION (0.6 to 0.9 GB each, from wheels of 0.2 to 0.3 GB) and prints those folders. VERSION is
`oldest`, `newest` or a version such as 2.15.0; the default is oldest and newest. Only the libraries that the backend opens
and the headers of the C API are kept: nothing is installed, and no Python of TensorFlow runs.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "tensorflow-cpu"
# Since 2.12 the wheels have the C API in a library of its own.
FIRST = (2, 12)
LIBRARIES = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"]
# The headers of the C API, what they include, and the version.
C_API = "include/tensorflow/c/c_api.h"
HEADERS = re.compile(r"tensorflow/(include/(tensorflow/(c|core/platform|core/public|tsl|compiler/xla/tsl)|tsl|xla/tsl)/.*\.h)")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:] or ["oldest", "newest"]
    versions = available() if {"oldest", "newest"} & set(wanted) else []
    for version in dict.fromkeys({"oldest": versions[:1], "newest": versions[-1:]}.get(v, [v])[0] for v in wanted):
        print(fetch(folder, version), flush=True)


def available():
    """The final versions that pip would install on this Python, oldest first."""
    listing = subprocess.run([*PIP, "index", "versions", PACKAGE], capture_output=True, text=True)
    found = re.search(r"^Available versions: (.*)$", listing.stdout, re.MULTILINE)
    if not found:
        sys.exit(f"pip does not list the versions of {PACKAGE} for this Python: {listing.stderr or listing.stdout}")
    versions = [v for v in found[1].split(", ") if re.fullmatch(r"\d+\.\d+\.\d+", v)]
    versions = sorted(versions, key=number)
    usable = [v for v in versions if number(v)[:2] >= FIRST]
    return usable or sys.exit(f"{PACKAGE} has no version from {FIRST} on for this Python, only {versions}")


def number(version):
    return tuple(int(part) for part in version.split("."))


def fetch(folder, version):
    target = folder / version
    if all((target / name).is_file() for name in [*LIBRARIES, C_API]):
        return target
    print(f"Fetching {PACKAGE} {version}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    # Made in a scratch folder and renamed, so that an interrupted run leaves nothing incomplete.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        scratch = pathlib.Path(scratch)
        subprocess.run(
            [*PIP, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", scratch, f"{PACKAGE}=={version}"],
            check=True,
        )
        (wheel,) = scratch.glob("*.whl")
        made = scratch / "made"
        made.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            headers = [match[1] for match in map(HEADERS.fullmatch, archive.namelist()) if match]
            for name in [*LIBRARIES, *headers]:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"tensorflow/{name}") as source, open(made / name, "wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


if __name__ == "__main__":
    main()
