"""What a target offers. Every probe asks the target by trying; none looks at the file system's name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from .support import opened
from .syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate

_NOT_OFFERED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def offers_punch(directory: Path) -> bool:
    """Whether holes can be punched into files."""
    with opened(directory / ".probe", os.O_RDWR | os.O_CREAT) as fd:
        os.unlink(directory / ".probe")
        os.write(fd, b"x" * 8192)
        try:
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)
        except OSError as exc:
            if exc.errno in _NOT_OFFERED:
                return False
            raise
    return True


def offers_direct(directory: Path) -> bool:
    """Whether files can be opened with O_DIRECT."""
    path = directory / ".probe"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT))
    except OSError as exc:
        if exc.errno in _NOT_OFFERED:
            return False
        raise
    finally:
        path.unlink(missing_ok=True)
    return True


def require_direct(directory: Path) -> None:
    """Skip the test where O_DIRECT is not offered."""
    if not offers_direct(directory):
        pytest.skip("the target refuses O_DIRECT")


def counts_subdirectories(directory: Path) -> bool:
    """Whether a directory's link count is 2 plus its subdirectories (btrfs and overlay keep it at 1)."""
    probe = directory / ".probe"
    probe.mkdir()
    links = probe.stat().st_nlink
    probe.rmdir()
    return links == 2


def keeps_relatime(directory: Path) -> bool:
    """Whether the mount updates access times the relatime way, as far as its flags say."""
    flags = os.statvfs(directory).f_flag
    return not flags & os.ST_NOATIME and bool(flags & os.ST_RELATIME)
