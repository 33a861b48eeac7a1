"""Path names as K42 holds them: a list of components, each of 1 to 255 bytes, without '/' and without NUL.

A `PathName` is a value. The empty list is the root. Nothing here does I/O, so nothing here knows which
component is a symbolic link; that decides what may be done with "..":

- `DotDot.POSIX` (default) keeps ".." as a component. Whoever walks the path resolves it after the links
  before it, so `a/link/..` is the parent of the link's target. Only a ".." with nothing before it is
  dropped: it is the root's.
- `DotDot.LEXICAL` is K42's rule: ".." removes the component before it, as in Plan 9. `a/link/..` is `a`.

K42: lib/libc/io/PathName.[HC].
Differs: POSIX ".." is the default; a trailing '/' is remembered; an empty string is refused as POSIX wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from k42fs.errors import InvalidArgumentError, NameNotFoundError, NameTooLongError

NAME_MAX: Final = 255
"""Bytes of one component: the length must fit K42's length byte."""

PATH_MAX: Final = 4096
"""A Unix string must be shorter than this, and a component list may encode to at most this many bytes."""


class DotDot(Enum):
    """What parsing does with a ".." that has a component before it."""

    POSIX = auto()  # keep it for the walk, which knows the links
    LEXICAL = auto()  # remove the component before it


def check_name(name: bytes) -> bytes:
    """Return *name* if it can be a component, which includes "..".

    Raises:
        NameTooLongError: over 255 bytes.
        InvalidArgumentError: empty, ".", or holding '/' or NUL.
    """
    if len(name) > NAME_MAX:
        raise NameTooLongError(f"component of {len(name)} bytes: at most {NAME_MAX}")
    if not name or name == b"." or b"/" in name or b"\0" in name:
        raise InvalidArgumentError(f"not a component: {name!r}")
    return name


@dataclass(frozen=True, slots=True)
class PathName:
    """An absolute path: its components from the root down.

    `wants_directory` records a trailing '/', '/.' or '/..': the path must then name a directory, through a
    link if need be. It takes no part in comparison.
    """

    components: tuple[bytes, ...] = ()
    wants_directory: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        size = 0
        for name in self.components:
            size += len(check_name(name)) + 1
        if size > PATH_MAX:
            raise NameTooLongError(f"path of {size} bytes: at most {PATH_MAX}")

    @classmethod
    def parse(cls, unix: bytes, start: PathName | None = None, dotdot: DotDot = DotDot.POSIX) -> PathName:
        """Read a Unix path name; a relative one continues *start* (the root when none is given).

        Raises:
            NameNotFoundError: the string is empty.
            NameTooLongError: 4096 bytes or more, or one component over 255 bytes.
            InvalidArgumentError: the string holds a NUL.
        """
        if not unix:
            raise NameNotFoundError("empty path name")
        if len(unix) >= PATH_MAX:
            raise NameTooLongError(f"path name of {len(unix)} bytes: less than {PATH_MAX}")
        words = unix.split(b"/")
        before = start.components if start is not None and words[0] else ()
        return cls(_collapse(words, before, dotdot), wants_directory=words[-1] in (b"", b".", b".."))

    def __bytes__(self) -> bytes:
        return b"/" + b"/".join(self.components)

    def __str__(self) -> str:
        return bytes(self).decode(errors="backslashreplace")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.components)

    def __len__(self) -> int:
        return len(self.components)

    def __bool__(self) -> bool:
        """True always: `__len__` alone would make the root false."""
        return True

    @property
    def has_dotdot(self) -> bool:
        """True if a walk must still resolve a ".."; false for every lexical path."""
        return b".." in self.components

    def joined(self, rest: Iterable[bytes]) -> PathName:
        """Continue this path with the components *rest*."""
        return PathName((*self.components, *rest), wants_directory=self.wants_directory)


def _collapse(words: Iterable[bytes], before: tuple[bytes, ...], dotdot: DotDot) -> tuple[bytes, ...]:
    """Append *words* to *before*, dropping empty ones and "."; ".." as the mode says, a no-op at the root."""
    kept = list(before)
    for word in words:
        if word == b"..":
            if kept and dotdot is DotDot.POSIX:
                kept.append(word)
            elif kept:
                kept.pop()
        elif word and word != b".":
            kept.append(word)
    return tuple(kept)


ROOT: Final = PathName()
"""The root of a name space, or of one server's names."""

__all__ = ["NAME_MAX", "PATH_MAX", "ROOT", "DotDot", "PathName", "check_name"]
