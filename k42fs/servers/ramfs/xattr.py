"""Extended attributes of ramfs inodes: Linux's name spaces, limits and errors, and ACLs that agree with the
mode.

Pure checks and record changes; the file system charges, locks and accounts for the space.
"""

from __future__ import annotations

import stat
from typing import Final

from k42fs.errors import (
    InvalidArgumentError,
    NameExistsError,
    NoDataError,
    NoSpaceError,
    NotPermittedError,
    NotSupportedError,
    PermissionDeniedError,
    TooBigError,
    ValueRangeError,
)
from k42fs.servers import posix_acl
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import FSFile

NAME_MAX: Final = 255
VALUE_MAX: Final = 64 * 1024
LIST_MAX: Final = 64 * 1024
"""Bytes of all names with their NULs: what listxattr(2) can hand out."""

CREATE: Final = 1
REPLACE: Final = 2

_SPACES: Final = (b"user.", b"trusted.", b"security.")
_ACLS: Final = (posix_acl.ACCESS, posix_acl.DEFAULT)


def check_name(file: FSFile, name: bytes) -> None:
    """Raise unless *name* may be an attribute of *file*."""
    if not 0 < len(name) <= NAME_MAX:
        raise ValueRangeError(f"attribute name of {len(name)} bytes: 1 to {NAME_MAX}")
    if name in _ACLS:
        if stat.S_ISLNK(file.mode):
            raise NotSupportedError("symbolic links have no ACLs")
        return
    if not name.startswith(_SPACES):
        raise NotSupportedError(f"no such attribute name space: {name!r}")
    if name.endswith(b".") and name in _SPACES:
        raise InvalidArgumentError(f"an attribute needs a name after {name!r}")


def check_user(file: FSFile, name: bytes) -> None:
    """Raise NotPermittedError for user.* on anything but regular files and directories."""
    if name.startswith(b"user.") and not (file.is_dir or file.is_regular):
        raise NotPermittedError("user attributes are for regular files and directories")


def check_set(file: FSFile, name: bytes, value: bytes, flags: int) -> int:
    """Raise unless the attribute may be set; by how many bytes the inode's attributes would grow."""
    if flags & ~(CREATE | REPLACE):
        raise InvalidArgumentError(f"setxattr flags {flags:#x}")
    check_name(file, name)
    check_user(file, name)
    if len(value) > VALUE_MAX:
        raise TooBigError(f"attribute value of {len(value)} bytes: at most {VALUE_MAX}")
    held = file.xattrs or {}
    old = held.get(name)
    if old is not None and flags & CREATE:
        raise NameExistsError(f"attribute {name!r} exists")
    if old is None:
        if flags & REPLACE:
            raise NoDataError(f"no attribute {name!r}")
        if sum(len(key) + 1 for key in held) + len(name) + 1 > LIST_MAX:
            raise NoSpaceError("the list of attribute names is full")
        return len(name) + len(value)
    return len(value) - len(old)


def get(file: FSFile, name: bytes) -> bytes:
    """An attribute's value."""
    check_name(file, name)
    value = file.xattrs.get(name) if file.xattrs else None
    if value is None:
        raise NoDataError(f"no attribute {name!r}")
    return value


def footprint(xattrs: dict[bytes, bytes] | None) -> int:
    """Bytes of all names and values."""
    return sum(len(name) + len(value) for name, value in xattrs.items()) if xattrs else 0


def acl_value(file: FSFile, name: bytes, value: bytes, creds: Creds) -> tuple[bytes | None, int]:
    """What setting the ACL *name* to *value* stores (None: removes), and the mode that goes with it.

    As Linux's posix_acl_update_mode, whoever enforces the ACL or does not: a copy made by programs that set the
    list and trust the mode to follow would else keep a wrong one. Who is not in the file's group and is not root
    loses the set-group-ID bit with it.
    """
    acl = posix_acl.parse(value)
    if name == posix_acl.DEFAULT:
        if acl and not file.is_dir:
            raise PermissionDeniedError("only directories have default ACLs")
        return (value if acl else None), file.mode
    if not acl:
        return None, file.mode
    mode = file.mode & ~0o777 | posix_acl.mode_bits(acl)
    if creds.uid != 0 and not creds.in_group(file.gid):
        mode &= ~stat.S_ISGID
    return (None if posix_acl.is_minimal(acl) else value), mode


def follow_chmod(file: FSFile, mode: int) -> None:
    """Bring the access ACL in line with the mode that chmod is about to set."""
    value = file.xattrs.get(posix_acl.ACCESS) if file.xattrs else None
    if value is not None:
        assert file.xattrs is not None
        file.xattrs[posix_acl.ACCESS] = posix_acl.build(posix_acl.with_mode(posix_acl.parse(value), mode))
