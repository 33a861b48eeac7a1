"""POSIX access control lists, in the form in which they travel as extended attributes.

`system.posix_acl_access` and `system.posix_acl_default` hold a version word and one entry of eight bytes
per rule, all little-endian: tag (u16), permission bits (u16), id (u32). An access ACL and the mode tell one
truth twice: owner and other bits are the owner and other entries; the group bits are the mask entry, or the
group entry where no mask is.

Everything here is a pure function of values. K42 has no ACLs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from k42fs.errors import InvalidArgumentError, NotSupportedError

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20

_NO_ID: Final = 0xFFFF_FFFF
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_VERSION: Final = 2
_TAG_ORDER: Final = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)


class Entry(NamedTuple):
    """One rule: whom it is for (tag, and the uid or gid of named ones), and permission bits 0 to 7."""

    tag: int
    perm: int
    id: int = _NO_ID


Acl: TypeAlias = "tuple[Entry, ...]"


def parse(value: bytes) -> Acl:
    """Read and check an attribute's value; an empty list means "no ACL".

    Raises:
        NotSupportedError: another version.
        InvalidArgumentError: anything `acl_valid(3)` would refuse.
    """
    if not value:
        return ()
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        raise InvalidArgumentError(f"an ACL cannot be {len(value)} bytes long")
    (version,) = _HEADER.unpack_from(value)
    if version != _VERSION:
        raise NotSupportedError(f"ACL version {version}: only {_VERSION} is known")
    acl = tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :]))
    if acl:
        _check(acl)
    return acl


def build(acl: Acl) -> bytes:
    """The attribute's value for *acl*."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in acl)


def _check(acl: Acl) -> None:
    place, seen = 0, set[tuple[int, int]]()
    for entry in acl:
        if entry.tag not in _TAG_ORDER or _TAG_ORDER.index(entry.tag) < place:
            raise InvalidArgumentError(f"ACL entry {entry.tag:#x} is unknown or out of order")
        place = _TAG_ORDER.index(entry.tag)
        if entry.perm & ~7:
            raise InvalidArgumentError(f"ACL permission bits {entry.perm:#o}: at most 7")
        key = (entry.tag, entry.id if entry.tag in (USER, GROUP) else _NO_ID)
        if key in seen or (key[1] == _NO_ID and entry.tag in (USER, GROUP)):
            raise InvalidArgumentError(f"ACL entry {entry.tag:#x} is there twice, or names nobody")
        seen.add(key)
    tags = {entry.tag for entry in acl}
    if not {USER_OBJ, GROUP_OBJ, OTHER} <= tags:
        raise InvalidArgumentError("an ACL needs entries for owner, group and others")
    if tags & {USER, GROUP} and MASK not in tags:
        raise InvalidArgumentError("an ACL with named entries needs a mask")


def is_minimal(acl: Acl) -> bool:
    """Whether the mode bits alone say the same."""
    return len(acl) == 3


def mode_bits(acl: Acl) -> int:
    """The nine mode bits that *acl* shows as."""
    perms = {entry.tag: entry.perm for entry in acl if entry.tag not in (USER, GROUP)}
    return perms[USER_OBJ] << 6 | perms.get(MASK, perms[GROUP_OBJ]) << 3 | perms[OTHER]


def with_mode(acl: Acl, mode: int) -> Acl:
    """*acl* after chmod to *mode*: owner, other, and the mask where there is one, the group entry where
    not.
    """
    group_tag = MASK if any(entry.tag == MASK for entry in acl) else GROUP_OBJ
    bits = {USER_OBJ: mode >> 6 & 7, group_tag: mode >> 3 & 7, OTHER: mode & 7}
    return tuple(entry._replace(perm=bits.get(entry.tag, entry.perm)) for entry in acl)


def inherited(default: Acl, mode: int) -> tuple[Acl, int]:
    """The access ACL of something made with *mode* in a directory whose default ACL is *default*, and its
    mode.

    Each class of the mode keeps only what the ACL grants it, and the other way round; the umask plays no
    part.
    """
    bits = mode & mode_bits(default)
    acl = with_mode(default, bits)
    return acl, mode & ~0o777 | bits


def allows(acl: Acl, owner: int, group: int, uid: int, in_group: Callable[[int], bool], want: int) -> bool:
    """The access check algorithm of acl(5): the first class that fits decides."""
    mask = next((entry.perm for entry in acl if entry.tag == MASK), 7)
    in_any_group = False
    for tag, perm, name in acl:
        if tag == USER_OBJ:
            if uid == owner:
                return want & ~perm == 0
        elif tag == USER:
            if uid == name:
                return want & ~(perm & mask) == 0
        elif (tag == GROUP_OBJ and in_group(group)) or (tag == GROUP and in_group(name)):
            if want & ~(perm & mask) == 0:
                return True
            in_any_group = True
        elif tag == OTHER:
            return not in_any_group and want & ~perm == 0
    return False
