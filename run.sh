#!/usr/bin/env bash
# From a fresh checkout to a mounted k42fs in real use, in one command.
#
# Installs what is missing, mounts k42fs on mnt/ with 8 modelled processors, works in it with git, tar, sqlite, make
# and 8 writers at once, prints what the modelled machine saw, and unmounts. See --help.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$ROOT/scripts/setup.sh"
. "$ROOT/scripts/real_use.sh"

MNT=$ROOT/mnt
STEP_SECONDS=${STEP_SECONDS:-120}

usage() {
    cat <<'END'
usage: ./run.sh [--stay]

Installs what is missing, mounts k42fs on mnt/ (8 modelled processors), uses it for real (git, tar, sqlite, make,
parallel writers), prints its statistics, and unmounts. Exits non-zero if anything failed; nothing stays mounted.

  --stay   leave it mounted at the end, and say how to go on
  --help   this text

Debian packages are installed when run as root; otherwise the missing ones are named. Python packages go to .venv.
PYTHON chooses the interpreter (3.11 or newer). STEP_SECONDS bounds each step (120).
END
}

STAY=
for argument in "$@"; do
    case $argument in
        --stay) STAY=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown argument: $argument" ;;
    esac
done

SCRATCH=$(mktemp -d -t k42fs-run.XXXXXX)
LOG=$VENV/run.log # outlives this script with --stay
STEP_PID=
WATCHDOG_PID=
MOUNTED=

# Kill the process group $1, if there is one.
end_group() {
    [ -n "$1" ] || return 0
    disown "$1" 2>/dev/null || true # or bash would report its end
    kill -KILL -- "-$1" 2>/dev/null || true
}

# Runs at every end: normal, failed, Ctrl-C, SIGTERM.
cleanup() {
    local status=$?
    trap '' INT TERM HUP
    set +e # every part of this is tried
    end_group "$STEP_PID"
    end_group "$WATCHDOG_PID"
    if [ -n "$MOUNTED" ]; then
        timeout 20 "$VENV/bin/k42fs" umount "$MNT" >/dev/null 2>&1 || force_unmount "$MNT" || status=1
    fi
    rm -rf "$SCRATCH"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# step TEXT FUNCTION: run the function in a process group of its own, so that a signal ends all of it at once and a
# file system that hangs cannot hang this script; then print the line.
step() {
    local text=$1 start=$EPOCHREALTIME output=$SCRATCH/step.log
    set -m
    (set -e; cd "$MNT"; "$2") >"$output" 2>&1 </dev/null &
    STEP_PID=$!
    (sleep "$STEP_SECONDS"; kill -KILL -- "-$STEP_PID") >/dev/null 2>&1 &
    WATCHDOG_PID=$!
    disown "$WATCHDOG_PID" # or bash would report its end
    set +m
    local status=0
    wait "$STEP_PID" || status=$?
    STEP_PID=
    end_group "$WATCHDOG_PID"
    WATCHDOG_PID=
    if [ "$status" -eq 0 ]; then
        printf '  ok      %-58s %5s s\n' "$text" "$(seconds_since "$start")"
        return
    fi
    printf '  FAILED  %-58s %5s s\n' "$text" "$(seconds_since "$start")"
    {
        [ "$status" -ne 137 ] || say "--- killed; a step has $STEP_SECONDS s (STEP_SECONDS changes that)"
        say "--- the step's output (exit status $status), last lines:"
        tail -n 25 "$output"
        say "--- the daemon's log, last lines:"
        tail -n 25 "$LOG" 2>/dev/null || say "(empty)"
    } >&2
    exit 1
}

# Read the statistics, and say which path the directory has whose locks were waited for most.
name_hot_directory() {
    local inode path
    inode=$(awk '$1 == "DirObject" && $2 ~ /^[0-9]+$/ && !seen { print $2; seen = 1 }')
    [ -n "$inode" ] || return 0
    path=$(timeout 60 find "$MNT" -xdev -type d -inum "$inode" -print -quit) || true
    [ -z "$path" ] || say "# DirObject $inode, the first above, is ${path#"$ROOT/"}"
}

STARTED=$EPOCHREALTIME
require_packages fuse3 libfuse3-dev pkg-config gcc libc6-dev git make sqlite3 tar
require_fuse
setup_venv
say "set-up: $(seconds_since "$STARTED") s, $("$VENV/bin/python" -V)"

if is_mounted "$MNT"; then
    if timeout 5 stat "$MNT" >/dev/null 2>&1; then
        fail "mnt/ is in use by another mount, perhaps of run.sh --stay; end it with: .venv/bin/k42fs umount mnt"
    fi
    say "taking off a dead mount from mnt/"
    force_unmount "$MNT" || fail "mnt/ holds a dead mount that cannot be taken off"
fi
rm -f "$LOG"
MOUNTED=1
begin=$EPOCHREALTIME
if ! "$VENV/bin/k42fs" mount -o "processors=8,log=$LOG" "$MNT"; then
    tail -n 25 "$LOG" >&2 2>/dev/null || true
    fail "k42fs did not mount on mnt/"
fi
printf '  ok      %-58s %5s s\n' "mount on mnt/, 8 modelled processors" "$(seconds_since "$begin")"

prepare_git
step "git clone of this repository" use_git_clone
step "git fsck of the clone" use_git_fsck
step "git commit in the clone" use_git_commit
step "tar round trip, compared by content, mode and time" use_tar
step "sqlite: 20,000 rows, index, vacuum, WAL, integrity check" use_sqlite
step "C project of 20 files: make -j4, run, nothing left to make" use_make
step "8 processes create and write 800 files in one directory" use_writers

say
statistics=$("$VENV/bin/k42fs" stats "$MNT")
say "$statistics"
name_hot_directory <<<"$statistics"
say
if [ -n "$STAY" ]; then
    MOUNTED=
    say "All steps passed in $(seconds_since "$STARTED") s. k42fs stays mounted on mnt/. Go on with:"
    say "  cd mnt                            work in it with any tool"
    say "  .venv/bin/k42fs stats mnt         what the modelled machine saw"
    say "  .venv/bin/k42fs --help            everything else"
    say "  .venv/bin/k42fs umount mnt        the end; its log is ${LOG#"$ROOT/"}"
else
    "$VENV/bin/k42fs" umount "$MNT"
    MOUNTED=
    say "All steps passed in $(seconds_since "$STARTED") s; unmounted."
fi
