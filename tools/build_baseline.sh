#!/bin/sh
# Builds the backend of a revision, once, and prints the path of the library.
#   build_baseline.sh REVISION PYTHON
# The sources go to target/baseline/COMMIT, what is built of all revisions to target/baseline/build.
set -eu
cd "$(dirname "$0")/.."
revision=$1 python=$2
baseline=$PWD/target/baseline
file=libtriton_tensorflow_latency.so

commit=$(git rev-parse --verify --quiet "$revision^{commit}") || {
    echo "BASELINE=$revision: git knows no such revision" >&2
    exit 1
}
folder=$baseline/$commit
if [ ! -f "$folder/$file" ]; then
    echo "Building the backend of $revision, 1 to 3 minutes: target/baseline/$commit" >&2
    rm -rf "$folder"
    mkdir -p "$folder/source"
    git archive "$commit" | tar -C "$folder/source" -x
    # Revisions whose bindings are made at each build need libclang.
    if [ ! -e "${LIBCLANG_PATH:-}/libclang.so" ] && grep -q '^libclang==' "$folder/source/requirements.txt"; then
        export LIBCLANG_PATH="$baseline/libclang/clang/native"
        [ -e "$LIBCLANG_PATH/libclang.so" ] ||
            "$python" -m pip --disable-pip-version-check install --quiet --only-binary=:all: \
                --target "$baseline/libclang" "$(grep -o '^libclang==[0-9.]*' "$folder/source/requirements.txt")" >&2
    fi
    # Named, since git would tell the commit of the repository around it.
    (cd "$folder/source" && TENSORFLOW_LATENCY_COMMIT=$(git rev-parse --short=12 "$commit") \
        CARGO_TARGET_DIR=$baseline/build cargo build --release --locked >&2)
    cp "$baseline/build/release/$file" "$folder/"
fi
echo "$folder/$file"
