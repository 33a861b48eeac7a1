"""What is measured: one generator per row of the table, run by the client inside the target's directory.

A row prepares itself, then yields a `Batch` at a time: a call to be timed and how much it did. Preparation
between batches is not timed. The client stops asking when the row has had its seconds; a row cleans up in
`finally`, except for what the client removes with the directory. What is slow to prepare is made once for
each mount, beside that directory (`KEPT`). Batches are small, for a slow target must not overrun its
seconds by much.

Cold names and attributes. As root, `echo 2 > /proc/sys/vm/drop_caches` before each batch makes the kernel
forget every unused name and inode without a new mount (tmpfs cannot forget: its names live there). Without
root the batch waits until the cached entries have expired (EXPIRY_SECONDS, longer than the timeouts of the
targets here), so that each stat sends a LOOKUP to revalidate. "missing" uses names never asked for before,
which needs neither. For data, a sequential read drops the file's own pages with posix_fadvise; the random
read opens with O_DIRECT.
"""

import mmap
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

BATCH: Final = 100
PAGE: Final = 4096
CHUNK: Final = 128 * 1024
FILE_BYTES: Final = 8 * 1024 * 1024
MIB: Final = 1024 * 1024  # one batch of sequential data
LISTED: Final = 10_000
EXPIRY_SECONDS: Final = 1.2
DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")

KEPT: Final = Path("..")

Batch = tuple[Callable[[], None], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `kind` is "metadata" (in the mean), "cached" (no request sent) or "data"."""

    name: str
    unit: str
    kind: str
    batches: Callable[[], Iterator[Batch]]


def forget_names() -> None:
    """Make the kernel forget unused names and attributes, or wait until they have expired."""
    try:
        DROP_CACHES.write_text("2\n")
    except OSError:
        time.sleep(EXPIRY_SECONDS)


def names(prefix: str, serial: int, count: int = BATCH) -> list[str]:
    return [f"{prefix}{serial}-{index}" for index in range(count)]


def make_files(paths: list[str]) -> None:
    for path in paths:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def remove_files(paths: list[str]) -> None:
    for path in paths:
        os.unlink(path)


def stat_files(paths: list[str]) -> None:
    for path in paths:
        os.stat(path)


def create() -> Iterator[Batch]:
    serial = 0
    while True:
        paths = names("create", serial := serial + 1)
        yield partial(make_files, paths), BATCH
        remove_files(paths)


def stat_cold() -> Iterator[Batch]:
    paths = names("stat", 0, 10 * BATCH)
    make_files(paths)
    while True:
        forget_names()
        yield partial(stat_files, paths), len(paths)


def stat_warm() -> Iterator[Batch]:
    make_files(["warm"])

    def warm() -> None:
        os.stat("warm")  # a timeout that runs out within the batch costs one request: part of the picture
        for _ in range(BATCH):
            os.stat("warm")

    while True:
        yield warm, BATCH


def stat_missing() -> Iterator[Batch]:
    def ask(paths: list[str]) -> None:
        for path in paths:
            os.path.lexists(path)

    serial = 0
    while True:
        paths = names("missing", serial := serial + 1)
        yield partial(ask, paths), BATCH


def open_read_close() -> Iterator[Batch]:
    Path("read").write_bytes(os.urandom(PAGE))

    def read() -> None:
        for _ in range(BATCH):
            fd = os.open("read", os.O_RDONLY)
            os.read(fd, PAGE)
            os.close(fd)

    while True:
        yield read, BATCH


def write_new() -> Iterator[Batch]:
    page = os.urandom(PAGE)

    def write(paths: list[str]) -> None:
        for path in paths:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            os.write(fd, page)
            os.close(fd)

    serial = 0
    while True:
        paths = names("write", serial := serial + 1)
        yield partial(write, paths), BATCH
        remove_files(paths)


def append() -> Iterator[Batch]:
    page = os.urandom(PAGE)
    fd = os.open("append", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def add() -> None:
        for _ in range(BATCH):
            os.write(fd, page)

    try:
        while True:
            yield add, BATCH
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def rename() -> Iterator[Batch]:
    old, new = names("old", 0), names("new", 0)
    make_files(old)

    def move(sources: list[str], targets: list[str]) -> None:
        for source, target in zip(sources, targets, strict=True):
            os.rename(source, target)

    while True:
        yield partial(move, old, new), BATCH
        old, new = new, old


def unlink() -> Iterator[Batch]:
    serial = 0
    while True:
        paths = names("unlink", serial := serial + 1)
        make_files(paths)
        yield partial(remove_files, paths), BATCH


def mkdir() -> Iterator[Batch]:
    def make(paths: list[str]) -> None:
        for path in paths:
            os.mkdir(path, 0o755)

    serial = 0
    while True:
        paths = names("mkdir", serial := serial + 1)
        yield partial(make, paths), BATCH
        for path in paths:
            os.rmdir(path)


def chmod() -> Iterator[Batch]:
    paths = names("chmod", 0)
    make_files(paths)

    def change(mode: int) -> None:
        for path in paths:
            os.chmod(path, mode)

    while True:
        yield partial(change, 0o600), BATCH
        yield partial(change, 0o644), BATCH


def readdir() -> Iterator[Batch]:
    directory = KEPT / "listed"
    if not directory.exists():
        directory.mkdir()
        make_files(names(f"{directory}/entry", 0, LISTED))

    def listing() -> None:
        assert len(os.listdir(directory)) == LISTED, "readdir lost or doubled a name"

    while True:
        yield listing, LISTED


def read_sequential() -> Iterator[Batch]:
    fd = open_filled(os.O_RDONLY)
    buffer = memoryview(bytearray(CHUNK))

    def read(start: int) -> None:
        for offset in range(start, start + MIB, CHUNK):
            assert os.preadv(fd, [buffer], offset) == CHUNK, "a short read inside the file"

    try:
        while True:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for start in range(0, FILE_BYTES, MIB):
                yield partial(read, start), 1
    finally:
        os.close(fd)


def write_sequential() -> Iterator[Batch]:
    chunk = os.urandom(CHUNK)
    fd = os.open("written", os.O_CREAT | os.O_RDWR, 0o644)

    def write(start: int) -> None:
        for offset in range(start, start + MIB, CHUNK):
            assert os.pwrite(fd, chunk, offset) == CHUNK, "a short write"

    try:
        while True:
            os.ftruncate(fd, 0)
            for start in range(0, FILE_BYTES, MIB):
                yield partial(write, start), 1
    finally:
        os.close(fd)


def read_direct() -> Iterator[Batch]:
    fd = open_filled(os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, PAGE)  # O_DIRECT wants page-aligned memory
    dice = random.Random(42)

    def read(offsets: list[int]) -> None:
        for offset in offsets:
            os.preadv(fd, [page], offset)

    try:
        while True:
            offsets = [PAGE * dice.randrange(FILE_BYTES // PAGE) for _ in range(BATCH)]
            yield partial(read, offsets), BATCH
    finally:
        os.close(fd)


def open_filled(flags: int) -> int:
    """Open a file of FILE_BYTES random bytes, synced so that its pages can be dropped, with *flags*."""
    path = KEPT / "filled"
    if not path.exists():
        chunk = os.urandom(CHUNK)
        with path.open("wb", buffering=0) as file:
            for _ in range(FILE_BYTES // CHUNK):
                file.write(chunk)
            os.fsync(file.fileno())
    return os.open(path, flags)


ROWS: Final = (
    Row("create", "files/s", "metadata", create),
    Row("stat, cold", "stats/s", "metadata", stat_cold),
    Row("stat, missing name", "stats/s", "metadata", stat_missing),
    Row("stat, warm", "stats/s", "cached", stat_warm),
    Row("open-read-close 4 KiB", "files/s", "metadata", open_read_close),
    Row("write new 4 KiB file", "files/s", "metadata", write_new),
    Row("rename", "files/s", "metadata", rename),
    Row("unlink", "files/s", "metadata", unlink),
    Row("mkdir", "dirs/s", "metadata", mkdir),
    Row("chmod", "files/s", "metadata", chmod),
    Row("readdir 10,000", "names/s", "metadata", readdir),
    Row("append 4 KiB", "writes/s", "data", append),
    Row("sequential read 128 KiB", "MiB/s", "data", read_sequential),
    Row("sequential write 128 KiB", "MiB/s", "data", write_sequential),
    Row("direct random read 4 KiB", "reads/s", "data", read_direct),
)
