#!/usr/bin/env bash
# Every check of the repository in one command: ruff, mypy, pytest. See --help.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$ROOT/scripts/setup.sh"

usage() {
    cat <<'END'
usage: ./test.sh [argument of pytest]...

Installs what is missing (as run.sh does, and what the tests need on top), then runs ruff, mypy and pytest, and prints
a summary. Exits non-zero if one of them failed. Arguments go to pytest: ./test.sh -k rename, ./test.sh -m soak
END
}

case ${1:-} in
    -h | --help) usage; exit 0 ;;
esac

# Whatever the tests mount is below this directory, so that nobody else's mount is touched at the end.
SCRATCH=$(mktemp -d -t k42fs-test.XXXXXX)
JOB=

cleanup() {
    local status=$? place
    trap '' INT TERM HUP
    set +e # every part of this is tried
    if [ -n "$JOB" ]; then
        kill -TERM -- "-$JOB" 2>/dev/null && sleep 1
        kill -KILL -- "-$JOB" 2>/dev/null || true
    fi
    # Topmost first: a mount may be inside another.
    awk -v below="$SCRATCH/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | tac | while read -r place; do
        say "left behind, taken off now: $place"
        force_unmount "$(printf '%b' "$place")" || true
    done
    rm -rf --one-file-system "$SCRATCH"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

SUMMARY=()
FAILED=0

# check NAME COMMAND...: run it in a process group of its own, so that a signal ends all of it, and note how it went.
check() {
    local name=$1 start=$EPOCHREALTIME status=0 word=ok
    shift
    say "--- $name"
    set -m
    "$@" </dev/null &
    JOB=$!
    set +m
    wait "$JOB" || status=$?
    JOB=
    if [ "$status" -ne 0 ]; then
        FAILED=1 word=FAILED
    fi
    SUMMARY+=("$(printf '  %-7s %-20s %6s s' "$word" "$name" "$(seconds_since "$start")")")
}

STARTED=$EPOCHREALTIME
require_packages fuse3 libfuse3-dev pkg-config gcc libc6-dev git make tar rsync fio attr acl sqlite3 strace babeltrace2 nodejs
require_fuse
setup_venv test
say "set-up: $(seconds_since "$STARTED") s, $("$VENV/bin/python" -V)"

cd "$ROOT"
export TMPDIR=$SCRATCH XDG_STATE_HOME=$SCRATCH/state
check "ruff check" "$VENV/bin/ruff" check .
check "ruff format" "$VENV/bin/ruff" format --check .
check "mypy" "$VENV/bin/mypy"
# Two workers, a file of tests at a time: the suite waits for mounts and children as often as it computes.
check "pytest" "$VENV/bin/python" -m pytest -n 2 --dist loadfile --basetemp="$SCRATCH/pytest" "$@"

say
say "summary ($(seconds_since "$STARTED") s)"
printf '%s\n' "${SUMMARY[@]}"
exit "$FAILED"
