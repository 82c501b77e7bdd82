#!/bin/sh
# Runs a command with TL_TRITONSERVER set to a server in a container, and removes containers that are left afterwards.
#   run.sh PYTHON COMMAND...
# TL_ENGINE      the container engine; empty: podman or docker, whichever works
# TRITON_IMAGE   an image with a Triton server in it; empty: one of glibc 2.31 and tritonserver 2.28.0, made once
# TENSORFLOW     image: the TensorFlow that the image ships; mount: the one of TL_TENSORFLOW_DIR;
#                empty: the image's where it ships one
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/engine.sh"
python=$1
shift
work=$PWD/target/container
mkdir -p "$work"

find_engine
if [ -n "${TRITON_IMAGE:-}" ]; then
    TL_IMAGE=$TRITON_IMAGE
    $TL_ENGINE image inspect "$TL_IMAGE" >/dev/null 2>&1 || {
        echo "Pulling $TL_IMAGE"
        $TL_ENGINE pull "$TL_IMAGE" ||
            stop "The image '$TL_IMAGE' (from TRITON_IMAGE) is not present and cannot be pulled."
    }
else
    # Named after the script's checksum, so that a changed script makes a new image.
    TL_IMAGE=tensorflow_latency_test_server:$(cksum <"$here/make_image.sh" | cut -d' ' -f1)
    $TL_ENGINE image inspect "$TL_IMAGE" >/dev/null 2>&1 ||
        TL_ENGINE=$TL_ENGINE sh "$here/make_image.sh" "$TL_IMAGE" "$work/image" "$python"
fi
choose_runtime "$TL_IMAGE"
echo "Servers run in containers: $TL_ENGINE, image $TL_IMAGE"

# Runs a shell line in the image.
inside() {
    $TL_ENGINE run --rm --pull=never --network=host $(limits) --entrypoint /bin/sh "$@"
}

shipped=$(inside "$TL_IMAGE" -c '
    for folder in /opt/tritonserver/backends/tensorflow2 /opt/tritonserver/backends/tensorflow; do
        for file in "$folder"/libtensorflow_cc.so*; do
            if [ -e "$file" ]; then echo "$folder"; exit; fi
        done
    done')
case ${TENSORFLOW:-}:$shipped in
image:) stop "TENSORFLOW=image, but the image $TL_IMAGE ships no libtensorflow_cc.so in /opt/tritonserver/backends." ;;
image:* | :?*)
    # The tests link TensorFlow into many places, so they get a copy; one test checks that the original is found.
    TL_TENSORFLOW_DIR=$work/tensorflow
    rm -rf "$TL_TENSORFLOW_DIR"
    mkdir -p "$TL_TENSORFLOW_DIR"
    inside "$TL_IMAGE" -c "cd $shipped && tar -ch libtensorflow_*.so*" | tar -C "$TL_TENSORFLOW_DIR" -x
    echo "TensorFlow: the image's own, from $shipped"
    ;;
mount: | : | mount:*)
    echo "TensorFlow: $TL_TENSORFLOW_DIR, mounted"
    ;;
*) stop "TENSORFLOW is '$TENSORFLOW'; expected image or mount." ;;
esac

TL_RUN=$$-$(date +%s)
TL_TRITONSERVER=$here/tritonserver
TL_SHIPPED_TENSORFLOW=$shipped
export TL_ENGINE TL_IMAGE TL_RUN TL_TRITONSERVER TL_TENSORFLOW_DIR TL_SHIPPED_TENSORFLOW

# Each server ends with its test, the shared one soon after all of them; this is for a run that was killed.
remove_left_overs() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$($TL_ENGINE ps --quiet --filter "label=tensorflow_latency=$TL_RUN")" ] || break
        sleep 1
    done
    for id in $($TL_ENGINE ps --all --quiet --filter "label=tensorflow_latency=$TL_RUN"); do
        echo "Removing the container $id, which outlived the tests" >&2
        $TL_ENGINE rm --force "$id" >/dev/null
    done
}
trap remove_left_overs EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
code=0
"$@" || code=$?
exit $code
