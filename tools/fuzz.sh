#!/bin/sh
# Fuzzes each target of fuzz/ for some seconds, from the corpus that is committed and what earlier runs found.
#   tools/fuzz.sh CARGO_FUZZ_FOLDER SECONDS [TARGET...]
# What a run finds is kept in target/fuzz/corpus; an input that fails, in target/fuzz/artifacts, with the command that repeats
# it. Each finding becomes a test of the code that it was found in.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/$1/bin:$PATH
seconds=$2
shift 2

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "Fuzzing needs Rust's nightly toolchain, which is not installed: rustup toolchain install nightly" >&2
    exit 1
fi
case $seconds in
'' | *[!0-9]* | 0*) echo "SECONDS is '$seconds'; expected a whole number of seconds, 1 or more" >&2 && exit 1 ;;
esac

echo "Building the targets (5 minutes, once)"
cargo +nightly fuzz build --fuzz-dir fuzz --target-dir target/fuzz
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list --fuzz-dir fuzz)

failed=
for target in "$@"; do
    found=target/fuzz/corpus/$target
    artifacts=target/fuzz/artifacts/$target/
    log=target/fuzz/$target.log
    mkdir -p "$found" "$artifacts"
    # A megabyte is more than the corpus has, and 20 s more than any input may take. Leaks are looked for at the end.
    if "target/fuzz/$triple/release/$target" "$found" "fuzz/corpus/$target" -artifact_prefix="$artifacts" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 \
        -verbosity=1 >"$log" 2>&1; then
        executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$target: $executions executions in $seconds s, no fault"
    else
        failed="$failed $target"
        echo "$target: FAILED" >&2
        grep -a -v '^#' "$log" | tail -n 40 >&2
        echo "To repeat it: target/fuzz/$triple/release/$target FILE, with the file that is named above" >&2
    fi
done
if [ -n "$failed" ]; then
    echo "Fuzzing found faults in:$failed" >&2
    exit 1
fi
