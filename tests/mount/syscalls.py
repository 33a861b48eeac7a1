"""System calls that the standard library does not offer, through ctypes."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.opendir.argtypes = [ctypes.c_char_p]
_libc.closedir.argtypes = [ctypes.c_void_p]
_libc.telldir.restype = ctypes.c_long
_libc.telldir.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
_libc.rewinddir.argtypes = [ctypes.c_void_p]

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200


class _Dirent(ctypes.Structure):
    _fields_ = (
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_ushort),
        ("d_type", ctypes.c_ubyte),
        ("d_name", ctypes.c_char * 256),
    )


_libc.readdir.restype = ctypes.POINTER(_Dirent)
_libc.readdir.argtypes = [ctypes.c_void_p]


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def _check(result: int, path: Path | bytes | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path if path is None else os.fsdecode(path))
    return result


def renameat2(old: Path | bytes, new: Path | bytes, flags: int) -> None:
    """Rename with RENAME_* flags."""
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def linkat(old: Path | bytes, new: Path | bytes, flags: int) -> None:
    """Link with AT_* flags."""
    _check(_libc.linkat(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def utimensat(path: Path | bytes, atime: tuple[int, int], mtime: tuple[int, int], flags: int = 0) -> None:
    """Set times as (seconds, nanoseconds); the nanoseconds may be UTIME_NOW or UTIME_OMIT."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _check(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, flags), path)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Allocate or punch a range of bytes."""
    _check(_libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def inotify_init() -> int:
    """A new non-blocking inotify descriptor."""
    return _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add_watch(fd: int, path: Path, mask: int) -> int:
    """Watch *path*; return the watch descriptor."""
    return _check(_libc.inotify_add_watch(fd, os.fsencode(path), mask), path)


class DirStream:
    """A C library directory stream, which alone shows the cookies of telldir and seekdir."""

    def __init__(self, path: Path) -> None:
        self._dir: int = _libc.opendir(os.fsencode(path)) or _check(-1, path)

    def read(self) -> bytes | None:
        """The next name, or None at the end."""
        ctypes.set_errno(0)
        entry = _libc.readdir(self._dir)
        if not entry:
            _check(-1 if ctypes.get_errno() else 0)
            return None
        name: bytes = entry.contents.d_name
        return name

    def rest(self) -> list[bytes]:
        """All names from here to the end."""
        return list(iter(self.read, None))

    def tell(self) -> int:
        """The cookie of the place before the next name."""
        position: int = _libc.telldir(self._dir)
        return position

    def seek(self, cookie: int) -> None:
        """Go back to a place that `tell` gave."""
        _libc.seekdir(self._dir, cookie)

    def rewind(self) -> None:
        """Go to the start, and see the directory as it is now."""
        _libc.rewinddir(self._dir)

    def close(self) -> None:
        """Close the stream."""
        _libc.closedir(self._dir)
