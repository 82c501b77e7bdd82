#!/bin/sh
# Checks the Rust dependencies: licences, sources, bans, and known security advisories. Two times: what is shipped, against
# deny.toml, and everything including what only development needs, against deny-dev.toml.
#   tools/check_dependencies.sh CARGO_DENY
# The advisories are a git repository on GitHub. Where it cannot be reached, the copy of an earlier run is used; where
# there is none, that one check is left out, with a message. The others need no network.
set -eu
cd "$(dirname "$0")/.."
deny=$1

# Runs checks, for what is shipped and for everything. The first argument is an option of cargo-deny, or empty.
check() {
    option=$1
    shift
    "$deny" $option --exclude-dev --config deny.toml check "$@" && "$deny" $option --config deny-dev.toml check "$@"
}

check "" bans licenses sources

if problem=$("$deny" fetch db 2>&1); then
    check --offline advisories
    exit
fi
if output=$(check --offline advisories 2>&1); then
    echo "advisories ok, by the database of an earlier run: it could not be updated"
elif printf '%s\n' "$output" | grep -q 'advisories FAILED' ||
    ! printf '%s\n' "$problem" | grep -q 'advisory database'; then
    printf '%s\n' "$problem" "$output" >&2
    exit 1
else
    echo "advisories NOT CHECKED, since their database cannot be fetched:" >&2
    printf '%s\n' "$problem" | grep -m 1 fatal >&2 || printf '%s\n' "$problem" >&2
fi
