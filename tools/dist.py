"""Builds, checks and packs the library for distribution.

    python tools/dist.py

Writes dist/tensorflow_latency-VERSION-MACHINE.tar.gz and its .sha256. The archive contains one folder, tensorflow_latency;
to install it, unpack it in a server's backend directory. The library requires no glibc newer than GLIBC, whatever machine
built it: zig links it against that version's symbols. The tools are those of requirements-dist.txt.

The same commit and the same Rust give the same bytes: paths of the build machine are replaced in the library, and the
archive has sorted names, the commit's time and no owner.
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import subprocess
import sys
import tarfile

import check_library
import notices

PROJECT = pathlib.Path(__file__).resolve().parent.parent
NAME = "tensorflow_latency"
LIBRARY = f"libtriton_{NAME}.so"
GLIBC = "2.17"  # of 2012; the minimum of Rust's standard library
MACHINES = ("x86_64", "aarch64")
CONTENTS = ("README.md", "LICENSE", "model_repository/inception_v3/config.pbtxt",
            "model_repository/make_inception_v3.py")


class DistError(Exception):
    """What is missing or went wrong, and what to do."""


def main():
    machine, target = find_target()
    missing = [name for name in CONTENTS if not (PROJECT / name).is_file()]
    if missing:
        raise DistError(f"Files for the archive are missing: {', '.join(missing)}")
    commit, time = find_commit()
    stamp = f"{NAME} {find_version()} ({commit})"

    print(f"Building {stamp} for glibc {GLIBC} (the first time 3 to 5 minutes)", flush=True)
    library = build(target, commit)
    if stamp.encode() not in library.read_bytes():
        raise DistError(f"The library does not contain the stamp '{stamp}': {library}")
    print(check_library.report(library, GLIBC), flush=True)

    files = {name: (PROJECT / name).read_bytes() for name in CONTENTS}
    files[LIBRARY] = library.read_bytes()
    files["THIRD-PARTY.txt"] = notices.write(cargo_metadata("--filter-platform", target), LIBRARY).encode()
    archive = PROJECT / "dist" / f"{NAME}-{find_version()}-{machine}.tar.gz"
    archive.parent.mkdir(exist_ok=True)
    pack(archive, {f"{NAME}/{name}": content for name, content in files.items()}, time)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{digest}  {archive.name}\n")
    print(f"{archive.relative_to(PROJECT)}: {archive.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


def run(*command, cwd=PROJECT, **options):
    """The command's standard output. Its stderr goes to the terminal."""
    try:
        process = subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.PIPE, text=True, **options)
    except FileNotFoundError:
        raise DistError(f"{command[0]} was not found.") from None
    except subprocess.CalledProcessError as error:
        raise DistError(f"`{' '.join(command[:3])} ...` ended with code {error.returncode}.") from None
    return process.stdout.strip()


def find_target():
    """This machine's architecture, and the Rust target for it with its standard library at hand."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in MACHINES:
        raise DistError(f"The library can be built on Linux on {' or '.join(MACHINES)}; this is {system} on {machine}.")
    target = f"{machine}-unknown-linux-gnu"
    folder = pathlib.Path(run("rustc", "--print", "target-libdir", "--target", target))
    if not any(folder.glob("libstd-*")):
        raise DistError(f"Rust's standard library for {target} is missing: rustup target add {target}")
    return machine, target


def find_commit():
    """(name, time in seconds) of the commit. Uncommitted changes show in the name."""
    try:
        commit = run("git", "rev-parse", "--short=12", "HEAD", stderr=subprocess.DEVNULL)
    except DistError:
        named = os.environ.get("TENSORFLOW_LATENCY_COMMIT")
        if not named:
            raise DistError("git finds no commit here. Build from a git checkout, or name the commit: "
                            "TENSORFLOW_LATENCY_COMMIT=...") from None
        return named, int(os.environ.get("SOURCE_DATE_EPOCH", 0))
    modified = run("git", "status", "--porcelain", "--untracked-files=no")
    return commit + ("-modified" if modified else ""), int(run("git", "log", "-1", "--format=%ct"))


def cargo_metadata(*options):
    return run("cargo", "metadata", "--format-version=1", "--locked", *options)


def find_version():
    packages = json.loads(cargo_metadata("--no-deps"))["packages"]
    return next(package["version"] for package in packages if package["name"] == NAME)


def build(target, commit):
    """The path of the library."""
    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or PROJECT / "target").absolute()
    cargo_home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo").absolute()
    # rustc uses the last prefix that matches, so a folder inside another one comes later.
    renamed = {cargo_home: "/cargo", PROJECT: "/source", target_dir: "/target"}
    environment = {
        **os.environ,
        # cargo-zigbuild is beside the Python that runs this script, and that Python has zig.
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "CARGO_ZIGBUILD_PYTHON_PATH": sys.executable,
        "CARGO_ZIGBUILD_CACHE_DIR": str(target_dir / "zig" / "wrappers"),
        "ZIG_GLOBAL_CACHE_DIR": str(target_dir / "zig" / "cache"),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(f"--remap-path-prefix={path}={name}" for path, name in renamed.items()),
        "TENSORFLOW_LATENCY_COMMIT": commit,
    }
    run("cargo", "zigbuild", "--manifest-path", str(PROJECT / "Cargo.toml"), "--profile", "dist", "--locked",
        "--package", NAME, "--target", f"{target}.{GLIBC}", "--target-dir", str(target_dir), env=environment)
    return target_dir / target / "dist" / LIBRARY


def pack(archive, files, time):
    """files: name in the archive -> content. The same files and time give the same bytes."""
    folders = {str(folder) for name in files for folder in pathlib.PurePosixPath(name).parents} - {"."}
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed, \
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(folders | set(files)):
            entry = tarfile.TarInfo(name)
            entry.mtime = time
            if name in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size, entry.mode = len(files[name]), 0o755 if name.endswith(".so") else 0o644
            tar.addfile(entry, io.BytesIO(files.get(name, b"")))


if __name__ == "__main__":
    try:
        main()
    except (DistError, check_library.CheckError) as error:
        sys.exit(str(error))
