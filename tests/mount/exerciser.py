"""Random operations on one file, each checked against a byte array: the method of Apple's and NeXT's fsx.

The byte array says what the file must hold. Everything follows from the seed; a failure prints it and
the last operations.
"""

from __future__ import annotations

import mmap
import os
import random
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate

SIZE_MAX = 256 << 10
LENGTH_MAX = 64 << 10
BLOCK = 4096


class Exerciser:
    """A file and its model. `run` exercises them; any difference is an AssertionError."""

    def __init__(self, path: Path, seed: int, *, direct: bool, punch: bool) -> None:
        self._path = path
        self._seed = seed
        self._random = random.Random(seed)
        self._model = bytearray()
        self._log: deque[str] = deque(maxlen=30)
        self._step = 0
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self._direct_fd = os.open(path, os.O_RDWR | os.O_DIRECT) if direct else None
        self._buffer = mmap.mmap(-1, LENGTH_MAX)
        operations: list[tuple[Callable[[], None], int]] = [
            (self._read, 20),
            (self._write, 20),
            (self._append, 3),
            (self._truncate, 5),
            (self._extend, 3),
            (self._map_read, 10),
            (self._map_write, 10),
            (self._reopen, 3),
            (self._sync, 2),
            (self._check_size, 5),
        ]
        if direct:
            operations += [(self._direct_read, 8), (self._direct_write, 8)]
        if punch:
            operations += [(self._punch, 5)]
        self._operations, self._weights = zip(*operations, strict=True)

    def run(self, steps: int) -> None:
        """Do *steps* operations, then compare the whole file."""
        try:
            for self._step in range(1, steps + 1):
                self._random.choices(self._operations, self._weights)[0]()
            self._reopen()
            assert self._path.read_bytes() == self._model, "the whole file at the end"
        except (AssertionError, OSError) as exc:
            exc.add_note(f"seed {self._seed}, step {self._step}, last operations:\n" + "\n".join(self._log))
            raise

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._fd)
        if self._direct_fd is not None:
            os.close(self._direct_fd)
        self._buffer.close()

    def _note(self, what: str, *numbers: int) -> None:
        self._log.append(f"{self._step}: {what} {' '.join(map(hex, numbers))} (size {len(self._model):#x})")

    def _range(self) -> tuple[int, int]:
        """An offset and a length, often at the edges of blocks and of the file."""
        offset = self._random.choice(
            (
                self._random.randrange(SIZE_MAX),
                self._random.randrange(len(self._model) + 1),
                self._random.randrange(SIZE_MAX) // BLOCK * BLOCK,
            )
        )
        length = min(self._random.choice((1, 100, BLOCK, BLOCK - 1, LENGTH_MAX)), SIZE_MAX - offset)
        return offset, self._random.randint(1, max(length, 1))

    def _data(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def _store(self, offset: int, data: bytes) -> None:
        if offset > len(self._model):
            self._model.extend(bytes(offset - len(self._model)))
        self._model[offset : offset + len(data)] = data

    def _compare(self, found: bytes, offset: int, what: str) -> None:
        wanted = self._model[offset : offset + len(found)]
        if found == wanted:
            return
        at = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
        got, expected = found[at : at + 8].hex(), wanted[at : at + 8].hex()
        raise AssertionError(f"{what}: at {offset + at:#x} the file has {got}, not {expected}")

    def _read(self) -> None:
        offset, length = self._range()
        self._note("read", offset, length)
        found = os.pread(self._fd, length, offset)
        assert len(found) == max(0, min(length, len(self._model) - offset)), "length of a read"
        self._compare(found, offset, "read")

    def _write(self) -> None:
        offset, length = self._range()
        self._note("write", offset, length)
        data = self._data(length)
        assert os.pwrite(self._fd, data, offset) == length
        self._store(offset, data)

    def _append(self) -> None:
        length = min(self._random.randint(1, 5000), SIZE_MAX - len(self._model))
        if length <= 0:
            return
        self._note("append", len(self._model), length)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        data = self._data(length)
        assert os.write(fd, data) == length
        os.close(fd)
        self._store(len(self._model), data)

    def _truncate(self) -> None:
        size = self._random.randint(0, len(self._model))
        self._note("truncate", size)
        os.ftruncate(self._fd, size)
        del self._model[size:]

    def _extend(self) -> None:
        size = self._random.randint(len(self._model), SIZE_MAX)
        self._note("extend", size)
        os.truncate(self._path, size)
        self._model.extend(bytes(size - len(self._model)))

    def _map_read(self) -> None:
        if not self._model:
            return
        offset = self._random.randrange(len(self._model))
        length = self._random.randint(1, min(LENGTH_MAX, len(self._model) - offset))
        self._note("map read", offset, length)
        with closing(mmap.mmap(self._fd, len(self._model), prot=mmap.PROT_READ)) as mapping:
            self._compare(mapping[offset : offset + length], offset, "map read")

    def _map_write(self) -> None:
        if not self._model:
            return
        offset = self._random.randrange(len(self._model))
        length = self._random.randint(1, min(LENGTH_MAX, len(self._model) - offset))
        self._note("map write", offset, length)
        data = self._data(length)
        with closing(mmap.mmap(self._fd, len(self._model))) as mapping:
            mapping[offset : offset + length] = data
            if self._random.random() < 0.5:
                mapping.flush()
        self._store(offset, data)

    def _direct_range(self) -> tuple[int, int]:
        offset = self._random.randrange(0, SIZE_MAX, BLOCK)
        return offset, self._random.randrange(BLOCK, min(LENGTH_MAX, SIZE_MAX - offset) + 1, BLOCK)

    def _direct_read(self) -> None:
        assert self._direct_fd is not None
        offset, length = self._direct_range()
        self._note("direct read", offset, length)
        count = os.preadv(self._direct_fd, [memoryview(self._buffer)[:length]], offset)
        assert count == max(0, min(length, len(self._model) - offset)), "length of a direct read"
        self._compare(self._buffer[:count], offset, "direct read")

    def _direct_write(self) -> None:
        assert self._direct_fd is not None
        offset, length = self._direct_range()
        self._note("direct write", offset, length)
        data = self._data(length)
        self._buffer[:length] = data
        assert os.pwrite(self._direct_fd, memoryview(self._buffer)[:length], offset) == length
        self._store(offset, data)

    def _punch(self) -> None:
        offset, length = self._range()
        self._note("punch", offset, length)
        fallocate(self._fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        end = min(offset + length, len(self._model))
        if end > offset:
            self._model[offset:end] = bytes(end - offset)

    def _reopen(self) -> None:
        self._note("reopen")
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR)

    def _sync(self) -> None:
        self._note("sync")
        os.fsync(self._fd)

    def _check_size(self) -> None:
        self._note("stat")
        for status in (os.fstat(self._fd), self._path.stat()):
            assert status.st_size == len(self._model), "size"
