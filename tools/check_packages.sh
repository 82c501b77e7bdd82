#!/bin/sh
# Checks that the bindings crates can be published: `cargo publish --dry-run` packs each, and builds it from its package.
#   tools/check_packages.sh
# It asks the package registry. If that cannot be reached, `cargo package --offline` packs and builds all the same.
set -eu
cd "$(dirname "$0")/.."

for package in triton-backend-sys tensorflow-c-sys; do
    # Uncommitted changes are checked too.
    if problem=$(cargo publish --quiet --dry-run --allow-dirty -p "$package" 2>&1); then
        echo "$package ok"
    elif printf '%s\n' "$problem" | grep -q 'failed to download'; then
        cargo package --quiet --offline --allow-dirty -p "$package"
        echo "$package ok, without asking the registry, which cannot be reached"
    else
        printf '%s\n' "$problem" >&2
        exit 1
    fi
done
