#!/bin/sh
# Replace the implementation of a directory while eight processes work in it, and show what that does to the locks:
# the transcript in docs/swapping.md.
#
#   docs/examples/swap-directory.sh [K42FS]       K42FS: the command (k42fs)
set -eu
k42fs=${1:-k42fs}
export COLUMNS=100
mnt=$(mktemp -d)

show() { # print a command as it would be typed, then run it
    echo "\$ $*" | sed "s|$mnt|MNT|g; s|^\(. \)$k42fs |\1k42fs |"
    "$@"
}

load() { # eight processes make, write and remove files of their own in one directory
    echo "\$ # eight processes, 40 files each, all in MNT/shared"
    pids=
    for number in 1 2 3 4 5 6 7 8; do
        (
            set -e
            for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 \
                21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40; do
                echo "$number.$i" >"$mnt/shared/$number.$i"
            done
            rm "$mnt/shared/$number".*
        ) &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid"; done # a failed call fails the script
    echo "640 names made and removed"
}

locks() { # the machine's clock, and the locks that were waited for most
    show "$k42fs" stats "$mnt" --reset | sed -n 's/^\$/&/p; /^# modelled cycles/p; /^# hottest locks/,/^$/p'
}

trap 'cd /; "$k42fs" umount "$mnt"; rmdir "$mnt"' EXIT
show "$k42fs" mount -o policy=linux-like,processors=8 "$mnt"
show mkdir "$mnt/shared"
echo >"$mnt/.k42/reset" 1
load
locks
show setfattr -n user.k42.impl -v distributed "$mnt/shared"
show getfattr --absolute-names --only-values -n user.k42.impl "$mnt/shared" && echo
load
locks
show "$k42fs" objects "$mnt/shared"
