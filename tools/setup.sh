#!/bin/sh
# Makes the virtual environment: TensorFlow, the official client, libclang and a Triton server.
#   tools/setup.sh [PYTHON]
# make runs it when .venv is missing or the requirements have changed. Everything goes into .venv; no root needed.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
venv=.venv

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# --- check before anything is downloaded ---

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
    stop "Set-up needs Linux on x86_64: the wheel with the Triton server exists for nothing else. This is $(uname -s)" \
        "on $(uname -m). \`cargo build --release\` builds the backend without set-up."

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
[ -n "$glibc" ] && [ "$(printf '%s\n' 2.35 "$glibc" | sort -V | head -n 1)" = 2.35 ] ||
    stop "The server executable needs glibc 2.35 or newer (Ubuntu 22.04, Debian 12, Fedora 36 and later);" \
        "this system has ${glibc:-none}."

command -v "$python" >/dev/null ||
    stop "No $python was found. Install Python 3.10 to 3.13, or name it: make PYTHON=/path/to/python3 ..."
version=$(version_of "$python") || stop "$python does not run. Name another Python 3.10 to 3.13: make PYTHON=..."
case $version in
3.10 | 3.11 | 3.12 | 3.13) ;;
*) stop "$python is Python $version; this project needs 3.10 to 3.13. Name one: make PYTHON=python3.12 ..." ;;
esac
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments (the modules venv and ensurepip are missing)." \
        "On Debian and Ubuntu: apt install python$version-venv"

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ -d $venv ] || [ "$free_mb" -ge 3000 ] ||
    stop "Setting up takes about 3 GB of disk; $free_mb MB are free in $(pwd)."

# --- install ---

# An environment of another Python version cannot be updated, only replaced.
if [ -d $venv ] && [ "$(version_of $venv/bin/python 2>&1)" != "$version" ]; then
    echo "Replacing .venv, which does not run Python $version"
    rm -rf $venv
fi
if [ ! -x $venv/bin/python ]; then
    echo "Making .venv with Python $version"
    "$python" -m venv $venv
fi
# One path for every Python version.
ln -sfn "lib/python$version/site-packages" $venv/site-packages

pip="$venv/bin/python -m pip --disable-pip-version-check"
echo "Installing TensorFlow, the Triton client and libclang: 400 MB to download, 1.5 GB on disk, 1 to 5 minutes"
$pip install --quiet --only-binary=:all: -r requirements.txt
echo "Installing the Triton server executable and the pictures: 70 MB to download, 0.2 GB on disk"
$pip install --quiet --only-binary=:all: --no-deps -r requirements-server.txt

# Files that the other commands rely on.
server=$venv/site-packages/pytriton/tritonserver/bin/tritonserver
for path in $server $venv/site-packages/tensorflow/libtensorflow_cc.so.2 $venv/site-packages/clang/native/libclang.so; do
    [ -e $path ] || stop "The installation is incomplete: $path is missing. Start afresh: make clean-venv setup"
done
chmod +x $server
# The exit code does not help: --help ends with a nonzero one. A missing library shows in the output.
help=$($server --help 2>&1 || true)
case $help in
*--model-repository*) ;;
*) stop "The server executable does not start: $help" ;;
esac
date > $venv/.ready
echo "Set-up is done"
