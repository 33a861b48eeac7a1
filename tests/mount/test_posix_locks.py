"""Advisory locks between processes: fcntl ranges, open file descriptions, flock."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .processes import Child, as_user, in_parallel
from .support import fails, opened, write

F_OFD_SETLK = 37


def _try_lock(path: Path, kind: int, start: int, length: int) -> bool:
    with opened(path) as fd:
        try:
            fcntl.lockf(fd, kind | fcntl.LOCK_NB, length, start)
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
    return True


def elsewhere(path: Path, kind: int, start: int = 0, length: int = 0) -> bool:
    """Whether another process could take this range lock now."""
    return as_user(partial(_try_lock, path, kind, start, length), 0)


def test_ranges_exclude_only_where_they_overlap(target: Path) -> None:
    path = write(target / "file", b"x" * 100)
    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)
        assert not elsewhere(path, fcntl.LOCK_EX, 25, 1)
        assert not elsewhere(path, fcntl.LOCK_SH, 0, 0)
        assert elsewhere(path, fcntl.LOCK_EX, 0, 20)
        assert elsewhere(path, fcntl.LOCK_EX, 30, 0)
        fcntl.lockf(fd, fcntl.LOCK_UN, 5, 20)
        assert elsewhere(path, fcntl.LOCK_EX, 20, 5)
        assert not elsewhere(path, fcntl.LOCK_EX, 25, 5)


def test_readers_share_and_exclude_writers(target: Path) -> None:
    path = write(target / "file", b"x" * 100)
    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_SH)
        assert elsewhere(path, fcntl.LOCK_SH)
        assert not elsewhere(path, fcntl.LOCK_EX)


def test_closing_any_descriptor_drops_the_range_locks_of_the_process(target: Path) -> None:
    path = write(target / "file", b"x")
    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        assert not elsewhere(path, fcntl.LOCK_EX)
        os.close(os.open(path, os.O_RDONLY))
        assert elsewhere(path, fcntl.LOCK_EX)


def test_the_holder_of_a_range_can_be_asked_for(target: Path) -> None:
    path = write(target / "file", b"x")

    def who() -> tuple[int, int]:
        with opened(path) as fd:
            question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, question))
            return answer[0], answer[4]

    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_SH, 1, 0)
        assert as_user(who, 0) == (fcntl.F_RDLCK, os.getpid())
    assert as_user(who, 0)[0] == fcntl.F_UNLCK


def test_locks_of_a_killed_process_are_dropped(target: Path) -> None:
    path = write(target / "file", b"x")
    ready, tell = os.pipe()

    def hold() -> None:
        with opened(path) as one, opened(target / "file") as two:
            fcntl.flock(two, fcntl.LOCK_EX)
            fcntl.lockf(one, fcntl.LOCK_EX)
            os.write(tell, b"!")
            while True:
                os.read(ready, 0)

    with Child(hold) as child:
        os.read(ready, 1)
        assert not elsewhere(path, fcntl.LOCK_EX)
        child.kill()
    with opened(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(ready)
    os.close(tell)


def test_a_circle_of_waiters_gives_edeadlk(target: Path) -> None:
    path = write(target / "file", b"xx")
    ready, tell = os.pipe()

    def second() -> int:
        with opened(path) as fd:
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
            os.write(tell, b"!")
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
            except OSError as exc:
                return exc.errno or -1
            return 0

    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
        with Child(second) as child:
            os.read(ready, 1)
            mine = 0
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
            except OSError as exc:
                mine = exc.errno or -1
            fcntl.lockf(fd, fcntl.LOCK_UN)
            assert {mine, child.result()} == {errno.EDEADLK, 0}, "one is refused, the other granted"
    os.close(ready)
    os.close(tell)


def test_flock_belongs_to_the_open_description(target: Path) -> None:
    path = write(target / "file")
    with opened(path) as one, opened(path) as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copy = os.dup(one)
        fcntl.flock(copy, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(copy)


def test_flock_works_on_directories(target: Path) -> None:
    with opened(target, os.O_RDONLY) as one, opened(target, os.O_RDONLY) as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_range_locks_of_open_descriptions_exclude_each_other_in_one_process(target: Path) -> None:
    path = write(target / "file", b"x")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with opened(path) as one, opened(path) as two:
        fcntl.fcntl(one, F_OFD_SETLK, lock)
        with fails(errno.EAGAIN):
            fcntl.fcntl(two, F_OFD_SETLK, lock)


def _count_up(path: Path, take: Callable[[int, int], object], rounds: int) -> None:
    with opened(path) as fd:
        for _ in range(rounds):
            take(fd, fcntl.LOCK_EX)
            value = int(os.pread(fd, 20, 0))
            os.pwrite(fd, b"%020d" % (value + 1), 0)
            take(fd, fcntl.LOCK_UN)


def test_range_locks_guard_a_counter_between_processes(target: Path) -> None:
    path = write(target / "counter", b"%020d" % 0)
    in_parallel([partial(_count_up, path, fcntl.lockf, 150)] * 6)
    assert int(path.read_bytes()) == 900


def test_flock_guards_a_counter_between_processes(target: Path) -> None:
    path = write(target / "counter", b"%020d" % 0)
    in_parallel([partial(_count_up, path, fcntl.flock, 150)] * 6)
    assert int(path.read_bytes()) == 900


def test_a_lock_file_made_with_excl_guards_a_counter(target: Path) -> None:
    counter = write(target / "counter", b"0")

    def count() -> None:
        for _ in range(60):
            while True:
                try:
                    os.close(os.open(target / "lock", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                break
            write(counter, b"%d" % (int(counter.read_bytes()) + 1))
            (target / "lock").unlink()

    in_parallel([count] * 4)
    assert counter.read_bytes() == b"240"
