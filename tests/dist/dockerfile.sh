#!/bin/sh
# Builds docker/Dockerfile on images like NVIDIA's and serves a model from the results: once where the image has a
# TensorFlow of its own, once where it has none and the wheel's libraries are installed.
#   tests/container/run.sh PYTHON sh tests/dist/dockerfile.sh PYTHON
# run.sh names the engine and the image with the server. `make test-dockerfile` does it all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
. tests/container/engine.sh
python=$1
name=tensorflow_latency_test_dockerfile
folder=$(mktemp -d)

clean_up() {
    rm -rf "$folder"
    for tag in own none; do
        $TL_ENGINE rmi --force "$name:$tag" "$name:$tag-base" >/dev/null 2>&1 || true
    done
}
trap clean_up EXIT

build() {
    tag=$1
    shift
    case $TL_ENGINE in
    # Without layers that stay behind.
    *podman*) set -- --pull=never --layers=false "$@" ;;
    esac
    $TL_ENGINE build --network=host $(limits) --tag "$name:$tag" "$@" >"$folder/build.log" 2>&1 ||
        stop "The image could not be built:" "$(cat "$folder/build.log")"
}

# Building says where TensorFlow comes from.
derive() {
    tag=$1
    says=$2
    set -- --build-arg BASE="$name:$tag-base" --file docker/Dockerfile .
    case $TL_ENGINE in
    # The machine's network may have a certificate authority of its own.
    *podman*) set -- --volume=/etc/ssl/certs:/etc/ssl/certs:ro "$@" ;;
    esac
    build "$tag" "$@"
    grep -F "$says" "$folder/build.log" || stop "Building says nowhere '$says':" "$(cat "$folder/build.log")"
}

echo "An image with a TensorFlow of its own"
# For building it is enough that a library has the name of the function that the backend needs of it.
cat >"$folder/Dockerfile" <<END
FROM $TL_IMAGE
RUN mkdir -p /opt/tritonserver/backends/tensorflow2 && \\
    echo TF_LoadSessionFromSavedModel >/opt/tritonserver/backends/tensorflow2/libtensorflow_cc.so.2
END
build own-base "$folder"
derive own "The image's own TensorFlow serves: /opt/tritonserver/backends/tensorflow2/libtensorflow_cc.so.2"
# The real one takes that file's place.
"$python" tests/dist/serve_installed.py --image "$name:own" --expect "Triton's TensorFlow backend" \
    --volume "$TL_TENSORFLOW_DIR:/opt/tritonserver/backends/tensorflow2:ro" -- $TL_ENGINE run $(limits)

echo "An image without"
cat >"$folder/Dockerfile" <<END
FROM $TL_IMAGE
RUN command -v pip3 || (apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-pip)
END
build none-base "$folder"
derive none "TensorFlow: /opt/tritonserver/backends/tensorflow_latency/libtensorflow_cc.so.2"
"$python" tests/dist/serve_installed.py --image "$name:none" --expect "the backend's own folder" \
    -- $TL_ENGINE run $(limits)
