#!/usr/bin/env bash
# Make the lock files anew: pinned versions, every file's hash, no address of any index.
#
#   scripts/lock.sh [--upgrade]
#
# Needs uv (pip install uv); neither run.sh nor test.sh does. The indexes are the caller's own settings.
# --universal keeps one lock valid for every Linux machine and every Python from 3.11 on; what only Windows needs is left
# out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() { # <lock> <input or option>...
    local lock=$1
    shift
    {
        printf '# Made by scripts/lock.sh: pinned versions with hashes. Do not edit by hand.\n'
        uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
            --no-annotate --no-strip-extras --no-emit-package cffi --no-emit-package pycparser \
            --no-emit-package colorama "$@"
    } >"$lock.new"
    if grep -nE 'https?://|file://|--(extra-)?index-url|--find-links' "$lock.new"; then
        echo "$lock: an address got into the lock" >&2
        rm -f "$lock.new"
        return 1
    fi
    mv "$lock.new" "$lock"
    printf '%s: %s packages\n' "$lock" "$(grep -c '==' "$lock")"
}

options=("$@")
compile requirements-build.lock scripts/requirements-build.in ${options[@]+"${options[@]}"}
compile requirements.lock pyproject.toml --constraint requirements-build.lock ${options[@]+"${options[@]}"}
compile requirements-test.lock pyproject.toml --extra test --constraint requirements.lock \
    ${options[@]+"${options[@]}"}
