#!/bin/sh
# Build a C project with make -j8 on a new mount, record that, and write what docs/trace-build.md shows of it to OUT.
#
#   docs/examples/trace-build.sh OUT [K42FS]      OUT: a new directory; K42FS: the command (k42fs)
set -eu
out=$1
k42fs=${2:-k42fs}
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$out"
out=$(cd "$out" && pwd)
mnt=$(mktemp -d)
"$k42fs" mount -o processors=8,size=512m "$mnt"
trap 'cd /; "$k42fs" umount "$mnt"; rmdir "$mnt"' EXIT
mkdir "$mnt/proj"
cd "$mnt/proj"
"$here/c-project.sh" 60
make -s -j8 # the first time processors' clocks are far apart, as one of them wrote the sources
rm -rf build program
"$k42fs" trace run -o "$out/t" -- make -s -j8
for report in "calls -c" locks "locks --objects" c2c time requests "calls --tree"; do
    # shellcheck disable=SC2086
    "$k42fs" trace $report "$out/t" >"$out/$(echo "$report" | tr -d ' ').txt"
done
"$k42fs" trace kmon --html "$out/kmon.html" --svg "$out/kmon.svg" "$out/t"
for way in chrome perfetto ftrace speedscope; do
    "$k42fs" trace export "--$way" -o "$out/t.$way" "$out/t"
done
"$k42fs" trace fsck "$out/t"
