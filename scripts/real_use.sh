# What run.sh does in the mount: each function is one step, run with `set -e` in the mount's root.
# Sourced, not run. Wants ROOT, the checkout, and SCRATCH, a directory outside the mount.

# A git that knows nothing of the user's settings and minds nobody's ownership of the checkout. A file, because git
# hands neither -c nor GIT_CONFIG_COUNT on to the server side of a local clone.
prepare_git() {
    export GIT_CONFIG_GLOBAL=$SCRATCH/gitconfig GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
    cat >"$GIT_CONFIG_GLOBAL" <<'END'
[safe]
    directory = *
[user]
    name = k42fs
    email = k42fs@localhost
[init]
    defaultBranch = main
[commit]
    gpgSign = false
[advice]
    detachedHead = false
END
}

# A source tree without history (an unpacked archive) becomes a repository of one commit first.
use_git_clone() {
    local source=$ROOT
    if ! git -C "$ROOT" rev-parse --verify --quiet HEAD >/dev/null; then
        source=$PWD/origin
        mkdir "$source"
        tar -C "$ROOT" --exclude=./mnt --exclude=./.venv --exclude=./.git -cf - . | tar -C "$source" -xf -
        git -C "$source" init --quiet
        git -C "$source" add .
        git -C "$source" commit --quiet --message "the sources"
    fi
    git clone --quiet "file://$source" clone
    [ -n "$(git -C clone ls-files)" ]
    [ -z "$(git -C clone status --porcelain)" ]
}

use_git_fsck() { git -C clone fsck --full --strict; }

use_git_commit() {
    mkdir clone/by-run
    seq 1000 >clone/by-run/numbers
    ln -s numbers clone/by-run/link
    git -C clone add by-run
    git -C clone commit --quiet --message "Add a file and a symlink"
    [ -z "$(git -C clone status --porcelain)" ]
    [ "$(git -C clone show HEAD:by-run/numbers | cksum)" = "$(seq 1000 | cksum)" ]
    git -C clone gc --quiet
    git -C clone fsck --full
}

# Names, types, modes, sizes, times to the nanosecond and link targets of a tree; sizes of directories are no content.
listing() { (cd "$1" && find . \( -type d -printf '%P d %m %T@\n' \) -o -printf '%P %y %m %s %n %T@ %l\n' | LC_ALL=C sort); }

use_tar() {
    ln clone/by-run/numbers clone/by-run/hardlink
    tar --format=posix -cf clone.tar clone
    mkdir unpacked
    tar -C unpacked -xpf clone.tar
    diff -r --no-dereference clone unpacked/clone
    diff <(listing clone) <(listing unpacked/clone)
    rm -r unpacked clone.tar
}

use_sqlite() {
    local rows=20000 mode
    for mode in delete wal; do
        sqlite3 -bail "$mode.db" >sqlite.out <<END
PRAGMA journal_mode=$mode;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER NOT NULL);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $rows)
    INSERT INTO item SELECT i, 'item ' || i, i * 7 % 1000 FROM n;
COMMIT;
CREATE INDEX item_amount ON item (amount);
BEGIN; DELETE FROM item; ROLLBACK;
DELETE FROM item WHERE id % 10 = 0;
VACUUM;
END
        [ "$(head -n 1 sqlite.out)" = "$mode" ]
        [ "$(sqlite3 "$mode.db" 'PRAGMA integrity_check')" = ok ]
        [ "$(sqlite3 "$mode.db" 'SELECT count(*), max(id) FROM item')" = "$((rows * 9 / 10))|$((rows - 1))" ]
    done
}

use_make() {
    local file
    mkdir project
    cd project
    for file in $(seq 1 19); do
        printf '#include "parts.h"\nint part%d(int x) { return x + %d; }\n' "$file" "$file" >"part$file.c"
        printf 'int part%d(int x);\n' "$file"
    done >parts.h
    {
        printf '#include <stdio.h>\n#include "parts.h"\nint main(void) {\n    int x = 0;\n'
        printf '    x = part%d(x);\n' $(seq 1 19)
        printf '    printf("%%d\\n", x);\n    return 0;\n}\n'
    } >main.c
    cat >Makefile <<'END'
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
	$(CC) -o $@ $^
%.o: %.c parts.h
	$(CC) -O1 -Wall -Werror -c -o $@ $<
END
    make -j4
    [ "$(./program)" = 190 ]
    make --question # every time stamp is in order
    touch parts.h
    if make --question; then return 1; fi
    cd ..
}

use_writers() {
    local writer writers=()
    mkdir shared
    for writer in 1 2 3 4 5 6 7 8; do
        (
            set -e
            for file in $(seq 1 100); do
                printf 'writer %d file %d\n' "$writer" "$file" >"shared/$writer-$file"
            done
        ) &
        writers+=($!)
    done
    for writer in "${writers[@]}"; do
        wait "$writer"
    done
    [ "$(find shared -type f | wc -l)" -eq 800 ]
    [ "$(cat shared/* | sort -u | wc -l)" -eq 800 ]
}
