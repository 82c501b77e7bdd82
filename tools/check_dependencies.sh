#!/bin/sh
# Checks the Rust dependencies against deny.toml: licences, sources, bans, and security advisories.
#   tools/check_dependencies.sh CARGO_DENY
# The advisories are a git repository on GitHub. If it cannot be reached, the copy of an earlier run is used; if there is
# none, that one check is skipped with a message. The others need no network.
set -eu
cd "$(dirname "$0")/.."
deny=$1

"$deny" check bans licenses sources

if problem=$("$deny" fetch db 2>&1); then
    "$deny" --offline check advisories
    exit
fi
if output=$("$deny" --offline check advisories 2>&1); then
    echo "advisories ok, with the database of an earlier run: it could not be updated"
elif printf '%s\n' "$output" | grep -q 'advisories FAILED' ||
    ! printf '%s\n' "$problem" | grep -q 'advisory database'; then
    printf '%s\n' "$problem" "$output" >&2
    exit 1
else
    echo "advisories NOT CHECKED, because their database cannot be fetched:" >&2
    printf '%s\n' "$problem" | grep -m 1 fatal >&2 || printf '%s\n' "$problem" >&2
fi
