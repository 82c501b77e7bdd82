#!/bin/sh
# Checks the Rust dependencies of all packages: licences, sources, bans, and security advisories.
#   tools/check_dependencies.sh CARGO_DENY
# The advisories are checked twice: what is shipped, without any exception (deny.toml), and everything, with the exceptions
# for dev-dependencies (deny_dev.toml). They are a git repository on GitHub. If it cannot be reached, the copy of an earlier
# run is used; if there is none, that one check is skipped with a message. The others need no network.
set -eu
cd "$(dirname "$0")/.."
deny=$1

# The crate `tensorflow` and its `protobuf` are for tests and benchmarks; the library does without them.
tree=$(cargo tree --edges normal,build --target all --prefix none --package tensorflow_latency)
if printf '%s\n' "$tree" | grep -E '^(tensorflow|tensorflow-sys[a-z-]*|tensorflow-internal-macros|protobuf[a-z-]*) v' >&2; then
    echo "the library depends on the crates above, which must stay dev-dependencies: see" >&2
    echo "    cargo tree --edges normal,build --package tensorflow_latency --invert CRATE" >&2
    exit 1
fi
echo "library without the crates tensorflow and protobuf ok"

"$deny" --workspace check bans licenses sources

check_advisories() {
    "$deny" --offline --workspace --exclude-dev --config deny.toml check advisories &&
        "$deny" --offline --workspace --config deny_dev.toml check advisories
}

if problem=$("$deny" fetch db 2>&1); then
    check_advisories
    exit
fi
if output=$(check_advisories 2>&1); then
    echo "advisories ok, with the database of an earlier run: it could not be updated"
elif printf '%s\n' "$output" | grep -q 'advisories FAILED' ||
    ! printf '%s\n' "$problem" | grep -q 'advisory database'; then
    printf '%s\n' "$problem" "$output" >&2
    exit 1
else
    echo "advisories NOT CHECKED, because their database cannot be fetched:" >&2
    printf '%s\n' "$problem" | grep -m 1 fatal >&2 || printf '%s\n' "$problem" >&2
fi
