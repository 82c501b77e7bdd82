#!/bin/sh
# Installs TensorFlow for the backend in a Triton image, unless the image has one where the backend looks for it.
#   install_tensorflow.sh VERSION [BACKENDS]
# Keeps only the wheel's two libraries, beside the backend, where it finds them without an option.
set -eu
version=$1
backends=${2:-/opt/tritonserver/backends}
backend=$backends/tensorflow_latency

[ -f "$backend/libtriton_tensorflow_latency.so" ] || {
    echo "$backend holds no libtriton_tensorflow_latency.so: build the archive with \`make dist\` first" >&2
    exit 1
}

for folder in "$backends/tensorflow2" "$backends/tensorflow"; do
    for name in libtensorflow.so libtensorflow.so.2 libtensorflow_cc.so.2 libtensorflow_cc.so; do
        [ -f "$folder/$name" ] || continue
        # The backend needs the C API, which a library built for one program may not export.
        if grep -q TF_LoadSessionFromSavedModel "$folder/$name"; then
            echo "Using the image's TensorFlow: $folder/$name"
            exit
        fi
        echo "Ignoring the image's TensorFlow, which does not export the C API: $folder/$name"
    done
done

command -v python3 >/dev/null && python3 -m pip --version >/dev/null || {
    echo "The image has neither TensorFlow nor python3 with pip to install it: use one of the images '...-py3'" >&2
    exit 1
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "Installing the libraries of tensorflow-cpu $version"
python3 -m pip download --quiet --no-cache-dir --no-deps --only-binary=:all: --dest "$folder" "tensorflow-cpu==$version"
python3 - "$folder" "$backend" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder, backend = map(pathlib.Path, sys.argv[1:])
wheel, = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2"):
        with archive.open(f"tensorflow/{name}") as source, open(backend / name, "wb") as target:
            shutil.copyfileobj(source, target)
        (backend / name).chmod(0o755)
PYTHON
echo "TensorFlow: $backend/libtensorflow_cc.so.2"
