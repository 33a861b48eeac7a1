"""Failures a client must see: the class fixes the errno, the boundary translates it in one place.

K42: SysStatus carried (class code, errno, site code); the traceback is our site code.
"""

from __future__ import annotations

import errno as _e


class K42Error(Exception):
    """A failure the client must see. Not a bug: a bug is any other exception."""

    errno: int = _e.EIO  # a class attribute, but for failures that pass on another one's


class ConfigError(K42Error):
    """An option, preset or control value that is refused: the text names the field, the value and the rule."""

    errno = _e.EINVAL


class InvalidArgumentError(K42Error):
    errno = _e.EINVAL


class NameNotFoundError(K42Error):
    errno = _e.ENOENT


class NameExistsError(K42Error):
    errno = _e.EEXIST


class NameTooLongError(K42Error):
    errno = _e.ENAMETOOLONG


class NotDirectoryError(K42Error):
    errno = _e.ENOTDIR


class TargetIsDirectoryError(K42Error):
    """EISDIR: a directory where a file is needed."""

    errno = _e.EISDIR


class DirectoryNotEmptyError(K42Error):
    errno = _e.ENOTEMPTY


class CrossServerError(K42Error):
    """EXDEV: two names that different servers hold."""

    errno = _e.EXDEV


class SymlinkLoopError(K42Error):
    errno = _e.ELOOP


class TooManyLinksError(K42Error):
    errno = _e.EMLINK


class NoSpaceError(K42Error):
    errno = _e.ENOSPC


class FileTooBigError(K42Error):
    errno = _e.EFBIG


class ReadOnlyError(K42Error):
    errno = _e.EROFS


class PermissionDeniedError(K42Error):
    errno = _e.EACCES


class NotPermittedError(K42Error):
    errno = _e.EPERM


class DeletedObjectError(K42Error):
    """The ref's object is destroyed. K42: class code 0xFF, tested with _ISDELETED."""

    errno = _e.ESTALE


class RefsExhaustedError(K42Error):
    """ENFILE: every ref of a processor's part is in use, or waits for a token that is held up."""

    errno = _e.ENFILE


class BadHandleError(K42Error):
    errno = _e.EBADF


class NoDataError(K42Error):
    """ENODATA: no such extended attribute or attribute file key."""

    errno = _e.ENODATA


class ValueRangeError(K42Error):
    errno = _e.ERANGE


class TooBigError(K42Error):
    errno = _e.E2BIG


class BusyError(K42Error):
    errno = _e.EBUSY


class NotSupportedError(K42Error):
    errno = _e.EOPNOTSUPP


class NotImplementedByServerError(K42Error):
    """ENOSYS: the kernel then stops asking, which is why some handlers answer it on purpose."""

    errno = _e.ENOSYS


class NoDeviceError(K42Error):
    errno = _e.ENXIO


class UnknownImplementationError(K42Error):
    """EINVAL: a kind of object has no implementation of that name."""

    errno = _e.EINVAL


class NotSwappableError(K42Error):
    """EOPNOTSUPP: the object cannot be replaced, or not by this implementation."""

    errno = _e.EOPNOTSUPP


class InTransitionError(K42Error):
    """EBUSY: the object is being replaced or destroyed, or waiting would be waiting for oneself."""

    errno = _e.EBUSY


class SwapAbortedError(K42Error):
    """The old implementation is back. ETIMEDOUT past a deadline, else the errno of what failed."""

    errno = _e.ETIMEDOUT

    def __init__(self, reason: str, errno: int = _e.ETIMEDOUT) -> None:
        super().__init__(reason)
        self.errno = errno
