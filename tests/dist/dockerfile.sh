#!/bin/sh
# Builds docker/Dockerfile on images like NVIDIA's and serves a model from the results: once on an image with TensorFlow,
# once on one without, where the wheel's libraries are installed. The first runs as the image's own user, the second as another.
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
    # Without layers that would remain afterwards.
    *podman*) set -- --pull=never --layers=false "$@" ;;
    esac
    $TL_ENGINE build --network=host $(limits) --tag "$name:$tag" "$@" >"$folder/build.log" 2>&1 ||
        stop "The image could not be built:" "$(cat "$folder/build.log")"
}

# The build log says where TensorFlow comes from.
derive() {
    tag=$1
    says=$2
    set -- --build-arg BASE="$name:$tag-base" --file docker/Dockerfile .
    case $TL_ENGINE in
    # The machine's network may have a certificate authority of its own.
    *podman*) set -- --volume=/etc/ssl/certs:/etc/ssl/certs:ro "$@" ;;
    esac
    build "$tag" "$@"
    grep -F "$says" "$folder/build.log" || stop "The build log does not contain '$says':" "$(cat "$folder/build.log")"
}

echo "An image with TensorFlow"
# For the build it is enough that the library contains the name of a function that the backend needs.
cat >"$folder/Dockerfile" <<END
FROM $TL_IMAGE
RUN mkdir -p /opt/tritonserver/backends/tensorflow2 && \\
    echo TF_LoadSessionFromSavedModel >/opt/tritonserver/backends/tensorflow2/libtensorflow_cc.so.2
END
build own-base "$folder"
derive own "Using the image's TensorFlow: /opt/tritonserver/backends/tensorflow2/libtensorflow_cc.so.2"
# The real library replaces that file.
"$python" tests/dist/serve_installed.py --image "$name:own" --expect "Triton's TensorFlow backend" \
    --volume "$TL_TENSORFLOW_DIR:/opt/tritonserver/backends/tensorflow2:ro" -- $TL_ENGINE run $(limits)

echo "An image without TensorFlow"
cat >"$folder/Dockerfile" <<END
FROM $TL_IMAGE
RUN command -v pip3 || (apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-pip)
END
build none-base "$folder"
derive none "TensorFlow: /opt/tritonserver/backends/tensorflow_latency/libtensorflow_cc.so.2"
# Clusters such as OpenShift choose a user of their own.
"$python" tests/dist/serve_installed.py --image "$name:none" --expect "the backend's own folder" \
    -- $TL_ENGINE run $(limits) --user=23456:34567
