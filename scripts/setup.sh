# Set-up shared by run.sh and test.sh; sourced, not run. Wants ROOT, the checkout, and `set -euo pipefail`.
#
#   require_packages PACKAGE...   install the Debian packages of that list that are missing, or name them and fail
#   require_python                the same for a Python that can build pyfuse3; sets PYTHON
#   require_fuse                  fail unless /dev/fuse can be opened
#   setup_venv [test]             make .venv as the locks say; nothing to do if it is already so
#
# A failure is one line on standard error and exit status 1.

VENV=$ROOT/.venv
export LC_ALL=C.UTF-8 # decimal points, sort orders and messages are read by the scripts

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Print the seconds since $1, a value of EPOCHREALTIME.
seconds_since() { awk -v start="$1" -v end="$EPOCHREALTIME" 'BEGIN { printf "%.1f", end - start }'; }

# Succeed if what the Debian package $1 is wanted for is there, however it came.
have_package() {
    case $1 in
        acl) command -v setfacl ;;
        attr) command -v getfattr ;;
        fuse3) command -v fusermount3 ;;
        babeltrace2 | gcc | fio | git | make | pkg-config | rsync | sqlite3 | strace | tar) command -v "$1" ;;
        nodejs) command -v node ;;
        libc6-dev) echo '#include <stdio.h>' | gcc -E -x c - ;;
        libfuse3-dev) pkg-config --exists 'fuse3 >= 3.2' ;;
    esac >/dev/null 2>&1
}

# Install the packages given, all of them missing, as root; otherwise say which they are.
install_packages() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        fail "these Debian packages are missing: $* (as root: apt-get install $*)"
    fi
    say "installing Debian packages: $*"
    local log
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: $*"
    fi
    rm -f "$log"
}

# Succeed if $1 is a Python 3.11 or newer that can make virtual environments and compile extensions.
usable_python() {
    "$1" - <<'END' >/dev/null 2>&1
import ensurepip, os, sys, sysconfig, venv
ok = sys.version_info >= (3, 11) and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(not ok)
END
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 python3.12 python3.13 /usr/bin/python3; do
        if usable_python "$candidate"; then
            PYTHON=$(command -v "$candidate")
            return 0
        fi
    done
    return 1
}

missing_packages() {
    MISSING=()
    local package
    for package in "$@"; do
        have_package "$package" || MISSING+=("$package")
    done
}

# Everything at once, so that one `apt-get update` is enough and a user without root reads the whole list.
require_packages() {
    missing_packages "$@"
    find_python || MISSING+=(python3 python3-venv python3-dev)
    if [ ${#MISSING[@]} -gt 0 ]; then
        install_packages "${MISSING[@]}"
    fi
    missing_packages "$@"
    [ ${#MISSING[@]} -eq 0 ] || fail "still missing after apt-get install: ${MISSING[*]}"
    find_python || fail "no Python 3.11 or newer with venv and headers; set PYTHON to one"
}

require_fuse() {
    if [ ! -e /dev/fuse ] && [ "$(id -u)" -eq 0 ]; then
        modprobe fuse 2>/dev/null || true
    fi
    [ -e /dev/fuse ] || fail "/dev/fuse is missing (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
    (: <>/dev/fuse) 2>/dev/null || fail "/dev/fuse cannot be opened for reading and writing by $(id -un)"
}

# Print a digest of what decides the content of .venv: the interpreter, where it is, and the files given.
state_of() {
    { printf '%s\n' "$ROOT"; "$PYTHON" -VV; [ $# -eq 0 ] || cat "$@"; } | sha256sum | cut -d' ' -f1
}

# pip's output is shown only if it fails. PIP_REQUIRE_VIRTUALENV and the like stay the user's own business.
pip_install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >"$VENV/setup.log" 2>&1 || {
        grep -v '^WARNING: ' "$VENV/setup.log" | tail -n 20 >&2
        fail "pip install $* failed; all of its output: .venv/setup.log"
    }
}

# Build isolation would fetch unpinned packages to build pyfuse3 with, so what builds comes first, with hashes.
install_runtime() {
    pip_install --require-hashes --only-binary :all: -r "$ROOT/requirements-build.lock"
    pip_install --require-hashes --no-build-isolation -r "$ROOT/requirements.lock"
    pip_install --no-build-isolation --no-deps --editable "$ROOT"
}

install_test() {
    pip_install --require-hashes --no-build-isolation -r "$ROOT/requirements-test.lock"
}

# stage NAME FILE...: run install_NAME unless the stamp of that stage matches the files.
stage() {
    local name=$1 stamp=$VENV/stamp-$1 state start=$EPOCHREALTIME
    shift
    state=$(state_of "$@")
    if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
        say "installing Python packages ($name) into .venv"
        rm -f "$stamp"
        "install_$name"
        printf '%s\n' "$state" >"$stamp"
        say "  done in $(seconds_since "$start") s"
    fi
}

setup_venv() {
    if [ ! -x "$VENV/bin/python" ] || [ "$(cat "$VENV/stamp-venv" 2>/dev/null)" != "$(state_of)" ]; then
        "$PYTHON" -m venv --clear "$VENV" || fail "$PYTHON -m venv .venv failed"
        state_of >"$VENV/stamp-venv"
    fi
    local -a sources
    mapfile -t sources < <(find "$ROOT/k42fs" -name '*.pyx' -o -name '*.px[di]' | sort) # not the .c files: the build makes them
    [ ! -e "$ROOT/setup.py" ] || sources+=("$ROOT/setup.py")
    stage runtime "$ROOT"/requirements-build.lock "$ROOT"/requirements.lock "$ROOT"/pyproject.toml "${sources[@]}"
    if [ "${1:-}" = test ]; then
        stage test "$ROOT"/requirements-test.lock
    fi
}

# Ask the mount list whether $1 is a mount point: a look at the directory itself could hang.
is_mounted() {
    local target _
    while read -r _ target _; do # the list has spaces as \040, which read -r keeps and printf resolves
        [ "$(printf '%b' "$target")" != "$1" ] || return 0
    done </proc/self/mounts
    return 1
}

# Unmount $1, politely and then not.
force_unmount() {
    local flags
    for flags in -u -uz; do
        is_mounted "$1" || return 0
        fusermount3 "$flags" "$1" 2>/dev/null || true
    done
    ! is_mounted "$1"
}
