#!/bin/sh
# Runs the test `host` with the backend, the server and the standard library built for a sanitizer of the nightly toolchain:
# AddressSanitizer with TensorFlow, ThreadSanitizer with the stand-in for TensorFlow, which it sees wholly.
#
#   sh tools/sanitize_host.sh address|thread [ARGUMENTS OF THE TEST PROGRAM]
set -eu
cd "$(dirname "$0")/.."
sanitizer=$1
shift

missing() {
  echo "${sanitizer}: the sanitizer was not run: $1"
  exit 0
}
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain (rustup toolchain install nightly)"
test -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/std" ||
  missing "the nightly toolchain has no sources of std (rustup component add rust-src --toolchain nightly)"

target=$(rustc +nightly -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="$PWD/target/sanitizer-$sanitizer"
export RUSTFLAGS="-Zsanitizer=$sanitizer"
# Optimised as little as makes it quick: optimisation across crates takes minutes and finds nothing.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
built=$CARGO_TARGET_DIR/$target/release
echo "Building for the sanitizer: $sanitizer"
in_release() {
  cargo +nightly "$@" --release --target "$target" -Zbuild-std
}
in_release build --quiet -p tensorflow_latency --lib
in_release build --quiet -p triton-host --example stand_in_tensorflow
program=$(in_release test --quiet -p triton-host --test host --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\/host-[^"]*\)".*/\1/p')

export TL_BACKEND="$built/libtriton_tensorflow_latency.so"
case $sanitizer in
  address)
    # TensorFlow keeps what it makes once; what the backend keeps of the server's, the test counts itself.
    export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0
    ;;
  thread)
    folder=$CARGO_TARGET_DIR/tensorflow
    mkdir -p "$folder"
    ln -sf "$built/examples/libstand_in_tensorflow.so" "$folder/libtensorflow.so"
    export TL_TENSORFLOW_DIR="$folder"
    export TSAN_OPTIONS="halt_on_error=1:suppressions=$PWD/tests/host/thread_sanitizer.supp"
    ;;
esac
"$program" "$@"
